"""Sample leads as a CRM would insert them: the same seed gives the same leads, in the same order.

Four in five are good business leads, some of them colleagues of an earlier one (so a cache has
something to save). Every fifth is one of `ODDITIES` in turn: the addresses that real lists are full
of, and domains whose names make the simulated vendors tell a story (`stories.py`).

Domains are three whimsical words under real top-level domains: reserved names (`example.com`,
`.test`) would be skipped, and a plausible company name might belong to somebody. No word here contains
one of the words that the simulated vendors look for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, TypeAlias

Lead: TypeAlias = dict[str, Any]

ODD_EVERY = 5
COLLEAGUES_AMONG = 20
"""Of so many recent companies another employee may turn up."""

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
_FREE_MAIL = ("gmail.com", "outlook.com", "gmx.de", "icloud.com")


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
    """`count` lead documents without an `_id`, ready to insert."""
    chance = Random(f"leads {seed}")
    recent: deque[str] = deque(maxlen=COLLEAGUES_AMONG)
    kinds = tuple(ODDITIES)
    for number in range(count):
        turn, place = divmod(number, ODD_EVERY)
        if place == ODD_EVERY - 1:
            yield odd_lead(kinds[turn % len(kinds)], chance)
        else:
            yield _good_lead(chance, recent)


def odd_lead(kind: str, chance: Random) -> Lead:
    """One lead of a kind in `ODDITIES`; a field that the kind sets to `None` is missing."""
    person = _Person(chance, _domain(chance))
    lead = _common(chance, person) | {"email": person.email} | ODDITIES[kind](person)
    return {name: value for name, value in lead.items() if value is not None}


def _good_lead(chance: Random, recent: deque[str]) -> Lead:
    is_colleague = bool(recent) and chance.randrange(4) == 0
    domain = chance.choice(recent) if is_colleague else _domain(chance)
    recent.append(domain)
    person = _Person(chance, domain)
    lead = _common(chance, person) | {"email": person.email}
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
    """A company whose domain makes the simulated vendors tell the story of that word."""
    return lambda person: {"email": f"{person.mailbox}@{word}-{person.domain}"}


def _free_mail(person: _Person) -> Lead:
    provider = _FREE_MAIL[len(person.mailbox) % len(_FREE_MAIL)]
    return {"email": f"{person.mailbox}@{provider}", "company": None}


ODDITIES: Mapping[str, Callable[[_Person], Lead]] = {
    "pending": _told_by("pending"),
    "free_mail": _free_mail,
    "unknown": _told_by("unknown"),
    "role": lambda person: {"email": f"info@{person.domain}", "name": None},
    "flaky": _told_by("flaky"),
    "plus_tag": lambda person: {"email": f"{person.mailbox}+newsletter@{person.domain}"},
    "disposable": lambda person: {"email": f"{person.mailbox}@mailinator.com", "company": None},
    "upper_case": lambda person: {"email": f" {person.email.upper()} "},
    "slow": _told_by("slow"),
    "invalid": lambda person: {"email": f"{person.mailbox}(at){person.domain}"},
    "website_only": lambda person: {"email": None, "website": f"www.{person.domain}/imprint"},
    "claimed": lambda person: {"email": f"claimed.{person.email}"},
    "throttled": _told_by("throttled"),
    "domain_only": lambda person: {"email": "", "company_domain": person.domain.upper()},
    "smtpfail": lambda person: {"email": f"smtpfail.{person.email}"},
    "bounce": lambda person: {"email": f"bounce.{person.email}"},
    "catchall": _told_by("catchall"),
    "nothing": lambda _person: {"email": None, "company": None, "name": None},
    "hollow": _told_by("hollow"),
    "garbled": _told_by("garbled"),
}
"""Kind -> what it changes in a good lead, in the order in which they turn up."""
