"""One file and one class for each provider; `base.py` is what they share."""
