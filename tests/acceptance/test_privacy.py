"""A daemon at its most talkative, over leads and vendors of every kind: no address, no name, no key.

Two runs at once, one for each form of the log. Each sees every story of the demo, garbage for
addresses, every fault of the table of statuses, a provider of another package that raises what it
was asked, a collection that refuses the result, and in the end vendors that refuse everybody. Then
everything that it said is searched for everything that it was told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from enricher.demo.leads import STORIES, odd_lead
from enricher.lead import Document
from enricher.simulator import facts, records
from tests.support.personal import Personal, as_said
from tests.support.plugged import install
from tests.support.processes import Daemon
from tests.support.rig import KEYS, Rig, domain, open_rig
from tests.support.statuses import SIMULATED, cases

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

PATHS = ("/metrics", "/livez", "/readyz", "/status.json", "/report.json", "/")
"""All that the daemon serves; what it is to serve besides goes here."""
FORMS = ("json", "console")
ALL_KEYS = KEYS | {
    "pdl": "pdl-key-of-the-tests",
    "apollo": "apollo-key-of-the-tests",
    "zerobounce": "zerobounce-key-of-the-tests",
    "gossip": "gossip-key-of-the-tests",
}
"""That of ZeroBounce travels in URLs."""
SETTINGS: Document = {
    "ENRICHER_LOG_LEVEL": "DEBUG",
    "ENRICHER_PROVIDERS_OFF": "[]",
    "ENRICHER_MAX_ATTEMPTS": 0,
    "ENRICHER_LEAD_TIMEOUT_SECONDS": 2,
    "PDL_RATE_LIMIT": 1_000_000,
    "APOLLO_RATE_LIMIT": 1_000_000,
    "ZEROBOUNCE_RATE_LIMIT": 1_000_000,
    "GOSSIP_RATE_LIMIT": 1_000_000,
    "GOSSIP_BASE_URL": "http://127.0.0.1:9",
}
GOSSIP = """
from enricher import HttpProvider, Kind, NotFound, Request, Window

class Gossip(HttpProvider):
    name, vendor, kind = "gossip", "gossip", Kind.PERSON
    host, windows = "https://gossip.example", (Window(1000, 1),)

    def unfit(self, query):
        return None if query.email else "nobody"

    def request(self, query):
        key = self._access.key.get_secret_value()
        raise LookupError(f"who is {query.full_name}, {query.email}? I am {key}")

    def interpret(self, reply):
        return NotFound()
"""
"""A provider that could not be worse brought up."""
GARBAGE = (
    "{0}(at){1}", "{0}@@{1}", "<{0}@{1}", "{0}@{1}\x00", "{0} {0}@-{1}", "$ne {0}@", "{0}@localhost",
    '"{0} x"@{1}', "Dr. {0} <{0}@{1}>", "mailto:{0}@{1}?cc={0}@mailinator.com", "{0}+tag@{1}", "{0}@[10.0.0.1]",
)  # fmt: skip


@dataclass(slots=True)
class Run:
    """One daemon's run, and what it was told."""

    rig: Rig
    daemon: Daemon
    personal: Personal
    chance: Random = field(default_factory=lambda: Random(11))
    served: str = ""
    errors: list[str] = field(default_factory=list)

    def name(self) -> str:
        """One that stands in nothing else by chance."""
        letters = "bcdghjkmnpqrstvwxz"
        first, last = ("".join(self.chance.choices(letters, k=8)) for _ in range(2))
        made = f"{first} {last}".title()
        self.personal.name(made)
        return made

    def lead(self, company: str, **fields: object) -> Document:
        """Somebody of that company, whom vendors know under names of their own."""
        name = self.name()
        return self.known({"name": name, "email": f"{_mailbox(name)}@{company}", **fields})

    def known(self, lead: Document) -> Document:
        """The lead, once what it and the vendors say of its person is noted."""
        address = lead.get("email") or ""
        self.personal.address(address)
        person, record = facts.person(1, address), records.person(1, address.strip().lower())
        self.personal.secret(f"{person.first} {person.last}", person.email)
        self.personal.secret((record["name"] or {}).get("fullName") or "")
        return lead

    async def see(self, *leads: Document) -> None:
        """Insert them, and wait until each is settled."""
        made = [
            {"_id": f"{len(self.rig.witness.steps)}-{n}", **each} for n, each in enumerate(leads)
        ]
        await self.rig.leads.insert_many(made)
        for each in made:
            await self.rig.witness.settle_of(each["_id"], within=60)


def _mailbox(name: str) -> str:
    return name.lower().replace(" ", ".")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Run]:
    """Form of the log -> the whole run, over by now."""
    packages = tmp_path_factory.mktemp("packages")
    install(packages, "gossip", GOSSIP, gossip="gossip:Gossip")
    done = await asyncio.gather(*(_run(mongodb_uri, packages, form) for form in FORMS))
    return dict(zip(FORMS, done, strict=True))


