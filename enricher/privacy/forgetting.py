"""Forget a person: erase what was found, and never ask about them again.

Used by `enricher forget`, and by a daemon when a vendor says that the person objected (451). First comes
the entry that keeps daemons from asking: from then on no lead begins anew. Then come the leads, which
fences out the workers that have them in work, and last the kept answers: a daemon that is asking at that
moment keeps nothing, because the reply to a forgotten question is dropped.

Leads in work are read before those with data: a lead that settles in between has its data by then.
Safe to repeat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import pymongo
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from enricher.answer import Kind, Query
from enricher.calls.flights import Cache
from enricher.fields import NAMES, Names, named
from enricher.identity.identify import (
    NO_WORDS,
    Identity,
    OwnWords,
    identify,
    mailbox_of,
    older_mark,
)
from enricher.lead import SUBJECT, Document, Inputs, LeadId, Reason, Status
from enricher.mongo import expressions
from enricher.mongo.outage import is_refusal
from enricher.mongo.secret import Keyring
from enricher.privacy.suppression import Suppressed, key_of
from enricher.providers.base import Provider
from enricher.providers.http import question_of
from enricher.queue import book, copying
from enricher.queue.apart import Apart, Fatal, Step
from enricher.queue.beside import Beside
from enricher.queue.inputs import CONTRACT, LeadMapping, read_inputs, same_email, text_or_null
from enricher.queue.lanes import Aside, erasable
from enricher.queue.requests import SCAN_SECONDS
from enricher.values.merge import BY_FIELD, FLAGS, METADATA, MISMATCH, SOCIAL, completeness
from enricher.values.storable import mapping, within

# Erasing what is known about one person from the leads: `enricher forget`.
#
# Who wrote the lead owns its `email`; it stays. What we found goes: the person's data, the verdict
# on the address, the person's profiles, and where each of these came from. Data about the company
# may stay. The lead becomes `skipped` and says why, and its fencing token rises: a worker that
# has it in work at that moment can write nothing any more.
#
# What we copied into a field of the writer's about the person goes as well, while it is still what we wrote. What a
# person changed there is that person's. Where the field must not be missing, it becomes null.
#
# A lead whose address was changed since may still hold what was found for the old one; that is
# erased as well, and the lead is otherwise left as it is. One that nobody has worked on yet holds
# nothing of ours, and is left alone.
#
# The data itself says whose it is (`book.mailbox`), so a person is found by equality through an index. Two
# kinds of leads do not say it: those in work, which are few, and those that an older version enriched or
# whose writer dropped it. They are read and identified; the second kind by the command alone, since it
# takes a scan.

_PERSONAL = (Kind.PERSON.section, Kind.EMAIL.section)
_BATCH = 500
_PAUSE_SECONDS = 1.0
_LONGEST_TRANSACTION_SECONDS = 90.0
"""A transaction may live for 60 s, and MongoDB looks for those that are older every 30 s."""


def _seen(names: Names, mapped: LeadMapping) -> Document:
    domain = f"{names.enriched_data}.{Kind.COMPANY.section}.domain"
    return {
        "inputs": mapped.inputs,
        "mark": text_or_null(book.noted(names, SUBJECT)),
        "noted": text_or_null(book.noted(names, f"{SUBJECT}.mailbox")),
        "domain": text_or_null(f"${domain}"),
    }


class Erased(Enum):
    """What became of an erasure."""

    DONE = auto()
    REFUSED = auto()
    """MongoDB will never accept the write (a validator, the size)."""
    CHANGED = auto()
    """The lead is gone, or no longer about the person."""
    WRITTEN_OFF = auto()
    """Each write killed the server: the lead is written no more."""


_NO_INPUTS = Inputs()


class Erasure:
    """Finds and erases leads of one collection. What it finds is `{_id, inputs, mark, noted, domain}`:
    `mark` is an older version's, `noted` the mailbox in the book-keeping, `domain` the company's as far
    as it is known."""

    def __init__(
        self,
        leads: AsyncCollection[Document],
        held_seconds: float = _LONGEST_TRANSACTION_SECONDS,
        names: Names = NAMES,
        mapped: LeadMapping = CONTRACT,
        beside: Beside | None = None,
    ) -> None:
        """`held_seconds` is how long a writer's transaction may hold a lead."""
        self._leads = leads
        self._beside = beside
        self._names = names
        self._mapped = mapped
        self._mailbox = book.mailbox(names)
        self._unmarked = _unmarked(names)
        self._held_seconds = held_seconds
        self._fatal = Fatal(leads, Aside())
        self._apart = Apart(fatal=self._fatal)

    @property
    def collection(self) -> str:
        """The name of the collection of leads."""
        return self._leads.name if self._beside is None else self._beside.leads.name

    async def look_for_fatal(self) -> None:
        """Read which leads are written no more, before the first is erased. Raises DatabaseTrouble."""
        await self._fatal.look()

    def in_work(self) -> AsyncGenerator[Document, None]:
        """Yield the leads in work: what is being found about them is not written yet."""
        return self._found(_due(self._names, Status.PROCESSING))

    def waiting(self) -> AsyncGenerator[Document, None]:
        """Yield the leads that are to be tried again later."""
        return self._found(_due(self._names, Status.RETRYING))

    def about(self, mailbox: str) -> AsyncGenerator[Document, None]:
        """Yield the leads with data about this mailbox, whatever their address is now."""
        return self._found({self._mailbox: {"$eq": mailbox, "$type": "string"}})

    def unmarked(self) -> AsyncGenerator[Document, None]:
        """Yield the leads with data that does not name its mailbox. Reads every lead."""
        return self._found(self._unmarked)

    async def _found(self, match: Document) -> AsyncGenerator[Document, None]:
        with pymongo.timeout(SCAN_SECONDS):  # not across a yield: it would bind the caller too
            cursor = self._leads.find(match, _seen(self._names, self._mapped), batch_size=_BATCH)
            batch = await cursor.to_list(_BATCH)
        async with cursor:
            while batch:
                for lead in await self._with_inputs(batch):
                    yield lead
                with pymongo.timeout(SCAN_SECONDS):
                    batch = await cursor.to_list(_BATCH)

    async def _with_inputs(self, batch: list[Document]) -> list[Document]:
        """Return the leads with their inputs, which stand in another collection than results beside them."""
        if self._beside is None:
            return batch
        facts = await self._beside.facts(each["_id"] for each in batch)
        inputs = {key: said.inputs for key, said in facts.items()}
        return [
            {**each, "inputs": inputs.get(expressions.id_key(each["_id"]), {})} for each in batch
        ]

    async def erase(self, id_: LeadId, inputs: Inputs = _NO_INPUTS) -> Erased:
        """Erase and skip the lead, as long as it still holds the addresses of these inputs."""
        skipping = [*_without_person(self._names), *_skipped(self._names)]
        if self._beside is not None:
            same = {"$and": [{"_id": {"$eq": id_}}, same_email(inputs, self._mapped)]}
            if await self._beside.leads.find_one(same, {"_id": 1}) is None:
                return Erased.CHANGED
            return await self._write(id_, skipping, {})
        return await self._write(id_, skipping, same_email(inputs, self._mapped))

    async def erase_data(self, id_: LeadId, mailbox: str) -> Erased:
        """Erase only what was found, as long as it is about that mailbox."""
        return await self._write(id_, self._without(mailbox), {self._mailbox: mailbox})

    async def erase_noted(self, id_: LeadId, mailbox: str) -> Erased:
        """Erase data whose writer dropped its mailbox, as long as the book-keeping names this one."""
        noted = {self._names.of_book(f"{SUBJECT}.mailbox"): mailbox}
        return await self._write(id_, self._without(mailbox), {**noted, **self._unmarked})

    async def erase_older(self, id_: LeadId, mark: str) -> Erased:
        """Erase data of an older version, which has only its mark."""
        subject = self._names.of_book(SUBJECT)
        erasing = [*_without_person(self._names), {"$unset": [subject]}]
        return await self._write(id_, erasing, {subject: mark})

    def _without(self, mailbox: str) -> expressions.Pipeline:
        return [*_without_person(self._names), _unnoted(self._names, mailbox)]

    async def _write(self, id_: LeadId, pipeline: expressions.Pipeline, only: Document) -> Erased:
        """Write, waiting for as long as a writer's transaction holds the lead."""

        async def write(_: Sequence[LeadId]) -> Erased:
            return await self._rewrite(id_, pipeline, only)

        step = Step("erase", self._leads, write, lambda id_: id_)
        ends = time.monotonic() + self._held_seconds
        while time.monotonic() < ends:
            if parts := (await self._apart.write(step, [id_])).parts:
                return parts[0][1]
            if self._fatal.is_written_off(id_):
                return Erased.WRITTEN_OFF
            await asyncio.sleep(_PAUSE_SECONDS)
        # No transaction lives so long: what takes the time may be the lead's size, so it gets all there is.
        return await self._rewrite(id_, pipeline, only)

    async def _rewrite(self, id_: LeadId, pipeline: expressions.Pipeline, only: Document) -> Erased:
        """Write, and once more where a settle copied something in between: only the first write fences it out."""
        copied = await self._copied(id_)
        erased = await self._rewrite_with(id_, pipeline, only, copied)
        if erased is Erased.DONE:
            late = await self._copied(id_)
            if any(copying.is_of_person(each) for each in late):
                await self._rewrite_with(id_, pipeline, only, late)
        return erased

    async def _copied(self, id_: LeadId) -> list[Mapping[str, Any]]:
        """Return what we copied into fields of the writer's; nothing for results that stand beside the lead."""
        if self._beside is not None:
            return []
        read = {"_id": 0, "copied": copying.records(self._names)}
        found = await self._leads.find_one({"_id": {"$eq": id_}}, read)
        listed = found.get("copied") if found else None
        return [mapping(each) for each in listed] if isinstance(listed, list) else []

    async def _rewrite_with(
        self,
        id_: LeadId,
        pipeline: expressions.Pipeline,
        only: Document,
        copied: Sequence[Mapping[str, Any]],
    ) -> Erased:
        """Remove the copies; where the server refuses that, empty their fields."""
        if not copied:
            return await self._update(id_, pipeline, only)
        for blank in ("$$REMOVE", None):
            erasing = copying.erasing(self._names, copied, blank)
            erased = await self._update(id_, [*pipeline, *erasing], only)
            if erased is not Erased.REFUSED:
                return erased
        await self._update(id_, pipeline, only)  # all but the copies, which still must be told
        return Erased.REFUSED

    async def _update(self, id_: LeadId, pipeline: expressions.Pipeline, only: Document) -> Erased:
        try:
            erased = await self._leads.find_one_and_update(
                {"_id": {"$eq": id_}, "$and": [only, erasable(self._names)]},
                pipeline,
                projection=_afterwards(self._names),
                return_document=ReturnDocument.AFTER,
            )
        except OperationFailure as error:
            if not is_refusal(error):
                raise
            return Erased.REFUSED
        if erased is None:
            same = {"_id": {"$eq": id_}, **only}
            is_doubled = await self._leads.find_one(same, {"_id": 1}) is not None
            return Erased.REFUSED if is_doubled else Erased.CHANGED
        await self._score(erased)
        return Erased.DONE

    async def _score(self, erased: Document) -> None:
        """Update the completeness of what is left. It is not personal, so it may come second."""
        data = within(erased, self._names.enriched_data)
        if not isinstance(data, dict) or not isinstance(data.get(METADATA), dict):
            return
        score, missing = completeness(data)
        metadata = f"{self._names.enriched_data}.{METADATA}"
        figures = {
            f"{metadata}.completeness_score": score,
            f"{metadata}.completeness_missing": missing,
        }
        paths = map(self._names.of_book, ("token", "claim_id"))
        unchanged = {
            "_id": {"$eq": erased["_id"]},
            metadata: {"$type": "object"},
            **{path: within(erased, path) for path in paths},
        }
        await self._leads.update_one(unchanged, {"$set": figures})


