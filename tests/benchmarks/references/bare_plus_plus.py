"""bare+, and all that makes a result of the answers: what the daemon cannot be quicker than.

The identity of the lead, the vendors' answers as types, merge, provenance and score, the metrics of each
call and each lead, and a line of log, all by the daemon's own functions. What is left for the daemon to
lose is how it holds all this together.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from random import Random

import uvloop
from pydantic import SecretStr

from enricher.answer import Answer
from enricher.calls.question import word_for
from enricher.enrichment.attempt import note_found
from enricher.enrichment.conclude import Case, Findings, Preference, Round, conclude
from enricher.identity.identify import Identity, identify, subject_of
from enricher.lead import Completed, Lease, Subject
from enricher.providers.base import Access
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterVerifier
from enricher.providers.local import Local
from enricher.providers.transport import Client
from enricher.queue.settle import Settled
from enricher.settings.load import LogSettings
from enricher.status.throughput import Activity, report
from enricher.telemetry import log, metrics
from enricher.telemetry.metrics import child
from tests.benchmarks.references.bare_plus import BarePlus, Books, run
from tests.benchmarks.references.record import Orders

SKIPPED = dict.fromkeys(
    ("hunter_company", "hunter_person", "clearbit_person"), "turned off"
) | dict.fromkeys(("pdl_company", "pdl_person", "apollo_company", "apollo_person"), "no key")
"""What the daemon notes beside a result in this run."""


class BarePlusPlus(BarePlus):
    """Both vendors at once, as the daemon's providers ask and read them."""

    def __init__(self, orders: Orders, books: Books, http: Client) -> None:
        super().__init__(orders, books, http)
        key = SecretStr("simulated")
        self._providers: tuple[HttpProvider, ...] = (
            ClearbitCompany(http, Access(key, f"{orders.vendors}/clearbit")),
            HunterVerifier(http, Access(key, f"{orders.vendors}/hunter")),
        )
        self._local = Local()
        self._order = [*(each.name for each in self._providers), self._local.name]
        self._random = Random()
        self._activity = Activity()

    async def work(self, lease: Lease) -> None:
        began = time.monotonic()
        identity = identify(lease.lead.inputs)
        subject = subject_of(self.books.keyring.key, identity.email_key, identity.company_domain)
        answers = await asyncio.gather(
            *(self._exchange(each, identity) for each in self._providers)
        )
        answers.append(await self._local.ask(identity.query))
        outcome = self._conclude(lease, identity, subject, answers)
        await self.books.settle(lease, outcome.data, subject)
        report(self._activity, lease, outcome, Settled.WRITTEN, time.monotonic() - began)

    def _conclude(
        self, lease: Lease, identity: Identity, subject: Subject, answers: list[Answer]
    ) -> Completed:
        this = Round(
            Case(lease.lead, identity, subject),
            Findings(dict(zip(self._order, answers, strict=True)), dict(SKIPPED)),
            Preference(self._order, free=frozenset({self._local.name})),
            now=datetime.now(UTC),
        )
        outcome = conclude(this, self._random)
        assert isinstance(outcome, Completed), outcome
        note_found(identity.query, outcome)
        return outcome

    async def _exchange(self, provider: HttpProvider, identity: Identity) -> Answer:
        query = identity.query
        question = provider.question(query)
        assert question is not None
        call = await self.books.begin(provider.name, provider.vendor, question)
        began = time.perf_counter()
        tried = await provider.exchange(query)
        child(metrics.REQUEST_SECONDS, provider.name).observe(time.perf_counter() - began)
        child(metrics.REQUESTS, provider.name, word_for(tried.answer)).inc()
        assert tried.reply is not None, tried.answer
        await self.books.keep(call, tried.reply)
        child(metrics.CALLS_CHARGED, provider.name).inc()
        child(metrics.CREDITS_CHARGED, provider.name).inc(provider.credits)
        return tried.answer


if __name__ == "__main__":
    log.configure(LogSettings(), "bare++", "0")
    uvloop.run(run(BarePlusPlus))
