"""What a backfill would cost, before anybody is asked: nothing is changed here.

Each question counts once, however many leads lead to it, and not at all when its answer is stored.
A provider further down a waterfall is asked only for what those before it did not know, and one
that fails is asked again, so the figures are what the questions come to, no promise.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase

from enricher.answer import Query
from enricher.commands.backfill_runs import Backfills, Run
from enricher.commands.meter import Meter
from enricher.identity.identify import Identity, identify
from enricher.identity.own_words import OwnWords
from enricher.lead import Document, Reason
from enricher.mongo.secret import Keyring, keyring_if_made
from enricher.privacy.suppression import Suppressed, key_of
from enricher.providers.base import Provider
from enricher.providers.http import question_of, unfit
from enricher.queue.lease import read_inputs

_PAGE = 1000
_KEY_BYTES = 32


@dataclass(slots=True)
class ProviderEstimate:
    """One provider's part."""

    credits_each: float = 1.0
    questions: set[bytes] = field(default_factory=set)
    stored: int = 0

    @property
    def calls(self) -> int:
        return len(self.questions) - self.stored

    @property
    def credits(self) -> float:
        """In the vendor's own unit, if every call is charged."""
        return self.calls * self.credits_each


@dataclass(slots=True)
class Estimate:
    """What was counted."""

    leads: int = 0
    without_call: Counter[Reason] = field(default_factory=Counter)
    """Why no paid call is worth making or allowed -> leads."""
    providers: dict[str, ProviderEstimate] = field(default_factory=dict)


class Estimator:
    """Counts page by page."""

    def __init__(
        self,
        database: AsyncDatabase[Document],
        backfills: Backfills,
        providers: Sequence[Provider],
        words: OwnWords,
        hash_key: SecretStr | None = None,
    ) -> None:
        self._database = database
        self._backfills = backfills
        self._paid = [provider for provider in providers if not provider.is_free]
        self._words = words
        self._suppressed = Suppressed(database)
        self._hash_key = hash_key
        self._keyring: Keyring | None = None
        self._keys = Keyring(secrets.token_bytes(_KEY_BYTES))
        """Where no daemon has needed a secret yet, nothing is stored under it either."""

    async def count(self, run: Run | None, meter: Meter) -> Estimate:
        """Everything from the run's position on."""
        self._keyring = await keyring_if_made(self._database, self._hash_key)
        self._keys = self._keyring or self._keys
        found = Estimate(
            providers={each.name: ProviderEstimate(each.credits) for each in self._paid},
        )
        page = Run(run.id if run else "", run.after if run else None)
        while leads := await self._backfills.page(page, _PAGE):
            await self._add(found, leads)
            page = Run(page.id, {"of": leads[-1]["_id"]})
            meter.at(found.leads)
        return found

    async def _add(self, found: Estimate, leads: list[Document]) -> None:
        found.leads += len(leads)
        identities = [identify(read_inputs(lead["inputs"]), self._words) for lead in leads]
        objected = await asyncio.gather(*(self._has_objected(each) for each in identities))
        reasons = [
            Reason.SUPPRESSED if each_objected else each.reason
            for each, each_objected in zip(identities, objected, strict=True)
        ]
        found.without_call.update(reason for reason in reasons if reason is not None)
        asked = [
            each.query for each, reason in zip(identities, reasons, strict=True) if reason is None
        ]
        for provider in self._paid:
            await self._add_calls(found.providers[provider.name], provider, asked)

    async def _add_calls(
        self, calls: ProviderEstimate, provider: Provider, asked: list[Query]
    ) -> None:
        fit = (each for each in asked if unfit(provider, each) is None)
        questions = (question_of(provider, each) for each in fit)
        keys = {self._keys.key(provider.name, question) for question in questions if question}
        fresh = {key for key in keys if bytes.fromhex(key) not in calls.questions}
        calls.questions.update(map(bytes.fromhex, fresh))
        if fresh and self._keyring is not None:
            calls.stored += len(await self._backfills.answered(fresh))

    async def _has_objected(self, identity: Identity) -> bool:
        if self._keyring is None or identity.email_key is None:
            return False
        return await self._suppressed.has(key_of(self._keyring, identity.email_key))
