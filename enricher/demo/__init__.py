"""`enricher demo`: sample leads with their stories, the daemon at work on them, a live table.

Promises that it needs no key and no server, calls no real vendor, and leaves nothing behind. Imports the
simulator and what it shows; only the command line imports it.
"""
