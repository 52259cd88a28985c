"""enricher: tails a MongoDB collection of leads and writes back what data vendors know about each."""

__version__ = "0.1.0"
