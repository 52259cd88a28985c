"""A company's own web site: what it says of itself, read politely and safely.

Promises that no address of a private network is ever connected to, that a site is sent three requests at most,
that no person's data is read, and that a page that is not the company's counts as none. Imports the catalogue,
values, identity, process and `providers/base.py`.
"""
