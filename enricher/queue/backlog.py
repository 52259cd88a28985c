"""How much work there is, since when, and how all leads ended: for metrics and people.

Questions, each bounded in time. The first and the last read no lead, unless a condition says which documents are
leads:

    look       what is work or waits: read from indexes that a settled lead leaves, so it costs the
               same with a million settled leads as with none
    rechecks   how many come back to be looked at again, and whom they ask: reads those that are due within a
               day, so it is asked rarely, and only where there are rechecks
    ended      how many are settled, by status: costs half a second for each million of failed,
               skipped and never admitted ones (measured), so ask rarely. The last of these may be
               millions of history, and are counted apart: they must not hide the failed ones

Nothing is counted beyond `MOST`, or beyond `FEWER` where that takes too long: an operator with a backlog of
millions should see that it is large, rather than 0 or nothing.

The figures are from various moments within those seconds; nothing is locked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from enricher.fields import NAMES, Names
from enricher.lead import Document, Status
from enricher.mongo import expressions
from enricher.queue import book

LOOK_SECONDS = 2.0
MOST, FEWER = 1_000_000, 100_000
"""Per count, of which several may be large: 1.2 million keys of five took 1.5 to 2.1 s on two busy cores."""
ENDED_SECONDS = 5.0


class Lane(StrEnum):
    """Why a lead is work now."""

    FRESH = "fresh"
    """Pending: new, or requested by a user."""
    BACKFILL = "backfill"
    """Pending, with nobody waiting for it."""
    RETRY = "retry"
    """Its next attempt is due."""
    INTERRUPTED = "interrupted"
    """Its lease expired: the process that held it died, or was cut off."""
    REFRESH = "refresh"
    """Completed long ago, and due again."""


@dataclass(frozen=True, slots=True)
class Queue:
    """One lane: how many leads are work now, and since when the oldest of them is."""

    leads: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is work now, and what will be."""

    at: datetime
    """By the server's clock, like all times here."""
    lanes: Mapping[Lane, Queue]
    processing: int = 0
    """Leads with a lease, expired ones included."""
    retrying: int = 0
    """Leads to be tried again, those already due included."""
    parked: Mapping[str, int] = field(default_factory=dict)
    """Provider -> retrying leads that wait until it may be asked again; a lead may wait for two."""
    most: int = MOST
    """A higher count means this many or more."""

    @property
    def pending(self) -> int:
        """Leads whose status is `pending`."""
        return self.lanes[Lane.FRESH].leads + self.lanes[Lane.BACKFILL].leads

    @property
    def work(self) -> int:
        """Leads that are work now."""
        return sum(queue.leads for queue in self.lanes.values())

    def age_seconds(self, lane: Lane) -> float:
        """Return the age of the oldest lead that is work; 0 when there is none."""
        since = self.lanes[lane].since
        return 0.0 if since is None else max(0.0, (self.at - since).total_seconds())


@dataclass(frozen=True, slots=True)
class EndedCounts:
    """The leads that are not work, as far as that can be told cheaply."""

    total: int | None
    """All documents, by the collection's own count: inaccurate for a while after a crash of the server. Under a
    condition for being a lead all that meet it, read one by one; `None` when that takes too long."""
    failed: int
    skipped: int
    without_status: int | None
    """Mostly history; `None` when that is too much to count in time."""

    def completed(self, backlog: Backlog) -> int | None:
        """Return what is left over; a foreign status counts here too. `None` where one of the other counts
        is not known."""
        counted = (
            *(queue.leads for queue in backlog.lanes.values()),
            backlog.processing,
            backlog.retrying,
        )
        if self.total is None or self.without_status is None or max(counted) > backlog.most:
            return None
        known = self.failed + self.skipped + self.without_status
        open_ = backlog.pending + backlog.processing + backlog.retrying
        return max(0, self.total - known - open_)


