"""Leads that this process has heard of, while no index tells which leads are work.

To build the indexes of a large collection takes minutes, and whoever looked for work meanwhile would read
every lead each time. What is inserted in these minutes is told by the stream, so its ids stand here until
the leads have ended: by them a claim finds new leads, and those that fell due again or were given back.
What does not find room waits for the indexes, as does work that nobody told of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from enricher.lead import LeadId
from enricher.mongo.expressions import id_key

_MOST = 50_000
_LONGEST_ID = 200
"""Bytes: 50,000 ids of that length are 10 MB."""
_GLANCE = 2000
_GLANCES = 5
"""In one look: 10,000 ids cost the server 50 ms."""


class Heard:
    """Ids in the order in which they are to be looked at next."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._ids: dict[bytes, LeadId] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Iterable[LeadId]) -> None:
        """As far as there is room."""
        for id_ in ids:
            key = id_key(id_)
            if len(self._ids) < self._most and len(key) <= _LONGEST_ID:
                self._ids.setdefault(key, id_)

    def glances(self) -> Iterator[list[LeadId]]:
        """Some at a time, each once, and no more than may be looked at in one go. The next look begins
        with those whose turn is due."""
        left = len(self._ids)
        for _ in range(_GLANCES):
            if left <= 0:
                return
            ids = list(islice(self._ids.values(), min(_GLANCE, left)))
            left -= len(ids)
            for id_ in ids:
                key = id_key(id_)
                self._ids[key] = self._ids.pop(key)
            yield ids

    def keep(self, glance: Iterable[LeadId], among: Collection[bytes]) -> None:
        """Of those just seen only the ones that are `among` these keys are of interest any longer."""
        for id_ in glance:
            if (key := id_key(id_)) not in among:
                self._ids.pop(key, None)
