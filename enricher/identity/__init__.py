"""PURE What a writer's text means: one mailbox, one company, or the reason why there is none.

Promises that providers are asked only about people the lead names, and that `forget` finds everybody
who was asked about. Imports only the nouns.
"""
