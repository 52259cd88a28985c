"""Sites that mean harm, beside the prepared ones: they lead elsewhere, never end, or are larger than they look.

Of some the company is known all the same, by what came before.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence

from tests.support.site_server import (
    FORBIDDEN,
    HERE,
    Hostile,
    SiteServer,
    endless,
    once,
    slowly,
)
from tests.support.sites import Firm, Prepared, Served, firms, html, node, page

TRAPS = """
http://127.0.0.2/ http://127.0.0.1/ http://127.0.0.2:{port}/ http://[::1]/ http://[::ffff:127.0.0.2]/ http://[::ffff:7f00:2]/
http://2130706434/ http://0x7f.2/ http://127.2/ http://0177.0.0.2/ http://127.0.0.2./ http://localhost/ http://localhost:{port}/
http://user:pw@acme.com/x http://acme.com:{port}/x http://acme.com:22/ ftp://acme.com/ file:///etc/passwd gopher://127.0.0.2/
//127.0.0.2/ http:\\\\127.0.0.2\\ javascript:alert(1) http://169.254.169.254/latest/meta-data/
http://metadata.google.internal/ http://[fd00:ec2::254]/
""".split()
"""Where no redirect and no link may lead a visit."""
ADDRESSES: Sequence[Sequence[str]] = (
    [FORBIDDEN],
    [HERE, FORBIDDEN],
    [FORBIDDEN, HERE],
    ["::1"],
    [HERE, "fd00:ec2::254"],
    ["::ffff:127.0.0.2"],
)
"""Answers of name servers of which one or all are not public."""
_OK = b"HTTP/1.1 200 x\r\nContent-Type: text/html; charset=utf-8\r\n"
_PACKED = _OK + b"Content-Encoding: gzip\r\n\r\n"
_SHAPES: Sequence[object] = (
    50,
    {"value": 50},
    {"value": "11-50"},
    {"minValue": 11, "maxValue": 50},
    "50+",
    [{"value": 7}],
)
"""In which a head count is stated."""
_PREPARED = 200
"""As many firms as have a prepared site, at most."""


def serve_nasty(
    sites: SiteServer, addresses: Sequence[Sequence[str]] = (), *, drip: bool = False
) -> list[Prepared]:
    """Serve them; return which company each is of, if any. `drip`: also sites that take all the time they get."""
    made = [*_leading_elsewhere(sites), *_resolving_elsewhere(sites, addresses)]
    for number, (kind, written, firm) in enumerate([*_bodies(), *(_dripping() if drip else ())]):
        domain = firm.domain if firm else f"nasty{number}-quarvexo.com"
        made.append(Prepared(domain, f"nasty: {kind}", {}, firm.name if firm else None))
        sites.page(f"{domain}/", written)
    return made + _stating_too_much()


def _leading_elsewhere(sites: SiteServer) -> Iterator[Prepared]:
    for number, trap in enumerate(TRAPS):
        to = trap.format(port=sites.port)
        moved = Served(b"", 302, {"Location": to})
        yield Prepared(f"trap{number}-quarvexo.com", f"nasty: leads to {trap}", {"/": moved})
    rules = {"/robots.txt": Served(b"", 302, {"Location": f"http://{FORBIDDEN}:{sites.port}/"})}
    yield Prepared("rules-quarvexo.com", "nasty: rules elsewhere", rules)


def _resolving_elsewhere(
    sites: SiteServer, addresses: Sequence[Sequence[str]]
) -> Iterator[Prepared]:
    for number, each in enumerate(addresses):
        domain = f"inside{number}-quarvexo.com"
        sites.names |= {domain: each, f"www.{domain}": each}
        yield Prepared(domain, f"nasty: is at {' and '.join(each)}", {})


def _bodies() -> Iterator[tuple[str, Hostile, Firm | None]]:
    """What it is, what is written, and whose company is known by then."""
    bomb, (one, other) = gzip.compress(b" " * 50_000_000), _firms(0, 2)
    packed = gzip.compress(page(other).encode() + b" " * 9_000_000)
    yield "without an end", endless(_OK + b"\r\n" + page(one).encode(), b"<p>x</p>"), one
    yield "bomb behind a page", once(_PACKED + packed), other
    yield "bomb", once(_PACKED + bomb), None
    yield "bomb in a bomb", once(_PACKED + gzip.compress(bomb)), None
    yield "headers without an end", endless(_OK, b"X-More: 1\r\n"), None
    yield "silent", once(b""), None
    yield "another protocol", once(b"SSH-2.0-OpenSSH\r\n"), None


def _dripping() -> Iterator[tuple[str, Hostile, Firm | None]]:
    (one,) = _firms(2, 3)
    yield "drips its status", slowly(b"HTTP/1.1 200 ", b"x", 0.02), None
    yield "drips its headers", slowly(_OK, b"X", 0.02), None
    yield "drips its body", slowly(_OK + b"\r\n" + page(one).encode(), b" ", 0.02), one


def _firms(first: int, last: int) -> list[Firm]:
    """Firms of no prepared site."""
    return firms(_PREPARED + last)[_PREPARED + first :]


def _stating_too_much() -> list[Prepared]:
    """Two numbers of the register in the footer, and head counts in all their shapes."""
    first, *others = _firms(3, 4 + len(_SHAPES))
    numbers = "<p>CNPJ 19.131.243/0001-97</p><p>CNPJ 12.ABC.345/01DE-35</p>"
    footer = page(first, body=numbers)
    made = [Prepared(first.domain, "nasty: two numbers", {"/": html(footer)}, first.name)]
    for firm, shape in zip(others, _SHAPES, strict=True):
        graph = json.dumps(node(firm, numberOfEmployees=shape))
        stated = page(firm, f'<script type="application/ld+json">{graph}</script>')
        made.append(Prepared(firm.domain, "nasty: head count", {"/": html(stated)}, firm.name))
    return made
