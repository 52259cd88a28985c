"""What can go wrong at a vendor, as data: plain values that travel as JSON.

A fault is selected by vendor, route and question, for the first `times` calls or permanently, and may be left
to chance. Below are the choice of the fault that is due, and the stories that words in a question tell.

    kind             fields            what the client sees
    throttled        dialect, seconds  the vendor's rate limit, with room again after `seconds` (1);
                                       Clearbit: "relative" states seconds, not a moment
    quota_spent      dialect           the vendor's exhausted plan; Kickbox also "insufficient" and "200",
                                       ZeroBounce "400"
    unauthorized                       a key that is no longer good
    forbidden                          Hunter: a key without the permission (403); ZeroBounce: its shield
    pending          dialect           202; Clearbit spells it "empty" or "body", else in turns; Emailable: 249;
                                       Bouncer: a 200 that names a moment, or "seconds"
    unknown_record   dialect           404, which Clearbit charges; Apollo: an empty 200, spelt
                                       "missing", "null" or "nothing", else in turns, or a person's "stub"
    unknown_route                      404 of a path that does not exist
    claimed_email                      Hunter: 451, the person objected
    smtp_failed                        Hunter: 222, the remote mail server failed
    invalid_domain                     Hunter: 400, also what a domain owner's objection looks like
    invalid_email                      Hunter: 400
    wrong_params     dialect           400 or 422: a part of the question is missing or malformed;
                                       for Clearbit and Hunter the dialect is one of these numbers
    wrong_method                       PDL: 405
    api_error                          500 in the vendor's own JSON
    status           status, body, headers   exactly that
    server_error     status (503)      an HTML page of a proxy
    html             status (200)      a page instead of JSON
    empty            status (200)      no body
    empty_list                         `[]`
    truncated                          half of the JSON
    wrong_types                        numbers as strings
    all_nulls                          every value null
    wrong_charset                      Latin-1 bytes under a UTF-8 label
    huge             size (50 MB)      a huge body, streamed
    gzip_bomb        size (50 MB)      a small body that unpacks to `size`
    latency          seconds (1)       the answer, later
    hang             seconds (600)     no answer
    drip             seconds (30)      the answer, piece by piece
    reset                              the connection is reset without an answer
    cut_off                            the connection ends in the middle of the body
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from itertools import count
from random import Random
from typing import Any

from enricher.answer import Kind, Reply
from enricher.catalogue import HUNTER_FINDER, PROVIDERS
from enricher.simulator.facts import FIRST_TO_TELL

PAGE = b"<!DOCTYPE html><html><body><h1>503 Service Unavailable</h1>nginx</body></html>"
HTML_TYPE = "text/html; charset=utf-8"
JSON_TYPE = "application/json; charset=utf-8"
DEFAULT_SIZE = 50 * 1024 * 1024

SPELLED = frozenset(
    [
        "throttled",
        "quota_spent",
        "unauthorized",
        "forbidden",
        "pending",
        "unknown_record",
        "unknown_route",
        "claimed_email",
        "smtp_failed",
        "invalid_domain",
        "invalid_email",
        "wrong_params",
        "wrong_method",
        "api_error",
    ]
)
"""Kinds that each vendor spells in its own code book; a vendor without an entry there is unaffected."""
_STATUSES = range(200, 600)
SILENT = frozenset(("reset", "hang"))
_OWN_FIELDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(SPELLED, frozenset[str]()),
    "throttled": frozenset(("dialect", "seconds")),
    "quota_spent": frozenset(("dialect",)),
    **dict.fromkeys(("pending", "unknown_record", "wrong_params"), frozenset(("dialect",))),
    "status": frozenset(("status", "body", "headers")),
    **dict.fromkeys(("server_error", "html", "empty"), frozenset(("status",))),
    **dict.fromkeys(
        ("empty_list", "truncated", "wrong_types", "all_nulls", "wrong_charset"), frozenset[str]()
    ),
    **dict.fromkeys(("huge", "gzip_bomb"), frozenset(("size",))),
    **dict.fromkeys(("latency", "hang", "drip"), frozenset(("seconds",))),
    **dict.fromkeys(("reset", "cut_off"), frozenset[str]()),
}
KINDS = frozenset(_OWN_FIELDS)
"""All kinds of fault."""
_COMMON = frozenset(
    [
        "kind",
        "vendor",
        "route",
        "question",
        "times",
        "per_question",
        "after",
        "lasts",
        "probability",
        "charged",
    ]
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; see the table above. Raises ValueError for anything that is not in it."""

    kind: str
    vendor: str | None = None
    route: str | None = None
    question: str = "*"
    """Shell pattern for the domain or address, which are in lower case."""
    times: int | None = None
    """Number of calls affected, the first ones; `None` for all."""
    per_question: bool = False
    """Count `times` and `after` for each question separately."""
    after: int = 0
    """Number of calls to let through first."""
    lasts: float | None = None
    """Seconds for which it is in force, from the first call that it meets; `None` for good. With `unknown_record`, the
    vendor learns of it then."""
    probability: float = 1.0
    charged: bool | None = None
    """Whether the vendor bills it; `None` for its usual billing of that status."""
    dialect: str | None = None
    seconds: float | None = None
    status: int | None = None
    body: str | None = None
    """Bytes that are not UTF-8 are lone surrogates, as in `surrogateescape`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _OWN_FIELDS:
            raise ValueError(f"there is no fault {self.kind!r}; known: {', '.join(_OWN_FIELDS)}")
        stray = sorted(self.as_json().keys() - _COMMON - _OWN_FIELDS[self.kind])
        if stray:
            raise ValueError(f"the fault {self.kind!r} takes no {', '.join(stray)}")
        self._check_values()

    def _check_values(self) -> None:
        for spec in fields(self):
            value, (allowed, words) = getattr(self, spec.name), _VALUES[spec.name]
            is_default = value is None and spec.default is None
            if not is_default and (
                not isinstance(value, allowed) or _is_stray_bool(value, allowed)
            ):
                raise ValueError(f"{spec.name} of a fault is {words}")
        if not 0 <= self.probability <= 1:
            raise ValueError("probability of a fault is between 0 and 1")
        if self.kind == "status" and self.status is None:
            raise ValueError("the fault 'status' needs a status")
        if self.status is not None and self.status not in _STATUSES:
            raise ValueError("status of a fault is between 200 and 599")

    def as_json(self) -> dict[str, Any]:
        """Return only what differs from the defaults."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        plain = {spec.name: spec.default for spec in fields(self)} | {"headers": {}}
        return {name: value for name, value in values.items() if value != plain[name]}

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Reverse `as_json`; raises ValueError with one readable sentence."""
        if not isinstance(value, dict) or "kind" not in value:
            raise ValueError("a fault is an object with at least a kind")
        stray = sorted(value.keys() - {spec.name for spec in fields(cls)})
        if stray:
            raise ValueError(f"a fault has no field {', '.join(map(str, stray))}")
        return cls(**value)

    def fits(self, vendor: str, route: str, question: str) -> bool:
        return (
            self.vendor in (None, vendor)
            and self.route in (None, route)
            and (self.question == "*" or _pattern(self.question).match(question) is not None)
        )

    @property
    def spelling(self) -> str:
        """The key in a vendor's code book."""
        return f"{self.kind}:{self.dialect}" if self.dialect else self.kind


