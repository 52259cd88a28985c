"""Providers that are asked over HTTP: one question, and the rules that hold at every vendor.

The class of such a provider has only two pieces of code: `request` (what to ask) and `interpret`
(what a reply means). `interpret` is pure, so a stored reply can be judged again and every status
code is a table test.

    class AcmeCompany(HttpProvider):
        name, vendor, kind = "acme_company", "acme", Kind.COMPANY
        host = "https://api.acme.com"
        windows = (Window(calls=60, seconds=60),)
        required = frozenset({"name"})

        def unfit(self, query): return None if query.company_domain else query.no_company_domain
        def request(self, query): return Request("/v1/company", {"domain": query.company_domain})
        def interpret(self, reply): ...

What the vendor bills for is data as well: `charges` lists the status codes that cost something. A
reply that is an answer is kept raw and judged again when it is needed; `question` is the text
that the same question always has, whichever lead it is for.

Whatever a vendor sends, `ask` returns a value and never raises for it: a time-out, a reset, and a
body too large or of the wrong kind are all `Unavailable`. A refusal keeps its meaning even when
its body cannot be read: a 429 with a broken body is still a 429.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar
from urllib.parse import quote, quote_plus

import aiohttp
from loguru import logger
from yarl import URL

from enricher.answer import (
    Answer,
    Found,
    Held,
    Kind,
    NotFound,
    Objected,
    Preparing,
    Query,
    Reply,
    Throttled,
    Unavailable,
)
from enricher.catalogue import VENDORS, ProviderListing, Window
from enricher.process import shortage
from enricher.providers import reading, transport
from enricher.providers.base import NO_MEMORY, Access, Provider, Request, Tried
from enricher.providers.reading import Sends, drift, unfit_for_person
from enricher.providers.transport import Client, failure, is_corrected, is_our_own, was_sent
from enricher.telemetry import metrics
from enricher.telemetry.log import trace_of

REFUSED_KEY = "the key is refused"
USED_UP = "the quota is used up"
REFUSED_QUESTION = "the vendor refused the question"
NOT_OWN = "{} without the vendor's own words"
RATE_LIMITED = "the rate limit is reached; the key may be fine, check again in a minute"
"""Shared texts, so that reasons with the same meaning read the same for every vendor."""

_OK = 200
_NOT_FOUND = 404
_MINUTE = 60
_HOUR = 3600.0
_UNREADABLE = Unavailable("the answer could not be read")
_NO_DESCRIPTOR = Unavailable("this process may open no more connections", was_sent=False)
"""Neither the vendor's failure nor an attempt of the lead, which waits until other connections have ended."""
_STALLED = Unavailable("this process stood still")
_NEVER_CALLED = Unavailable("this process stood still", was_sent=False)
_OURS = (_NO_DESCRIPTOR, _STALLED, _NEVER_CALLED)
_SAFE_IN_A_PATH = "/?%:@!$&'()*+,;=~"


