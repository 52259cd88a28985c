"""What can be seen from outside: series, events of the log, and how an id is shown.

Promises that nothing personal and no secret is in any of it, and that labels come from small
closed sets. Imports settings and the nouns."""
