"""What providers said about the leads of some days, from kept answers and from what stands on the leads.

A kept answer (`enricher_answers`) says all that a provider knew. Where it is no longer kept, the lead tells: the
fields that a provider won, and those in which it said something else. What agreed with the winner's is then unknown.

At most `MOST_LEADS` leads of each collection are read, chosen by chance where there are more. Their data stays in
this process: what leaves it is names of providers and of fields, and counts. Nothing is asked of anybody.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, combinations, islice
from typing import Any, TypeAlias

from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Found, Kind, NotFound, Query, Reply
from enricher.calls import flights
from enricher.enrichment.attempt import NOT_ALLOWED, explored_by
from enricher.fields import Names
from enricher.identity.identify import OwnWords, identify
from enricher.lead import Document, LeadId
from enricher.mongo.expressions import Expression, id_key
from enricher.mongo.secret import Keyring
from enricher.providers.base import Provider
from enricher.providers.http import HttpProvider, question_of, unfit
from enricher.queue.inputs import LeadMapping, read_inputs
from enricher.status.lately import enriched_since
from enricher.status.replay import PastQuestion, Said
from enricher.values.merge import METADATA, usable
from enricher.values.storable import mapping, safe_name
from enricher.values.types import UNKNOWN, is_same

MOST_LEADS = 3_000
_AT_ONCE = 50
"""Leads whose kept answers are read in one round trip."""
_MISS = 404
_MOST_PARTS = 63
"""Of six required fields."""

_Kept: TypeAlias = Mapping[str, Reply]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A collection of leads, as it is read here."""

    results: str
    leads: str
    names: Names
    mapped: LeadMapping
    kinds: frozenset[Kind] = frozenset(Kind)