_NUMBER = ((int, float), "a number")
_WHOLE = (int, "a whole number")
_TEXT = (str, "text")
_FLAG = (bool, "true or false")
_VALUES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("kind", "vendor", "route", "question", "dialect", "body"), _TEXT),
    **dict.fromkeys(("times", "after", "status", "size"), _WHOLE),
    **dict.fromkeys(("probability", "seconds", "lasts"), _NUMBER),
    **dict.fromkeys(("per_question", "charged"), _FLAG),
    "headers": (Mapping, "an object of texts"),
}


def _is_stray_bool(value: object, allowed: type | tuple[type, ...]) -> bool:
    """Tell a misplaced bool: JSON's true is a Python integer, but not a number of calls."""
    return isinstance(value, bool) and allowed is not bool


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that is due for one call."""

    fault: Fault
    nth: int
    """Number of this hit for this question, from 1."""
    delay: float = 0.0

    @property
    def name(self) -> str:
        return self.fault.kind

    @property
    def is_silent(self) -> bool:
        """Whether the client gets no answer."""
        return self.fault.kind in SILENT

    @property
    def reply(self) -> Reply | None:
        """The fault's own answer; `None` when it only spoils the ordinary one."""
        fault = self.fault
        match fault.kind:
            case "status":
                headers = {"Content-Type": JSON_TYPE, **fault.headers}
                body = (fault.body or "").encode("utf-8", "surrogateescape")
                return Reply(fault.status or 200, headers, body)
            case "server_error" | "html":
                default = 503 if fault.kind == "server_error" else 200
                return Reply(fault.status or default, {"Content-Type": HTML_TYPE}, PAGE)
            case "empty":
                return Reply(fault.status or 200, {"Content-Type": JSON_TYPE})
            case "empty_list":
                return Reply(200, {"Content-Type": JSON_TYPE}, b"[]")
        return None

    def bills(self, *, default: bool) -> bool:
        return default if self.fault.charged is None else self.fault.charged


