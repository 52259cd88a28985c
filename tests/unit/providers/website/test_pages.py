"""Whatever a site serves, a sound answer is made of it: 200 spoilt pages.

`make chaos` has 10,000 (`tests/chaos/test_bodies.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from enricher.answer import Found, Kind
from enricher.providers.website import judging
from enricher.providers.website.addresses import admit
from enricher.providers.website.company import Site, next_page, read_company
from enricher.providers.website.numbers import number_of
from enricher.providers.website.page import decode, read
from enricher.values.merge import completeness, merge, metadata
from tests.support.pages import spoilt_pages
from tests.support.soundness import faults_in

PAGES = 200
ORDER = ["local", "website"]
NOW = datetime(2026, 11, 28, tzinfo=UTC)


def test_any_page_becomes_an_answer_that_can_be_stored() -> None:
    assert found_on(PAGES) > PAGES / 4


def found_on(count: int, first: int = 0) -> int:
    """On how many of so many spoilt pages a company is found, once each is known to be sound."""
    found, before = 0, dict[str, object]()
    for seed, domain, body, content_type in spoilt_pages(count, first):
        values = judged(seed, domain, body, content_type)
        if values:
            found, before = found + 1, merged(seed, values, before)
    return found


def judged(seed: int, domain: str, body: bytes, content_type: str | None) -> dict[str, object]:
    __tracebackhide__ = True
    try:
        page = read(f"https://{domain}/", decode(body, content_type))
        site = Site(domain, [page], {})
        values = {} if judging.misgiving(page) else dict(read_company(site))
        more, number_of_firm = next_page(page), number_of(site)
        leads_to = judging.leads_to(page)
    except Exception as error:
        raise AssertionError(f"page {seed}: {body[:2000]!r}") from error
    assert number_of_firm is None or len(number_of_firm) == 14, f"page {seed}"
    for link in (more, leads_to):
        url = admit(link) if link else None
        assert url is None or url.host not in ("127.0.0.1", "::1"), f"page {seed}: {link}"
    return values


def merged(seed: int, values: dict[str, object], before: dict[str, object]) -> dict[str, object]:
    """By itself, and over what an earlier page has left on the lead."""
    __tracebackhide__ = True
    data: dict[str, object] = {}
    for older in ({}, before):
        data = merge(older, {"website": Found({Kind.COMPANY.section: values})}, ORDER)
        data["enrichment_metadata"] = metadata(
            data, now=NOW, order=ORDER, used=["website"], completeness=completeness(data)
        )
        assert not faults_in(data), f"page {seed}: {faults_in(data)}"
    return data
