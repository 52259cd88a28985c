"""A visit to one company's site: robots.txt, the root page, and one more page if the root does not say who it is.

    origin     https, then www., then http: the first that answers a request for robots.txt
    robots     RFC 9309: a 4xx allows everything, a 5xx or no answer nothing
    root       redirects are followed by hand, each judged like a new request
    one more   about, contact or imprint, when the root lacks who the company is or how it is reached

Three requests at most, with five redirects at most between them, and never more than three to one host name; a second
apart, one at a time. A redirect to a name that is the same but for `www.` keeps the rules of robots.txt. One to
another owner's domain ends the visit: the page there is that owner's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import urlsplit

from yarl import URL

from enricher.answer import FieldValues
from enricher.identity.domains import classify, is_tenant
from enricher.identity.names import label_of
from enricher.process import shortage
from enricher.providers.website import judging
from enricher.providers.website.addresses import admit
from enricher.providers.website.company import Site, lacks_identity, next_page, read_company
from enricher.providers.website.fetch import (
    MOST_OF_A_PAGE,
    Browser,
    Network,
    NoAnswerFromDns,
    NoResponse,
    OutOfResources,
    Response,
    Unreachable,
    open_browser,
)
from enricher.providers.website.numbers import number_of
from enricher.providers.website.page import Page, decode, read
from enricher.providers.website.robots import (
    LONGEST_DELAY,
    MOST_BYTES,
    MOST_REDIRECTS,
    Rules,
    read_rules,
)

MOST_REQUESTS = 3
MOST_TO_A_HOST = 3
MOST_VISITS = 32
"""Visits at a time, per process."""
VISIT_SECONDS = 20.0
PAUSE_SECONDS = 1.0
"""Between two requests to one host name."""
_MOST_HOSTS = 4096
_ROBOTS = "/robots.txt"
_MOVED = "the site has moved to another owner's domain"
_FORBIDDEN = "robots.txt does not allow it"
_UNKNOWN_RULES = "robots.txt cannot be read, so nothing is allowed"
_NO_RULES, _UNREAD = 404, 503
"""What an answer counts as that is no robots.txt."""
_TOO_FAR = "there are too many redirects"
_ODD = "the site redirects to an address that is not asked for"
_SILENT = "the site does not say whose it is"
PLATFORM = "the site is a page of a shared platform"

Result = TypeVar("Result")


class Refused(Exception):
    """The visit is over: there is nothing to be read. The text says why, as a short phrase."""


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended_at: float = -math.inf


@dataclass(slots=True)
class Manners:
    """One request at a time to each host, and a pause between two."""

    pause: float = PAUSE_SECONDS
    _by_host: dict[str, _Turn] = field(default_factory=dict)

    @asynccontextmanager
    async def turn(self, host: str, pause: float = 0.0) -> AsyncIterator[None]:
        """Wait for a turn at this host, at least `pause` seconds after the last one."""
        turn = self._by_host.setdefault(host, _Turn())
        async with turn.lock:
            wait = turn.ended_at + max(self.pause, pause) - time.monotonic()
            if self.pause and wait > 0:
                await asyncio.sleep(wait)
            try:
                yield
            finally:
                turn.ended_at = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        if len(self._by_host) > _MOST_HOSTS:
            since = time.monotonic() - LONGEST_DELAY
            idle = [
                name
                for name, each in self._by_host.items()
                if each.ended_at < since and not each.lock.locked()
            ]
            for name in idle:
                del self._by_host[name]


@dataclass(frozen=True, slots=True, repr=False)
class Visited:
    """What a site says of its company."""

    values: FieldValues
    """`company_data`."""
    cnpj: str | None = None
    """Its number in the Brazilian register."""


@dataclass(slots=True)
class Visitor:
    """Visits sites, so many at a time, and reads their pages in a thread of its own: one page at a time, so that
    pages take little memory and leave the event loop to others."""

    network: Network
    user_agent: str
    manners: Manners = field(default_factory=Manners)
    seconds: float = VISIT_SECONDS
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_VISITS))
    _reader: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "website"))

    async def visit(self, domain: str) -> Visited:
        """Return what the domain's site says. Raises Refused, Unreachable or NoResponse."""
        if is_tenant(domain):
            raise Refused(PLATFORM)
        async with self._room, open_browser(self.network, self.user_agent) as browser:
            try:
                async with shortage.timeout(self.seconds) as clock:
                    return await _Visit(self, browser, domain, clock).company()
            except TimeoutError:
                raise NoResponse("timed out") from None

    async def apart(self, work: Callable[..., Result], *what: object) -> Result:
        """Do the work in the thread for reading."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, work, *what)

    def close(self) -> None:
        """End the thread once it has nothing to read."""
        self._reader.shutdown(wait=False, cancel_futures=True)


@dataclass(slots=True)
class _Visit:
    """One visit and what it has used up."""

    visitor: Visitor
    browser: Browser
    domain: str
    clock: shortage.Clock
    requests: int = field(init=False, default=0)
    redirects: int = field(init=False, default=0)
    to_host: Counter[str] = field(init=False, default_factory=Counter)
    rules: dict[str, Rules] = field(init=False, default_factory=dict)
    """Host without `www.` -> its rules."""
    headers: Mapping[str, str] = field(init=False, default_factory=dict)

    async def company(self) -> Visited:
        origin = await self._origin()
        root = await self._page(origin.with_path("/"))
        site = Site(self._owner(root), (root,), self.headers)
        values, address = await self._apart(_read_root, site)
        if address and (another := await self._another(address)):
            site = replace(site, pages=(root, another))
            values = await self._apart(read_company, site)
        if not values:
            raise Refused(_SILENT)
        return Visited(values, await self._apart(number_of, site))

    def _owner(self, page: Page) -> str:
        """Return the domain that the pages are on: the one asked about, or the same name elsewhere."""
        return classify(urlsplit(page.url).hostname or "").registrable or self.domain

    # -- robots.txt --------------------------------------------------------------------------

    async def _origin(self) -> URL:
        """Return where the site is served, with its rules noted."""
        troubles: list[Unreachable] = []
        nameless: set[str] = set()
        for url in self._origins():
            if url.host in nameless:
                continue
            try:
                return await self._read_rules(url)
            except Unreachable as error:
                troubles.append(error)
                if not self.browser.knows(url.host or ""):
                    nameless.add(url.host or "")
        ours = (each for each in troubles if isinstance(each, OutOfResources | NoAnswerFromDns))
        raise next(ours, troubles[0] if troubles else Refused(_ODD))

    def _origins(self) -> list[URL]:
        names = (self.domain, f"www.{self.domain}")
        found = [admit(f"{scheme}://{name}/") for scheme in ("https", "http") for name in names]
        return [url for url in found if url and url.port in self.visitor.network.ports]

    async def _read_rules(self, origin: URL) -> URL:
        """Read the robots.txt of an origin; return the origin that it was found at, for the same owner's site."""
        url = origin.with_path(_ROBOTS)
        response = await self._get(url, lambda *_: True, MOST_BYTES)
        self.requests += 1
        while response.location is not None:
            try:
                target = self._follow(response)
            except Refused:
                return await self._note_rules(replace(response, status=_UNREAD, body=b""), origin)
            if target.path != _ROBOTS:  # every path leads to some page: there are no rules
                return await self._note_rules(replace(response, status=_NO_RULES, body=b""), origin)
            response = await self._get(target, lambda *_: True, MOST_BYTES)
        return await self._note_rules(response, origin)

    async def _note_rules(self, response: Response, origin: URL) -> URL:
        what = (response.status, response.body, self.visitor.user_agent)
        rules = await self._apart(read_rules, *what)
        self._note(origin, rules)
        self._note(response.url, rules)
        return response.url.with_path("/") if self._is_same_owner(response.url) else origin

    def _note(self, url: URL, rules: Rules) -> None:
        self.rules[_bare(url.host or "")] = rules

    async def _must_allow(self, url: URL) -> None:
        """Raise Refused unless the rules of the URL's host allow it, which may take a request to know."""
        if _bare(url.host or "") not in self.rules:
            if self.requests >= MOST_REQUESTS:
                raise Refused(_TOO_FAR)
            await self._read_rules(url.with_path("/").with_query(None))
        rules = self.rules[_bare(url.host or "")]
        if not rules.allow(str(url)):
            raise Refused(_FORBIDDEN if rules.parsed else _UNKNOWN_RULES)

    # -- pages -------------------------------------------------------------------------------

    async def _page(self, url: URL) -> Page:
        """Return a page that may be the company's own."""
        await self._must_allow(url)
        if self.requests >= MOST_REQUESTS:
            raise Refused(_TOO_FAR)
        self.requests += 1
        while True:
            response = await self._get(url, _is_a_page, MOST_OF_A_PAGE)
            if response.location is None:
                return await self._judged(response)
            url = self._follow(response)
            if not self._is_same_owner(url):
                raise Refused(_MOVED)
            await self._must_allow(url)

    async def _judged(self, response: Response) -> Page:
        if why := judging.refusal(response.status, response.headers):
            raise Refused(why)
        page, why = await self._apart(_read, response)
        if why:
            raise Refused(why)
        self.headers = self.headers or response.headers
        return page

    async def _another(self, address: str) -> Page | None:
        """Return one more page if it can be had; the root alone counts if not. Raises what is our own trouble."""
        url = admit(address)
        if url is None or self.requests >= MOST_REQUESTS or not self._is_same_owner(url):
            return None
        rules = self.rules.get(_bare(url.host or ""))
        if (
            rules is None
            or rules.delay > LONGEST_DELAY
            or self.to_host[url.host or ""] >= MOST_TO_A_HOST
        ):
            return None
        try:
            return await self._page(url)
        except (OutOfResources, NoAnswerFromDns):
            raise  # it is not the site's: kept for days, the root alone would be too little
        except (Refused, Unreachable, NoResponse):
            return None

    async def _apart(self, work: Callable[..., Result], *what: object) -> Result:
        """Have it read when it is this visit's turn; the site's time does not run meanwhile."""
        with self.clock.standing_still():
            return await self.visitor.apart(work, *what)

    # -- requests ----------------------------------------------------------------------------

    async def _get(
        self, url: URL, is_wanted: Callable[[int, Mapping[str, str]], bool], most: int
    ) -> Response:
        host = url.host or ""
        if self.to_host[host] >= MOST_TO_A_HOST:
            raise Refused(_TOO_FAR)
        rules = self.rules.get(_bare(host))
        async with self.visitor.manners.turn(
            host, min(rules.delay, LONGEST_DELAY) if rules else 0.0
        ):
            self.to_host[host] += 1
            try:
                return await self.browser.get(url, is_wanted, most)
            except Unreachable:
                self.to_host[host] -= 1  # nothing was sent
                raise

    def _follow(self, response: Response) -> URL:
        """Return where a redirect leads, if that may be asked for."""
        self.redirects += 1
        if self.redirects > MOST_REDIRECTS:
            raise Refused(_TOO_FAR)
        target = admit(response.location or "", response.url)
        if target is None:
            raise Refused(_ODD)
        return target

    def _is_same_owner(self, url: URL) -> bool:
        """Tell whether the URL is on the domain that was asked about, or on the same name in another country."""
        owner = classify(url.host or "").registrable
        if owner is None or is_tenant(owner):
            return False
        return owner == self.domain or label_of(owner) == label_of(self.domain)


def _bare(host: str) -> str:
    return host.removeprefix("www.")


def _is_a_page(status: int, headers: Mapping[str, str]) -> bool:
    return judging.refusal(status, headers) is None


def _read(response: Response) -> tuple[Page, str | None]:
    """PURE Read a page and judge it."""
    page = read(str(response.url), decode(response.body, response.headers.get("content-type")))
    return page, judging.misgiving(page)


def _read_root(site: Site) -> tuple[FieldValues, str | None]:
    """PURE Return what the root says, and the address of one more page if that is worth a request."""
    root, values = site.pages[0], read_company(site)
    return values, judging.leads_to(root) or (next_page(root) if lacks_identity(values) else None)
