"""How the demo looks: a live table on a terminal, plain lines anywhere else, and the sum at the end."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from enricher.demo.board import STATUSES, Board, Row
from enricher.demo.leads import COLLEAGUE, ORDINARY, STORIES
from enricher.demo.stage import Stage
from enricher.lead import Status
from enricher.simulator.journal import Account

_COLOURS: Mapping[str, str] = {
    Status.PENDING: "blue",
    Status.PROCESSING: "cyan",
    Status.RETRYING: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.SKIPPED: "magenta",
}
_TEMPERATURES = {"hot": "red", "warm": "yellow", "cold": "blue"}
_BESIDES_ROWS = 14
"""Lines of the live view that are not leads: headings, totals, vendors, addresses."""
_FEWEST_ROWS = 4
_MOST_ROWS = 40
_NARROW = 90
_OK = 200
MEANINGS: Mapping[str, str] = {
    ORDINARY: "The first vendor knows the company; the next is asked for what is missing.",
    COLLEAGUE: "The company was asked about for somebody else: it is not paid for again.",
    **{name: story.says for name, story in STORIES.items()},
}


class LiveView:
    """Renders the board as it stands whenever rich draws it, as tall as the terminal allows."""

    def __init__(self, board: Board, stage: Stage, ends_by_itself: bool) -> None:
        self._board = board
        self._stage = stage
        self._hint = "" if ends_by_itself else "Ctrl-C ends the demo."

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        rows = min(_MOST_ROWS, max(_FEWEST_ROWS, height - _BESIDES_ROWS))
        yield _leads(self._board.newest(rows), console.width)
        yield Text()
        yield summary(self._board, self._stage)
        yield addresses(self._stage)
        yield Text(self._hint, style="dim")


def _leads(rows: list[Row], width: int) -> Table:
    """One line for each lead, whatever the width: what does not fit is cut."""
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    table.add_column("lead", style="dim", justify="right", no_wrap=True, width=4)
    table.add_column("story", no_wrap=True, width=13)
    table.add_column("company", no_wrap=True, ratio=4, overflow="ellipsis")
    if width >= _NARROW:
        table.add_column("temp", no_wrap=True, width=4)
    table.add_column("status", no_wrap=True, width=10)
    table.add_column("score", justify="right", no_wrap=True, width=5)
    table.add_column("time", justify="right", no_wrap=True, width=6)
    table.add_column("found", no_wrap=True, ratio=6, overflow="ellipsis")
    for row in rows:
        table.add_row(*_cells(row, with_temperature=width >= _NARROW))
    return table


def _cells(row: Row, *, with_temperature: bool) -> list[Text]:
    temperature = Text(row.temperature, style=_TEMPERATURES.get(row.temperature, ""))
    return [
        Text(row.short_id),
        Text(row.story, style="dim" if row.story in (ORDINARY, COLLEAGUE) else "bold"),
        Text(row.domain),
        *([temperature] if with_temperature else []),
        Text(row.status, style=_COLOURS.get(row.status, "dim")),
        Text("" if row.score is None else str(row.score)),
        Text(f"{row.seconds:.1f} s", style="" if row.is_settled else "dim"),
        Text(row.result),
    ]


def line(row: Row) -> str:
    """A lead on a line of its own, for a log."""
    score = "-" if row.score is None else str(row.score)
    head = f"{row.short_id:>4}  {row.story:<13}  {row.seconds:6.2f} s  {row.status:<10} {score:>3}"
    return f"{head}  {row.domain:<40}  {row.result}".rstrip()


def stories(board: Board) -> RenderableType:
    """One lead of each story that was told, and what there was to see."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("story", "lead", "became", "what there is to see"):
        table.add_column(name, no_wrap=name != "what there is to see")
    for name, row in board.examples.items():
        style = _COLOURS.get(row.status, "dim")
        table.add_row(name, row.short_id, Text(row.status, style=style), MEANINGS[name])
    return table


def summary(board: Board, stage: Stage) -> RenderableType:
    """Totals by status, speed, and the vendors' own count of calls and charges."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    totals = board.totals
    shown = [status for status in STATUSES if totals[status] or status == Status.COMPLETED]
    words = [(f"{totals[status]} {status}", _COLOURS.get(status, "dim")) for status in shown]
    table.add_row("leads", Text(", ").join(Text(*word) for word in words))
    table.add_row("speed", _speed(board))
    for vendor, account in sorted(stage.simulator.journal.billing.items()):
        table.add_row(vendor, _account(account))
    return table


def _speed(board: Board) -> str:
    slowest = max(board.times, default=0.0)
    times = f"insert to result {board.median_seconds:.2f} s (median), {slowest:.1f} s (slowest)"
    return f"{times}; {board.per_second:.1f} leads/s over the last 10 s"


def _account(account: Account) -> str:
    """Only what the vendor bills is money: a colleague's company is, hopefully, not asked for twice."""
    others = sum(count for status, count in account.statuses.items() if status != _OK)
    refused = f", {account.over_limit} over the limit" if account.over_limit else ""
    return f"{account.calls} calls, {account.charged} charged, {others} without a result{refused}"


def addresses(stage: Stage) -> RenderableType:
    """Where a visitor can look for himself, as long as the demo runs."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    table.add_row("leads in", f"{stage.mongodb_uri} (crm.leads)")
    table.add_row("explain", f"{stage.explain} LEAD (its number)")
    table.add_row("status", f"{stage.daemon.url}/ (also /metrics)")
    table.add_row("vendors", f"{stage.simulator.url}/_simulator/billing")
    return Group(table)
