"""Simulated vendors and sample leads; nothing but the command line imports this package."""
