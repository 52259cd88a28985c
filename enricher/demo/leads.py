"""Sample leads as a CRM would insert them: the same seed gives the same leads, in the same order.

Every other lead is a good business lead; some are colleagues of an earlier one (so a cache has something to
save). The others go through `STORIES` in turn: addresses that real lists are full of, and domains whose names
make the simulated vendors tell a story (`simulator/faults.py`). Each lead names its story under `story`, a field of the
writer's own that the daemon does not know.

Domains are three whimsical words under real top-level domains: reserved names (`example.com`, `.test`) would
be skipped, and a plausible company name might belong to somebody. No word here contains one of the words that
the simulated vendors look for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

Lead: TypeAlias = dict[str, Any]

ODD_EVERY = 2
COLLEAGUES_AMONG = 20
"""Number of recent companies of which another employee may turn up."""

_FIRST = ("Ada", "Bruno", "Chiara", "Dario", "Elif", "Femke", "Goran", "Hanna", "Idris", "Jana",
          "Kofi", "Lena", "Mateo", "Nadia", "Oskar", "Priya", "Quinn", "Rosa", "Samir", "Tove")  # fmt: skip
_LAST = ("Abel", "Brandt", "Castel", "Dimitrov", "Eriksen", "Fontaine", "Garcia", "Hofmann",
         "Ivanova", "Jansen", "Keller", "Lindqvist", "Moreau", "Novak", "Okafor", "Petrov",
         "Quist", "Rossi", "Sato", "Tanaka")  # fmt: skip
_MOODS = ("amber", "brisk", "copper", "dapper", "eager", "fabled", "gentle", "humble", "ivory",
          "jolly", "keen", "lucid", "mellow", "nimble", "opal", "plucky", "quaint", "rustic",
          "silver", "tidy", "upbeat", "vivid", "witty", "zesty")  # fmt: skip
_ANIMALS = ("axolotl", "badger", "capybara", "dugong", "ermine", "ferret", "gecko", "heron", "ibis",
            "jackdaw", "kestrel", "lemur", "marmot", "narwhal", "ocelot", "pangolin", "quokka",
            "raccoon", "stoat", "tapir", "urchin", "vole", "walrus", "yak")  # fmt: skip
_TRADES = ("analytics", "foundry", "freight", "gardens", "instruments", "lantern", "logistics",
           "optics", "payroll", "robotics", "software", "textiles", "turbines", "ventures")  # fmt: skip
_ENDINGS = ("com", "io", "de", "co.uk", "fr", "dev", "net")
_TITLES = ("CTO", "Head of Sales", "VP Marketing", "Founder", "Purchasing Manager", "Engineer")
_SOURCES = ("website", "webinar", "trade_fair", "import", "referral")
_OF_A_FIRM, _OF_A_PERSON = "5", "0"
_FREE_MAIL = ("gmail.com", "outlook.com", "gmx.de", "icloud.com")


ORDINARY, COLLEAGUE = "ordinary", "colleague"


class _Person:
    """One made-up person at one made-up company."""

    def __init__(self, chance: Random, domain: str) -> None:
        self.first, self.last = chance.choice(_FIRST), chance.choice(_LAST)
        self.mailbox = f"{self.first}.{self.last}".lower()
        self.domain = domain
        self.company = domain.split(".", 1)[0].replace("-", " ").title()

    @property
    def email(self) -> str:
        return f"{self.mailbox}@{self.domain}"


def sample_leads(count: int, seed: int = 1) -> Iterator[Lead]:
    """Yield `count` lead documents without an `_id`, ready to insert."""
    chance = Random(f"leads {seed}")
    recent: deque[str] = deque(maxlen=COLLEAGUES_AMONG)
    kinds = tuple(STORIES)
    for number in range(count):
        turn, place = divmod(number, ODD_EVERY)
        if place == ODD_EVERY - 1:
            yield odd_lead(kinds[turn % len(kinds)], chance)
        else:
            yield _good_lead(chance, recent)


def odd_lead(kind: str, chance: Random) -> Lead:
    """Return one lead of a kind in `STORIES`; a field that the kind sets to `None` is left out."""
    person = _Person(chance, _domain(chance))
    lead = _common(chance, person) | {"email": person.email, "story": kind}
    lead |= STORIES[kind].change(person)
    return {name: value for name, value in lead.items() if value is not None}


def _good_lead(chance: Random, recent: deque[str]) -> Lead:
    is_colleague = bool(recent) and chance.randrange(4) == 0
    domain = chance.choice(recent) if is_colleague else _domain(chance)
    recent.append(domain)
    person = _Person(chance, domain)
    lead = _common(chance, person) | {"email": person.email}
    lead["story"] = COLLEAGUE if is_colleague else ORDINARY
    if chance.randrange(3) == 0:
        lead["qualification_score"] = chance.randint(5, 95)
    if chance.randrange(4) == 0:
        lead["website"] = f"https://www.{domain}/"
    return lead


def _domain(chance: Random) -> str:
    words = (chance.choice(_MOODS), chance.choice(_ANIMALS), chance.choice(_TRADES))
    return f"{'-'.join(words)}.{chance.choice(_ENDINGS)}"


def _common(chance: Random, person: _Person) -> Lead:
    return {
        "name": f"{person.first} {person.last}",
        "company": person.company,
        "job_title": chance.choice(_TITLES),
        "temperature": chance.choices(("hot", "warm", "cold"), (1, 3, 4))[0],
        "source": chance.choice(_SOURCES),
    }


def _told_by(word: str) -> Callable[[_Person], Lead]:
    """Change the domain to one that makes the simulated vendors tell the story of that word."""
    return lambda person: {"email": f"{person.mailbox}@{word}-{person.domain}"}


def _free_mail(person: _Person) -> Lead:
    provider = _FREE_MAIL[len(person.mailbox) % len(_FREE_MAIL)]
    return {"email": f"{person.mailbox}@{provider}", "company": None}


def _in_brazil(person: _Person, tells: str) -> Lead:
    """Return a lead of a Brazilian company; the simulated register tells by the number's eighth digit what it is."""
    label, number = person.domain.split(".", 1)[0], crc32(person.domain.encode()) % 10**7
    return {
        "email": f"{person.mailbox}@{label}-brasil-{number:07}{tells}.com.br",
        "company": None,
        "job_title": "Diretora comercial",
        "source": "indicação",
    }


