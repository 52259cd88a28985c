"""What can be seen from outside: series, log events, and how an id is shown.

Promises that none of it contains personal data or secrets, and that labels come from small closed sets.
Imports settings and the nouns.
"""
