"""Never faster than a vendor allows, counted for the whole fleet.

Promises that no sliding window is exceeded, whatever daemons start, stop or stall. Imports the catalogue
(vendors' windows), mongo and values.
"""
