"""How a status is printed: on a terminal as in a pipe, whatever is in it."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import ServerSelectionTimeoutError
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from enricher.calls.breaker import Circuit
from enricher.cli import cli
from enricher.commands.status import look_again
from enricher.errors import SettingsError
from enricher.status.picture import (
    BacklogStatus,
    Bill,
    BudgetStatus,
    FleetStatus,
    LaneStatus,
    Limit,
    ProviderStatus,
    RecheckCost,
    RecheckStatus,
    State,
    Stream,
    WebhookStatus,
)
from enricher.status.throughput import Ended
from enricher.status.view import shown
from tests.support.fleet_status import NOW, full


def _printed(most: int = 50, width: int = 160, **more: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, emoji=False)
    console.print(shown(full(**more), most))
    return out.getvalue()


def test_the_first_word_says_how_the_fleet_stands() -> None:
    assert _printed().startswith("LIMITED  hunter_company, hunter are not asked for now")


def test_everything_that_is_told_is_printed() -> None:
    text = _printed()
    for words in (
        *("1,234,567", "13 s", "completed many", "open at 1 of 2, lag 200 ms"),
        *("held for 60 min", "circuit open", "599 of 600/min", "1,000 of 1,000", "used up"),
        *("silent", "stopping", "sha256:0123456789abcdef", "Nobody answered."),
        *("holds could not be read: a privilege is missing", "crm.leads"),
    ):
        assert words in text, words


def test_rechecks_are_told_where_there_are_any() -> None:
    costs = {"hunter": RecheckCost(4, 2.0, 0.5), "pdl_company": RecheckCost(1, 1.0, None)}
    text = _printed(width=300, rechecks=RecheckStatus(1_500, 20_000, 7, 1_000, costs))
    assert "1,500 due, 20,000 within a day; 7 of 1,000 calls made today" in text
    assert "hunter (calls 4, credits 2, cost 0.50); pdl_company (calls 1, credits 1)" in text
    assert "rechecks" not in _printed()
    assert "by the ceiling" not in text
    capped = _printed(width=300, rechecks=RecheckStatus(1_500, 20_000, 7, 1_000, costs, 3_000.0))
    assert "by the ceiling of each lead together at most 3,000" in capped


def test_a_chart_has_a_sign_for_each_minute_and_hides_none_in_which_something_ended() -> None:
    lines = _printed().splitlines()
    [above] = [number for number, line in enumerate(lines) if line.startswith("last hour")]
    line = lines[above + 1]
    signs = [sign for sign in line if sign in "▁▂▃▄▅▆▇█"]
    assert len(signs) == 59
    assert signs[-1] == "█"


@pytest.mark.parametrize("text", ["\x1b[2Jgone", "two\nlines", "[red]x[/red]", "a\u202eb"])
def test_nothing_in_a_status_is_obeyed_by_the_terminal(text: str) -> None:
    printed = _printed(last=[Ended(NOW, text, "failed", 1, 1.0, None, text)])
    assert not {"\x1b", "\u202e"} & set(printed)
    assert printed.count("[red]") == 2 * text.count("[red]")


def test_on_a_narrow_screen_ids_are_whole_and_each_claim_has_one_line() -> None:
    text = _printed(width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "6b0b27e03ac628c1aa2a8c65" in text
    assert "sha256:0123456789abcdef" in text
    last = text.split("last settled")[1].splitlines()
    assert sum("Nobody" in line for line in last) == 4


def test_who_is_not_asked_and_why_is_told_also_when_nobody_is() -> None:
    assert "Not asked: pdl_company (no key), apollo_person (turned off)" in _printed()
    text = _printed(providers=[], without_key={"hunter": "no key"})
    assert "Not asked: hunter (no key)" in text
    assert "Not asked" not in _printed(without_key={})


def test_providers_that_share_a_limit_say_so() -> None:
    limit = Limit(500, 60, 145, shared_with=("hunter_person",))
    text = _printed(providers=[ProviderStatus("hunter_company", "hunter", "company", limit=limit)])
    assert "145 of 500/min, shared" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_on_any_screen_no_figure_is_cut_off(width: int) -> None:
    bill = Bill(calls=11_111, charged=22_222, saved=33_333)
    month = Bill(charged=44_444)
    provider = ProviderStatus("hunter_company", "hunter", "company", today=bill, month=month)
    text = _printed(width=width, providers=[provider], last=[])
    assert all(figure in text for figure in ("11,111", "22,222", "33,333", "44,444"))
    assert text.count("0.1.0") == 4
    assert "hunter_company " in text


def test_only_as_many_claims_as_asked_for_are_printed() -> None:
    assert "sha256:" not in _printed(most=1)


def test_where_nothing_is_set_up_it_says_none() -> None:
    text = _printed(providers=[], budgets=[], daemons=[], last=[], backlog=None)
    assert text.count("none\n") + text.count("none ") >= 4
    assert "nobody watches" in text


def test_polling_and_half_open_circuits_are_named() -> None:
    provider = ProviderStatus("clearbit", "clearbit", "company", Circuit.HALF_OPEN)
    budget = BudgetStatus("clearbit", None, None)
    text = _printed(stream=Stream(0, None, None), providers=[provider], budgets=[budget])
    assert "closed: leads are found by polling" in text
    assert "circuit half-open" in text
    assert "no limit" in text


async def test_what_is_watched_stays_through_an_outage_and_is_said_to_be_old() -> None:
    screens: list[str] = []

    def show(what: RenderableType) -> None:
        out = io.StringIO()
        Console(file=out, width=160, markup=False, highlight=False).print(what)
        screens.append(out.getvalue())

    async def read() -> FleetStatus:
        return full()

    async def fail() -> FleetStatus:
        raise ServerSelectionTimeoutError("mongodb://ada:secret@db1.internal is away")

    seen = await look_again(read, "nothing yet", show)
    seen = await look_again(fail, seen, show)
    assert screens[1].startswith("MongoDB does not answer (ServerSelectionTimeoutError)")
    assert screens[1].endswith(screens[0])
    assert "secret" not in screens[1]
    await look_again(read, seen, show)
    assert screens[2] == screens[0]


def test_json_and_watch_exclude_each_other() -> None:
    """Before any setting is looked at."""
    ended = CliRunner().invoke(cli, ["status", "--json", "--watch"])
    assert isinstance(ended.exception, SettingsError)
    assert "--json and --watch exclude each other" in str(ended.exception)


def test_more_than_is_counted_is_told_as_such() -> None:
    lanes = {"fresh": LaneStatus(1_000_001, 9.0), "retry": LaneStatus(500, 1.0)}
    statuses = {"pending": 1_000_001, "completed": None, "failed": 7}
    text = _printed(backlog=BacklogStatus(1_000_501, 9.0, lanes, statuses))
    assert "over 1,000,500  (fresh over 1,000,000, retry 500)" in text
    assert "pending over 1,000,000, completed many, failed 7" in text


def test_a_backlog_that_could_not_be_counted_is_unknown_and_never_idle() -> None:
    text = _printed(backlog=None, unknown={"backlog": "NetworkTimeout"})
    [due] = [line for line in text.splitlines() if line.startswith("due now")]
    assert due.split() == ["due", "now", "unknown"]
    quiet = full(backlog=None, hour=[], providers=[])
    assert quiet.verdict.state is not State.IDLE


def test_what_a_large_collection_makes_long_is_printed_with_how_far_it_is() -> None:
    text = _printed(stream=Stream(1, 0.2, None, building_seconds=125.0, on_record=1_234_000))
    assert "being built for 2 min" in text
    assert "1,234,000 leads written down so far" in text
    assert "written down" not in _printed()


@pytest.mark.parametrize(
    ("webhook", "said"),
    [
        (WebhookStatus(0, None, 0, None), "has every event"),
        (
            WebhookStatus(7, 7_200.0, 2, "HTTP 500"),
            "7 events wait, the oldest for 2 h; 2 given up; HTTP 500",
        ),
        (
            WebhookStatus(
                1,
                5.0,
                0,
                "HTTP 410",
                "https://a.example:8443",
                NOW - timedelta(hours=2),
                NOW - timedelta(hours=1),
            ),
            (
                "https://a.example:8443: 1 events wait, the oldest for 5.0 s; last success 2 h ago; "
                "failing for 60 min; HTTP 410: it wants no more"
            ),
        ),
    ],
)
def test_a_webhook_is_shown_with_what_it_is_yet_to_get(webhook: WebhookStatus, said: str) -> None:
    [line] = [each for each in _printed(webhook=webhook).splitlines() if "webhook" in each]
    assert line.split("webhook")[1].strip() == said
    assert "webhook" not in _printed()
