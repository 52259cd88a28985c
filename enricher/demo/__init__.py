"""`enricher demo` and its sample leads; within the package, only the command line imports it."""