class Story(NamedTuple):
    """What is odd about a lead."""

    says: str
    """What there is to see, for a newcomer."""
    change: Callable[[_Person], Lead]
    """Returns what it changes in a good lead."""


STORIES: Mapping[str, Story] = {
    "second vendor": Story(
        "Clearbit does not know the company: Hunter does, and the next knows the head count.",
        _told_by("regional"),
    ),
    "vendor down": Story(
        "Clearbit fails: others stand in, and at the next try nothing is missing any more.",
        _told_by("blackout"),
    ),
    "free mail": Story(
        "A private mailbox stands for no company: only the address is checked.", _free_mail
    ),
    "moved on": Story(
        "The person works elsewhere by now: the new job is held back, and the lead is flagged.",
        lambda person: {"email": f"moved.{person.email}"},
    ),
    "disposable": Story(
        "A throw-away address: nobody is paid for it.",
        lambda person: {"email": f"{person.mailbox}@mailinator.com", "company": None},
    ),
    "third vendor": Story("Neither Clearbit nor Hunter knows the company.", _told_by("obscure")),
    "brazilian register": Story(
        "No vendor knows the company: its site states its number, and the Brazilian register knows it.",
        lambda person: _in_brazil(person, _OF_A_FIRM),
    ),
    "one-person firm": Story(
        "The number on the site is one person's: the register's word on it is left alone.",
        lambda person: _in_brazil(person, _OF_A_PERSON),
    ),
    "nobody knows": Story("No vendor knows company, person or mailbox.", _told_by("unknown")),
    "objected": Story(
        "The person asked a vendor not to be processed: what is about them is dropped.",
        lambda person: {"email": f"claimed.{person.email}"},
    ),
    "person only": Story(
        "The person is known, and no vendor knows the company.", _told_by("stealth")
    ),
    "throttled": Story(
        "Vendors say 'too fast' once: it waits as long as they say.", _told_by("throttled")
    ),
    "last vendor": Story("Only Apollo knows the company.", _told_by("hermit")),
    "retried": Story(
        "The e-mail check fails for a while: the rest is stored, and it alone is asked again.",
        _told_by("shaky"),
    ),
    "second opinion": Story(
        "Hunter comes to no verdict on the mailbox: ZeroBounce does.",
        _told_by("murky"),
    ),
    "role": Story(
        "A role address is nobody's: company and verdict, no person.",
        lambda person: {"email": f"info@{person.domain}", "name": None},
    ),
    "prepared": Story(
        "The vendors say 'not yet' twice (202), for one charge.", _told_by("pending")
    ),
    "invalid": Story(
        "The address is not valid: no vendor is asked about it.",
        lambda person: {"email": f"{person.mailbox}(at){person.domain}"},
    ),
    "plus tag": Story(
        "A +tag is no part of the mailbox.",
        lambda person: {"email": f"{person.mailbox}+newsletter@{person.domain}"},
    ),
    "website": Story(
        "A website is enough for the company.",
        lambda person: {"email": None, "website": f"www.{person.domain}/imprint"},
    ),
    "flaky": Story(
        "Every vendor fails twice: it is asked again within the attempt.", _told_by("flaky")
    ),
    "upper case": Story(
        "Spelling does not matter.", lambda person: {"email": f" {person.email.upper()} "}
    ),
    "slow": Story("A vendor takes two seconds.", _told_by("slow")),
    "domain": Story(
        "A domain is enough for the company.",
        lambda person: {"email": "", "company_domain": person.domain.upper()},
    ),
    "odd mailbox": Story(
        "The mailbox's own server fails once (222).",
        lambda person: {"email": f"smtpfail.{person.email}"},
    ),
    "last opinion": Story(
        "Of five verifiers only Emailable comes to a verdict.",
        _told_by("hazy"),
    ),
    "bounce": Story(
        "The mailbox does not exist.",
        lambda person: {"email": f"{person.mailbox}.bounce@{person.domain}"},
    ),
    "catch-all": Story(
        "The domain accepts every address: that is not 'valid'.", _told_by("catchall")
    ),
    "nothing": Story(
        "There is nothing to go by.",
        lambda _person: {"email": None, "company": None, "name": None},
    ),
    "hollow": Story("Records of nulls say nothing.", _told_by("hollow")),
    "garbled": Story("Half an answer is no answer: it is asked again.", _told_by("garbled")),
}
"""In the order in which they appear; those that a newcomer should see come first."""
