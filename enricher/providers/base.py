"""What every provider shares, whether it is asked over HTTP (`providers/http.py`) or not.

A provider is one route of one vendor, or a local rule set. It states its vendor, kind and windows as data;
its code says only what to ask and what the answer means. It never raises for anything the vendor does.
Built-in providers take their data from the catalogue; a class of another package sets it as attributes.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import SecretStr

from enricher.answer import Answer, Found, Kind, NotFound, Query, Reply, Throttled, Unavailable
from enricher.catalogue import ProviderListing, Window

_OK = 200
_NOT_FOUND = 404
_BESIDES = ("confidence", "employers", "unsure", "cnpj")
"""Keys stored beside the sections of a kept answer."""

NO_MEMORY = Throttled(reason="this process could have no more memory")
"""Neither the vendor's failure nor an attempt of the lead."""


@dataclass(frozen=True, slots=True)
class Request:
    """A path below the vendor's host, and query parameters. Never holds a key."""

    path: str
    params: Mapping[str, str]
    method: Literal["GET", "HEAD", "POST"] = "GET"
    """None has a body: Apollo's POST, too, carries its parameters in the URL."""


@dataclass(frozen=True, slots=True)
class Access:
    """How we reach one vendor."""

    key: SecretStr
    base_url: str
    """Scheme and host, optionally with a path prefix; a provider's path is appended."""
    timeout: float = 10.0
    """Seconds for one whole try: connecting, sending, and reading the last byte."""


@dataclass(frozen=True, slots=True, repr=False)
class Tried:
    """One try: what it means, what came over the wire, and whether it is charged."""

    answer: Answer
    reply: Reply | None = None
    """As it arrived, to be kept; `None` when there is nothing that could be judged again."""
    is_charged: bool | None = False
    """`None` when unknown: the vendor may have done the work before its answer was lost."""
    pause: float | None = None
    """Seconds during which the vendor wants no further call, from a header of the answer."""
    window_left: Mapping[str, float] = field(default_factory=dict)
    """Calls left in the vendor's rate windows, where a header states them."""
    quota_left: float | None = None
    """Credits left on the vendor's plan, where a header states them."""

    @property
    def is_useless(self) -> bool:
        """Whether the call was charged and told us nothing."""
        return self.is_charged is True and isinstance(self.answer, Unavailable)


