"""PURE The number of a Brazilian company (CNPJ) that its own site states, in JSON-LD or in its text.

Check digits alone let one in a hundred random texts pass: a number without its signs counts only right after the word
CNPJ. A page may state others' numbers, too: of the firm that takes the payments, or that made the site. So a number
counts only if all on the site are one firm's; of its branches the head office is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from enricher.identity.cnpj import read_cnpj
from enricher.providers.website.company import Site, own_organization

_SIGNED = re.compile(
    r"(?<![0-9A-Z.])[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-[0-9]{2}(?![0-9])",
    re.ASCII | re.IGNORECASE,
)
_NAMED = re.compile(
    r"\bCNPJ(?:/MF)?\b[^0-9A-Za-z]{0,12}(?:n[.\u00ba\u00b0o]{0,2}[^0-9A-Za-z]{0,4})?([0-9A-Z]{12}[0-9]{2})(?![0-9A-Z])",
    re.ASCII | re.IGNORECASE,
)
_KEYS = ("taxID", "vatID")
_ROOT = 8
_HEAD_OFFICE = "0001"


def number_of(site: Site) -> str | None:
    """Return the number of the site's company, without signs."""
    numbers = dict.fromkeys(number for text in _texts(site) if (number := read_cnpj(text)))
    if len({number[:_ROOT] for number in numbers}) != 1:
        return None
    return min(numbers, key=lambda number: number[_ROOT : _ROOT + 4] != _HEAD_OFFICE)


def _texts(site: Site) -> Iterator[str]:
    is_tagged = any(key in page.raw for page in site.pages for key in _KEYS)
    if is_tagged and (own := own_organization(site)):
        for key in _KEYS:
            yield from own.texts(key)
    for page in site.pages:
        yield from _SIGNED.findall(page.text)
        yield from _NAMED.findall(page.text)
