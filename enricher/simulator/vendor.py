"""What every simulated vendor shares: from an arrival to the answer, in the order in which a vendor judges.

    route -> windows -> key -> parameters -> quota -> fault -> record

A route that does not exist is refused before the key is looked at, and windows count refused keys too: both
were observed on a live host. A fault only replaces an answer that would have been good, so a call over the limit
never uses one up.

A vendor is a subclass with its routes, its code book (`answers`) and what it charges for. An instance holds all
state of its vendor, such as its windows, so a reset just makes a new instance.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import zlib
from abc import ABC, abstractmethod
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias
from urllib.parse import unquote

from aiohttp import web

from enricher.answer import Reply
from enricher.catalogue import FINDERS, PROVIDERS, VENDORS, ProviderListing, Window, of_vendor
from enricher.simulator.faults import DEFAULT_SIZE, Faults, Injection
from enricher.simulator.journal import Entry, Journal
from enricher.simulator.records import encode

# Strict windows: a vendor's limit kept as a log of arrivals, judged over every sliding window.
#
# Real vendors mostly count in fixed windows and forgive a burst across their edge. The simulator does
# not: a client that passes here passes everywhere. A call is judged by when it arrived, before any
# simulated latency, so a slow answer can hide nothing.


def scope_of(listing: ProviderListing) -> str:
    """Return the scope of a route. Routes of one scope share windows; each of Clearbit's two hosts has its own."""
    shared = listing.bucket.removeprefix(f"{listing.vendor}_")
    return f"{listing.vendor}/{shared or listing.route}"


def _documented() -> Iterator[tuple[str, tuple[Window, ...]]]:
    """Yield windows by scope, and by plan if the vendor has a free one: a key beginning with "free" is on it."""
    for listing in PROVIDERS.values():
        scope, paid = scope_of(listing), VENDORS[listing.vendor].paid_per_minute
        if paid is None:
            yield scope, listing.windows
        else:
            yield scope, (Window(paid, 60),)
            yield f"{scope}/free", listing.windows


VENDOR_WINDOWS: Mapping[str, tuple[Window, ...]] = dict(_documented())
"""What the vendors document, by scope."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a call was let in, and what the vendor may say about it in headers."""

    admitted: bool
    limit: int
    remaining: int
    reset_in: float
    """Seconds until the tightest window has room for one more call than it has now."""
    left: tuple[tuple[Window, int], ...] = ()
    """Every window, and the calls left in it."""


class SlidingLog:
    """All windows of one scope. Refused calls take no room, or a hammering client would never recover."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self.windows = tuple(windows)
        self._logs: tuple[deque[float], ...] = tuple(deque() for _ in self.windows)

    def judge(self, now: float) -> Admission | None:
        """Admit or refuse the arrival; `None` when there is no limit. `now` is monotonic."""
        if not self.windows:
            return None
        self._forget(now)
        free = [
            window.calls - len(log) for window, log in zip(self.windows, self._logs, strict=True)
        ]
        admitted = min(free) > 0
        if admitted:
            for log in self._logs:
                log.append(now)
        return self._verdict(free.index(min(free)), now, admitted=admitted)

    def _forget(self, now: float) -> None:
        for window, log in zip(self.windows, self._logs, strict=True):
            while log and log[0] <= now - window.seconds:
                log.popleft()

    def _verdict(self, tightest: int, now: float, *, admitted: bool) -> Admission:
        window, log = self.windows[tightest], self._logs[tightest]
        oldest = log[0] if log else now
        left = tuple(
            (each, each.calls - len(calls))
            for each, calls in zip(self.windows, self._logs, strict=True)
        )
        return Admission(
            admitted, window.calls, window.calls - len(log), oldest + window.seconds - now, left
        )


JSON_TYPE = "application/json; charset=utf-8"
DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z][a-z0-9-]+")
ADDRESS = re.compile(r"[^@\s]{1,64}@" + DOMAIN.pattern)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a vendor is configured with; the same for all of them."""

    seed: int = 1
    keys: Mapping[str, str] = field(default_factory=dict)
    """Vendor -> the only good key. Without an entry every key is good unless it begins with "wrong"."""
    windows: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """Scope or vendor -> (calls, seconds) pairs instead of the documented ones; `()` for none."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Vendor -> units (`Route.price`) until its quota is spent; calls, if each costs one unit."""
    hunter_dialect: str = "docs"
    """"docs": 403 is the rate limit and 429 the quota; "connector": 429 and 402."""