def _due(names: Names, status: Status) -> Document:
    """Match by the due index: a lead that is not in it has no holder."""
    return {names.enrichment_status: status, names.of_book("due_at"): {"$gt": book.EPOCH}}


def _unmarked(names: Names) -> Document:
    return {
        names.enriched_data: {"$type": "object"},
        f"{names.enriched_data}.{METADATA}.{SUBJECT}": {"$not": {"$type": "object"}},
    }


def _unnoted(names: Names, mailbox: str) -> Document:
    """Remove the subject from the book-keeping too, unless that is about another mailbox by now."""
    noted = f"${names.enrichment}"
    is_same = {"$eq": [book.noted(names, f"{SUBJECT}.mailbox"), mailbox]}
    without = {"$mergeObjects": [noted, {SUBJECT: None}]}
    return {"$set": {names.enrichment: {"$cond": [is_same, without, noted]}}}


def _afterwards(names: Names) -> Document:
    """Return what is read of a lead that was erased."""
    return dict.fromkeys(
        (names.enriched_data, names.of_book("token"), names.of_book("claim_id")), 1
    )


def _impersonal(names: Names) -> Document:
    """Return the sections of the data that are about a person, as they are without one."""
    known = f"${names.enriched_data}.{METADATA}"
    profiles = f"${names.enriched_data}.{SOCIAL}.{Kind.COMPANY}"
    flags = f"{known}.{FLAGS}"
    others = {"$setDifference": [flags, [MISMATCH]]}
    other_flags = {"$cond": [expressions.is_type(flags, "array"), others, flags]}
    others_only = {FLAGS: other_flags, **copying.impersonal(known)}
    without_mismatch = {"$mergeObjects": [known, others_only]}
    of_company = {Kind.COMPANY.value: profiles, Kind.PERSON.value: {}}
    return {
        **dict.fromkeys(_PERSONAL),
        METADATA: {"$cond": [expressions.is_type(known, "object"), without_mismatch, known]},
        SOCIAL: {"$cond": [expressions.is_type(profiles, "object"), of_company, {}]},
    }


