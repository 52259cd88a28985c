"""The designs that the daemon is compared with, each as good as its documentation makes it.

A reference is a program of its own. What it needs to know comes in its environment (`record.py`);
it writes the same kind of document at the end of each lead, with the same two vendor calls before.
"""
