"""The vendors' APIs as one strict web application on one port: for demos, tests and benchmarks.

Promises the vendors' own answers, limits and bills, the same for the same seed. Imports nothing of
the daemon but how a signal ends it."""