def _without_person(names: Names) -> expressions.Pipeline:
    data = f"${names.enriched_data}"
    impersonal = {"$mergeObjects": [data, _impersonal(names)]}
    erased = {
        names.enriched_data: {"$cond": [expressions.is_type(data, "object"), impersonal, data]},
        names.updated_at: "$$NOW",
    }
    by_field = [
        f"{names.enriched_data}.{METADATA}.{where}.{section}"
        for where in BY_FIELD
        for section in (*_PERSONAL, f"{SOCIAL}.{Kind.PERSON}")
    ]
    return [{"$set": named(erased)}, {"$unset": [*by_field, book.mailbox(names)]}]


_AS_NEVER_CLAIMED: Document = {
    "claim_id": None,
    "holder": None,
    "attempts": 0,
    "answered": {},
    "released": False,
}
_GONE = (
    *("inputs", "subject", "due_at", "queued_at"),
    *("refresh_since", "refresh_mark", "backfill", "held_by"),
    *("recheck_since", "recheck_mark", "rechecks"),
)


def _skipped(names: Names) -> expressions.Pipeline:
    token = {"$add": [{"$ifNull": [book.token(names), 0]}, 1]}
    skipped = {
        names.enrichment_status: Status.SKIPPED,
        names.enrichment_error: Reason.SUPPRESSED.sentence,
        names.enrichment: book.book_with(names, {"token": token, **_AS_NEVER_CLAIMED}),
    }
    return [{"$set": named(skipped)}, {"$unset": [names.of_book(field) for field in _GONE]}]


