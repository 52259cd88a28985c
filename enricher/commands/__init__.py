"""The bodies of those commands that ask for enrichment, or take it back; `cli.py` names them."""
