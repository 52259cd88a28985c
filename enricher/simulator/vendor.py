"""What every simulated vendor shares: from an arrival to the answer, in the order a vendor judges.

    route -> windows -> key -> parameters -> quota -> fault -> record

A route that does not exist is refused before the key is looked at, and windows count refused keys
too: both were observed on a live host. A fault replaces only an answer that would have been good, so
a call over the limit never uses one up.

A vendor is a subclass with its routes, its code book (`answers`) and what it charges for. One
instance holds no state but its windows, so a reset is a new instance.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias
from urllib.parse import unquote

from aiohttp import web

from enricher.answer import Reply
from enricher.simulator.faults import Injection
from enricher.simulator.journal import Entry, Journal
from enricher.simulator.stories import Faults
from enricher.simulator.windows import VENDOR_WINDOWS, SlidingLog, Verdict

JSON_TYPE = "application/json; charset=utf-8"
DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z][a-z0-9-]+")
ADDRESS = re.compile(r"[^@\s]{1,64}@" + DOMAIN.pattern)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a vendor is told at the start; the same for all of them."""

    seed: int = 1
    keys: Mapping[str, str] = field(default_factory=dict)
    """Vendor -> the only good key. Without an entry every key is good unless it begins "wrong"."""
    windows: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Scope or vendor -> (calls, seconds) pairs instead of the documented ones; `()` for none."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Vendor -> units (`Route.price`) until its quota is spent: calls, where each costs one."""
    hunter_dialect: str = "docs"
    """"docs": 403 is the rate limit and 429 the quota; "connector": 429 and 402."""


@dataclass(slots=True)
class Call:
    """One request on its way through a vendor."""

    request: web.Request
    entry: Entry
    route: Route | None
    verdict: Verdict | None = None
    nth: int = 0
    """Which hit of its fault this is for its question, from 1."""
    injection: Injection | None = None


Answer: TypeAlias = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One documented path of a vendor."""

    name: str
    answer: Answer
    parameter: str = ""
    """The query parameter that holds the question."""
    scope: str = ""
    """Whose windows it counts in; empty for a route without a limit."""
    methods: tuple[str, ...] = ("GET",)
    price: int = 1
    """What a charged call costs, in the vendor's smallest unit (Hunter: half a credit)."""
    spares: frozenset[str] = frozenset()
    """Words of the vendor's code book that this route never says."""


class Vendor(ABC):
    """One simulated vendor."""

    name: ClassVar[str]
    charges_again: ClassVar[bool] = False
    """Whether the same question costs anew each time, and not once in a billing month."""
    routes: Mapping[str, Route]
    """Path below the vendor's base URL -> route."""
    answers: Mapping[str, Answer]
    """The code book: kind of fault, with ":dialect" for one spelling of it -> answer."""

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        self.terms = terms
        self.journal = journal
        self.faults = faults
        self._logs: dict[str, SlidingLog] = {}

    @abstractmethod
    def unknown_route(self, call: Call) -> Reply:
        """The answer to a path that is not there."""

    @abstractmethod
    def refuse_key(self, call: Call) -> Reply | None:
        """The answer to a missing or wrong key; `None` for a good one. Notes what it saw."""

    @abstractmethod
    def refuse_parameters(self, call: Call) -> Reply | None:
        """The answer to a malformed question; `None` when it may be asked."""

    @abstractmethod
    def is_billable(self, call: Call, reply: Reply) -> bool:
        """Whether this answer costs, if the question was not paid for already."""

    def arrive(self, request: web.Request) -> Call:
        """Journal the call as it comes in."""
        path = request.path[len(self.name) + 1 :]
        route = self.routes.get(path)
        if route is not None and request.method not in route.methods:
            route = None
        name, parameter = (route.name, route.parameter) if route else ("unknown_route", "")
        question = request.query.get(parameter, "").strip().lower()
        entry = self.journal.open(self.name, name, question)
        entry.key_in_url = self._is_key_in(request)
        return Call(request, entry, route)

    def _is_key_in(self, request: web.Request) -> bool:
        """Where it ends up in everybody's logs, whatever the parameter is called."""
        key = self.terms.keys.get(self.name)
        return "api_key" in request.query or (key is not None and key in unquote(request.path_qs))

    def judge(self, call: Call) -> Reply:
        """Decide, and write the decision down; nothing here waits."""
        reply = self._refuse(call) or self._misbehave(call) or self._answer(call)
        entry, injection = call.entry, call.injection
        billable = self.is_billable(call, reply)
        if injection is not None:
            entry.fault = injection.name
            billable = injection.bills(default=billable)
        status = 0 if injection is not None and injection.is_silent else reply.status
        price = call.route.price if call.route else 1
        self.journal.decide(entry, status, billable=billable, price=price, again=self.charges_again)
        return reply

    def _refuse(self, call: Call) -> Reply | None:
        if call.route is None:
            return self.unknown_route(call)
        call.verdict = self._log_of(self.scope_of(call, call.route)).judge(call.entry.arrived)
        refused = self.refuse_key(call)
        if call.verdict is not None and not call.verdict.admitted:
            call.entry.over_limit = True
            return self.answers["throttled"](call)
        return refused or self.refuse_parameters(call) or self._refuse_over_quota(call)

    def scope_of(self, call: Call, route: Route) -> str:  # noqa: ARG002 - for vendors with plans
        """In whose windows this call counts."""
        return route.scope

    def _refuse_over_quota(self, call: Call) -> Reply | None:
        quota = self.terms.quotas.get(self.name)
        account = self.journal.billing[self.name]
        is_paid_for = call.entry.matter in account.paid_for and not self.charges_again
        if quota is None or call.route is None or is_paid_for:
            return None
        if account.spent + call.route.price <= quota:
            return None
        return self.answers["quota_spent"](call) if call.entry.question else None

    def _misbehave(self, call: Call) -> Reply | None:
        """Take the fault that is due; those made of bytes are left to the delivery."""
        entry = call.entry
        spelled = self.answers.keys() - (call.route.spares if call.route else ())
        injection = self.faults.due(self.name, entry.route, entry.question, spelled)
        if injection is None:
            return None
        call.injection, call.nth = injection, injection.nth
        say = self.answers.get(injection.fault.spelling)
        return say(call) if say else injection.reply

    def _answer(self, call: Call) -> Reply:
        if call.route is None:
            return self.unknown_route(call)
        return call.route.answer(call)

    def _log_of(self, scope: str) -> SlidingLog:
        log = self._logs.get(scope)
        if log is None:
            log = self._logs[scope] = SlidingLog(self._windows_of(scope))
        return log

    def _windows_of(self, scope: str) -> Sequence[Sequence[float]]:
        if not scope:
            return ()
        told = self.terms.windows
        return told.get(scope, told.get(self.name, VENDOR_WINDOWS.get(scope, ())))

    def key_state(self, key: str | None) -> str:
        """ "ok", "wrong" or "none": all that is kept of a key."""
        if not key:
            return "none"
        good = self.terms.keys.get(self.name)
        is_good = key == good if good is not None else not key.startswith("wrong")
        return "ok" if is_good else "wrong"


def bearer(request: web.Request) -> str | None:
    """The key of an `Authorization: Bearer` header."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def basic_user(request: web.Request) -> str | None:
    """The user name of an `Authorization: Basic` header."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def wait_of(call: Call) -> float:
    """Seconds until a throttled call may come again: told by its fault, else by its window."""
    if call.injection is not None:
        seconds = call.injection.fault.seconds
        return 1.0 if seconds is None else seconds
    return call.verdict.reset_in if call.verdict else 0.0
