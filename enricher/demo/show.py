"""`enricher demo`: the real daemon at work on sample leads, for a visitor without keys or servers.

Leads arrive as they would in a CRM: some at once, then a few each second. The demo itself only inserts and
reads; everything that happens to a lead is the daemon's work.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

from rich.console import Console
from rich.live import Live

from enricher.commands.explain import explanations, tell
from enricher.demo.leads import sample_leads
from enricher.demo.stage import DaemonEnded, Stage, open_stage
from enricher.demo.table import MEANINGS, Board, LiveView, Row, addresses, line, stories, summary
from enricher.errors import ExitCode
from enricher.mongo.outage import pause
from enricher.process import signals
from enricher.settings.load import load

AT_ONCE_SHARE = 4
"""A quarter of the leads is inserted at once, up to `MOST_AT_ONCE`."""
MOST_AT_ONCE = 12
"""Hunter takes 10 in a second and 5 a second on average, and no lead should have to wait."""
LEADS_A_SECOND = 3
LATER_A_SECOND = 2
REFRESHES_A_SECOND = 5
FOR_EVER = 10**9
WIDTH_OF_A_PIPE = 1000
"""Wide enough to wrap nothing: readers of a pipe want whole lines, and commands that can be copied."""


async def show(leads: int, *, once: bool, seed: int, explain: bool = False) -> int:
    """Run the demo. Returns 1 when the daemon ended by itself, or, with `once`, when leads are missing."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)
    console.print("Starting MongoDB, the simulated vendors and the daemon ...", style="dim")
    try:
        async with open_stage(seed) as stage:
            stop, board = asyncio.Event(), Board(stage.leads)
            play = _Play(console, stage, board, leads, seed, once=once, explains=explain)
            # Another signal does not wait for the drain.
            with signals.heeding(lambda _: stop.set(), lambda _: stage.daemon.kill()):
                await play.until(stop)
                if explain:
                    await _explain(console, stage, board)
                console.print("Stopping the daemon, the vendors and MongoDB ...", style="dim")
                code = play.conclude()
                await stage.daemon.stop()
            return code
    except DaemonEnded as ended:
        console.print(str(ended), markup=False, soft_wrap=True)
        return ExitCode.UNEXPECTED


class _Play:
    """Inserts and shows leads until all are settled or the demo is stopped."""

    def __init__(
        self,
        console: Console,
        stage: Stage,
        board: Board,
        leads: int,
        seed: int,
        *,
        once: bool,
        explains: bool,
    ) -> None:
        self._console = console
        self._stage = stage
        self._board = board
        self._wanted = leads
        self._once = once
        self._explains = explains
        self._coming = sample_leads(leads if once else FOR_EVER, seed)
        self._ends_at = time.monotonic() + 45 + leads / 2

    async def until(self, stop: asyncio.Event) -> None:
        """Play until `stop` is set or all is settled. Raises DaemonEnded when the daemon ends."""
        at_once = min(MOST_AT_ONCE, max(1, self._wanted // AT_ONCE_SHARE))
        await self._board.insert(islice(self._coming, at_once))
        began = time.monotonic()
        with self._view():
            while not stop.is_set() and not self._is_over():
                self._stage.daemon.must_run()
                await self._insert_until_now(at_once, time.monotonic() - began)
                self._tell(await self._board.refresh())
                await pause(stop, 1 / REFRESHES_A_SECOND)

    async def _insert_until_now(self, at_once: int, seconds: float) -> None:
        first = self._wanted - at_once
        due = min(first, int(seconds * LEADS_A_SECOND))
        later = max(0, int((seconds - first / LEADS_A_SECOND) * LATER_A_SECOND))
        missing = at_once + due + (0 if self._once else later) - self._board.inserted
        if missing > 0:
            await self._board.insert(islice(self._coming, missing))

    def _is_over(self) -> bool:
        all_settled = self._board.settled == self._wanted
        return self._once and (all_settled or time.monotonic() > self._ends_at)

    def _view(self) -> AbstractContextManager[object]:
        if not self._console.is_terminal:
            self._console.print(addresses(self._stage), soft_wrap=True)
            return nullcontext()
        view = LiveView(self._board, self._stage, ends_by_itself=self._once)
        return Live(view, console=self._console, refresh_per_second=REFRESHES_A_SECOND)

    def _tell(self, changed: list[Row]) -> None:
        if not self._console.is_terminal:
            for row in changed:
                self._console.print(line(row), markup=False, soft_wrap=True)

    def conclude(self) -> int:
        """Print the summary, and return the exit code."""
        if not self._console.is_terminal:
            self._console.print(summary(self._board, self._stage), soft_wrap=True)
        self._console.print()
        self._console.print(stories(self._board))
        if not self._explains:
            self._console.print("With --explain: every decision on each of them.", style="dim")
        missing = self._wanted - self._board.settled
        if not self._once or missing <= 0:
            return ExitCode.OK
        self._console.print(f"{missing} of {self._wanted} leads were not settled:")
        for row in self._board.unsettled:
            self._console.print(line(row), markup=False, soft_wrap=True)
        return ExitCode.UNEXPECTED


async def _explain(console: Console, stage: Stage, board: Board) -> None:
    """Print what `enricher explain` says of one lead of each story, while the database still exists."""
    examples = list(board.examples.values())
    found = await explanations(load(stage.settings, None), *(row.short_id for row in examples))
    for row, each in zip(examples, found, strict=True):
        console.print(f"\n{row.story}: {MEANINGS[row.story]}", style="bold", soft_wrap=True)
        tell([each])
    console.print()
