"""Pages that no company would serve on purpose: those of the prepared sites, with their markup spoilt.

The same seed is always the same page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import Random

from tests.support.bodies import ODD
from tests.support.sites import Prepared, prepared

_LONGEST = 100_000
"""Of the prepared pages; the few longer ones are about length alone."""
_PIECES: Sequence[bytes] = (
    *(b"<", b">", b"</", b"<!--", b"-->", b"<![CDATA[", b"]]>", b'"', b"'", b"&", b"&#x110000;", b"&amp;amp;", b"\x00", b"\xff\xfe"),
    *(b"<title>", b"</title>", b"<script type='application/ld+json'>", b"</script>", b"<base href='//[::1]/'>", b"<meta charset=utf-7>"),
    *(b"<a href='http://127.0.0.1/about'>About</a>", b"<a href='javascript:alert(1)'>About</a>", b"<a href='//a:b@[::1]:99999/'>", b"</html>"),
    *(b'"@type":"Organization",', b'"name":', b'"@id":"#x"', b'{"@graph":[', b'"sameAs":[{}]', b'"numberOfEmployees":[[]]', b"CNPJ 19.131.243/0001-97"),
    *(b'"foundingDate":1e400', b'"numberOfEmployees":{"value":"9-"}', b'"logo":{"@id":"#x"}', b'"address":[{"addressCountry":[]}]', b"\xed\xa0\x80"),
)  # fmt: skip
_CONTENT_TYPES = ("text/html", "text/html; charset=x", "text/html; charset=utf-16", "a;b", None)


@lru_cache(maxsize=1)
def _pages() -> Sequence[tuple[Prepared, bytes]]:
    """Each HTML page of each prepared site."""
    return [
        (site, served.body)
        for site in prepared()
        for path, served in site.paths.items()
        if served.body and path != "/robots.txt" and len(served.body) < _LONGEST
    ]


def spoilt_pages(count: int, first: int = 0) -> Iterator[tuple[int, str, bytes, str | None]]:
    """(seed, domain, body, content type), as many as are wanted."""
    for seed in range(first, first + count):
        chance = Random(f"page {seed}")
        site, body = chance.choice(_pages())
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            body = chance.choice(_SPOILING)(body, chance)
        yield seed, site.domain, body, chance.choice(_CONTENT_TYPES)


def _piece(chance: Random) -> bytes:
    if chance.random() < 0.7:
        return chance.choice(_PIECES)
    return str(chance.choice(ODD)).encode("utf-8", "surrogatepass")[:5_000]


def _insert(body: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + _piece(chance) + body[at:]


def _replace(body: bytes, chance: Random) -> bytes:
    """One value between quotation marks, whatever it is."""
    parts = body.split(b'"')
    parts[chance.randrange(len(parts))] = _piece(chance)
    return b'"'.join(parts)


def _cut(body: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    return body[:first] + body[last:]


def _double(body: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    return body[:last] + body[first:]


def _flip(body: bytes, chance: Random) -> bytes:
    spoilt = bytearray(body)
    for _ in range(chance.choice((1, 3, 20)) if body else 0):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


def _other_page(body: bytes, chance: Random) -> bytes:
    return body + chance.choice(_pages())[1]


_SPOILING: Sequence[Callable[[bytes, Random], bytes]] = (
    *(_insert, _insert, _replace, _replace, _cut, _double, _flip, _other_page),
)