async def look(
    leads: AsyncCollection[Document],
    providers: Sequence[str] = (),
    most: int = MOST,
    names: Names = NAMES,
) -> Backlog:
    """Count what is work. Raises DatabaseTrouble, also when even counting up to `FEWER` takes too long."""
    try:
        return await _look(leads, providers, most, names)
    except PyMongoError as error:
        if not error.timeout or most <= FEWER:
            raise
    return await _look(leads, providers, FEWER, names)


async def _look(
    leads: AsyncCollection[Document], providers: Sequence[str], most: int, names: Names
) -> Backlog:
    with pymongo.timeout(LOOK_SECONDS):
        hello = await leads.database.client.admin.command("hello")
        now = hello["localTime"].replace(tzinfo=UTC)
        found = await _together(leads, _questions(names, now, providers, most))
    lanes = {
        lane: Queue(_leads(found, lane), _since(found, f"{lane} since") or _since(found, lane))
        for lane in Lane
    }
    return Backlog(
        at=now,
        lanes=lanes,
        processing=_leads(found, Status.PROCESSING),
        retrying=_leads(found, Status.RETRYING),
        parked={name: _leads(found, f"parked {name}") for name in providers},
        most=most,
    )


def join(several: Sequence[Backlog]) -> Backlog:
    """PURE Return the backlog of several collections together."""
    providers = {name for each in several for name in each.parked}
    return Backlog(
        at=max(each.at for each in several),
        lanes={lane: _join_queues([each.lanes[lane] for each in several]) for lane in Lane},
        processing=sum(each.processing for each in several),
        retrying=sum(each.retrying for each in several),
        parked={name: sum(each.parked.get(name, 0) for each in several) for name in providers},
        most=min(each.most for each in several),
    )


def _join_queues(queues: Sequence[Queue]) -> Queue:
    since = [queue.since for queue in queues if queue.since is not None]
    return Queue(sum(queue.leads for queue in queues), min(since, default=None))


def join_ended(several: Sequence[EndedCounts | None]) -> EndedCounts | None:
    """PURE Return the counts of several collections together; `None` when one of them has too many."""
    known = [each for each in several if each is not None]
    if len(known) < len(several):
        return None
    return EndedCounts(
        total=_sum_if_known([each.total for each in known]),
        failed=sum(each.failed for each in known),
        skipped=sum(each.skipped for each in known),
        without_status=_sum_if_known([each.without_status for each in known]),
    )


def _sum_if_known(counts: Sequence[int | None]) -> int | None:
    known = [each for each in counts if each is not None]
    return sum(known) if len(known) == len(counts) else None


async def ended(leads: AsyncCollection[Document], names: Names = NAMES) -> EndedCounts | None:
    """Count settled leads; `None` when there are too many to count in time. Raises DatabaseTrouble."""
    history = await _count_each(leads, {"without_status": {names.enrichment_status: None}})
    ends = {"failed": Status.FAILED, "skipped": Status.SKIPPED}
    of_status = {name: {names.enrichment_status: status} for name, status in ends.items()}
    settled = await _count_each(leads, of_status)
    if settled is None:
        return None
    without_status = None if history is None else history["without_status"]
    return EndedCounts(await _all(leads), settled["failed"], settled["skipped"], without_status)


async def _all(leads: AsyncCollection[Document]) -> int | None:
    if not expressions.condition_of(leads):
        return await leads.estimated_document_count()
    counted = await _count_each(leads, {"all": {}})
    return None if counted is None else counted["all"]


async def _count_each(
    leads: AsyncCollection[Document], matches: Mapping[str, Document]
) -> dict[str, int] | None:
    """Return the counts by name; `None` when they take too long."""
    questions = {name: _count(name, match) for name, match in matches.items()}
    try:
        with pymongo.timeout(ENDED_SECONDS):
            found = await _together(leads, questions)
    except PyMongoError as error:
        if error.timeout:
            return None
        raise
    return {name: _leads(found, name) for name in matches}


class Answered(NamedTuple):
    """What leads have in common that a provider may be asked about again."""

    provider: str
    said: str
    """Its last answer."""
    is_unknown: bool
    """Whether the e-mail verdict is unknown."""
    spent: int = 0
    """What their enrichment may have cost so far, in millionths."""


