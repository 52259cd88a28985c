"""Providers: one file for each vendor, one class for each provider; `base.py` is what they share."""
