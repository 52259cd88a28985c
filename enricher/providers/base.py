"""What every provider shares, whether it is asked over HTTP (`providers/http.py`) or not.

A provider is one route of one vendor, or a local rule set. It says, as data, which vendor, kind and
windows it has, and as code only what to ask and what the answer means. It never raises for anything
that the vendor does. The data of those that come with enricher stands in its catalogue; a class of another
package has it as attributes.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import SecretStr

from enricher.answer import Answer, Found, Kind, NotFound, Query, Reply, Throttled, Unavailable
from enricher.catalogue import ProviderListing, Window

_OK = 200
_NOT_FOUND = 404
_BESIDES = ("confidence", "employers", "unsure")
"""What stands beside the sections of an answer that is kept."""

NO_MEMORY = Throttled(reason="this process could have no more memory")
"""Not the vendor's failure, and no attempt of a lead's."""


@dataclass(frozen=True, slots=True)
class Request:
    """A path below the vendor's host, and query parameters. Keys never go here."""

    path: str
    params: Mapping[str, str]
    method: Literal["GET", "HEAD", "POST"] = "GET"
    """None of them has a body of ours: at Apollo a POST has its parameters in the URL as well."""


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
    """One try: what it means, what came over the wire, and whether it costs anything."""

    answer: Answer
    reply: Reply | None = None
    """As it came, to be kept; `None` when there is nothing that could be judged again."""
    is_charged: bool | None = False
    """`None` when nobody knows: the call may have been done before its answer was lost."""
    pause: float | None = None
    """Seconds in which the vendor wants no further call, by a header that came with the answer."""
    window_left: Mapping[str, float] = field(default_factory=dict)
    """Calls left in the vendor's rate windows, where a header tells."""
    quota_left: float | None = None
    """Credits left of the vendor's plan, where a header tells."""

    @property
    def is_useless(self) -> bool:
        """It costs something and tells nothing."""
        return self.is_charged is True and isinstance(self.answer, Unavailable)


class Provider(ABC):
    """One route of one vendor, or a local rule set."""

    name: ClassVar[str]
    vendor: ClassVar[str]
    kind: ClassVar[Kind]
    windows: tuple[Window, ...] = ()
    required: frozenset[str] = frozenset()
    """Fields of its section whose absence makes it worth asking, within a waterfall."""
    lacks: ClassVar[frozenset[str]] = frozenset()
    """Fields of its section that it never knows: their absence is no reason to ask it."""
    credits: ClassVar[float] = 1.0
    """What one charged call costs, in the vendor's own unit."""
    longest_wait: ClassVar[float] = 0.0
    """Seconds. What the vendor asks to wait is not believed beyond it; 0: its longest window."""
    is_free: ClassVar[bool] = False
    """True for providers without a key and without a cost."""
    shares: ClassVar[str] = ""
    """Name of the windows that it shares with other providers of its vendor; empty: its own."""

    def __init_subclass__(cls, *, listing: ProviderListing | None = None) -> None:
        """`class ClearbitCompany(..., listing=PROVIDERS["clearbit"])` takes its data from the catalogue."""
        super().__init_subclass__()
        if listing is not None:
            cls.describe(listing)

    @classmethod
    def describe(cls, listing: ProviderListing) -> None:
        """Take the data of this listing for the attributes above."""
        cls.name, cls.vendor, cls.kind = listing.name, listing.vendor, listing.kind
        cls.windows, cls.shares = listing.windows, listing.bucket
        cls.required, cls.lacks = listing.required, listing.lacks
        cls.credits = listing.credits

    @abstractmethod
    def unfit(self, query: Query) -> str | None:
        """A short reason why this query is not for this provider; `None` when it is."""

    @property
    def bucket(self) -> str:
        """Providers of the same bucket share their windows, as a vendor may count them together."""
        return self.shares or self.name

    @abstractmethod
    async def ask(self, query: Query) -> Answer:
        """One try. Never raises for anything the vendor does."""

    async def exchange(self, query: Query) -> Tried:
        """One try, with what is to be kept of it."""
        answer = await self.ask(query)
        if self.is_free:
            return Tried(answer)
        return Tried(answer, _written(answer), isinstance(answer, Found))

    def question(self, query: Query) -> str | None:
        """What is asked, as text that is the same for every spelling; `None`: nothing is kept."""
        if self.is_free:
            return None
        return query.company_domain if self.kind is Kind.COMPANY else query.email_key or query.email

    def wider(self, query: Query) -> str | None:  # noqa: ARG002 - for those who override it
        """A question whose kept answer serves as well, where this one asks for something narrower."""
        return None

    def recall(self, reply: Reply, query: Query) -> Answer | None:  # noqa: ARG002 - see `HttpProvider`
        """What a reply of earlier means today; `None` when it is no answer to rely on.

        `query` asks the same as the one that it was given to, perhaps for another lead.
        """
        if reply.status == _NOT_FOUND:
            return NotFound()
        try:
            sections = dict(json.loads(reply.body))
            confidence, employers, unsure = (sections.pop(name, None) for name in _BESIDES)
            return Found(sections, confidence, tuple(employers or ()), unsure or {})
        except (ValueError, TypeError):
            return None

    async def quota_left(self) -> float | None:
        """Credits left of the vendor's plan, if it tells that when asked; it must cost nothing."""
        return None

    async def probe(self) -> str | None:
        """For `enricher check`: `None` when the vendor accepts the key, else what is wrong.

        Must cost nothing.
        """
        return None


@dataclass(frozen=True, slots=True)
class Registered:
    """The providers of one daemon, in the order in which they are asked within a kind."""

    providers: tuple[Provider, ...] = ()
    without_key: Mapping[str, str] = field(default_factory=dict)
    """Provider -> why it is not there ("no key"), for `sources_skipped`."""


def _written(answer: Answer) -> Reply | None:
    """An answer as a reply, for providers that have none of their own."""
    match answer:
        case Found(sections=sections):
            besides = {name: getattr(answer, name) for name in _BESIDES}
            said = {name: each for name, each in besides.items() if each not in (None, (), {})}
            return _as_json({**sections, **said})
        case NotFound():
            return Reply(_NOT_FOUND)
    return None


def _as_json(sections: Mapping[str, object]) -> Reply | None:
    """`None` for what is no JSON: such an answer is used, but cannot be kept for others."""
    try:
        return Reply(_OK, {}, json.dumps(sections, default=str).encode())
    except (TypeError, ValueError, RecursionError):
        return None
