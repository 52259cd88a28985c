"""The page on the book-keeping says of every field why a forged value costs nobody anything."""

from __future__ import annotations

import re

from enricher.queue import book
from tests.acceptance.test_forged_book import FORGED

_PAGE = book.__doc__ or ""
_FIELDS, _, _WHY = _PAGE.partition("Any writer can forge")


def _described() -> set[str]:
    return set(
        re.findall(r"^    (\w+) +(?:int|str|date|number|bool|list|dict) ", _FIELDS, re.MULTILINE)
    )


def test_every_field_has_its_reason() -> None:
    rows = re.findall(r"^    ((?:\w+, )*\w+)  ", _WHY, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == _described()


def test_every_field_is_forged_in_a_test() -> None:
    assert set(FORGED) == _described()
