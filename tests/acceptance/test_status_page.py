"""The status page in a real browser: of a real daemon, and of a server that says what the test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from enricher.calls.breaker import Circuit
from enricher.http import HttpServer
from enricher.settings.load import HttpSettings
from enricher.status import worth
from enricher.status.daemons import Daemons, GateState, Presence, Report
from enricher.status.picture import (
    BacklogStatus,
    FleetStatus,
    LaneStatus,
    MinuteStatus,
    RecheckCost,
    RecheckStatus,
    as_json,
)
from enricher.status.throughput import Ended
from enricher.status.worth import Brought, Hits, Worth, WorthReport
from tests.support.browser import Browser, Page, browsing, chromium
from tests.support.fleet_status import NOW, full, minutes
from tests.support.rig import Rig, address
from tests.support.waiting import eventually

PHONE = 360
SCROLLS_SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def devtools() -> Iterator[int]:
    with chromium() as port:
        yield port


@pytest.fixture
async def browser(devtools: int) -> AsyncIterator[Browser]:
    async with browsing(devtools) as opened:
        yield opened


# -- of a real daemon ----------------------------------------------------------------------


async def test_it_shows_leads_as_they_are_settled_and_says_when_the_daemon_is_gone(
    rig: Rig, browser: Browser
) -> None:
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        page = await browser.open(f"{await daemon.http_url()}/")
        await page.until("#verdict", lambda text: "Idle" in text)
        assert rig.database.name in await page.text("#leads")
        await rig.leads.insert_one({"_id": "the-first", "email": address()})
        await page.until("[data-lead=the-first]", lambda text: "completed" in text)
        await page.until("#verdict", lambda text: "Working" in text)
        await page.until("[data-status=completed]", lambda text: text.split() == ["completed", "1"])
        assert "quokka" not in (await page.text("body")).lower()
        await page.until("#stale", lambda text: text == "")
        assert page.complaints == []
        daemon.kill()
        await page.until("#stale", lambda text: "The daemon does not answer" in text)
        await page.until("#stale", lambda text: "What you see is" in text)
        assert await page.value("document.title.startsWith('⚠')")
        assert "the-first" in await page.text("#last"), "what was seen last is still there"


async def test_it_shows_an_outage_that_concerns_everybody(rig: Rig, browser: Browser) -> None:
    """A key that is refused, and an open circuit that another daemon has."""
    rig.simulator.inject("unauthorized", vendor="hunter")
    async with rig.daemon() as daemon:
        await daemon.wait_for_event("history.recorded")
        page = await browser.open(f"{await daemon.http_url()}/")
        await page.until("[data-provider=hunter]", lambda text: "asked" in text)
        await rig.leads.insert_one({"_id": 1, "email": address()})
        await page.until("[data-provider=hunter]", lambda text: "held for" in text)
        gates = (GateState("clearbit", Circuit.OPEN),)
        report = Report("1.0", 9.0, Presence.WORKING, 0, 64, True, 0.0, gates)
        await Daemons(rig.database, "leads").tell("other:1:a", report, {})
        await page.until("[data-provider=clearbit]", lambda text: "circuit open" in text)
        verdict = await page.until("#verdict", lambda text: "1 settled" in text)
        assert "Limited" in verdict
        assert "clearbit, hunter are not asked for now; 1 settled" in verdict
        assert page.complaints == []


# -- of whatever the test says -------------------------------------------------------------


@dataclass(slots=True)
class Told:
    """What the server answers; `None` as while MongoDB is away."""

    status: FleetStatus | None
    report: WorthReport = field(default_factory=lambda: WorthReport(NOW, 30, 0, []))
    asked: int = 0

    async def json(self) -> str | None:
        self.asked += 1
        return as_json(self.status) if self.status else None

    async def report_json(self) -> str | None:
        return worth.as_json(self.report) if self.status else None


@asynccontextmanager
async def _page(browser: Browser, told: Told, **how: Any) -> AsyncIterator[Page]:
    settings = HttpSettings(host="127.0.0.1", port=0)
    async with HttpServer(settings, CollectorRegistry(), {}, told.json, told.report_json) as server:
        yield await browser.open(f"http://127.0.0.1:{server.port}/", **how)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_a_screen_in_light_and_in_dark(
    browser: Browser, scheme: str
) -> None:
    async with _page(browser, Told(full()), scheme=scheme) as page:
        for width in (1280, 768, PHONE):
            await page.see_as(scheme, width)
            await page.until("#verdict", bool)
            assert not await page.value(SCROLLS_SIDEWAYS), f"at {width} pixels"
        ground = await page.value("getComputedStyle(document.body).backgroundColor")
        is_dark = sum(int(each) for each in ground[4:-1].split(",")) < 3 * 128
        assert is_dark == (scheme == "dark")
        assert page.complaints == []


async def test_the_charts_are_drawn_for_the_width_they_have(browser: Browser) -> None:
    """At once and after a change: else their words would be scaled with them."""
    widths = "['settled', 'waiting'].map((id) => [document.getElementById(id).clientWidth, document.querySelector(`#${id} svg`).viewBox.baseVal.width])"
    async with _page(browser, Told(full())) as page:
        await page.until("#last", bool)
        wide = await page.value(widths)
        await page.see_as("light", PHONE)

        async def is_drawn_anew() -> bool:
            narrow = await page.value(widths)
            assert narrow[0][0] < wide[0][0]
            return all(abs(place - drawn) <= 1 for place, drawn in [*wide, *narrow])

        await eventually(is_drawn_anew)


async def test_everything_that_is_told_is_shown(browser: Browser) -> None:
    async with _page(browser, Told(full())) as page:
        await page.until("#last", bool)
        text = await page.text("main")
        for words in (
            *("1,234,567", "13 s", "many", "without status", "12 for hunter"),
            *("held for 60 min: The key was refused", "circuit open", "599 of 600/min"),
            *("pdl_company (no key)", "used up", "89,999 left", "a privilege is missing"),
            *("silent", "stopping", "stopped", "sha256:0123456789abcdef", "Nobody answered."),
        ):
            assert words in text, words
        bars = await page.value("document.querySelectorAll('#settled rect').length")
        assert bars > 100
        assert page.complaints == []


async def test_rechecks_have_their_row_where_there_are_any(browser: Browser) -> None:
    costs = {"hunter": RecheckCost(4, 2.0, 0.5), "pdl_company": RecheckCost(1, 1.0, None)}
    told = Told(full(rechecks=RecheckStatus(1_500, 20_000, 7, 1_000, costs, 3_000.0)))
    async with _page(browser, told, scheme="light") as page:
        await page.see_as("light", PHONE)
        await page.until("#rechecks", lambda text: "1,500 due, 20,000 within a day" in text)
        text = await page.text("#rechecks")
        assert "7 of 1,000 calls made today; together they cost at most 3,000" in text
        assert "hunter" in text
        assert not await page.value(SCROLLS_SIDEWAYS)
        told.status = full()
        await page.until("#backlog", lambda text: "Rechecks" not in text)
        assert page.complaints == []


async def test_what_each_provider_was_worth_is_shown_whoever_sets_the_order(
    browser: Browser,
) -> None:
    brought = Brought(Hits(3, 1), filled=1_200, agreed=40, differed=2)
    dear = Worth("clearbit", "clearbit", "company", 90, 80, 1, 7, 80.0, 40.5, brought)
    bill = {"cost": 9.5, "filled": 700.0, "per_field": 0.25, "guessed": 0.5, "asked": {}}
    order = {
        "kind": "company",
        "unit": "money",
        "is_clear": True,
        "today": ["clearbit", "hunter_company"],
        "proposed": ["hunter_company", "clearbit"],
        "before": bill,
        "after": {**bill, "cost": 3.5},
    }
    told = Told(full(), WorthReport(NOW, 30, 1_234, [dear], [order], is_estimate=True))
    async with _page(browser, told, scheme="light") as page:
        await page.until("[data-worth=clearbit]", lambda text: "1,200" in text)
        assert {"80 +1?", "40.5", "75 %"} <= set((await page.text("#worth")).split("\t"))
        assert "1,234 leads of the last 30 days" in await page.text("#worth")
        assert "estimated" in await page.text("#worth")
        await page.until("[data-side=proposed]", lambda text: "hunter_company, clearbit" in text)
        await page.see_as("light", PHONE)
        assert not await page.value(SCROLLS_SIDEWAYS)
        assert page.complaints == []


async def test_who_cannot_see_is_told_the_same(browser: Browser) -> None:
    async with _page(browser, Told(full())) as page:
        await page.until("#last", bool)
        tree = (await page.command("Accessibility.getFullAXTree"))["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]
    assert [
        role for role, name in named if role in ("table", "img", "image", "meter") and not name
    ] == []
    regions = {name for role, name in named if role == "region"}
    assert {"Providers", "Backlog", "Budgets", "Daemons", "Last settled"} <= regions
    assert any(
        "claims settled in the last hour" in name
        for role, name in named
        if role in ("img", "image")
    )
    assert sum(role == "meter" for role, _ in named) == 4


async def test_text_in_the_data_stays_text(browser: Browser) -> None:
    lead = "<img src=x onerror=alert(1)><b>7</b>"
    told = Told(full(last=[Ended(NOW, lead, "failed", 1, 1.0, None, "<script>alert(2)</script>")]))
    async with _page(browser, told) as page:
        await page.until("#last", lambda text: lead in text and "<script>alert(2)" in text)
        assert page.complaints == []


async def test_it_says_that_mongodb_does_not_answer_and_recovers_by_itself(
    browser: Browser,
) -> None:
    told = Told(full())
    async with _page(browser, told) as page:
        await page.until("#verdict", bool)
        told.status = None
        await page.until("#stale", lambda text: "MongoDB does not answer" in text)
        told.status = full(last=[])
        await page.until("#stale", lambda text: text == "")
        assert "Nothing was settled" in await page.text("#last")
        assert not await page.value("document.title.startsWith('⚠')")


async def test_an_answer_of_another_version_is_no_outage_and_the_page_asks_to_be_loaded_again(
    browser: Browser,
) -> None:
    told = Told(full())
    async with _page(browser, told) as page:
        await page.until("#verdict", bool)
        told.status = full(budgets=None)
        await page.until("#stale", lambda text: "Load it again." in text)


async def test_a_page_that_never_had_an_answer_says_so(browser: Browser) -> None:
    async with _page(browser, Told(None)) as page:
        await page.until("#stale", lambda text: "MongoDB does not answer" in text)
        assert await page.text("main") == ""


async def test_of_an_empty_fleet_it_says_what_is_missing(browser: Browser) -> None:
    hour = [MinuteStatus(minute.at) for minute in minutes()]
    empty = full(
        backlog=None, daemons=[], providers=[], budgets=[], hour=hour, last=[], without_key={}, unknown={}
    )  # fmt: skip
    async with _page(browser, Told(empty)) as page:
        await page.until("#verdict", lambda text: "Down" in text)
        text = await page.text("main")
        assert "No daemon was seen within the last hour." in text
        assert "No vendor has a key" in text
        assert page.complaints == []


async def test_a_backlog_of_millions_is_over_a_figure_or_unknown_and_never_0(
    browser: Browser,
) -> None:
    lanes = {"fresh": LaneStatus(1_000_001, 9.0), "retry": LaneStatus(500, 1.0)}
    many = BacklogStatus(1_000_501, 9.0, lanes, {"pending": 1_000_001}, {"hunter": 1_000_001})
    told = Told(full(backlog=many))
    async with _page(browser, told) as page:
        await page.until("#figures", lambda text: "over 1,000,500" in text)
        text = await page.text("#backlog")
        assert text.count("over 1,000,000") == 3
        told.status = full(backlog=None)
        await page.until("#figures", lambda text: "unknown" in text)
        assert page.complaints == []
