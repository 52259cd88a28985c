"""The faults in force: those injected, and the stories that magic names tell.

The first fault that is due wins, injected ones before stories; latency adds up with what follows it.

Words in a domain or address tell the same stories without any set-up, once for each question:

    word        Clearbit                     Hunter verifier               Hunter company, person
    pending     202 twice, then the record   202 twice, then the verdict   (ordinary)
    unknown     404 unknown_record           status "unknown"              404 not_found
    flaky       503 twice, then the record   503 twice, then the verdict   503 twice, then the record
    throttled   429 once                     429 with Retry-After once     429 with Retry-After once
    slow        two seconds late             two seconds late              two seconds late
    hollow      every value null             every value null              every value null
    garbled     half the JSON, once          half the JSON, once           half the JSON, once
    outage      503 for ever                 503 for ever                  503 for ever
    claimed     (ordinary)                   451 claimed_email             451 for the person
    smtpfail    (ordinary)                   222 once, then the verdict    (ordinary)
    bounce      (ordinary)                   status "invalid"              (ordinary)
    catchall    (ordinary)                   status "accept_all"           (ordinary)
    shaky       (ordinary)                   503 five times, then usual    (ordinary)
    blackout    503 for ever                 (ordinary)                    (ordinary)

Companies that not every vendor knows: the word names the first who does. Persons are known all the same.

    regional    Hunter, after Clearbit
    obscure     PDL, after the two
    hermit      Apollo, after the three
    stealth     nobody

PDL and Apollo know "flaky", "throttled", "slow", "hollow", "garbled" and "outage" as Clearbit does;
"unknown" is their own way to say so (PDL: 404, Apollo: an empty 200). Of persons there is more:

    moved       works for another company by now; every vendor tells it
    stranger    the record is somebody else's, at PDL and Apollo
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from itertools import count
from random import Random
from typing import Any

from enricher.simulator.faults import SPELLED, Fault, Injection

_COMPANY_ROUTES = {
    "clearbit": "companies/find",
    "hunter": "companies/find",
    "pdl": "company/enrich",
    "apollo": "organizations/enrich",
}
"""In the order in which the daemon asks."""


def _story(word: str, kind: str, times: int | None = None, **more: Any) -> Fault:
    return Fault(kind, question=f"*{word}*", times=times, per_question=True, **more)


def _not_known(word: str, *vendors: str) -> tuple[Fault, ...]:
    routes = {vendor: _COMPANY_ROUTES[vendor] for vendor in vendors}
    return tuple(
        _story(word, "unknown_record", vendor=vendor, route=route)
        for vendor, route in routes.items()
    )


STORIES: Mapping[str, tuple[Fault, ...]] = {
    "pending": (_story("pending", "pending", 2),),
    "unknown": (
        *(
            _story("unknown", "unknown_record", vendor=each)
            for each in ("clearbit", "pdl", "apollo")
        ),
        _story("unknown", "unknown_record", vendor="hunter", route="companies/find"),
        _story("unknown", "unknown_record", vendor="hunter", route="people/find"),
    ),
    "flaky": (_story("flaky", "server_error", 2),),
    "throttled": (
        _story("throttled", "throttled", 1, vendor="clearbit"),
        _story("throttled", "throttled", 1, vendor="hunter", dialect="429"),
        _story("throttled", "throttled", 1, vendor="pdl"),
        _story("throttled", "throttled", 1, vendor="apollo"),
    ),
    "slow": (_story("slow", "latency", seconds=2.0),),
    "hollow": (_story("hollow", "all_nulls"),),
    "garbled": (_story("garbled", "truncated", 1),),
    "outage": (_story("outage", "server_error"),),
    "claimed": (_story("claimed", "claimed_email"),),
    "smtpfail": (_story("smtpfail", "smtp_failed", 1),),
    "shaky": (_story("shaky", "server_error", 5, vendor="hunter", route="email-verifier"),),
    "blackout": (_story("blackout", "server_error", vendor="clearbit"),),
    "regional": _not_known("regional", "clearbit"),
    "obscure": _not_known("obscure", "clearbit", "hunter"),
    "hermit": _not_known("hermit", "clearbit", "hunter", "pdl"),
    "stealth": _not_known("stealth", *_COMPANY_ROUTES),
}
_WORDS = re.compile("|".join(STORIES))


class _Rule:
    """A fault and how often it was met; chance depends on question and turn, not on timing."""

    __slots__ = ("draws", "fault", "hits", "seed", "seen")

    def __init__(self, fault: Fault, seed: str) -> None:
        self.fault = fault
        self.seed = seed
        self.seen: Counter[str] = Counter()
        self.draws: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()

    def turn(self, vendor: str, route: str, question: str) -> int:
        """0 when the fault is not due this time, else which hit it is for this question."""
        own = f"{vendor} {route} {question}"
        counted = own if self.fault.per_question else ""
        self.seen[counted] += 1
        if self.seen[counted] <= self.fault.after or self._is_used_up(counted):
            return 0
        if self.fault.probability < 1 and not self._is_unlucky(own):
            return 0
        self.hits[counted] += 1
        return self.hits[counted]

    def _is_used_up(self, counted: str) -> bool:
        return self.fault.times is not None and self.hits[counted] >= self.fault.times

    def _is_unlucky(self, own: str) -> bool:
        self.draws[own] += 1
        return Random(f"{self.seed} {own} {self.draws[own]}").random() < self.fault.probability


class Faults:
    """The faults in force: injected ones first, in the order they came, then the stories."""

    def __init__(self, seed: int = 1, *, stories: bool = True) -> None:
        self._seed = seed
        self._tells_stories = stories
        self.clear()

    def clear(self) -> None:
        """Take back every injected fault and let every story begin again."""
        self._ids = count(1)
        self._injected: dict[int, _Rule] = {}
        self._stories = {
            word: [_Rule(fault, f"{self._seed} {word}") for fault in faults]
            for word, faults in (STORIES.items() if self._tells_stories else ())
        }

    def add(self, fault: Fault) -> int:
        """Put a fault in force; the number takes it back."""
        number = next(self._ids)
        self._injected[number] = _Rule(fault, f"{self._seed} {number}")
        return number

    def remove(self, number: int) -> bool:
        """False when there is no such fault."""
        return self._injected.pop(number, None) is not None

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {"id": number, "hits": rule.hits.total(), **rule.fault.as_json()}
            for number, rule in self._injected.items()
        ]

    def due(
        self, vendor: str, route: str, question: str, spelled: Container[str]
    ) -> Injection | None:
        """What goes wrong with this call; faults the vendor has no word for do not touch it."""
        delay, late = 0.0, None
        for rule in self._candidates(question):
            fault = rule.fault
            if fault.kind in SPELLED and fault.spelling not in spelled:
                continue
            if not fault.fits(vendor, route, question):
                continue
            nth = rule.turn(vendor, route, question)
            if not nth:
                continue
            if fault.kind != "latency":
                return Injection(fault, nth, delay)
            delay += 1.0 if fault.seconds is None else fault.seconds
            late = Injection(fault, nth, delay)
        return late

    def _candidates(self, question: str) -> Iterator[_Rule]:
        yield from self._injected.values()
        if question and self._stories:
            for word in _WORDS.findall(question):
                yield from self._stories[word]
