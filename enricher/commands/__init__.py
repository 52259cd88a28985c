"""What one types: the bodies of the commands that request enrichment, undo it or report on it.

Promises that nothing is paid for or erased before somebody has agreed to it, and that every error is one
clear line with an exit code. Imports every room but demo; `cli.py` gives the commands their names.
"""
