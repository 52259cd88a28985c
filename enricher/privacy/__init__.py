"""Never against a person's will: who objected, who must be forgotten, and what of them is erased.

Promises that an objection holds for every lead and daemon of the database, from the next call on.
Imports the queue (what stands on a lead), calls (what was kept) and identity.
"""
