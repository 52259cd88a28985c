"""PURE What a writer's text means: one mailbox, one company, or the reason why there is none.

Promises that nobody is asked about whom the lead does not name, and that whoever is asked about is
found again by `forget`. Imports the nouns alone."""