class HttpProvider(Provider):
    """A provider asked by one HTTP request over the shared client."""

    host: ClassVar[str]
    path: ClassVar[str]
    """Path of the route, for built-in providers; `request` alone decides what is asked."""
    charges: ClassVar[frozenset[int]] = frozenset({_OK})
    """Status codes that the vendor charges for."""
    sends: ClassVar[Sends] = {}
    """Keys that the vendor's records always have; see `reading.py`."""
    left: ClassVar[Mapping[str, str]] = {}
    """The vendor's own headers that count the calls left -> "minute", "hour" or "day"."""
    quota_header: ClassVar[str] = ""
    """Header that states the credits left on the plan."""
    incidental: ClassVar[frozenset[str]] = frozenset()
    """Parameters that do not change what is asked, such as a time limit."""

    _drift_told_at = -math.inf

    @classmethod
    def describe(cls, listing: ProviderListing) -> None:
        super().describe(listing)
        cls.host = listing.host or VENDORS[listing.vendor].host
        cls.path, cls.charges = listing.path, listing.charges

    def __init__(self, http: Client, access: Access, per_minute: int | None = None) -> None:
        """Set up the provider. `per_minute` replaces the calls of the one-minute window; see `_windows_for`."""
        self._http = http
        self._access = access
        if per_minute is not None:
            self.windows = _windows_for(self.windows, per_minute)

    @abstractmethod
    def request(self, query: Query) -> Request:
        """Return the request for this query."""

    @abstractmethod
    def interpret(self, reply: Reply) -> Answer:
        """PURE Return what this reply means, by the vendor's own list of codes."""

    def vetted(self, found: Found, reply: Reply, query: Query) -> Answer:  # noqa: ARG002 - for others
        """PURE Drop an answer about anybody but the subject of the query: vendors do mix people up."""
        return found

    def is_own(self, reply: Reply) -> bool:
        """PURE Tell whether this refusal has the vendor's own form and is not the page of an intermediary.

        Consequences that affect every lead or cannot be undone depend on it: a refused key, a spent
        quota, an objection. A reply that fails this test counts as an outage.
        """
        return reading.parse_object(reply.body) is not None

    def headers(self) -> dict[str, str]:
        """Return the authentication, as a header: URLs end up in logs and error texts."""
        return {"Authorization": f"Bearer {self._access.key.get_secret_value()}"}

    def credentials(self) -> Mapping[str, str]:
        """Return the query parameters that hold the key, for a vendor that takes it nowhere else.

        They are added when the request is sent: no question, log line or error text holds them.
        """
        return {}

    def is_charged(self, reply: Reply) -> bool:
        """Tell whether the vendor charges for this reply; not called when its body is missing."""
        return reply.status in self.charges

    def question(self, query: Query) -> str | None:
        """Return the request as text, made for the mailbox rather than for one spelling of its address."""
        mailbox = query.email_key or query.email
        request = self.request(query if mailbox == query.email else replace(query, email=mailbox))
        asked = [each for each in request.params.items() if each[0] not in self.incidental]
        pairs = [f"{_escaped(name)}={_escaped(text)}" for name, text in sorted(asked)]
        return f"{request.path}?{'&'.join(pairs)}"

    async def ask(self, query: Query) -> Answer:
        return (await self.exchange(query)).answer

    async def exchange(self, query: Query) -> Tried:
        reply = await self._fetch(self.request(query))
        if isinstance(reply, Unavailable):
            return self._tried(reply)
        return self._tried(reply, self._judge(reply, query))

    def _compare(self, reply: Reply) -> None:
        """Count an answer whose record differs from what the vendor documents; log it once an hour."""
        record = reading.parse_object(reply.body)
        if record is None or (found := drift(record, self.sends)) is None:
            return
        metrics.SCHEMA_DRIFT.labels(self.name).inc()
        if time.monotonic() - self._drift_told_at < _HOUR:
            return
        self._drift_told_at = time.monotonic()
        names = {"missing": ", ".join(found.missing), "wrong": ", ".join(found.wrong)}
        logger.bind(provider=self.name, **names).warning("provider.schema_drift")

    def recall(self, reply: Reply, query: Query) -> Answer | None:
        answer = self._judge(reply, query)
        # An answer that we cannot read is paid for all the same: a fixed daemon will read it.
        is_kept = isinstance(answer, Found | NotFound) or answer in (_UNREADABLE, NO_MEMORY)
        return answer if is_kept else None

    def _tried(self, reply: Reply | Unavailable, answer: Answer | None = None) -> Tried:
        """Wrap a reply; `answer` is given when it took more than this reply to decide."""
        if isinstance(reply, Unavailable):
            is_ours = any(reply is each for each in _OURS)
            said = Throttled(reason=reply.reason) if is_ours else reply
            return Tried(said, is_charged=None if reply.was_sent else False)
        answer = answer or self._judge(reply)
        if reply.status == _OK and self.sends and not isinstance(answer, Held | Throttled):
            self._compare(reply)
        keep = isinstance(answer, Found | NotFound) or answer in (_UNREADABLE, NO_MEMORY)
        pause, window_left = transport.read_rates(reply.headers, self.left)
        quota_left = reply.headers.get(self.quota_header)
        return Tried(
            answer,
            reply if keep else None,
            reply.status in self.charges if reply.flaw else self.is_charged(reply),
            pause,
            window_left,
            None if quota_left is None else transport.number(quota_left),
        )

    def _judge(self, reply: Reply, query: Query | None = None) -> Answer:
        """Return what a reply means, trusting only the vendor's own words: firewalls and proxies reply too."""
        if reply.flaw and reply.status == _OK:
            return Unavailable(reply.flaw)
        try:
            answer = self.interpret(reply)
            if isinstance(answer, Held | Objected) and not self.is_own(reply):
                return Unavailable(NOT_OWN.format(reply.status))
            if isinstance(answer, Found) and query is not None:
                answer = self.vetted(answer, reply, query)
        except MemoryError:
            shortage.note_no_memory()
            return NO_MEMORY  # paid for and kept: it can be read when there is memory again
        except Exception as error:  # noqa: BLE001 - a vendor's surprise must not end a lead's run
            logger.bind(provider=self.name, error=type(error).__name__).error("provider.unreadable")
            return _UNREADABLE
        return answer

    async def _fetch(self, request: Request) -> Reply | Unavailable:
        stood_before, seconds = shortage.stood_still(), self._access.timeout
        try:
            route = _route(self._access.base_url, request.path)
            params = {**request.params, **self.credentials()}
            url = route.extend_query({name: str(text) for name, text in params.items()})
            return await self._http.fetch(request.method, url, self.headers(), seconds)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a time-out is an OSError
            if is_our_own(error):
                shortage.note_shortage()
                return _NO_DESCRIPTOR
            if is_corrected(error):  # it had its full time, however long we stood still
                return Unavailable("timed out")
            if shortage.is_to_blame(stood_before, seconds):
                return _STALLED if was_sent(error) else _NEVER_CALLED
            is_late = isinstance(error, TimeoutError)
            return Unavailable("timed out" if is_late else failure(error), was_sent(error))


