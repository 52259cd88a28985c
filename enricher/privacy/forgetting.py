"""Forgetting a person: nobody is asked about them again, and what was found is erased.

Used by `enricher forget`, and by a daemon when a vendor says that the person objected (451). The
entry that keeps daemons from asking comes first: from then on no lead begins anew. Then the leads,
which fences out whoever has one in work, and the kept answers last: whoever asks just now keeps
nothing, because the reply to a forgotten question is dropped.

Leads in work are looked at before those with data: one that settles in between has its data by then.
Safe to repeat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from enricher.answer import Kind, Query
from enricher.calls.flights import Cache
from enricher.identity.identify import (
    NO_WORDS,
    Identity,
    OwnWords,
    identify,
    mailbox_of,
    older_mark,
)
from enricher.lead import Document
from enricher.mongo import expressions
from enricher.mongo.secret import Keyring
from enricher.privacy.erasure import Erased, Erasure
from enricher.privacy.suppression import Suppressed, key_of
from enricher.providers.base import Provider
from enricher.providers.http import question_of
from enricher.queue.lease import read_inputs


@dataclass(slots=True)
class Forgotten:
    """What was removed."""

    is_new: bool = False
    leads: int = 0
    refused: int = 0
    changed: int = 0
    """Leads that have another address now, and still held what was found for this one."""
    answers: int = 0
    written_off: set[bytes] = field(default_factory=set)
    """Keys of leads that still hold what was to go: each write ended the server."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Of one database and the leads in it."""

    suppressed: Suppressed
    erasures: Sequence[Erasure]
    """Of each collection of leads."""
    cache: Cache
    keyring: Keyring
    providers: Sequence[Provider]
    words: OwnWords = NO_WORDS

    async def run(
        self, person: Identity, why: str, spared: bytes = b"", *, reads_all: bool = False
    ) -> Forgotten:
        """Raises DatabaseTrouble.

        `spared` is the key (`book.id_key`) of a lead that its own worker is about to erase. With
        `reads_all` also what does not say whose it is gets read: data of older versions.
        """
        mailbox = mailbox_of(self.keyring.key, person.email_key)
        if person.email_key is None or mailbox is None:
            return Forgotten()
        entry = key_of(self.keyring, person.email_key)
        done = Forgotten(is_new=await self.suppressed.add([entry], why) > 0)
        queries = [Query(email=person.email, email_key=person.email_key)]
        for erasure in self.erasures:
            await erasure.look_for_fatal()
            forgetter = _OfOneCollection(
                erasure, person, mailbox, spared, done, queries, self.words
            )
            await forgetter.run(reads_all=reads_all)
        about = {
            key for query in queries for key in personal_keys(self.keyring, self.providers, query)
        }
        done.answers = await self.cache.forget(about)
        return done


@dataclass(frozen=True, slots=True)
class _OfOneCollection:
    """One person, in one collection."""

    erasure: Erasure
    person: Identity
    mailbox: str
    spared: bytes
    done: Forgotten
    queries: list[Query]
    """What may have been asked about the leads that were erased."""
    words: OwnWords
    seen: set[bytes] = field(default_factory=set)
    """Keys of leads that are done: one in work may hold data of an older version."""

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
        """Data that does not say whose it is may be the person's by the book-keeping."""
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
        """False when the lead is not, or no longer, about the person by what its writer says."""
        inputs = read_inputs(lead["inputs"])
        identity = identify(inputs, self.words)
        if identity.email_key != self.person.email_key:
            return False
        self.queries.append(identity.query)
        key = expressions.id_key(lead["_id"])
        if key == self.spared or key in self.seen:
            return True
        self.seen.add(key)
        erased = await self.erasure.erase(lead["_id"], inputs.email)
        self.done.leads += erased is Erased.DONE
        self._count_unwritable(lead, erased)
        return erased is not Erased.CHANGED

    def _count_changed(self, lead: Document, erased: Erased) -> None:
        self.done.changed += erased is Erased.DONE
        self._count_unwritable(lead, erased)

    def _count_unwritable(self, lead: Document, erased: Erased) -> None:
        self.done.refused += erased is Erased.REFUSED
        if erased is Erased.WRITTEN_OFF:
            self.done.written_off.add(expressions.id_key(lead["_id"]))

    def _marks(self, lead: Document) -> set[str]:
        """What an older version can have written beside data about the person."""
        now = identify(read_inputs(lead["inputs"]), self.words).company_domain
        domains = {None, self.person.company_domain, now, lead["domain"]}
        return {older_mark(self.person.email_key, domain) for domain in domains}


def personal_keys(keyring: Keyring, providers: Sequence[Provider], query: Query) -> list[str]:
    """Keys of everything that providers may have been asked about the person of this query."""
    asked = [each for each in providers if each.kind is not Kind.COMPANY]
    questions = {each.name: question_of(each, query) for each in asked}
    return [keyring.key(name, text) for name, text in questions.items() if text is not None]