@dataclass(slots=True)
class Call:
    """One request on its way through a vendor."""

    request: web.Request
    entry: Entry
    route: Route | None
    verdict: Admission | None = None
    nth: int = 0
    """Number of this hit of its fault for its question, from 1."""
    injection: Injection | None = None


Answer: TypeAlias = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One documented path of a vendor."""

    name: str
    answer: Answer
    parameter: str = ""
    """The query parameter that holds the question."""
    instead: str = ""
    """The one that may hold it instead: a company's name in place of its domain."""
    scope: str = ""
    """Name of the windows it counts in; empty for a route without a limit."""
    methods: tuple[str, ...] = ("GET",)
    price: int = 1
    """What a charged call costs, in the vendor's smallest unit (Hunter: half a credit)."""
    spares: frozenset[str] = frozenset()
    """Entries of the vendor's code book that this route never uses."""


def asked_by(
    provider: str,
    answer: Answer,
    parameter: str,
    *methods: str,
    instead: str = "",
    spares: frozenset[str] = frozenset(),
) -> dict[str, Route]:
    """Return the path and route that this provider asks, as the catalogue has them."""
    listing = PROVIDERS.get(provider) or FINDERS[provider]
    unit = min(each.credits for each in of_vendor(listing.vendor))
    route = Route(
        listing.route,
        answer,
        parameter,
        instead,
        scope_of(listing),
        methods or ("GET",),
        price=round(listing.credits / unit),
        spares=spares,
    )
    return {listing.path: route}


class Vendor(ABC):
    """One simulated vendor."""

    name: ClassVar[str]
    charges_again: ClassVar[bool] = False
    """Whether the same question costs anew each time, rather than once in a billing month."""
    key_parameter: ClassVar[str] = ""
    """The query parameter that holds the key, of a vendor that takes it nowhere else."""
    routes: Mapping[str, Route]
    """Path below the vendor's base URL -> route."""
    answers: Mapping[str, Answer]
    """The code book: kind of fault, plus ":dialect" for one spelling of it -> answer."""

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        self.terms = terms
        self.journal = journal
        self.faults = faults
        self._logs: dict[str, SlidingLog] = {}

    @abstractmethod
    def unknown_route(self, call: Call) -> Reply:
        """Return the answer to a path that does not exist."""

    @abstractmethod
    def refuse_key(self, call: Call) -> Reply | None:
        """Return the answer to a missing or wrong key, `None` for a good one. Notes what it saw."""

    @abstractmethod
    def refuse_parameters(self, call: Call) -> Reply | None:
        """Return the answer to a malformed question; `None` when it may be asked."""

    @abstractmethod
    def is_billable(self, call: Call, reply: Reply) -> bool:
        """Tell whether this answer costs, if the question was not paid for already."""

    def arrive(self, request: web.Request) -> Call:
        """Journal the call as it comes in."""
        path = request.path[len(self.name) + 1 :]
        route = self.routes.get(path)
        if route is not None and request.method not in route.methods:
            route = None
        name = route.name if route else "unknown_route"
        entry = self.journal.open(self.name, name, _question(request, route))
        entry.key_in_url = self._is_key_in(request)
        return Call(request, entry, route)

    def _is_key_in(self, request: web.Request) -> bool:
        """Tell whether the URL holds the key where it need not, under any parameter: it would end up in logs."""
        key = self.terms.keys.get(self.name)
        if self.key_parameter:
            others = (value for name, value in request.query.items() if name != self.key_parameter)
            return key is not None and key in (*others, unquote(request.path))
        return "api_key" in request.query or (key is not None and key in unquote(request.path_qs))

    def judge(self, call: Call) -> Reply:
        """Decide, and record the decision; nothing here waits."""
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
        """Name the windows in which this call counts."""
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
        """Take the fault that is due. Faults in the bytes on the wire are left to `deliver`."""
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

    def _windows_of(self, scope: str) -> Sequence[Window]:
        if not scope:
            return ()
        told = self.terms.windows.get(scope, self.terms.windows.get(self.name))
        if told is None:
            return VENDOR_WINDOWS.get(scope, ())
        return [Window(int(calls), float(seconds)) for calls, seconds in told]

    def key_state(self, key: str | None) -> str:
        """Return "ok", "wrong" or "none": all that is kept of a key."""
        if not key:
            return "none"
        good = self.terms.keys.get(self.name)
        is_good = key == good if good is not None else not key.startswith("wrong")
        return "ok" if is_good else "wrong"


def _question(request: web.Request, route: Route | None) -> str:
    asked = (route.parameter, route.instead) if route else ()
    given = (request.query.get(each, "").strip().lower() for each in asked if each)
    return next((each for each in given if each), "")