@dataclass(slots=True)
class Samples:
    """What is known of the providers' answers."""

    questions: dict[Kind, dict[str, PastQuestion]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    agreed: Counter[str] = field(default_factory=Counter)
    """Provider -> fields in which it said the same as the provider whose value stands there."""
    leads: int = 0
    """Leads that were read."""
    of: int = 0
    """Leads that there are; estimated in a large collection."""
    since: datetime | None = None
    """When the earliest of them was enriched."""

    @property
    def factor(self) -> float:
        """How many leads one of these stands for."""
        return self.of / self.leads if self.leads else 1.0


@dataclass(frozen=True, slots=True)
class Sampler:
    """Reads samples; only reads."""

    database: AsyncDatabase[Document]
    sources: Sequence[Sampled]
    providers: Sequence[Provider]
    words: OwnWords
    keyring: Keyring | None
    """`None` while no answer was ever kept."""

    @property
    def ordered(self) -> list[Provider]:
        """The paid ones, in the order of the settings; those that find a domain by a name are asked before any."""
        return [each for each in self.providers if not (each.is_free or each.finds_domain)]

    async def read(self, since: datetime, most: int = MOST_LEADS) -> Samples:
        """Read what was said about leads enriched since then. Raises DatabaseTrouble."""
        samples = Samples()
        for source in self.sources:
            await self._add(samples, source, since, most)
        return samples

    async def _add(self, samples: Samples, source: Sampled, since: datetime, most: int) -> None:
        collection = self.database[source.results]
        lately = await enriched_since(collection, since, source.names.enriched_data, most)
        chosen = [*lately.stages, {"$project": _view(source)}]
        batch: list[Document] = []
        async for document in await collection.aggregate(chosen, allowDiskUse=True):
            batch.append(document)
            if len(batch) == _AT_ONCE:
                await self._note(samples, source, batch)
                batch = []
        await self._note(samples, source, batch)
        samples.of += lately.leads

    async def _note(self, samples: Samples, source: Sampled, batch: Sequence[Document]) -> None:
        if source.leads != source.results:
            batch = await self._with_inputs(source, batch)
        cases = [case for each in batch if (case := self._case(each, source.kinds)) is not None]
        kept = await self._kept(
            [key for case in cases for keys in case.keys.values() for key in keys]
        )
        for case in cases:
            case.note(samples, kept)
            await asyncio.sleep(0)  # a daemon does this beside its work
        samples.leads += len(batch)

    async def _with_inputs(self, source: Sampled, batch: Sequence[Document]) -> list[Document]:
        ids: list[LeadId] = [each["_id"] for each in batch]
        stages: list[Document] = [
            {"$match": {"_id": {"$in": ids}}},
            {"$project": {"inputs": source.mapped.inputs}},
        ]
        found = {
            id_key(each["_id"]): each["inputs"]
            async for each in await self.database[source.leads].aggregate(stages)
        }
        return [
            {**each, "inputs": found[key]}
            for each in batch
            if (key := id_key(each["_id"])) in found
        ]

    def _case(self, document: Document, kinds: frozenset[Kind]) -> _PastLead | None:
        identity = identify(read_inputs(document["inputs"]), self.words)
        if identity.reason is not None:
            return None
        query = identity.query
        able = [
            each for each in self.providers if each.kind in kinds and unfit(each, query) is None
        ]
        keys = {each.name: keys for each in able if (keys := self._keys(each, query))}
        return _PastLead(query, mapping(document.get("data")), able, keys)

    def _keys(self, provider: Provider, query: Query) -> tuple[str, ...]:
        """Return the keys under which its answer may be kept: of the whole question first, and then of each that it
        was asked because only some fields were missing."""
        if self.keyring is None:
            return ()
        narrow = (replace(query, wanted=wanted) for wanted in _parts(provider.required))
        asked = (query, *(each for each in narrow if provider.wider(each) is not None))
        texts = (question_of(provider, each) for each in asked)
        return tuple(self.keyring.key(provider.name, text) for text in dict.fromkeys(texts) if text)

    async def _kept(self, keys: Sequence[str]) -> _Kept:
        stored = await flights.read(self.database[flights.COLLECTION], keys) if keys else {}
        return {key: each.reply for key, each in stored.items() if each.reply is not None}


def _view(source: Sampled) -> Expression:
    inputs = {"inputs": source.mapped.inputs} if source.leads == source.results else {}
    return {"data": f"${source.names.enriched_data}", **inputs}


def _parts(fields: frozenset[str]) -> Iterator[frozenset[str]]:
    """Return each choice of some of the fields, the smallest first; not all of them where there are many."""
    names = sorted(fields)
    sizes = range(1, len(names) + 1)
    choices = chain.from_iterable(combinations(names, size) for size in sizes)
    return map(frozenset, islice(choices, _MOST_PARTS))


@dataclass(frozen=True, slots=True, repr=False)
class _KeptAnswer:
    """What a provider said, and the reply that says it."""

    answer: Found | NotFound
    reply: Reply


@dataclass(frozen=True, slots=True, repr=False)
class _PastLead:
    """One lead, and the providers that can be asked about it."""

    query: Query
    data: Mapping[str, Any]
    able: Sequence[Provider]
    keys: Mapping[str, tuple[str, ...]]
    """Provider -> keys of its questions."""

    def note(self, samples: Samples, kept: _Kept) -> None:
        """Add what is known of this lead."""
        _note_age(samples, self._metadata.get("enriched_at"))
        for kind in Kind:
            of_kind = [each for each in self.able if each.kind is kind]
            text = explored_by(kind, self.query)
            if of_kind and text is not None:
                self._note_kind(samples, kind, text, of_kind, kept)

    def _note_kind(
        self,
        samples: Samples,
        kind: Kind,
        text: str,
        of_kind: Sequence[Provider],
        kept: _Kept,
    ) -> None:
        question = PastQuestion(text, frozenset(self._fit(of_kind)))
        for each in of_kind:
            found = self._found(each, kept)
            samples.agreed[each.name] += self._agreed(each, found.answer if found else None)
            said = self._said(each, found)
            if said is None:
                continue
            if each.is_free:
                question.given |= said.fields
            else:
                question.said[each.name] = said
        if question.said:
            first = samples.questions[kind].setdefault(text, question)
            if first is not question:
                first.add(question)

    def _fit(self, of_kind: Sequence[Provider]) -> Iterator[str]:
        skipped = mapping(self._metadata.get("sources_skipped"))
        return (
            each.name
            for each in of_kind
            if not each.is_free and str(skipped.get(each.name)) not in NOT_ALLOWED
        )

    # What a provider said

    def _found(self, provider: Provider, kept: _Kept) -> _KeptAnswer | None:
        """Return its kept answer: the one that knows something, if there are several."""
        replies = (kept.get(key) for key in self.keys.get(provider.name, ()))
        said = [
            _KeptAnswer(answer, reply)
            for reply in replies
            if reply is not None
            and isinstance(answer := provider.recall(reply, self.query), Found | NotFound)
        ]
        return next(
            (each for each in said if isinstance(each.answer, Found)), next(iter(said), None)
        )

    def _said(self, provider: Provider, found: _KeptAnswer | None) -> Said | None:
        if found is None:
            return self._as_it_stands(provider)
        is_charged = isinstance(provider, HttpProvider) and provider.is_charged(found.reply)
        if isinstance(found.answer, NotFound):
            return Said(is_charged=is_charged)
        values = usable(found.answer, provider.kind.section)
        return Said(frozenset(name for name in values if values[name] != UNKNOWN), is_charged)

    def _as_it_stands(self, provider: Provider) -> Said | None:
        """Return what the lead tells of an answer that is no longer kept."""
        if provider.name in _list(self._metadata.get("sources_used")):
            return Said(frozenset(self._told(provider)), not provider.is_free)
        if provider.name in _list(self._metadata.get("sources_not_found")):
            return Said(is_charged=charges_misses(provider))
        return None

    def _told(self, provider: Provider) -> Iterator[str]:
        section = provider.kind.section
        values = mapping(self.data.get(section))
        for name, winner in self._winners(section).items():
            if winner == provider.name and values.get(name) != UNKNOWN:
                yield name
        alternatives = mapping(mapping(self._metadata.get("alternatives")).get(section))
        for name, others in alternatives.items():
            if safe_name(provider.name) in mapping(others):
                yield name

    def _agreed(self, provider: Provider, answer: Found | NotFound | None) -> int:
        if not isinstance(answer, Found):
            return 0
        section = provider.kind.section
        values, winners = mapping(self.data.get(section)), self._winners(section)
        return sum(
            winners.get(name) not in (None, provider.name)
            and _is_alike(section, name, value, values.get(name))
            for name, value in usable(answer, section).items()
        )

    def _winners(self, section: str) -> Mapping[str, Any]:
        return mapping(mapping(self._metadata.get("provenance")).get(section))

    @property
    def _metadata(self) -> Mapping[str, Any]:
        return mapping(self.data.get(METADATA))


def _is_alike(section: str, name: str, said: Any, stands: Any) -> bool:
    """Compare with what stands on the lead, where any writer may have put anything."""
    try:
        return stands is not None and is_same(section, name, said, stands)
    except (TypeError, AttributeError, ValueError, OverflowError):
        return False


def charges_misses(provider: Provider) -> bool:
    """Return whether the vendor charges for knowing nothing."""
    return isinstance(provider, HttpProvider) and _MISS in provider.charges


def _note_age(samples: Samples, text: object) -> None:
    try:
        at = datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return
    samples.since = min(at, samples.since or at)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
