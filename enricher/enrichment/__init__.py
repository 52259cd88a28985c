"""One lead, from what it says to what becomes of it: who is asked, in which order, what follows.

Promises that one lead's trouble stays its own, and that only what is about the same subject counts.
Imports privacy, calls, values, identity; never the queue, which hands the leads in."""
