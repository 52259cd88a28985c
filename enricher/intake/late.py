"""Inputs and conditions that change later: a visitor who leaves an address, a lead whose company is corrected.

An event says only that one of these fields was touched. The lead is read, and its status decides:

    none, or `pending`    it may meet its source's condition only now: admitted, unless it is history
    skipped               for want of anything to go by: work once there is something
    completed, failed,    work if somebody else is asked about than before, where the source says so
      skipped             (`rerun_on_change`)
    processing            its settle compares the inputs itself
    retrying              reads them at its next attempt

Where results stand beside the leads, the status is that of the result, and the inputs are those of the lead.

Whom a lead is about is compared by keyed hashes, never by the texts: another spelling, another name or a second
site of the same company is the same question, and is not asked again. The write names the token that was read, so
of several daemons that are told of the same change, one makes the lead work.

After a gap, in which events were lost, the skipped leads that have something to go by are searched for, as many
as `_MOST` of them. Only what changed under the rules of today counts: another mapping may find an address in
thousands of old leads, and that must cost nothing by itself. Leads that are asked about anew because they changed
in a gap are not found: all would have to be read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pymongo

from enricher.fields import Names
from enricher.identity.identify import read_subject
from enricher.lead import SUBJECT, Document, Inputs, LeadId, Reason, Status, Subject
from enricher.mongo.expressions import condition_of, id_key
from enricher.queue import book
from enricher.queue.beside import Beside, has_left
from enricher.queue.inputs import read_inputs, text_or_null
from enricher.queue.leads import Leads
from enricher.queue.requests import SCAN_SECONDS
from enricher.values.merge import METADATA

_AT_ONCE = 100
"""The filter of the write names each lead."""
_MOST = 100_000
_BATCH = 1000
_NOTHING = Reason.NOTHING_TO_GO_BY.sentence
_ENDED = (Status.COMPLETED, Status.FAILED, Status.SKIPPED)

Whose = Callable[[Inputs], Subject | None]
"""Returns whom inputs are about; `None` where there is nothing to ask."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What came of touched leads."""

    doubtful: list[LeadId] = field(default_factory=list)
    """They may be leads only now, or history."""
    taken_up: int = 0