def bearer(request: web.Request) -> str | None:
    """Return the key of an `Authorization: Bearer` header."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def basic_user(request: web.Request) -> str | None:
    """Return the user name of an `Authorization: Basic` header."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return b64decode(value, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


def wait_of(call: Call) -> float:
    """Return seconds until a throttled call may come again, from its fault or else its window."""
    if call.injection is not None:
        seconds = call.injection.fault.seconds
        return 1.0 if seconds is None else seconds
    return call.verdict.reset_in if call.verdict else 0.0


# From a decision to bytes on the wire, whole or spoilt.
#
# Bodies of many megabytes are streamed from one small block and never built, so that the simulator does
# not itself need the memory that it denies to its clients.

BLOCK = b" " * 65_536
DRIPS = 100
"""Number of pieces in which a dripping body is sent."""


def plain(reply: Reply) -> web.Response:
    """Return the answer as decided."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def deliver(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """Return the answer as the fault leaves it."""
    kind = injection.fault.kind
    if kind in _WIRE:
        return await _WIRE[kind](request, reply, injection)
    if kind in _SPOIL:
        reply = Reply(reply.status, reply.headers, _SPOIL[kind](reply.body))
    return plain(reply)


def _seconds(injection: Injection, default: float) -> float:
    return default if injection.fault.seconds is None else injection.fault.seconds


def _size(injection: Injection) -> int:
    return DEFAULT_SIZE if injection.fault.size is None else injection.fault.size


async def _hang(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """Stay silent, then reset: the client must have given up by itself long before."""
    await asyncio.sleep(_seconds(injection, 600.0))
    return await _reset(request, reply, injection)


async def _reset(request: web.Request, _reply: Reply, _how: Injection) -> web.StreamResponse:
    """Reset the connection: a linger of zero seconds makes the kernel send RST instead of an orderly end."""
    transport = request.transport
    if transport is not None:
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _cut_off(request: web.Request, reply: Reply, _how: Injection) -> web.StreamResponse:
    response = await _begin(request, reply, length=len(reply.body) or 2)
    await response.write(reply.body[: len(reply.body) // 2] or b"{")
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    response = await _begin(request, reply, length=len(reply.body))
    step = max(1, len(reply.body) // DRIPS)
    pause = _seconds(injection, 30.0) / max(1, len(reply.body) / step)
    for start in range(0, len(reply.body), step):
        await asyncio.sleep(pause)
        await response.write(reply.body[start : start + step])
    return response


async def _huge(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """Send white space before the value: legal JSON that a careful reader never finishes."""
    size = _size(injection)
    response = await _begin(request, reply, length=size + len(reply.body))
    for start in range(0, size, len(BLOCK)):
        await response.write(BLOCK[: size - start])
    await response.write(reply.body)
    return response


async def _bomb(_request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    packed = _packed_spaces(_size(injection))
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return plain(Reply(reply.status, headers, packed))


@lru_cache(maxsize=4)
def _packed_spaces(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    blocks = [packer.compress(BLOCK[: size - start]) for start in range(0, size, len(BLOCK))]
    return b"".join([*blocks, packer.compress(b"{}"), packer.flush()])


async def _begin(request: web.Request, reply: Reply, length: int) -> web.StreamResponse:
    headers = {**reply.headers, "Content-Length": str(length)}
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    return response


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _mislabelled(body: bytes) -> bytes:
    """Add a member with an é in Latin-1, which is not UTF-8, to the object."""
    return body.rstrip()[:-1] + ',"note":"café"}'.encode("latin-1")


def _with_text_for_numbers(body: bytes) -> bytes:
    return encode(_mapped(json.loads(body or b"{}"), _number_as_text))


def _with_nulls(body: bytes) -> bytes:
    return encode(_mapped(json.loads(body or b"{}"), lambda _value: None))


def _number_as_text(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change every leaf; lists keep their length and objects their keys."""
    match value:
        case dict():
            return {key: _mapped(inner, change) for key, inner in value.items()}
        case list():
            return [_mapped(inner, change) for inner in value]
    return change(value)


_SPOIL: Mapping[str, Callable[[bytes], bytes]] = {
    "truncated": _half,
    "wrong_charset": _mislabelled,
    "wrong_types": _with_text_for_numbers,
    "all_nulls": _with_nulls,
}
_WIRE = {
    "hang": _hang,
    "reset": _reset,
    "cut_off": _cut_off,
    "drip": _drip,
    "huge": _huge,
    "gzip_bomb": _bomb,
}