# The faults in force: those injected, and the stories that magic names tell.
#
# The first fault that is due wins, injected ones before stories; latency adds up with what follows it.
#
# Words in a domain or address tell these stories without any set-up, once for each question:
#
#     word        Clearbit                     Hunter verifier               Hunter company, person
#     pending     202 twice, then the record   202 twice, then the verdict   (ordinary)
#     unknown     404 unknown_record           status "unknown"              404 not_found
#     flaky       503 twice, then the record   503 twice, then the verdict   503 twice, then the record
#     throttled   429 once                     429 with Retry-After once     429 with Retry-After once
#     slow        two seconds late             two seconds late              two seconds late
#     hollow      every value null             every value null              every value null
#     garbled     half the JSON, once          half the JSON, once           half the JSON, once
#     outage      503 always                   503 always                    503 always
#     claimed     (ordinary)                   451 claimed_email             451 for the person
#     smtpfail    (ordinary)                   222 once, then the verdict    (ordinary)
#     bounce      (ordinary)                   status "invalid"              (ordinary)
#     catchall    (ordinary)                   status "accept_all"           (ordinary)
#     shaky       (ordinary)                   503 five times, then usual    (ordinary)
#     blackout    503 always                   (ordinary)                    (ordinary)
#
# Companies that not every vendor knows; the word decides which vendor is the first that does. Persons are
# known all the same.
#
#     regional    Hunter, after Clearbit
#     obscure     PDL, after the two
#     hermit      Apollo, after the three
#     stealth     no vendor
#     newborn     all of them, but not when they are first asked: they learn of it later
#     brasil      no vendor; but it has a web site, and the Brazilian register may know it
#
# PDL and Apollo treat "flaky", "throttled", "slow", "hollow", "garbled" and "outage" as Clearbit does, and
# report "unknown" in their own way (PDL: 404, Apollo: an empty 200). Persons have two more words:
#
#     moved       works for another company by now, according to every vendor
#     stranger    the record is somebody else's, at PDL and Apollo
#
# Companies that are looked for by their names have three:
#
#     misnamed    every vendor takes it for another company
#     namesake    each vendor takes it for one of another domain, and none is sure
#     vague       PDL is not sure, and the others know nothing
#
# The verifiers after Hunter fail and throttle as it does, and know "unknown", "bounce" and "catchall". Mailboxes on
# which not every verifier comes to a verdict; the word decides which one is the first that does:
#
#     murky       ZeroBounce, after Hunter
#     foggy       Kickbox, after the two
#     misty       Bouncer, after the three
#     hazy        Emailable, after the four
#

_COMPANY_ROUTES = {
    each.vendor: each.route for each in PROVIDERS.values() if each.kind is Kind.COMPANY
}
"""In the order in which the daemon asks."""


def _story(word: str, kind: str, times: int | None = None, **more: Any) -> Fault:
    return Fault(kind, question=f"*{word}*", times=times, per_question=True, **more)


def _not_known(word: str, *vendors: str, times: int | None = None) -> tuple[Fault, ...]:
    routes = {vendor: _COMPANY_ROUTES[vendor] for vendor in vendors}
    return tuple(
        _story(word, "unknown_record", times, vendor=vendor, route=route)
        for vendor, route in routes.items()
    )


