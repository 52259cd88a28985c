"""`enricher explain`: finds leads by id or address and explains every decision on each. Only reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from bson import json_util
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console

from enricher import wiring
from enricher.answer import NotFound, Query
from enricher.calls import flights
from enricher.calls.ceiling import ceiling_of
from enricher.calls.order import Order, Orders
from enricher.catalogue import FINDERS, PROVIDERS
from enricher.commands import database
from enricher.commands.database import chosen, explained, opened
from enricher.commands.reenrich import NO_ADDRESS
from enricher.enrichment.attempt import is_of_data
from enricher.enrichment.finding import found_domain, knowing
from enricher.enrichment.rechecks import rules_of
from enricher.errors import ExitCode
from enricher.explain.explanation import Explanation, Kept, KnownProvider, Standing, StandingReader
from enricher.explain.explanation import explain as explain_lead
from enricher.explain.view import as_json, show
from enricher.identity.identify import Identity, identify, subject_of
from enricher.lead import SUBJECT, Document, LeadId
from enricher.mongo.expressions import id_key
from enricher.mongo.secret import Keyring, keyring_if_made
from enricher.privacy.suppression import Suppressed
from enricher.providers.base import Provider, Registered
from enricher.providers.http import HttpProvider, question_of, unfit
from enricher.queue.apart import written_off_at
from enricher.queue.conditions import unmet
from enricher.queue.inputs import by_address, mapping_of
from enricher.queue.requests import wished
from enricher.settings.load import Settings
from enricher.settings.sources import Source
from enricher.values.storable import mapping


async def explain(
    settings: Settings, text: str, collection: str | None = None, *, as_json: bool
) -> ExitCode:
    """Explain the leads. Returns UNEXPECTED when no lead has that id or address."""
    sources = chosen(settings, collection)
    found = await explanations(settings, text, sources=sources)
    if not found:
        Console(stderr=as_json, highlight=False, soft_wrap=True).print(_nothing(text))
        return ExitCode.UNEXPECTED
    tell(found, in_json=as_json, says_where=len(settings.sources) > 1)
    return ExitCode.OK


async def explanations(
    settings: Settings, *texts: str, sources: Sequence[Source] = ()
) -> list[Explanation]:
    """Explain each lead that has one of these as its `_id` or its address, in their order; by default in all
    sources."""
    async with opened(settings) as database, wiring.vendors(settings) as registered:
        with explained("reading the leads"):
            ring = await keyring_if_made(database, settings.privacy.hash_key)
            explainers = [
                Explainer(settings, source, database, registered, ring)
                for source in sources or settings.sources
            ]
            return [
                each
                for text in texts
                for explainer in explainers
                async for each in explainer.of(text)
            ]


def _nothing(text: str) -> str:
    if "@" in text:
        return NO_ADDRESS
    tried = ", then ".join(kind for kind, _ in database.ids(text))
    return f"No lead has this _id; tried as {tried}. An address has an @."


def tell(
    explanations: Sequence[Explanation], *, in_json: bool = False, says_where: bool = False
) -> None:
    """Print to stdout, for people or for programs; with `says_where`, people read which collection it is."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if in_json:
        console.out(as_json(explanations), highlight=False)
    else:
        show(console, explanations, says_where=says_where)


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains leads of one source, with the settings that its daemons have."""

    settings: Settings
    source: Source
    database: AsyncDatabase[Document]
    registered: Registered
    keyring: Keyring | None
    """`None` when no daemon has needed one yet: then no answer is kept and nobody has objected."""

    async def of(self, text: str) -> AsyncIterator[Explanation]:
        """Yield an explanation of each lead that has this `_id` or this address."""
        of_writers = self.database[self.source.collection]
        leads = StandingReader(
            self.database[self.source.results],
            wiring.history(self.settings, of_writers, self.source),
            self.source.names,
            mapping_of(self.source),
            wiring.beside(self.settings, of_writers, self.source),
        )
        for lead in await self._ids(text):
            standing = await leads.standing(lead)
            if standing is not None:  # else the lead was deleted just now
                at = await written_off_at(self.database[self.source.results], lead)
                yield await self._explanation(leads, replace(standing, written_off_at=at))

    async def _ids(self, text: str) -> list[LeadId]:
        leads = self.database[self.source.collection]
        requests = wiring.requests(self.settings, leads, self.source)
        found = await requests.named([id_ for _, id_ in database.ids(text)])
        if "@" in text:
            match = by_address(self.source, database.spellings(text))
            found += [id_ async for batch in requests.matching(match) for id_ in batch]
        return list({id_key(id_): id_ for id_ in found}.values())

    async def _explanation(self, leads: StandingReader, standing: Standing) -> Explanation:
        words = wiring.words_of(self.settings)
        standing = self._as_daemons_heed_it(standing)
        identity = identify(standing.inputs, words)
        by_name = found_domain(mapping(standing.data), FINDERS) if identity.sought else None
        query = knowing(identity.query, by_name)
        known, is_suppressed, order = await asyncio.gather(
            self._known(leads, identity.query, query), self._has_objected(identity), self._order()
        )
        return explain_lead(
            standing,
            known,
            words,
            is_suppressed=is_suppressed,
            is_of_data=self._is_of_data(standing, identity),
            excluded_by=await self._excluded_by(standing.id),
            rechecks=rules_of(
                self.settings.rechecks, self.settings.vendors, self.registered.providers
            ),
            ceiling=ceiling_of(self.settings),
            order=order,
        )

    async def _excluded_by(self, lead: LeadId) -> list[str]:
        leads, only = self.database[self.source.collection], dict(self.source.only)
        return [json_util.dumps(each) for each in await unmet(leads, only, lead)]

    async def _order(self) -> Order | None:
        """Return the order that the fleet has found by itself."""
        return await Orders(self.database).read() if self.settings.providers.is_auto else None

    def _is_of_data(self, standing: Standing, identity: Identity) -> bool:
        if self.keyring is None:
            return True
        about = subject_of(self.keyring.key, identity.email_key, identity.company_key)
        return is_of_data(standing.data, standing.book.get(SUBJECT), identity, about)

    def _as_daemons_heed_it(self, standing: Standing) -> Standing:
        """Drop a wish for newer answers that none of our commands wrote, as daemons do."""
        since, mark = (standing.book.get(name) for name in ("refresh_since", "refresh_mark"))
        heeded = wished(self.keyring, standing.id, since, mark)
        return replace(standing, book={**standing.book, "refresh_since": heeded})

    async def _has_objected(self, identity: Identity) -> bool:
        if self.keyring is None:
            return False
        suppressed = Suppressed(self.database)
        return any([await suppressed.knows(self.keyring, key) for key in identity.email_keys])

    async def _known(
        self, leads: StandingReader, stated: Query, found: Query
    ) -> list[KnownProvider]:
        """Return the providers in the order in which values win: those that cost nothing come last, and those that
        find a domain by a name after them. These were asked what the lead states, the others what was `found`."""
        providers = sorted(
            self.registered.providers, key=lambda each: (each.finds_domain, each.is_free)
        )
        asked = {each.name: stated if each.finds_domain else found for each in providers}
        keys = {each.name: self._key(each, asked[each.name]) for each in providers}
        stored = await leads.kept([key for key in keys.values() if key])
        known = [
            _known_provider(
                each, asked[each.name], stored.get(keys[each.name] or "", flights.QuestionState())
            )
            for each in providers
        ]
        kinds = {name: each.kind.value for name, each in {**PROVIDERS, **FINDERS}.items()}
        off = self.registered.without_key
        return [
            *known,
            *(KnownProvider(name, kinds.get(name, ""), off=off[name]) for name in off),
        ]

    def _key(self, provider: Provider, query: Query) -> str | None:
        if self.keyring is None or unfit(provider, query) is not None:
            return None
        question = question_of(provider, query)
        return question and self.keyring.key(provider.name, question)


def _known_provider(
    provider: Provider, query: Query, stored: flights.QuestionState
) -> KnownProvider:
    return KnownProvider(
        name=provider.name,
        kind=provider.kind.value,
        credits=_credits(provider),
        unfit=unfit(provider, query),
        kept=_kept(provider, query, stored),
        is_under_way=stored.beat is not None,
    )


def _kept(provider: Provider, query: Query, stored: flights.QuestionState) -> Kept | None:
    if stored.reply is None or stored.at is None:
        return None
    is_charged = not isinstance(provider, HttpProvider) or provider.is_charged(stored.reply)
    said = provider.recall(stored.reply, query)
    reason = said.reason if isinstance(said, NotFound) else ""
    return Kept(stored.at, stored.until, _credits(provider) if is_charged else 0.0, reason)


def _credits(provider: Provider) -> float:
    return 0.0 if provider.is_free else provider.credits
