"""Providers: one file for each vendor, one class for each provider; `base.py` is what they share.

Promises that only a vendor's own words decide what a reply means, that a broken reply is never taken for a
fact, and that its size is bounded. Imports the catalogue, values, identity and settings.
"""
