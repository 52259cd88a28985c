"""Leads that cannot be taken, each for ten minutes: they would hold the head of the queue for ever."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from loguru import logger

from enricher import metrics
from enricher.labels import label
from enricher.lead import Document, LeadId
from enricher.store import book

SECONDS = 600.0


@dataclass(slots=True)
class Aside:
    """By their keys (`book.id_key`). One that cannot be written cannot even be marked."""

    until: dict[bytes, float] = field(default_factory=dict)
    """Monotonic times."""
    _lost_before: set[tuple[bytes, str]] = field(default_factory=set)

    def __contains__(self, key: object) -> bool:
        return key in self.until

    def __len__(self) -> int:
        return len(self.until)

    def put(self, id_: LeadId, code: int | None, step: str) -> None:
        """The database refused it, with this code, at this step."""
        self.until[book.id_key(id_)] = time.monotonic() + SECONDS
        metrics.UNWRITABLE.inc()
        logger.bind(lead=label(id_), code=code, step=step).error("lead.unwritable")

    def end(self) -> None:
        """Of those whose time is over."""
        now = time.monotonic()
        for key in [key for key, until in self.until.items() if until <= now]:
            del self.until[key]

    def give_up_on_stuck(self, lost: Sequence[Document]) -> None:
        """A lead that others took has changed by the next claim. One that is lost again as it was can
        never be won: its `_id` is not valid UTF-8, say, and reaches us as another one."""
        as_it_was = {(book.id_key(c["_id"]), f"{c['token']} {c['status']}"): c for c in lost}
        for key in as_it_was.keys() & self._lost_before:
            self.put(as_it_was[key]["_id"], None, "claim")
        self._lost_before = set(as_it_was)
