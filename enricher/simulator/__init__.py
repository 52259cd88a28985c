"""The vendors' APIs as one strict web application on one port: for demos, tests and benchmarks.

Promises the vendors' own answers, limits and bills, the same for the same seed. Apart from the
nouns, imports nothing of the daemon except how signals end it.
"""
