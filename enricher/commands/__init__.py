"""The bodies of the commands that request enrichment, undo it or report on it; `cli.py` names them."""
