"""What can go wrong at a vendor, as data: plain values that travel as JSON.

A fault is picked by vendor, route and question, for the first `times` calls or for good, and may be
left to chance (see `stories.py` for which one is due).

    kind             fields            what the client sees
    throttled        dialect, seconds  the vendor's rate limit; room comes free after `seconds` (1);
                                       Clearbit: "relative" tells so many seconds and no moment
    quota_spent      dialect           the vendor's exhausted plan
    unauthorized                       a key that is no longer good
    forbidden                          Hunter: a key without the permission (403)
    pending          dialect           202; Clearbit spells it "empty" or "body", else in turns
    unknown_record   dialect           404, which Clearbit charges; Apollo: an empty 200, spelt
                                       "missing", "null" or "nothing", else in turns
    unknown_route                      404 of a path that is not there
    claimed_email                      Hunter: 451, the person objected
    smtp_failed                        Hunter: 222, the remote mail server failed
    invalid_domain                     Hunter: 400, also what a domain owner's objection looks like
    invalid_email                      Hunter: 400
    wrong_params     dialect           400 or 422: something of the question is missing or malformed;
                                       Clearbit and Hunter know either, by their number
    wrong_method                       PDL: 405
    api_error                          500 in the vendor's own JSON
    status           status, body, headers   that, literally
    server_error     status (503)      an HTML page of a proxy
    html             status (200)      a page instead of JSON
    empty            status (200)      no body
    empty_list                         `[]`
    truncated                          half of the JSON
    wrong_types                        numbers as strings
    all_nulls                          every value null
    wrong_charset                      Latin-1 bytes under a UTF-8 label
    huge             size (50 MB)      a body that does not end, streamed
    gzip_bomb        size (50 MB)      a small body that unpacks to `size`
    latency          seconds (1)       the answer, later
    hang             seconds (600)     no answer
    drip             seconds (30)      the answer, byte by byte
    reset                              the connection is reset without an answer
    cut_off                            the connection ends in the middle of the body
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from typing import Any

from enricher.answer import Reply

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
"""Kinds that each vendor spells in its own code book; one without an entry there is unaffected."""
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
"""All that can go wrong."""
_COMMON = frozenset(
    [
        "kind",
        "vendor",
        "route",
        "question",
        "times",
        "per_question",
        "after",
        "probability",
        "charged",
    ]
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; see the table above. Raises ValueError for what is not in it."""

    kind: str
    vendor: str | None = None
    route: str | None = None
    question: str = "*"
    """Shell pattern over the domain or address, which are lower-case."""
    times: int | None = None
    """The first so many calls; `None` for all."""
    per_question: bool = False
    """Count `times` and `after` for each question on its own."""
    after: int = 0
    """Let so many calls through first."""
    probability: float = 1.0
    charged: bool | None = None
    """Whether the vendor bills it; `None` for what it bills for that status."""
    dialect: str | None = None
    seconds: float | None = None
    status: int | None = None
    body: str | None = None
    """Bytes that are no UTF-8 are lone surrogates, as `surrogateescape` has them."""
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
        """Only what differs from the defaults."""
        values = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        plain = {spec.name: spec.default for spec in fields(self)} | {"headers": {}}
        return {name: value for name, value in values.items() if value != plain[name]}

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """The reverse of `as_json`; raises ValueError with one readable sentence."""
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
        """Its key in a vendor's code book."""
        return f"{self.kind}:{self.dialect}" if self.dialect else self.kind


_NUMBER = ((int, float), "a number")
_WHOLE = (int, "a whole number")
_TEXT = (str, "text")
_FLAG = (bool, "true or false")
_VALUES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("kind", "vendor", "route", "question", "dialect", "body"), _TEXT),
    **dict.fromkeys(("times", "after", "status", "size"), _WHOLE),
    **dict.fromkeys(("probability", "seconds"), _NUMBER),
    **dict.fromkeys(("per_question", "charged"), _FLAG),
    "headers": (Mapping, "an object of texts"),
}


def _is_stray_bool(value: object, allowed: type | tuple[type, ...]) -> bool:
    """JSON's true is a Python integer, but it is no number of calls."""
    return isinstance(value, bool) and allowed is not bool


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.lower()))


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that is due for one call."""

    fault: Fault
    nth: int
    """Which hit this is for this question, from 1."""
    delay: float = 0.0

    @property
    def name(self) -> str:
        return self.fault.kind

    @property
    def is_silent(self) -> bool:
        """The client gets no answer."""
        return self.fault.kind in SILENT

    @property
    def reply(self) -> Reply | None:
        """The answer that the fault itself brings; `None` when it only spoils the ordinary one."""
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