class Provider(ABC):
    """One route of one vendor, or a local rule set."""

    name: ClassVar[str]
    vendor: ClassVar[str]
    kind: ClassVar[Kind]
    windows: tuple[Window, ...] = ()
    required: frozenset[str] = frozenset()
    """Fields of its section whose absence makes it worth asking within a waterfall."""
    lacks: ClassVar[frozenset[str]] = frozenset()
    """Fields of its section that it never knows: their absence is no reason to ask it."""
    credits: ClassVar[float] = 1.0
    """What one charged call costs, in the vendor's own unit."""
    charges_misses: ClassVar[bool] = True
    """Whether an answer that nothing is known is charged, or may be: then a recheck costs, too."""
    longest_wait: ClassVar[float] = 0.0
    """Cap, in seconds, on the wait that the vendor asks for; 0 means its longest window."""
    is_free: ClassVar[bool] = False
    """True for providers that have no key and cost nothing."""
    is_kept: ClassVar[bool] = False
    """True for free ones that ask somebody else's server: their answers are kept and shared by the fleet, and
    they are only asked about leads that are worth a call."""
    longest_miss_seconds: ClassVar[float] = math.inf
    """Cap on how long an answer that nothing is known is kept, of a vendor whose misses may be wrong."""
    finds_domain: ClassVar[bool] = False
    """True for those that find a company's domain by its name (`Query.sought`), and are asked before the others."""
    same_record: ClassVar[str] = ""
    """Name of the provider whose record its answer is, too: that one is not asked afterwards."""
    shares: ClassVar[str] = ""
    """Name of the windows it shares with other providers of its vendor; empty if it has its own."""

    @property
    def is_rule(self) -> bool:
        """Whether it asks nobody: its answers are neither kept nor shared, and it is asked about every lead."""
        return self.is_free and not self.is_kept

    def __init_subclass__(cls, *, listing: ProviderListing | None = None) -> None:
        """Take the data from the catalogue: `class ClearbitCompany(..., listing=PROVIDERS["clearbit"])`."""
        super().__init_subclass__()
        if listing is not None:
            cls.describe(listing)

    @classmethod
    def describe(cls, listing: ProviderListing) -> None:
        """Set the attributes above from the listing."""
        cls.name, cls.vendor, cls.kind = listing.name, listing.vendor, listing.kind
        cls.windows, cls.shares = listing.windows, listing.bucket
        cls.required, cls.lacks = listing.required, listing.lacks
        cls.credits, cls.charges_misses = listing.credits, listing.charges_misses

    @abstractmethod
    def unfit(self, query: Query) -> str | None:
        """Return a short reason why this query does not suit this provider, or `None` if it does."""

    @property
    def bucket(self) -> str:
        """Name of its windows. Providers that the vendor counts together have the same bucket."""
        return self.shares or self.name

    @abstractmethod
    async def ask(self, query: Query) -> Answer:
        """Try once. Never raises for anything the vendor does."""

    async def exchange(self, query: Query) -> Tried:
        """Try once; return the answer with what is to be kept of it."""
        answer = await self.ask(query)
        if self.is_rule:
            return Tried(answer)
        return Tried(answer, _written(answer), isinstance(answer, Found) and not self.is_free)

    def question(self, query: Query) -> str | None:
        """Return what is asked, as text that is the same for every spelling; `None`: keep nothing."""
        if self.is_rule:
            return None
        return query.company_domain if self.kind is Kind.COMPANY else query.email_key or query.email

    def wider(self, query: Query) -> str | None:  # noqa: ARG002 - for those who override it
        """Return a broader question whose kept answer also serves this narrower one, if any."""
        return None

    def recall(self, reply: Reply, query: Query) -> Answer | None:  # noqa: ARG002 - see `HttpProvider`
        """Return what a kept reply means today, or `None` when it cannot be relied on.

        `query` asks the same as the query that got the reply, perhaps for another lead.
        """
        if reply.status == _NOT_FOUND:
            return NotFound(reply.body.decode("utf-8", "replace")) if reply.body else NotFound()
        try:
            sections = dict(json.loads(reply.body))
            confidence, employers, unsure, cnpj = (sections.pop(name, None) for name in _BESIDES)
            return Found(sections, confidence, tuple(employers or ()), unsure or {}, cnpj)
        except (ValueError, TypeError):
            return None

    async def quota_left(self) -> float | None:
        """Return the credits left on the vendor's plan, if it tells when asked. Must cost nothing."""
        return None

    async def probe(self) -> str | None:
        """For `enricher check`: return `None` when the vendor accepts the key, else what is wrong.

        Must cost nothing.
        """
        return None


@dataclass(frozen=True, slots=True)
class Registered:
    """The providers of one daemon, in the order in which they are asked within a kind."""

    providers: tuple[Provider, ...] = ()
    without_key: Mapping[str, str] = field(default_factory=dict)
    """Provider -> why it is left out ("no key"), for `sources_skipped`."""


def _written(answer: Answer) -> Reply | None:
    """Write an answer as a reply, for providers that have no reply of their own."""
    match answer:
        case Found(sections=sections):
            besides = {name: getattr(answer, name) for name in _BESIDES}
            said = {name: each for name, each in besides.items() if each not in (None, (), {})}
            return _as_json({**sections, **said})
        case NotFound(reason=reason):
            return Reply(_NOT_FOUND, body=reason.encode())
    return None


def _as_json(sections: Mapping[str, object]) -> Reply | None:
    """Return `None` when JSON cannot hold the sections: the answer is used, but not kept for others."""
    try:
        return Reply(_OK, {}, json.dumps(sections, default=str).encode())
    except (TypeError, ValueError, RecursionError):
        return None
