"""What one types: the bodies of the commands that request enrichment, undo it or report on it.

Promises that a backfill is agreed to before it costs anything, and that every error is one clear line with
an exit code. Imports every room but demo; `cli.py` gives the commands their names.
"""
