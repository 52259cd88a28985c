"""PURE One value per field, out of what several providers said.

Promises a stable type for every field, and that each value remembers who gave it. Imports identity
and the nouns."""