@dataclass(slots=True)
class Forgotten:
    """What was erased, and what could not be."""

    is_new: bool = False
    leads: int = 0
    refused: int = 0
    changed: int = 0
    """Leads that have another address now, and still held what was found for this one."""
    answers: int = 0
    written_off: set[bytes] = field(default_factory=set)
    """Keys of leads that still hold what was to be erased, because each write killed the server."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Forgets persons in one database and its leads."""

    suppressed: Suppressed
    erasures: Sequence[Erasure]
    """One for each collection of leads."""
    cache: Cache
    keyring: Keyring
    providers: Sequence[Provider]
    words: OwnWords = NO_WORDS
    strike: Callable[[str, Sequence[LeadId]], Awaitable[None]] | None = None
    """Deletes the events of leads of a collection; `None` where there are none."""

    async def run(
        self,
        person: Identity,
        why: str,
        spared: bytes = b"",
        *,
        spared_in: str | None = None,
        reads_all: bool = False,
    ) -> Forgotten:
        """Forget this person; `why` goes into the entry. Raises DatabaseTrouble.

        `spared` is the key (`book.id_key`) of a lead that its own worker is about to erase, and `spared_in`
        the collection that it is in: another may hold one of the same id. With `reads_all`, also read data
        that does not name its mailbox: that of older versions.
        """
        mailbox = mailbox_of(self.keyring.key, person.email_key)
        if person.email_key is None or mailbox is None:
            return Forgotten()
        entry = key_of(self.keyring, person.email_key)
        done = Forgotten(is_new=await self.suppressed.add([entry], why) > 0)
        queries = [Query(email=person.email, email_key=person.email_key)]
        for erasure in self.erasures:
            await erasure.look_for_fatal()
            is_there = spared_in in (None, erasure.collection)
            forgetter = _OfOneCollection(
                erasure, person, mailbox, spared if is_there else b"", done, queries, self.words
            )
            await forgetter.run(reads_all=reads_all)
            if self.strike is not None and forgetter.erased:
                await self.strike(erasure.collection, forgetter.erased)
        about = {
            key for query in queries for key in personal_keys(self.keyring, self.providers, query)
        }
        done.answers = await self.cache.forget(about)
        return done


