"""PURE One value per field, out of what several providers said.

Promises a stable type for every field, and that each value records its provider. Imports only
`identity` and the nouns.
"""
