"""A webhook hears of every event at least once, those of one lead in their order, signed.

It is one consumer of the outbox (`queue/outbox.py`), for programs that cannot watch a change stream. Whatever the
receiver does, nothing else waits for it: what is not delivered stays in the database.

May import `queue`, `providers.transport` and what lies below them.
"""
