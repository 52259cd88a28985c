"""One lead, from its inputs to its outcome: which providers are asked, in which order, and what follows.

Promises that one lead's trouble stays its own, and that only data about the same subject counts.
Imports privacy, calls, values, identity; never the queue, which hands the leads in.
"""
