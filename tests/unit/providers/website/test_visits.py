"""A visit to a site: what is asked of it, and that no site leads a request where it may not go."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import trustme
from aiohttp import ClientConnectorError
from yarl import URL

from enricher.answer import Found, NotFound, Query, Unavailable
from enricher.providers.website import visit
from enricher.providers.website.fetch import (
    MOST_OF_A_PAGE,
    REQUEST_SECONDS,
    Network,
    NoAnswerFromDns,
    OutOfResources,
    Unreachable,
    internet,
    open_browser,
)
from enricher.providers.website.provider import Website
from enricher.providers.website.robots import read_rules
from enricher.providers.website.visit import Manners, Visitor
from enricher.values.merge import completeness, merge
from tests.support.nasty_sites import ADDRESSES, TRAPS, serve_nasty
from tests.support.site_server import (
    FORBIDDEN,
    HERE,
    Hostile,
    SiteServer,
    endless,
    once,
    site_server,
    slowly,
)
from tests.support.sites import ORDINARY, Served, html, prepared, text_of
from tests.support.waiting import patience
from tests.unit.providers.test_mail_dns import served

AGENT = "acme-leads/1.0 (+https://acme.com/bot)"
PAGE = "<title>Acme | Home</title><meta name=description content='Acme makes and mends everything.'><body>Acme"
OK = b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\n"


@pytest.fixture
async def sites() -> AsyncIterator[SiteServer]:
    async with site_server() as serving:
        yield serving
        assert serving.trespassers == 0


def visitor(sites: SiteServer, seconds: float = 60.0) -> Visitor:
    return Visitor(sites.network, AGENT, Manners(0.0), seconds)


async def ask(
    sites: SiteServer, domain: str = "acme.com", seconds: float = 60.0
) -> Found | NotFound:
    answer = await Website(visitor(sites, seconds)).ask(Query(company_domain=domain))
    assert isinstance(answer, Found | NotFound)
    return answer


async def reason(sites: SiteServer, domain: str = "acme.com", seconds: float = 60.0) -> str:
    answer = await ask(sites, domain, seconds)
    assert isinstance(answer, NotFound), answer
    return answer.reason


def redirect(to: str, status: int = 302) -> Served:
    return Served(b"", status, {"Location": to})


# All sites


@pytest.mark.slow
async def test_of_two_hundred_sites_the_ordinary_are_read_and_no_other_is_taken_for_a_company(
    sites: SiteServer,
) -> None:
    all_of_them = [*prepared(), *serve_nasty(sites, ADDRESSES)]
    for site in all_of_them:
        sites.serve(site)
    website = Website(visitor(sites))
    asked = (website.ask(Query(company_domain=site.domain)) for site in all_of_them)
    answers = await asyncio.gather(*asked)
    scores: list[int] = []
    for site, answer in zip(all_of_them, answers, strict=True):
        assert isinstance(answer, Found if site.name else NotFound), f"{site.kind}: {answer}"
        if isinstance(answer, Found):
            assert answer.sections["company_data"]["name"] == site.name, site.kind
        else:
            assert isinstance(answer, NotFound)
            assert answer.reason
        if isinstance(answer, Found) and site.kind in ORDINARY:
            local = Found({"email_verification": {"is_disposable": False}})
            found = merge({}, {"website": answer, "local": local}, ["local", "website"])
            scores.append(completeness(found)[0])
    assert len(scores) > 100
    assert sum(scores) / len(scores) >= 45
    assert max(Counter(each.host.removeprefix("www.") for each in sites.asked).values()) <= 3
    assert sites.hosts() <= {site.domain for site in all_of_them}
    assert sites.most_connections <= visit.MOST_VISITS


# Politeness


async def test_a_site_sees_who_asks_and_nothing_else(
    sites: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://{FORBIDDEN}:{sites.port}")
    cookie = {"Content-Type": "text/html", "Set-Cookie": "a=b"}
    sites.page("acme.com/robots.txt", Served(b"", 200, cookie))
    sites.page("acme.com/", Served(PAGE.encode(), 200, cookie))
    await ask(sites)
    assert [each.path for each in sites.asked] == ["/robots.txt", "/"]
    for each in sites.asked:
        assert each.headers["user-agent"] == AGENT
        assert (
            not {"cookie", "authorization", "referer", "proxy-authorization"} & each.headers.keys()
        )


async def test_a_second_page_is_asked_for_when_the_first_does_not_say_enough(
    sites: SiteServer,
) -> None:
    root = PAGE + '<a href="/x">News</a><a href="/contact">Contact</a><a href="/about">About</a>'
    sites.page("acme.com/", html(root))
    sites.page("acme.com/contact", html(PAGE + '<a href="tel:+44 20 7946 0000">Call</a>'))
    answer = await ask(sites)
    assert isinstance(answer, Found)
    assert answer.sections["company_data"]["phone"] == "+44 20 7946 0000"
    assert sites.paths("acme.com") == ["/robots.txt", "/", "/contact"]


async def test_requests_to_one_host_are_a_pause_apart() -> None:
    pace, loop = Manners(0.2), asyncio.get_running_loop()
    began = loop.time()
    for _ in range(3):
        async with pace.turn("acme.com"):
            pass
    assert loop.time() - began >= 0.4


async def test_no_host_waits_for_the_turn_of_another() -> None:
    pace = Manners(3600.0)
    async with patience(5), pace.turn("acme.com"), pace.turn("acme.net"):
        pass
    async with patience(5), pace.turn("trenvaro.com"):
        pass


async def test_a_host_is_asked_one_thing_at_a_time() -> None:
    pace, inside = Manners(0.0), Counter[str]()

    async def turn() -> None:
        async with pace.turn("acme.com"):
            inside["now"] += 1
            assert inside["now"] == 1
            await asyncio.sleep(0)
            inside["now"] -= 1

    await asyncio.gather(*(turn() for _ in range(20)))


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        (Served(b"no", 404), None),
        (Served(b"no", 403), None),
        (Served(b"<html>soft</html>", 200), None),
        (text_of("User-agent: *\nDisallow: /*?\nAllow: /$"), None),
        (text_of("User-agent: *\nDisallow: /\n\nUser-agent: Acme-Leads\nAllow: /"), None),
        (text_of("#" * 600_000 + "\nUser-agent: *\nDisallow: /"), None),
        (redirect("/"), None),
        (text_of("User-agent: *\nDisallow: /"), "robots.txt does not allow it"),
        (text_of("User-agent: acme-leads\nDisallow: /"), "robots.txt does not allow it"),
        (Served(b"", 500), "robots.txt cannot be read, so nothing is allowed"),
        (Served(b"", 503), "robots.txt cannot be read, so nothing is allowed"),
        (once(b"HTTP/1.1 nonsense\r\n\r\n"), "the connection failed"),
        (redirect("http://127.0.0.1/robots.txt"), "robots.txt cannot be read, so nothing is allowed"),
    ],
)  # fmt: skip
async def test_robots_txt_is_obeyed(
    sites: SiteServer, robots: Served | Hostile, expected: str | None
) -> None:
    sites.page("acme.com/robots.txt", robots)
    sites.page("acme.com/", html(PAGE))
    answer = await ask(sites)
    assert (answer.reason if isinstance(answer, NotFound) else None) == expected
    assert ("/" in sites.paths("acme.com")) is (expected is None)


async def test_the_page_besides_the_root_obeys_robots_txt_too(sites: SiteServer) -> None:
    sites.page("acme.com/robots.txt", text_of("User-agent: *\nDisallow: /about"))
    sites.page("acme.com/", html(PAGE + '<a href="/about">About</a>'))
    assert isinstance(await ask(sites), Found)
    assert sites.paths("acme.com") == ["/robots.txt", "/"]


async def test_five_redirects_of_robots_txt_are_followed(sites: SiteServer) -> None:
    hosts = ["acme.com", "www.acme.com", "a.acme.com", "b.acme.com", "c.acme.com"]
    for host, following in pairwise(hosts):
        sites.page(f"{host}/robots.txt", redirect(f"http://{following}/robots.txt", 301))
    sites.page("c.acme.com/robots.txt", text_of("User-agent: *\nDisallow: /"))
    assert await reason(sites) == "robots.txt does not allow it"


def test_rules_of_any_bytes_can_be_read() -> None:
    for body in (b"\xff\xfe\x00", b"User-agent\nDisallow", b"*" * 1_000, b"\r" * 1_000):
        assert read_rules(200, body, AGENT).allow("http://acme.com/") in (True, False)


# Redirects


async def test_a_redirect_to_www_is_the_same_site(sites: SiteServer) -> None:
    sites.page("acme.com/robots.txt", redirect("http://www.acme.com/robots.txt", 301))
    sites.page("acme.com/", redirect("http://www.acme.com/", 301))
    sites.page("www.acme.com/", html(PAGE))
    answer = await ask(sites)
    assert isinstance(answer, Found)
    assert answer.sections["company_data"]["domain"] == "acme.com"
    assert len(sites.asked) == 3


async def test_a_redirect_to_the_same_name_elsewhere_is_the_same_owner(sites: SiteServer) -> None:
    sites.page("acme.com/", redirect("http://acme.com.br/"))
    sites.page("acme.com.br/", html(PAGE))
    answer = await ask(sites)
    assert isinstance(answer, Found)
    assert answer.sections["company_data"]["domain"] == "acme.com.br"
    assert sites.paths("acme.com.br") == ["/robots.txt", "/"]


@pytest.mark.parametrize(
    "to",
    ["http://trenvaro.com/", "http://facebook.com/acme", "http://acme.wixsite.com/", "http://www.sedo.com/?acme.com"],
)  # fmt: skip
async def test_a_redirect_to_another_owner_ends_the_visit(sites: SiteServer, to: str) -> None:
    sites.page("acme.com/", redirect(to))
    assert await reason(sites) == "the site has moved to another owner's domain"
    assert {each.host for each in sites.asked} == {"acme.com"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_of_a_root_leads_out_of_the_internet(
    sites: SiteServer, status: int
) -> None:
    for number, trap in enumerate(TRAPS):
        domain = f"acme{number}.com"
        sites.page(f"{domain}/", redirect(trap.format(port=sites.port), status))
        said = await reason(sites, domain)
        assert said == "the site redirects to an address that is not asked for", trap
    assert all(each.path in ("/", "/robots.txt") for each in sites.asked)


@pytest.mark.parametrize("trap", TRAPS)
async def test_no_link_of_a_page_leads_out_of_the_internet(sites: SiteServer, trap: str) -> None:
    to = trap.format(port=sites.port)
    links = f'<a href="{to}">About</a><meta http-equiv="refresh" content="0; url={to}">'
    sites.page("acme.com/", html(f'{PAGE}{links}<frameset><frame src="{to}"></frameset>'))
    await ask(sites)
    assert [each.path for each in sites.asked] == ["/robots.txt", "/"]


async def test_a_loop_of_redirects_ends(sites: SiteServer) -> None:
    sites.page("acme.com/", redirect("http://www.acme.com/"))
    sites.page("www.acme.com/", redirect("http://acme.com/"))
    assert await reason(sites) == "there are too many redirects"
    assert max(Counter(each.host for each in sites.asked).values()) <= 3


# Where names lead


@pytest.mark.parametrize("addresses", ADDRESSES)
async def test_a_name_with_an_address_that_is_not_public_is_not_connected_to(
    sites: SiteServer, addresses: list[str]
) -> None:
    sites.names = {"acme.com": addresses, "www.acme.com": addresses}
    assert await reason(sites) == "the domain leads to an address that is not public"
    assert not sites.asked


async def test_a_redirect_to_a_name_with_such_an_address_is_not_followed(sites: SiteServer) -> None:
    sites.names = {"intra.acme.com": [FORBIDDEN]}
    sites.page("acme.com/", redirect("http://intra.acme.com/"))
    assert await reason(sites) == "the domain leads to an address that is not public"


async def test_a_name_is_looked_up_once_so_a_second_answer_changes_nothing(
    sites: SiteServer,
) -> None:
    sites.page("acme.com/", html(PAGE + '<a href="/about">About</a>'))
    turns = iter([[HERE]])

    async def rebinding(host: str) -> list[str]:
        return next(turns, [FORBIDDEN])

    network = Network(rebinding, sites.network.is_allowed, sites.network.ports)
    answer = await Website(Visitor(network, AGENT, Manners(0.0))).ask(
        Query(company_domain="acme.com")
    )
    assert isinstance(answer, Found)
    assert sites.paths("acme.com") == ["/robots.txt", "/", "/about"]


async def test_no_socket_is_made_for_an_address_that_is_not_allowed(sites: SiteServer) -> None:
    """The last gate: aiohttp asks no resolver about an IP address."""
    async with open_browser(sites.network, AGENT) as browser:
        browser._pinned.addresses[FORBIDDEN] = browser._pinned.addresses["acme.com"] = [FORBIDDEN]
        for url in (f"http://{FORBIDDEN}:{sites.port}/", "http://acme.com/"):
            with pytest.raises(ClientConnectorError):
                await browser._exchange(URL(url), lambda *_: True, 100)
    assert not sites.asked


async def test_a_domain_without_an_address_is_not_found_and_www_is_tried(sites: SiteServer) -> None:
    sites.names = {"acme.com": [], "www.acme.com": []}
    assert await reason(sites) == "the domain has no address"
    sites.names = {"acme.com": []}
    sites.page("www.acme.com/", html(PAGE))
    assert isinstance(await ask(sites), Found)


async def test_name_servers_that_do_not_answer_say_nothing_of_the_site(sites: SiteServer) -> None:
    async def silent(host: str) -> list[str]:
        raise NoAnswerFromDns("the name servers do not answer")

    network = Network(silent, sites.network.is_allowed, sites.network.ports)
    answer = await Website(Visitor(network, AGENT)).ask(Query(company_domain="acme.com"))
    assert answer == Unavailable("the name servers do not answer")
    assert isinstance(answer, Unavailable)
    assert answer.is_final
    assert answer.is_of_question


@pytest.mark.parametrize("trouble", [NoAnswerFromDns, OutOfResources])
async def test_our_own_trouble_with_the_second_page_keeps_no_poorer_result(
    sites: SiteServer, trouble: type[Unreachable]
) -> None:
    """What is kept counts for days, and for every lead of the company."""
    sites.page("acme.com/", html(PAGE + '<a href="/about">About</a>'))
    sites.page("acme.com/about", redirect("http://www.acme.com/about"))

    async def troubled(host: str) -> list[str]:
        if host.startswith("www."):
            raise trouble("not now")
        return [HERE]

    network = Network(troubled, sites.network.is_allowed, sites.network.ports)
    website = Website(Visitor(network, AGENT, Manners(0.0)))
    assert await website.ask(Query(company_domain="acme.com")) == Unavailable("not now")


async def test_a_tenant_of_a_platform_is_not_asked_at_all(sites: SiteServer) -> None:
    assert await reason(sites, "acme.wixsite.com") == "the site is a page of a shared platform"
    assert not sites.looked_up
    sites.page("acme.uk.com/", html(PAGE))
    assert isinstance(await ask(sites, "acme.uk.com"), Found)


# What a hostile server does


BOMB = gzip.compress(b" " * 50_000_000)
BARE = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
ENCODED = b"HTTP/1.1 200 x\r\nContent-Type: text/html\r\nContent-Encoding: "


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        (endless(OK + b"\r\n" + PAGE.encode(), b"<p>x</p>"), None),
        (endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"), "the site does not say whose it is"),
        (endless(OK, b"X-More: 1\r\n"), "the connection failed"),
        (endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), "the connection failed (endless)"),
        (endless(b"HTTP/1.1 200 ", b"x"), "the connection failed"),
        (once(b""), "the connection failed (reset)"),
        (once(OK + b"Content-Length: 999\r\n\r\n" + PAGE.encode()), None),
        (once(OK + b"Content-Length: 5\r\n\r\n" + b"<html>" * 100), "the connection failed"),
        (once(ENCODED + b"gzip\r\n\r\n" + BOMB), "the site does not say whose it is"),
        (once(ENCODED + b"gzip\r\n\r\n" + gzip.compress(PAGE.encode() + b" " * 9_000_000)), None),
        (once(ENCODED + b"deflate\r\n\r\n" + zlib.compress(PAGE.encode())), None),
        (once(ENCODED + b"deflate\r\n\r\n" + BARE.compress(PAGE.encode()) + BARE.flush()), None),
        (once(ENCODED + b"gzip\r\n\r\n" + b"no gzip at all"), "the site does not say whose it is"),
        (once(ENCODED + b"gzip, gzip\r\n\r\n" + gzip.compress(BOMB)), "the site does not say whose it is"),
        (once(ENCODED + b"br\r\n\r\n" + b"x"), "the site does not say whose it is"),
        (once(b"HTTP/1.1 200 x\r\nContent-Type: image/png\r\n\r\n" + b"x" * 9_000), "the page is not HTML"),
        (once(b"HTTP/1.1 302 x\r\nLocation: /\r\nLocation: http://127.0.0.2/\r\n\r\n"), "the site redirects to an address"),
        (once(b"HTTP/1.1 302 x\r\nLocation: \xff\xfe\r\n\r\n"), "there are too many redirects"),
        (once(b"SSH-2.0-OpenSSH\r\n"), "the connection failed"),
    ],
)  # fmt: skip
async def test_a_hostile_answer_comes_to_an_end(
    sites: SiteServer, hostile: Hostile, said: str | None
) -> None:
    sites.page("acme.com/", hostile)
    answer = await ask(sites)
    assert isinstance(answer, NotFound if said else Found), answer
    if isinstance(answer, Found):
        assert answer.sections["company_data"]["name"] == "Acme"
    else:
        assert answer.reason.startswith(said or "")


async def test_no_more_of_a_body_is_kept_than_the_limit(sites: SiteServer) -> None:
    packed = gzip.compress(b"x" * 20_000_000)
    sites.page("acme.com/a", endless(OK + b"\r\n", b"x"))
    sites.page("acme.com/b", once(ENCODED + b"gzip\r\n\r\n" + packed))
    async with open_browser(sites.network, AGENT) as browser:
        for path in ("a", "b"):
            found = await browser.get(URL(f"http://acme.com/{path}"), lambda *_: True)
            assert len(found.body) == MOST_OF_A_PAGE


@pytest.mark.parametrize(
    "dripping",
    [
        slowly(b"HTTP/1.1 200 ", b"x", 0.02),
        slowly(OK, b"X", 0.02),
        slowly(OK + b"\r\n", b"<", 0.02),
    ],
    ids=["status", "head", "body"],
)
async def test_a_site_that_drips_is_given_up_in_time(sites: SiteServer, dripping: Hostile) -> None:
    for path in ("", "robots.txt"):
        sites.page(f"acme.com/{path}", dripping)
    async with patience(REQUEST_SECONDS - 1):  # it is the visit that ends, not one of its requests
        assert await reason(sites, seconds=0.5) == "timed out"


@pytest.mark.slow
async def test_one_answer_that_drips_takes_no_more_than_its_part_of_a_visit(
    sites: SiteServer,
) -> None:
    """Of a body counts what has arrived by then."""
    theirs = PAGE.replace("Acme", "Trenvaro")
    sites.page("acme.com/robots.txt", slowly(b"HTTP/1.1 200 ", b"x", 0.02))
    sites.page("trenvaro.com/", slowly(OK + b"\r\n" + theirs.encode(), b" ", 0.02))
    async with patience(30):
        said, found = await asyncio.gather(reason(sites), ask(sites, "trenvaro.com"))
    assert said == "timed out"
    assert isinstance(found, Found)


async def test_a_body_that_is_not_wanted_is_not_read(sites: SiteServer) -> None:
    sites.page("acme.com/", endless(b"HTTP/1.1 200 x\r\nContent-Type: video/mp4\r\n\r\n", b"x"))
    assert await reason(sites) == "the page is not HTML"


# https, and the real name servers' way


def _certified(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def _trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_https_is_asked_first_and_its_certificate_is_for_the_name() -> None:
    authority = trustme.CA()
    async with site_server(_certified(authority, "acme.com")) as sites:
        sites.page("acme.com/", html(PAGE))
        visiting = Visitor(sites.over_tls(_trusting(authority)), AGENT, Manners(0.0))
        answer = await Website(visiting).ask(Query(company_domain="acme.com"))
    assert isinstance(answer, Found)
    assert answer.sections["company_data"]["name"] == "Acme"
    assert sites.paths("acme.com") == ["/robots.txt", "/"]


async def test_a_wrong_certificate_is_no_site_and_plain_http_is_tried() -> None:
    authority = trustme.CA()
    async with site_server(_certified(authority, "trenvaro.com")) as sites:
        sites.page("acme.com/", html(PAGE))
        visiting = Visitor(sites.over_tls(_trusting(authority)), AGENT, Manners(0.0))
        async with open_browser(visiting.network, AGENT) as browser:
            with pytest.raises(Unreachable, match="TLS"):
                await browser.get(URL("https://acme.com/"), lambda *_: True)
        assert sites.asked == []
        answer = await Website(visiting).ask(Query(company_domain="acme.com"))
    assert isinstance(answer, Found)


async def test_the_internet_is_what_the_name_servers_say() -> None:
    async with served() as (server, resolver):
        network = internet(resolver)
        assert await network.resolve("address.com") == ["192.0.2.1"]
        assert await network.resolve("address-6.com") == ["2001:db8::1"]
        assert await network.resolve("nothing.com") == []
        assert await network.resolve("no-such-domain.com") == []
        assert not any(network.is_allowed(each) for each in ("192.0.2.1", "2001:db8::1"))
        server.is_broken = True
        with pytest.raises(NoAnswerFromDns):
            await network.resolve("address.com")
    assert network.ports == {80: 80, 443: 443}
    assert set(server.asked) == {
        "address.com",
        "address-6.com",
        "nothing.com",
        "no-such-domain.com",
    }
