"""`python -m enricher` is the command `enricher`."""

from enricher.cli import main

if __name__ == "__main__":
    main()
