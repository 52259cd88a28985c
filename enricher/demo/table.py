"""How the demo looks: a live table on a terminal, plain lines anywhere else, and a summary at the end."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from enricher.demo.leads import COLLEAGUE, ORDINARY, STORIES
from enricher.demo.stage import Stage
from enricher.lead import Document, LeadId, Status
from enricher.simulator.journal import Account
from enricher.values.merge import METADATA, MISMATCH, flags_of

# What has become of the demo's leads: read from MongoDB, as anybody could, and put into words.

NEW = "new"
"""Inserted, but not yet seen by the daemon: it has no `enrichment_status`."""
STATUSES = (NEW, *(status.value for status in Status))
_PROJECTION = {"enrichment_status": 1, "enriched_data": 1, "enrichment_error": 1, "updated_at": 1}
_KEPT = 500
"""Rows of settled leads that are kept; the totals count all."""
_RATE_SECONDS = 10.0


@dataclass(slots=True)
class Row:
    """One lead, as the demo knows it."""

    id: LeadId
    lead: Document
    inserted_at: datetime
    status: str = NEW
    document: Document = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return self.status in tuple(Status) and Status(self.status).is_settled

    @property
    def short_id(self) -> str:
        return str(self.id)

    @property
    def story(self) -> str:
        """What there is to see in it."""
        return str(self.lead.get("story", ""))

    @property
    def temperature(self) -> str:
        return str(self.lead.get("temperature", ""))

    @property
    def domain(self) -> str:
        """The part after the @, or the domain or website that the lead came with."""
        email = str(self.lead.get("email") or "").strip().lower()
        given = self.lead.get("company_domain") or self.lead.get("website") or "-"
        return email.rpartition("@")[2] if email else str(given).lower()

    @property
    def score(self) -> int | None:
        """Completeness of what was found so far."""
        metadata = (self.document.get("enriched_data") or {}).get("enrichment_metadata") or {}
        score: int | None = metadata.get("completeness_score")
        return score

    @property
    def seconds(self) -> float:
        """Seconds from the insert to the end status, or until now; on one machine, so by one clock."""
        until = self.document["updated_at"] if self.is_settled else datetime.now(UTC)
        return max(0.0, (until - self.inserted_at).total_seconds())

    @property
    def result(self) -> str:
        """What was found, or why nothing was (yet)."""
        found = describe(self.document.get("enriched_data") or {})
        return "; ".join(filter(None, (self.document.get("enrichment_error"), found)))


def describe(data: Mapping[str, Any]) -> str:
    """PURE Return the most telling values, in one line."""
    company, verdict = data.get("company_data") or {}, data.get("email_verification") or {}
    about = [company.get("industry") or company.get("name")]
    if employees := company.get("employee_count"):
        about.append(f"{employees:,} people")
    parts = [", ".join(filter(None, about)) + _by(data, "company_data")]
    if not company and (name := (data.get("person_data") or {}).get("full_name")):
        parts.append(name + _by(data, "person_data"))
    if status := verdict.get("status"):
        score = verdict.get("score")
        parts.append(f"e-mail {status}" + (f" {score}" if score is not None else ""))
    if MISMATCH in flags_of(data):
        parts.append("works elsewhere by now")
    return "; ".join(filter(None, parts))


def _by(data: Mapping[str, Any], section: str) -> str:
    """Name the providers of a section's values."""
    provenance = (data.get(METADATA) or {}).get("provenance") or {}
    names = sorted(set((provenance.get(section) or {}).values()))
    return f" (by {' + '.join(names)})" if names else ""