@dataclass(slots=True)
class Late:
    """The leads of one source whose inputs or conditions may have changed."""

    leads: Leads
    whose: Whose
    reruns: bool = False
    """Whether a lead that is done is asked about again when it is about somebody else."""
    is_named_only: Callable[[Inputs], bool] = lambda _: False
    """Whether a company's name is all that there is to go by. After a gap nobody knows whether it came late, or stood
    there before names were something to go by."""
    since: datetime | None = None
    """Since when late inputs are noticed at all; `None` before that is known."""
    most: int = _MOST
    """How many leads one search after a gap finds."""

    async def look(self, ids: Collection[LeadId]) -> Touched:
        """Read touched leads, and make those work that have changed. Raises DatabaseTrouble."""
        found = await self._read(ids)
        return Touched(
            [each["_id"] for each in found if self._is_doubtful(each)], await self.take_up(found)
        )

    async def _read(self, ids: Collection[LeadId]) -> list[Document]:
        these: Document = {"_id": {"$in": list(ids)}, **book.WITH_FITTING_ID}
        found = await self.leads.collection.find(these, self._reading).to_list()
        beside = self.leads.beside
        if beside is None:
            return found
        without = [{"_id": each, "status": None} for each in _others(ids, found)]
        return await self._with_inputs(beside, [*found, *without])

    async def _with_inputs(self, beside: Beside, results: Sequence[Document]) -> list[Document]:
        """Return the results of what is a lead now, each with the lead's inputs."""
        facts = await beside.facts(each["_id"] for each in results)
        known = [(each, facts.get(id_key(each["_id"]))) for each in results]
        return [{**each, "inputs": said.inputs} for each, said in known if said is not None]

    def _is_doubtful(self, found: Document) -> bool:
        """A lead that has no result may be new, too: a replaced one, say, whose insert nobody was told of."""
        is_beside = self.leads.beside is not None
        has_condition = is_beside or bool(condition_of(self.leads.collection))
        return has_condition and (found["status"] in (None, Status.PENDING))

    async def take_up(self, found: Iterable[Document]) -> int:
        """Make those work that are about somebody else now; return how many."""
        changed = [each for each in found if self._is_work(each)]
        taken_up = 0
        for first in range(0, len(changed), _AT_ONCE):
            some = changed[first : first + _AT_ONCE]
            as_read = [
                {
                    "_id": {"$eq": each["_id"]},
                    self._names.enrichment_status: each["status"],
                    self._names.of_book("token"): each["token"],
                }
                for each in some
            ]
            taken_up += await self.leads.take_up([each["_id"] for each in some], {"$or": as_read})
        return taken_up

    def _is_work(self, found: Document) -> bool:
        if found["status"] not in _ENDED:
            return False
        if found.get("has_left"):
            return bool(found["status"] == Status.SKIPPED)
        was = read_subject(found.get("subject")) or read_subject(found.get("beside"))
        is_for_want = found["status"] == Status.SKIPPED and _is_for_want(found, was)
        if not is_for_want and not (self.reruns and was is not None):
            return False
        now = self.whose(read_inputs(found["inputs"]))
        return now is not None and now != (was or Subject())

    # -- after a gap -----------------------------------------------------------------------

    async def missed(self) -> AsyncGenerator[Sequence[Document], None]:
        """Yield batches of skipped leads that may have got something to go by. Raises DatabaseTrouble."""
        if (under_these_rules := self._of_today) is None:
            return
        skipped = {self._names.enrichment_status: Status.SKIPPED, **under_these_rules}
        beside = self.leads.beside
        stages: list[Document] = [
            {"$match": skipped},
            {"$project": self._reading},
            {"$match": _MAY_HAVE_SOMETHING if beside is None else _MAY_BE_BACK},
        ]
        left = self.most
        with pymongo.timeout(SCAN_SECONDS):  # not across a yield: it would bind the caller too
            cursor = await self.leads.collection.aggregate(stages, batchSize=_BATCH)
            batch = await cursor.to_list(_BATCH)
        async with cursor:
            while batch and left > 0:
                if beside is not None:
                    known = await self._with_inputs(beside, batch)
                    batch = [each for each in known if _may_be_work(each)]
                found = [each for each in batch if not self._is_named_only(each)][:left]
                if found:
                    yield found
                left -= len(found)
                with pymongo.timeout(SCAN_SECONDS):
                    batch = await cursor.to_list(_BATCH)

    def _is_named_only(self, found: Document) -> bool:
        return self.is_named_only(read_inputs(found["inputs"]))

    @property
    def _of_today(self) -> Document | None:
        """Match leads that were settled under the rules of today; `None` where that is not known."""
        if self.leads.era:
            return {self._names.of_book("era"): self.leads.era}
        written = self._names.updated_at
        return {written: {"$gt": self.since}} if self.since and written else None

    @property
    def _names(self) -> Names:
        return self.leads.names

    @property
    def _reading(self) -> Mapping[str, Any]:
        names = self._names
        error = names.enrichment_error
        of_result = {"has_left": has_left(names)}
        of_lead = {"inputs": self.leads.mapped.inputs}
        return {
            "status": text_or_null(f"${names.enrichment_status}"),
            "error": text_or_null(f"${error}") if error else {"$literal": None},
            "token": book.token(names),
            "subject": book.bounded(f"${names.of_book(SUBJECT)}"),
            "beside": book.bounded(f"${names.enriched_data}.{METADATA}.{SUBJECT}"),
            **(of_lead if self.leads.beside is None else of_result),
        }


_ASKED = ("email", "company_domain", "website")
_FOR_WANT: Document = {"error": {"$in": [_NOTHING, None]}}
_MAY_HAVE_SOMETHING: Document = {
    **_FOR_WANT,
    "$or": [{f"inputs.{name}": {"$type": "string"}} for name in _ASKED],
}
_MAY_BE_BACK: Document = {"$or": [_FOR_WANT, {"has_left": True}]}


def _may_be_work(found: Document) -> bool:
    """Say the same of a result, for the lead is read by itself: many wait for something to go by, and few get it."""
    if found["has_left"]:
        return True
    given = (found["inputs"].get(name) for name in (*_ASKED, "cnpj"))
    return any(isinstance(each, str) or (isinstance(each, list) and each) for each in given)


def _others(ids: Iterable[LeadId], found: Iterable[Document]) -> list[LeadId]:
    known = {id_key(each["_id"]) for each in found}
    return [each for each in ids if id_key(each) not in known]


def _is_for_want(found: Document, was: Subject | None) -> bool:
    """Return whether there was nothing to go by: as the lead says, or as its subject shows where it says nothing."""
    if found["error"] is not None:
        return bool(found["error"] == _NOTHING)
    return was == Subject()