async def _run(uri: str, packages: Path, form: str) -> Run:
    async with _opened(uri, packages, form) as run:
        await run.see(*_odd(run), *_garbage(run), *_ordinary(run))
        await run.see(*_beside_faults(run))
        await _refused_by_the_collection(run)
        await _refused_by_everybody(run)
        run.served = "\n".join([(await run.daemon.get(path)).text for path in PATHS])
        run.errors = [str(each) for each in await run.rig.leads.distinct("enrichment_error")]
        run.daemon.terminate()
        assert await run.daemon.wait() == 0
    return run


@asynccontextmanager
async def _opened(uri: str, packages: Path, form: str) -> AsyncIterator[Run]:
    vendors: Document = {"windows": dict.fromkeys(SIMULATED, ()), "keys": ALL_KEYS}
    keys = {f"{vendor.upper()}_API_KEY": key for vendor, key in ALL_KEYS.items()}
    how = {"PYTHONPATH": str(packages), "ENRICHER_LOG_FORMAT": form}
    async with open_rig(uri, **vendors) as rig, rig.daemon(**SETTINGS, **keys, **how) as daemon:
        run = Run(rig, daemon, Personal())
        run.personal.secret(*ALL_KEYS.values())
        await daemon.wait_for_event("history.recorded", within=60)
        yield run


def _odd(run: Run) -> list[Document]:
    """Every story of the demo, with a name that is nobody else's."""
    made = []
    for kind in STORIES:
        lead, name = odd_lead(kind, run.chance), run.name()
        if email := lead.get("email"):
            local, at, host = email.rpartition("@") if "@" in email else email.partition("(at)")
            lead["email"] = f"{local}.{_mailbox(name)}{at}{host}" if kind != "role" else email
        made.append(run.known(lead | ({"name": name} if lead.get("name") else {})))
    return made


def _garbage(run: Run) -> list[Document]:
    return [
        run.known({"name": (name := run.name()), "email": form.format(_mailbox(name), domain())})
        for form in GARBAGE
    ]


def _ordinary(run: Run) -> list[Document]:
    """Among them one whose id is an address, and ones where a person's data stands elsewhere."""
    by_id = run.lead(domain())
    elsewhere = run.lead(domain(), website=f"https://{domain()}/?who={run.name()}")
    stated = run.lead(domain(), company_domain=f"{_mailbox(run.name())}@{domain()}")
    return [by_id | {"_id": by_id["email"].upper()}, elsewhere, stated, run.lead("gmail.com")]


def _beside_faults(run: Run) -> list[Document]:
    """One for each fault of the table that does not stop its vendor."""
    faults = {
        json.dumps(each.fault): each.fault for each in cases() if each.fault and not each.stops
    }
    made = []
    for fault in faults.values():
        company = domain()
        if fault["kind"] != "hang":
            run.rig.simulator.inject(**fault, question=f"*{company}")
            made.append(run.lead(company))
    return made


async def _refused_by_the_collection(run: Run) -> None:
    """The server tells in its error what it refused."""
    strict = {"$nor": [{"strict": True, "enriched_data": {"$type": "object"}}]}
    await run.rig.database.command("collMod", "leads", validator=strict)
    await run.see(run.lead(domain(), strict=True))


async def _refused_by_everybody(run: Run) -> None:
    """Each vendor holds everybody off, in one way after the other; the first one stays."""
    for kind in ("unauthorized", "forbidden", "quota_spent"):
        run.rig.simulator.inject(kind)
        await run.see(run.lead(domain()), run.lead(domain()))


# -- what was said -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
async def test_no_address_no_name_and_no_key_is_in_the_log(
    runs: Mapping[str, Run], form: str
) -> None:
    run = runs[form]
    said = as_said(run.daemon.lines) + run.daemon.stdout
    assert len(run.personal.words) > 300
    assert run.personal.leaks(said) == []


async def test_the_log_told_of_all_that_could_have_given_somebody_away(
    runs: Mapping[str, Run],
) -> None:
    told = {line.get("event") for line in runs["json"].daemon.lines}
    expected = {
        "lead.settled",
        "provider.retry",
        "provider.broken",
        "provider.held",
        "settle.refused",
    }
    assert sorted(expected - told) == []
    in_words = as_said(runs["console"].daemon.lines)
    assert sorted(event for event in expected if event not in in_words) == []


@pytest.mark.parametrize("form", FORMS)
async def test_no_address_no_name_and_no_key_is_served(runs: Mapping[str, Run], form: str) -> None:
    assert runs[form].personal.leaks(runs[form].served) == []


async def test_no_address_no_name_and_no_key_is_in_the_reason_on_a_lead(
    runs: Mapping[str, Run],
) -> None:
    errors = runs["json"].errors
    assert len(errors) > 10
    assert runs["json"].personal.leaks("\n".join(errors)) == []


async def test_no_key_was_in_the_url_of_any_call(runs: Mapping[str, Run]) -> None:
    calls = [entry for run in runs.values() for entry in run.rig.simulator.journal]
    assert {entry.vendor for entry in calls} >= ALL_KEYS.keys() - {"gossip"}
    in_header = [entry for entry in calls if entry.vendor != "zerobounce"]  # it takes no header
    assert [entry.route for entry in in_header if entry.key_in_url] == []