@dataclass(frozen=True, slots=True)
class RecheckCounts:
    """The thin leads that come back to be looked at again."""

    due: int = 0
    coming: int = 0
    """Those due within a day, the ones that are due now included."""
    answers: Mapping[Answered, int] = field(default_factory=dict)
    """Of those due, for each provider."""
    spent: Mapping[int, int] = field(default_factory=dict)
    """Of those due: what their enrichment may have cost so far, in millionths -> leads."""
    most: int = 0
    """So many leads that come back at all were looked at: where there are more, all counts are too low."""


MOST_RECHECKS = 10_000
_DAY_MS = 86_400_000


async def rechecks(leads: AsyncCollection[Document], names: Names = NAMES) -> RecheckCounts | None:
    """Count them; `None` when that takes too long. Reads the leads that come back within a day, `MOST_RECHECKS` at
    most. Raises DatabaseTrouble."""
    hello = await leads.database.client.admin.command("hello")
    now = hello["localTime"].replace(tzinfo=UTC)
    try:
        with pymongo.timeout(LOOK_SECONDS):
            found = await (await leads.aggregate(_rechecks(names, now))).to_list()
    except PyMongoError as error:
        if error.timeout:
            return None
        raise
    return _recheck_counts(found)


def _recheck_counts(found: Sequence[Document]) -> RecheckCounts:
    answers: Counter[Answered] = Counter()
    spent: Counter[int] = Counter()
    coming = 0
    for each in found:
        alike, leads = each["_id"], each["leads"]
        if alike["provider"] is None:
            coming += leads
            spent[int(alike["spent"])] += leads if alike["is_due"] else 0
        elif alike["is_due"]:
            said = str(alike["said"]), alike["is_unknown"], int(alike["spent"])
            answers[Answered(alike["provider"], *said)] += leads
    return RecheckCounts(spent.total(), coming, answers, +spent, MOST_RECHECKS)


def join_rechecks(several: Sequence[RecheckCounts | None]) -> RecheckCounts | None:
    """PURE Return the counts of several collections together; `None` when one of them is not known."""
    known = [each for each in several if each is not None]
    if len(known) < len(several):
        return None
    answers: Counter[Answered] = Counter()
    spent: Counter[int] = Counter()
    for each in known:
        answers.update(each.answers)
        spent.update(each.spent)
    due, coming = sum(each.due for each in known), sum(each.coming for each in known)
    return RecheckCounts(due, coming, answers, spent, MOST_RECHECKS)


def _rechecks(names: Names, now: datetime) -> list[Document]:
    """Count each lead once for itself, and once for each provider that was asked about it. What leads have cost is the
    sum of a few prices, so there are few groups."""
    due_at, answered = names.of_book("due_at"), book.noted(names, "answered")
    verdict = f"${names.enriched_data}.email_verification.status"
    told = {
        "$cond": [
            expressions.is_type(answered, "object"),
            {"$concatArrays": [[{"k": None, "v": None}], {"$objectToArray": answered}]},
            [{"k": None, "v": None}],
        ]
    }
    alike = {
        "is_due": {"$lte": [f"${due_at}", now]},
        "provider": "$told.k",
        "said": "$told.v",
        "is_unknown": {"$eq": [{"$ifNull": [verdict, "unknown"]}, "unknown"]},
        "spent": book.spent(names),
    }
    whole = {**alike, "provider": None, "said": None, "is_unknown": False}
    is_whole = {"$eq": ["$told.k", None]}
    return [
        {
            "$match": {
                names.enrichment_status: Status.COMPLETED,
                due_at: {**_DATES, "$lte": now + timedelta(milliseconds=_DAY_MS)},
            }
        },
        {"$limit": MOST_RECHECKS},
        {"$match": {names.of_book("recheck_since"): {"$gt": book.EPOCH}}},
        {"$set": {"told": told}},
        {"$unwind": "$told"},
        {"$group": {"_id": {"$cond": [is_whole, whole, alike]}, "leads": {"$sum": 1}}},
    ]