@dataclass(slots=True)
class Board:
    """All rows, the newest last, and what they add up to."""

    leads: AsyncCollection[Document]
    rows: dict[LeadId, Row] = field(default_factory=dict)
    inserted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """End statuses, including those of rows that are no longer kept."""
    times: list[float] = field(default_factory=list)
    examples: dict[str, Row] = field(default_factory=dict)
    """Story -> the first lead that tells it."""
    _settled_at: list[float] = field(default_factory=list)

    async def insert(self, leads: Iterable[Document]) -> None:
        """Insert leads like any writer: in whole batches, with nothing about enrichment in them."""
        first = self.inserted + 1
        documents = [{"_id": first + number, **lead} for number, lead in enumerate(leads)]
        now = datetime.now(UTC)
        originals = [dict(document) for document in documents]
        result = await self.leads.insert_many(documents)
        for id_, lead in zip(result.inserted_ids, originals, strict=True):
            row = self.rows[id_] = Row(id_, lead, now)
            self.examples.setdefault(row.story, row)
        self.inserted += len(documents)

    async def refresh(self) -> list[Row]:
        """Read the leads that are not settled; return the rows on which a result was written."""
        open_ids = [row.id for row in self.unsettled]
        found = await self.leads.find({"_id": {"$in": open_ids}}, _PROJECTION).to_list()
        changed = [row for document in found if (row := self._update(document))]
        self._forget_the_oldest()
        return changed

    def _update(self, document: Document) -> Row | None:
        row = self.rows[document["_id"]]
        before = row.document.get("updated_at")
        row.status = document.get("enrichment_status") or NEW
        row.document = document
        if row.is_settled:
            self.ended[row.status] += 1
            self.times.append(row.seconds)
            self._settled_at.append(time.monotonic())
        return row if document.get("updated_at") != before else None

    def _forget_the_oldest(self) -> None:
        for row in [row for row in self.rows.values() if row.is_settled][:-_KEPT]:
            del self.rows[row.id]

    @property
    def unsettled(self) -> list[Row]:
        return [row for row in self.rows.values() if not row.is_settled]

    @property
    def settled(self) -> int:
        return self.ended.total()

    @property
    def totals(self) -> Counter[str]:
        """Status -> leads."""
        return self.ended + Counter(row.status for row in self.unsettled)

    @property
    def per_second(self) -> float:
        """Leads settled per second, over the last ten seconds."""
        since = time.monotonic() - _RATE_SECONDS
        self._settled_at = [at for at in self._settled_at if at >= since]
        return len(self._settled_at) / _RATE_SECONDS

    @property
    def median_seconds(self) -> float:
        """Seconds from the insert to the end status."""
        return median(self.times) if self.times else 0.0

    def newest(self, count: int) -> list[Row]:
        """Return the newest first; up to half of the places go to older leads that are still open."""
        rows = list(self.rows.values())
        split = max(0, len(rows) - count)
        late = [row for row in rows[:split] if not row.is_settled][-(count // 2) :]
        return [*reversed(rows[split + len(late) :]), *reversed(late)]


_COLOURS: Mapping[str, str] = {
    Status.PENDING: "blue",
    Status.PROCESSING: "cyan",
    Status.RETRYING: "yellow",
    Status.COMPLETED: "green",
    Status.FAILED: "red",
    Status.SKIPPED: "magenta",
}
_TEMPERATURES = {"hot": "red", "warm": "yellow", "cold": "blue"}
_BESIDES_ROWS = 10
"""Lines of the live view that are neither leads nor vendors: headings, totals, addresses."""
_FEWEST_ROWS = 4
_MOST_ROWS = 40
_NARROW = 90
_OK = 200
MEANINGS: Mapping[str, str] = {
    ORDINARY: "The company's own site comes first; vendors are asked for what is missing.",
    COLLEAGUE: "The company was asked about for somebody else: it is not paid for again.",
    **{name: story.says for name, story in STORIES.items()},
}


class LiveView:
    """Renders the current board whenever rich draws it, as tall as the terminal allows."""

    def __init__(self, board: Board, stage: Stage, ends_by_itself: bool) -> None:
        self._board = board
        self._stage = stage
        self._hint = "" if ends_by_itself else "Ctrl-C ends the demo."

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        besides = _BESIDES_ROWS + len(self._stage.simulator.journal.billing)
        rows = min(_MOST_ROWS, max(_FEWEST_ROWS, height - besides))
        yield _leads(self._board.newest(rows), console.width)
        yield Text()
        yield summary(self._board, self._stage)
        yield addresses(self._stage)
        yield Text(self._hint, style="dim")


def _leads(rows: list[Row], width: int) -> Table:
    """Render one line for each lead, whatever the width: what does not fit is truncated."""
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
    """Format a lead as one line, for a log."""
    score = "-" if row.score is None else str(row.score)
    head = f"{row.short_id:>4}  {row.story:<13}  {row.seconds:6.2f} s  {row.status:<10} {score:>3}"
    return f"{head}  {row.domain:<40}  {row.result}".rstrip()


def stories(board: Board) -> RenderableType:
    """Render one lead of each story that was told, and what there was to see."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("story", "lead", "became", "what there is to see"):
        table.add_column(name, no_wrap=name != "what there is to see")
    for name, row in board.examples.items():
        style = _COLOURS.get(row.status, "dim")
        table.add_row(name, row.short_id, Text(row.status, style=style), MEANINGS[name])
    return table


def summary(board: Board, stage: Stage) -> RenderableType:
    """Render totals by status, speed, and the vendors' own count of calls and charges."""
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
    """Format a vendor's account. Only what the vendor bills is money: a colleague's company should be free."""
    others = sum(count for status, count in account.statuses.items() if status != _OK)
    refused = f", {account.over_limit} over the limit" if account.over_limit else ""
    return f"{account.calls} calls, {account.charged} charged, {others} without a result{refused}"


def addresses(stage: Stage) -> RenderableType:
    """Render where visitors can look for themselves while the demo runs."""
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    table.add_row("leads in", f"{stage.mongodb_uri} (crm.leads)")
    table.add_row("explain", f"{stage.explain} LEAD (its number)")
    table.add_row("status", f"{stage.daemon.url}/ (also /metrics)")
    table.add_row("vendors", f"{stage.simulator.url}/_simulator/billing")
    return Group(table)