@dataclass(frozen=True, slots=True)
class _OfOneCollection:
    """Forgets one person in one collection."""

    erasure: Erasure
    person: Identity
    mailbox: str
    spared: bytes
    done: Forgotten
    queries: list[Query]
    """What providers may have been asked about the leads that were erased."""
    words: OwnWords
    seen: set[bytes] = field(init=False, default_factory=set)
    """Keys of leads that are done: a lead in work may also hold data of an older version."""
    erased: list[LeadId] = field(init=False, default_factory=list)
    """Leads about the person, whatever became of them."""

    async def run(self, *, reads_all: bool) -> None:
        async for lead in self._in_work(reads_all=reads_all):
            await self._erase(lead)
        async for lead in self.erasure.about(self.mailbox):
            if not await self._erase(lead):
                self._count_changed(lead, await self.erasure.erase_data(lead["_id"], self.mailbox))
        if reads_all:
            async for lead in self.erasure.unmarked():
                if not await self._erase(lead):
                    await self._erase_by_book(lead)

    async def _erase_by_book(self, lead: Document) -> None:
        """Erase data that does not name its mailbox, if the book-keeping shows that it is the person's."""
        if lead["noted"] == self.mailbox:
            self._count_changed(lead, await self.erasure.erase_noted(lead["_id"], self.mailbox))
        elif lead["mark"] in self._marks(lead):
            self._count_changed(lead, await self.erasure.erase_older(lead["_id"], lead["mark"]))

    async def _in_work(self, *, reads_all: bool) -> AsyncIterator[Document]:
        async for lead in self.erasure.in_work():
            yield lead
        if reads_all:  # else the entry stops them as soon as they are tried again
            async for lead in self.erasure.waiting():
                yield lead

    async def _erase(self, lead: Document) -> bool:
        """Erase the lead; False when it is not, or no longer, about the person by its inputs."""
        inputs = read_inputs(lead["inputs"])
        identity = identify(inputs, self.words)
        if self.person.email_key not in identity.email_keys:
            return False
        self.queries.append(identity.query)
        key = expressions.id_key(lead["_id"])
        if key == self.spared or key in self.seen:
            return True
        self.seen.add(key)
        self.erased.append(lead["_id"])
        erased = await self.erasure.erase(lead["_id"], inputs)
        self.done.leads += erased is Erased.DONE
        self._count_unwritable(lead, erased)
        return erased is not Erased.CHANGED

    def _count_changed(self, lead: Document, erased: Erased) -> None:
        self.erased.append(lead["_id"])
        self.done.changed += erased is Erased.DONE
        self._count_unwritable(lead, erased)

    def _count_unwritable(self, lead: Document, erased: Erased) -> None:
        self.done.refused += erased is Erased.REFUSED
        if erased is Erased.WRITTEN_OFF:
            self.done.written_off.add(expressions.id_key(lead["_id"]))

    def _marks(self, lead: Document) -> set[str]:
        """Return the marks that an older version can have written beside data about the person."""
        now = identify(read_inputs(lead["inputs"]), self.words).company_domain
        domains = {None, self.person.company_domain, now, lead["domain"]}
        return {older_mark(self.person.email_key, domain) for domain in domains}


def personal_keys(keyring: Keyring, providers: Sequence[Provider], query: Query) -> list[str]:
    """Return the keys of all questions that providers may have been asked about this query's person."""
    asked = [each for each in providers if each.kind is not Kind.COMPANY]
    questions = {each.name: question_of(each, query) for each in asked}
    return [keyring.key(name, text) for name, text in questions.items() if text is not None]
