"""How far a long command is: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_SECONDS = 10.0


class Meter:
    """Use in `with`; `total` is `None` where nobody knows it."""

    def __init__(self, console: Console, what: str, total: int | None, done: int = 0) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._done = self._said = done
        self._said_at = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(what, total=total, completed=done)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None and self._total is not None and self._done != self._said:
            self._say()

    def at(self, done: int) -> None:
        """So many are done by now."""
        self._done = done
        self._bar.update(self._task, completed=done)
        if time.monotonic() - self._said_at >= _LINE_EVERY_SECONDS:
            self._say()

    def _say(self) -> None:
        """For logs and pipes. On a terminal the bar says it."""
        self._said, self._said_at = self._done, time.monotonic()
        if not self._console.is_terminal:
            of = "" if self._total is None else f" of {self._total:,}"
            self._console.print(f"{self._what}: {self._done:,}{of}")
