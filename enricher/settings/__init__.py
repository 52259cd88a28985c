"""What an operator can say: one frozen section per subject, read once from the environment and files.

Promises a clear error for every value that cannot be used, and that no secret is ever shown.
Imports the nouns alone."""