def complaint(reply: Reply, answer: Answer) -> str:
    """Return what `enricher check` says of a reply that does not show a good key; `answer` is its meaning."""
    if reply.status == _NOT_FOUND:
        return "the address is wrong (404)"
    match answer:
        case Held(reason=reason):
            return reason
        case Throttled():
            return RATE_LIMITED
    return f"unexpected answer ({reply.status})"


def message_of(reply: Reply, *keys: str) -> str:
    """Return the vendor's own words in lower case, from the first of these keys that has any; "" without them."""
    record = reading.parse_object(reply.body)
    texts = (reading.text(record, key) for key in keys or ("message",))
    return next((text.lower() for text in texts if text), "")


def preparing(reply: Reply) -> Preparing:
    """Read a 202, or what a vendor has in its place, with the delay the vendor asks for, if it names one."""
    delay = transport.retry_after(reply.headers, transport.answered_at(reply.headers))
    return Preparing() if delay is None else Preparing(delay)


_ESCAPES = {code: quote_plus(chr(code)) for code in range(128)}


def _escaped(value: object) -> str:
    """Return the text as `quote_plus` does, but not letter by letter: nearly all are ASCII."""
    text = str(value)
    return text.translate(_ESCAPES) if text.isascii() else quote_plus(text)


@lru_cache(64)  # more than there are routes; only a free register's path names what is asked about
def _route(base_url: str, path: str) -> URL:
    """Return the escaped URL of a route; its path may bring parameters of its own."""
    try:
        base = str(URL(base_url.rstrip("/")))
    except ValueError:
        raise aiohttp.InvalidURL(base_url) from None
    return URL(base + quote(path, safe=_SAFE_IN_A_PATH), encoded=True)


def _windows_for(windows: tuple[Window, ...], per_minute: int) -> tuple[Window, ...]:
    """Apply the operator's calls a minute. If they raise the default, other windows grow in proportion.

    Other windows never shrink: a figure below the default is the operator's own restraint. It also holds
    where the vendor does not count by the minute.
    """
    if all(window.seconds != _MINUTE for window in windows):
        return (*windows, Window(per_minute, _MINUTE))
    default = next((window.calls for window in windows if window.seconds == _MINUTE), per_minute)
    return tuple(
        replace(window, calls=per_minute)
        if window.seconds == _MINUTE
        else replace(window, calls=max(window.calls, window.calls * per_minute // default))
        for window in windows
    )


# Calls into a provider's code, which may be third-party: exceptions are logged and never end a lead.


def broken(provider: Provider, error: BaseException) -> str:
    """Log what a provider's code raised, and return the reason to record on the lead."""
    logger.bind(provider=provider.name, **trace_of(error)).error("provider.broken")
    return f"internal error: {type(error).__name__}"


def unfit(provider: Provider, query: Query) -> str | None:
    """Return why this query does not suit this provider, which includes that its code raised."""
    try:
        return _out_of_bounds(provider, query) or provider.unfit(query)
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        return broken(provider, error)


def _out_of_bounds(provider: Provider, query: Query) -> str | None:
    """Enforce what we promise of every provider, third-party ones included: no company is looked up for a
    private mailbox (but by its name, which the lead gives), and nobody is asked who is behind a private mailbox or a role address."""
    if provider.is_free:
        return None
    if provider.kind is Kind.PERSON:
        return unfit_for_person(query)
    is_private = query.is_free_mail and query.company_domain is None and not provider.finds_domain
    return query.no_company_domain if provider.kind is Kind.COMPANY and is_private else None


def question_of(provider: Provider, query: Query) -> str | None:
    """Return what it would ask; `None` also when its code raises, since it has then asked nothing."""
    try:
        return provider.question(query)
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        broken(provider, error)
        return None
