"""A world of a test's own: vendors, an empty database, daemons that know nothing else, a witness.

    async with open_rig(mongodb_uri) as rig, rig.daemon() as daemon:
        await rig.leads.insert_one({"_id": 1, "email": "ada@quokka-freight.com"})
        assert await rig.witness.end_of(1) == "completed"
        assert rig.asked_twice() == {}

What a daemon says of itself proves little. How often a lead was settled is counted by the witness,
from a change stream of its own, and what was asked and paid for by the simulated vendors' journal.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args
from zlib import crc32

import bson
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from enricher.lead import Document, LeadId
from enricher.simulator.server import Simulator
from tests.support.databases import BESIDE, empty_database
from tests.support.processes import Daemon
from tests.support.waiting import end, patience

ENDS = ("completed", "failed", "skipped")
SETTLED = (*ENDS, "retrying")

Write: TypeAlias = Literal["lead", "beside"]
"""Where what the daemons write stands: on the leads, or in a collection of ours."""
WRITES: tuple[Write, ...] = get_args(Write)

KEYS = {"clearbit": "clearbit-key-of-the-tests", "hunter": "hunter-key-of-the-tests"}

ONE_OF_A_KIND = '["hunter_company", "hunter_person", "clearbit_person"]'
"""Turned off unless a test says otherwise: a company is Clearbit's and an e-mail is Hunter's, so that
the figures of a test are those of its subject and not of the providers there happen to be."""
_NO_LIMIT = "1000000"
_STATUSES: list[Document] = [
    {"$match": {"operationType": {"$in": ["insert", "update", "replace", "delete"]}}},
    {
        # Nothing of the document itself travels, so that one of any size passes.
        "$project": {
            "operationType": 1,
            "documentKey": 1,
            "updateDescription.updatedFields": 1,
            "fullDocument.enrichment_status": 1,
            "fullDocument.qualification_status": 1,
        }
    },
]

_numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(1))


def domain(word: str = "ordinary") -> str:
    """A company that no other lead of the run names; a word of `faults.py` tells that story.

    What the simulator knows of it follows from its name. The name follows from the test alone, whichever tests the
    same process ran before, so that a test meets the same companies each time.
    """
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"quokka-{word}-{crc32(test.encode()):08x}-{next(_numbers[test])}.com"


def address(word: str = "ordinary") -> str:
    """A person at a company of their own."""
    return f"ada.lovelace@{domain(word)}"


@dataclass(frozen=True, slots=True)
class Step:
    """One status that a lead took, and everything that was written with it."""

    status: str
    fields: Document
    at: float
    """Monotonic seconds, when the witness saw it."""
    by_insert: bool


@dataclass(slots=True)
class Witness:
    """Every status that every lead took, in order."""

    leads: AsyncCollection[Document]
    steps: defaultdict[bytes, list[Step]] = field(default_factory=lambda: defaultdict(list))
    inserted: dict[bytes, float] = field(default_factory=dict)
    deleted: set[bytes] = field(default_factory=set)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self, watching: asyncio.Event) -> None:
        """Until cancelled."""
        async with await self.leads.watch(_STATUSES, max_await_time_ms=500) as stream:
            watching.set()
            async for event in stream:
                async with self._news:
                    self._note(event)
                    self._news.notify_all()

    def _note(self, event: Document) -> None:
        lead, now = key_of(event["documentKey"]["_id"]), time.monotonic()
        kind = event["operationType"]
        if kind == "delete":
            self.deleted.add(lead)
            return
        if kind == "insert":
            self.inserted[lead] = now
        # The server logs a large update of a small document as a replacement.
        fields = event.get("updateDescription", {}).get("updatedFields") or event.get(
            "fullDocument", {}
        )
        if isinstance(status := fields.get("enrichment_status"), str):
            self.steps[lead].append(Step(status, fields, now, kind == "insert"))

    def statuses(self, lead: LeadId) -> list[str]:
        """Every status the lead took, those of the writer included."""
        return [step.status for step in self.steps[key_of(lead)]]

    def statuses_at_work(self, lead: LeadId) -> list[str]:
        """The same without `pending`, which a lead never is that comes alone to a daemon with nothing to do."""
        return [status for status in self.statuses(lead) if status != "pending"]

    def settles(self, lead: LeadId) -> list[Step]:
        """What daemons made of it, once for each time that one was done with it."""
        steps = self.steps[key_of(lead)]
        return [step for step in steps if step.status in SETTLED and not step.by_insert]

    def ended(self, leads: Iterable[LeadId]) -> list[LeadId]:
        """Those of them whose last status is an end."""
        return [lead for lead in leads if (self.statuses(lead) or [""])[-1] in ENDS]

    def forget(self, lead: LeadId) -> None:
        """Begin anew with this lead: what it came to so far was meant to be."""
        self.steps.pop(key_of(lead), None)

    def last_settle_at(self) -> float:
        return max(steps[-1].at for steps in self.steps.values() if steps)

    async def until(self, holds: Callable[[], bool], within: float = 15.0) -> None:
        """Wait for the leads: `holds` is asked again after each change."""
        __tracebackhide__ = True
        try:
            async with patience(within), self._news:
                await self._news.wait_for(holds)
        except TimeoutError:
            seen = Counter(steps[-1].status for steps in self.steps.values() if steps)
            raise AssertionError(f"not so within {within:g} s; leads stand at {seen}") from None

    async def end_of(self, lead: LeadId, within: float = 15.0) -> str:
        """The end the lead came to, or had come to."""
        __tracebackhide__ = True
        await self.until(lambda: bool(self.ended([lead])), within)
        return self.statuses(lead)[-1]

    async def settle_of(self, lead: LeadId, within: float = 15.0) -> Step:
        """The last time that a daemon was done with the lead, or the first still to come."""
        __tracebackhide__ = True
        await self.until(lambda: bool(self.settles(lead)), within)
        return self.settles(lead)[-1]

    async def all_ended(self, leads: Iterable[LeadId], within: float = 15.0) -> None:
        __tracebackhide__ = True
        wanted = list(leads)
        await self.until(lambda: len(self.ended(wanted)) == len(wanted), within)

    def settled_more_than_once(self) -> dict[bytes, list[str]]:
        """Leads that somebody was done with twice: work that was paid for twice."""
        found = {}
        for lead, steps in self.steps.items():
            said = [s.status for s in steps if s.status in SETTLED and not s.by_insert]
            if len(said) > 1:
                found[lead] = said
        return found


@dataclass(slots=True)
class Rig:
    """One database with its witness, and the vendors of its daemons."""

    uri: str
    database: AsyncDatabase[Document]
    simulator: Simulator
    witness: Witness
    config: Path | None = None
    """The file of settings that says how to write, where that is not on the leads."""

    @property
    def leads(self) -> AsyncCollection[Document]:
        """Those of the writers."""
        return self.database["leads"]

    @property
    def results(self) -> AsyncCollection[Document]:
        """Where our fields stand: the leads, or the collection beside them."""
        return self.leads if self.config is None else self.database[BESIDE]

    def daemon(self, *vendors: str, **settings: object) -> Daemon:
        """A daemon for this database. Without names it has the keys of all vendors."""
        return Daemon("run", env=self.environment(*vendors) | _texts(settings))

    def environment(self, *vendors: str) -> dict[str, str]:
        """What a daemon needs to know; limits are out of the way, retries are soon."""
        urls = self.simulator.base_urls
        config = {} if self.config is None else {"ENRICHER_CONFIG": str(self.config)}
        return {
            **config,
            "MONGODB_URI": self.uri,
            "MONGODB_DATABASE": self.database.name,
            "ENRICHER_RETRY_DELAY_SECONDS": "0.5",
            "ENRICHER_PROVIDERS_OFF": ONE_OF_A_KIND,
            **{f"{name.upper()}_BASE_URL": url for name, url in urls.items()},
            **{f"{name.upper()}_API_KEY": KEYS[name] for name in vendors or KEYS},
            **{f"{name.upper()}_RATE_LIMIT": _NO_LIMIT for name in vendors or KEYS},
        }

    async def lead(self, lead: LeadId) -> Document:
        """What daemons have written of it, as it stands."""
        found = await self.results.find_one({"_id": lead})
        assert found is not None, "there is no such lead"
        return found

    def questions(self, *about: str) -> Counter[tuple[str, str]]:
        """How often each vendor was asked each question, or only those about these."""
        asked = ((entry.vendor, entry.question) for entry in self.simulator.journal)
        return Counter(pair for pair in asked if not about or pair[1] in about)

    def asked_twice(self) -> dict[tuple[str, str], int]:
        return {pair: times for pair, times in self.questions().items() if times > 1}


@asynccontextmanager
async def open_rig(
    uri: str,
    witness: type[Witness] = Witness,
    write: Write = "lead",
    *,
    new: bool = False,
    **simulator: Any,
) -> AsyncIterator[Rig]:
    """Everything but a daemon; gone afterwards. The witness watches what daemons write.

    The database may have served another test (`databases.py`), unless it is to be `new`.
    """
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        uri,
        tz_aware=True,
        datetime_conversion="DATETIME_AUTO",
        unicode_decode_error_handler="replace",
    )
    simulator = {"windows": dict.fromkeys(KEYS, ()), "keys": KEYS, **simulator}
    with tempfile.TemporaryDirectory(prefix="enricher-test-") as directory:
        config = _config(Path(directory), write)
        async with (
            client,
            Simulator(**simulator) as vendors,
            empty_database(client, uri, new=new) as database,
        ):
            watching = witness(database["leads" if config is None else BESIDE])
            async with watched(watching):
                yield Rig(uri, database, vendors, watching, config)


def _config(directory: Path, write: Write) -> Path | None:
    if write == "lead":
        return None
    config = directory / "crm.toml"
    config.write_text(f'[[source]]\ncollection = "leads"\nwrite = "{write}"\n')
    return config


@asynccontextmanager
async def watched(witness: Witness) -> AsyncIterator[None]:
    watching = asyncio.Event()
    task = asyncio.create_task(witness.watch(watching), name="witness")
    began = asyncio.create_task(watching.wait())
    await asyncio.wait({task, began}, return_when=asyncio.FIRST_COMPLETED)
    assert watching.is_set(), f"the witness cannot watch: {task}"
    try:
        yield
    finally:
        await end(task)
        if not task.cancelled():
            await task


def key_of(lead: LeadId) -> bytes:
    """An `_id` of any type, as a key: Python can neither hash all of them nor tell 1 from True."""
    return bson.encode({"": lead})


def _texts(settings: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in settings.items()}