# -- questions -------------------------------------------------------------------------------

_Questions = dict[str, list[Document]]
"""Name of the answer -> the stages that compute it."""

_DATES: Document = {"$gt": book.EPOCH}
"""Dates only: the index may hold anything."""


def _questions(
    names: Names, now: datetime, providers: Iterable[str], most: int = MOST
) -> _Questions:
    """Use a fixed end of range, which is counted by its keys alone; `$$NOW` would have every lead read."""
    of_status, due_at = names.enrichment_status, names.of_book("due_at")
    pending: Document = {of_status: Status.PENDING}
    fresh = {**pending, **book.fresh(names)}
    believable = {"$gt": now - book.LONGEST_WAIT, "$lte": now}
    asked = {
        Lane.FRESH: _count(Lane.FRESH, fresh, most),
        f"{Lane.FRESH} since": _first(Lane.FRESH, fresh, names.of_book("queued_at"), believable),
        Lane.BACKFILL: _behind(names, pending, most, believable),
    }
    for lane, status in _DUE.items():
        until = {**_DATES, "$lte": now}
        due = {of_status: status, due_at: until}
        asked[lane] = _count(lane, due, most)
        asked[f"{lane} since"] = _first(lane, due, due_at, believable)
    for status in (Status.PROCESSING, Status.RETRYING):
        waiting = {of_status: status, due_at: _DATES}
        asked[status] = _count(status, waiting, most)
    for provider in providers:
        parked = {of_status: Status.RETRYING, names.of_book("held_by"): provider}
        asked[f"parked {provider}"] = _count(f"parked {provider}", parked, most)
    return asked


_DUE = {
    Lane.RETRY: Status.RETRYING,
    Lane.INTERRUPTED: Status.PROCESSING,
    Lane.REFRESH: Status.COMPLETED,
}


def _count(name: str, match: Document, most: int | None = None) -> list[Document]:
    limit = [] if most is None else [{"$limit": most + 1}]
    counted = {"$group": {"_id": {"$literal": name}, "leads": {"$sum": 1}}}
    return [{"$match": match}, *limit, counted]


def _first(lane: Lane, match: Document, field_: str, dates: Document) -> list[Document]:
    return [
        {"$match": {**match, field_: dates}},
        {"$sort": {field_: 1}},
        {"$limit": 1},
        {"$project": {"_id": {"$literal": f"{lane} since"}, "since": f"${field_}"}},
    ]


def _behind(names: Names, pending: Document, most: int, dates: Document) -> list[Document]:
    """Scan the backfill lane: no index has it by age, but a backfill has at most a thousand pending at a time."""
    queued_at = book.noted(names, "queued_at")
    priority, is_fresh = names.of_book("priority"), {"$gt": book.BEHIND}
    within = [{name: [queued_at, date]} for name, date in dates.items()]
    is_date = expressions.is_type(queued_at, "date")
    since = {"$cond": [{"$and": [is_date, *within]}, queued_at, None]}
    return [
        {"$match": {**pending, priority: {"$not": is_fresh}}},
        {"$limit": most + 1},
        {
            "$group": {
                "_id": {"$literal": Lane.BACKFILL},
                "leads": {"$sum": 1},
                "since": {"$min": since},
            }
        },
    ]


async def _together(
    leads: AsyncCollection[Document], questions: _Questions
) -> dict[str, dict[str, Any]]:
    """Ask all in one round trip; a question without an answer is missing from the result."""
    first, *others = questions.values()
    unions = [{"$unionWith": {"coll": leads.name, "pipeline": each}} for each in others]
    cursor = await leads.aggregate([*first, *unions], batchSize=len(questions) + 1)
    return {answer["_id"]: answer async for answer in cursor}


def _leads(found: Mapping[str, dict[str, Any]], name: str) -> int:
    return int(found.get(name, {}).get("leads", 0))


def _since(found: Mapping[str, dict[str, Any]], name: str) -> datetime | None:
    since = found.get(name, {}).get("since")
    return since if isinstance(since, datetime) else None
