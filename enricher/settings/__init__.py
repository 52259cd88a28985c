"""What an operator can set: one frozen section per subject, read once from the environment and files.

Promises a clear error for every unusable value, and that no secret is ever shown. Imports only the
nouns.
"""