STORIES: Mapping[str, tuple[Fault, ...]] = {
    "pending": (_story("pending", "pending", 2),),
    "unknown": (
        *(
            _story("unknown", "unknown_record", vendor=each)
            for each in ("clearbit", "pdl", "apollo")
        ),
        *(
            _story("unknown", "unknown_record", vendor="hunter", route=PROVIDERS[each].route)
            for each in ("hunter_company", "hunter_person")
        ),
        _story("unknown", "unknown_record", vendor="hunter", route=HUNTER_FINDER.route),
    ),
    "flaky": (_story("flaky", "server_error", 2),),
    "throttled": (
        _story("throttled", "throttled", 1, vendor="clearbit"),
        _story("throttled", "throttled", 1, vendor="hunter", dialect="429"),
        _story("throttled", "throttled", 1, vendor="pdl"),
        *(
            _story("throttled", "throttled", 1, vendor=each)
            for each in ("apollo", *FIRST_TO_TELL.values())
        ),
    ),
    "slow": (_story("slow", "latency", seconds=2.0),),
    "hollow": (_story("hollow", "all_nulls"),),
    "garbled": (_story("garbled", "truncated", 1),),
    "outage": (_story("outage", "server_error"),),
    "claimed": (_story("claimed", "claimed_email"),),
    "smtpfail": (_story("smtpfail", "smtp_failed", 1),),
    "shaky": (
        _story("shaky", "server_error", 5, vendor="hunter", route=PROVIDERS["hunter"].route),
    ),
    "blackout": (_story("blackout", "server_error", vendor="clearbit"),),
    "regional": _not_known("regional", "clearbit"),
    "obscure": _not_known("obscure", "clearbit", "hunter"),
    "hermit": _not_known("hermit", "clearbit", "hunter", "pdl"),
    "stealth": _not_known("stealth", *_COMPANY_ROUTES),
    "newborn": _not_known("newborn", *_COMPANY_ROUTES, times=1),
    "brasil": _not_known("brasil", *_COMPANY_ROUTES),
}
_WORDS = re.compile("|".join(STORIES))


class _Rule:
    """A fault and how often it was met; chance depends on question and turn, not on timing."""

    __slots__ = ("draws", "ends_at", "fault", "hits", "seed", "seen")

    def __init__(self, fault: Fault, seed: str) -> None:
        self.fault = fault
        self.seed = seed
        self.ends_at = math.inf
        self.seen: Counter[str] = Counter()
        self.draws: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()

    def turn(self, vendor: str, route: str, question: str) -> int:
        """Return 0 when the fault is not due this time, else the number of this hit for its question."""
        if self._is_over():
            return 0
        own = f"{vendor} {route} {question}"
        counted = own if self.fault.per_question else ""
        self.seen[counted] += 1
        if self.seen[counted] <= self.fault.after or self._is_used_up(counted):
            return 0
        if self.fault.probability < 1 and not self._is_unlucky(own):
            return 0
        self.hits[counted] += 1
        return self.hits[counted]

    def _is_over(self) -> bool:
        if self.fault.lasts is not None and math.isinf(self.ends_at):
            self.ends_at = time.monotonic() + self.fault.lasts
        return time.monotonic() >= self.ends_at

    def _is_used_up(self, counted: str) -> bool:
        return self.fault.times is not None and self.hits[counted] >= self.fault.times

    def _is_unlucky(self, own: str) -> bool:
        self.draws[own] += 1
        return Random(f"{self.seed} {own} {self.draws[own]}").random() < self.fault.probability


class Faults:
    """The faults in force: injected ones first, in the order of arrival, then the stories."""

    def __init__(self, seed: int = 1, *, stories: bool = True) -> None:
        self._seed = seed
        self._tells_stories = stories
        self.clear()

    def clear(self) -> None:
        """Withdraw every injected fault and start every story anew."""
        self._ids = count(1)
        self._injected: dict[int, _Rule] = {}
        self._stories = {
            word: [_Rule(fault, f"{self._seed} {word}") for fault in faults]
            for word, faults in (STORIES.items() if self._tells_stories else ())
        }

    def add(self, fault: Fault) -> int:
        """Put a fault in force; return the number by which to remove it."""
        number = next(self._ids)
        self._injected[number] = _Rule(fault, f"{self._seed} {number}")
        return number

    def remove(self, number: int) -> bool:
        """Remove a fault; return False when there is none with that number."""
        return self._injected.pop(number, None) is not None

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {"id": number, "hits": rule.hits.total(), **rule.fault.as_json()}
            for number, rule in self._injected.items()
        ]

    def due(
        self, vendor: str, route: str, question: str, spelled: Container[str]
    ) -> Injection | None:
        """Return what goes wrong with this call. Faults that the vendor has no word for do not affect it."""
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
