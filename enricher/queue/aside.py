"""Leads that cannot be taken: they would hold the head of the queue for ever.

For ten minutes, where the database refuses them; for a moment, where a writer's transaction holds them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from loguru import logger
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.lead import Document, LeadId
from enricher.mongo import expressions
from enricher.telemetry import metrics
from enricher.telemetry.labels import label

SECONDS = 600.0
_HELD_SECONDS = 3.0
_BROKEN = "\ufffd".encode()
_MOST_UNREADABLE = 10_000
_MOST_LOST = 10
"""Another lead may have the `_id` as which it reaches us."""


@dataclass(slots=True)
class Aside:
    """By their keys (`book.id_key`). One that cannot be written cannot even be marked."""

    until: dict[bytes, float] = field(default_factory=dict)
    """Monotonic times."""
    _held: dict[bytes, float] = field(default_factory=dict)
    """As `until`."""
    _unreadable: set[bytes] = field(default_factory=set)
    _lost: dict[tuple[bytes, str], int] = field(default_factory=dict)
    """How many claims in a row lost it, as it was."""

    def __contains__(self, key: object) -> bool:
        return key in self.until or key in self._held

    def __len__(self) -> int:
        return len(self.until) + len(self._held)

    def put_off(self, ids: Collection[LeadId]) -> None:
        """A transaction that has not ended holds them."""
        self._held |= dict.fromkeys(map(expressions.id_key, ids), time.monotonic() + _HELD_SECONDS)

    def put(self, id_: LeadId, code: int | None, step: str) -> None:
        """The database refused it, with this code, at this step. Each search meets it again: no news then."""
        key = expressions.id_key(id_)
        is_news = key not in self.until
        self.until[key] = time.monotonic() + SECONDS
        if is_news:
            self.tell(id_, code, step)

    def put_for_good(self, key: bytes) -> None:
        """Until `take_back`. It is told elsewhere."""
        self.until[key] = math.inf
        self._show()

    def is_for_good(self, key: bytes) -> bool:
        """Nobody writes it any more."""
        return self.until.get(key) == math.inf

    def take_back(self, key: bytes) -> None:
        """It may be tried again."""
        self.until.pop(key, None)
        self._show()

    def tell(self, id_: LeadId, code: int | None, step: str) -> None:
        """Of one that cannot be written."""
        self._show()
        metrics.UNWRITABLE.inc()
        logger.bind(lead=label(id_), code=code, step=step).error("lead.unwritable")

    @property
    def leads(self) -> int:
        """How many there are now."""
        return len(self.until) + len(self._unreadable)

    async def put_unreadable(
        self, leads: AsyncCollection[Document], ids: Collection[LeadId]
    ) -> None:
        """Those whose `_id` is not valid UTF-8: it reaches us as another one, which no lead has. For good,
        since they are in nobody's way; but each is told once."""
        broken = {key: id_ for id_ in ids if _BROKEN in (key := expressions.id_key(id_))}
        if not broken:
            return
        found = await leads.find({"_id": {"$in": [*broken.values()]}}, {"_id": 1}).to_list()
        there = {expressions.id_key(each["_id"]) for each in found} | self._unreadable
        for key in [*(broken.keys() - there)][: _MOST_UNREADABLE - len(self._unreadable)]:
            self._unreadable.add(key)
            self.tell(broken[key], None, "admit")

    def tell_too_long(self, leads: int, step: str) -> None:
        """Of so many whose `_id` is too long, and so is not even shown."""
        if leads:
            metrics.UNWRITABLE.inc(leads)
            logger.bind(lead=f"{leads} with too long an _id", code=None, step=step).error(
                "lead.unwritable"
            )

    def _show(self) -> None:
        metrics.UNMOVED.labels("unwritable").set(self.leads)

    def end(self) -> None:
        """Of those whose time is over."""
        now = time.monotonic()
        for key in [key for key, until in self.until.items() if until <= now]:
            del self.until[key]
            self._show()
        for key in [key for key, until in self._held.items() if until <= now]:
            del self._held[key]

    async def give_up_on_stuck(
        self, leads: AsyncCollection[Document], lost: Sequence[Document]
    ) -> None:
        """Of the candidates that a claim did not win. One that others took has changed by the next claim, unless
        a writer put it back as it was. One that is lost again as it was and that nobody finds by its `_id` can
        never be won: the `_id` is not valid UTF-8, say, and reaches us as another one."""
        as_it_was = {(expressions.id_key(c["_id"]), f"{c['token']} {c['status']}"): c for c in lost}
        self._lost = {key: self._lost.get(key, 0) + 1 for key in as_it_was}
        again = [key for key, times in self._lost.items() if times > 1]
        there = await _known(leads, [as_it_was[key]["_id"] for key in again])
        for key in again:
            if key[0] not in there or self._lost[key] >= _MOST_LOST:
                self.put(as_it_was[key]["_id"], None, "claim")


async def _known(leads: AsyncCollection[Document], ids: Sequence[LeadId]) -> set[bytes]:
    """Keys of those that there are; of all when it cannot be said: what was won must not be lost for that."""
    if not ids:
        return set()
    try:
        found = await leads.find({"_id": {"$in": ids}}, {"_id": 1}).to_list()
    except PyMongoError:
        return {expressions.id_key(id_) for id_ in ids}
    return {expressions.id_key(each["_id"]) for each in found}
