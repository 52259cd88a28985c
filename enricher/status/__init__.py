"""The picture of the fleet: what each daemon reports, what the database says, and the page that shows it.

Promises that looking changes nothing, and that no work depends on it. Imports what it looks at.
"""
