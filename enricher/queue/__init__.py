"""The collection as a queue: which lead is next, the lease on it, and the write that ends a claim.

Promises that no lead is lost or settled twice, whatever dies: fencing tokens, leases by the server's
clock, inputs compared at the settle. Imports mongo, values, identity and the nouns.
"""
