"""The daemon as it was: another revision of it, run beside the one that is measured.

    BENCH_BEFORE=<revision> make bench

The revision is checked out beside the run and stands first on the path of its own processes. References, vendors
and everything that measures are today's for both. Nothing else of it is used, so it needs no environment
of its own, as long as the libraries it was written for are those that are installed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "BENCH_BEFORE"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Before:
    """A revision, checked out."""

    tree: Path
    commit: str
    """What it is called in the report."""


@asynccontextmanager
async def checked_out(directory: Path) -> AsyncIterator[Before | None]:
    """The revision that the environment names, in a worktree that goes away again; `None` if it names none."""
    revision = os.environ.get(VARIABLE)
    if not revision:
        yield None
        return
    tree = directory / "before"
    await _git("worktree", "prune")  # of runs that were killed
    await _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
    try:
        yield Before(tree, await commit(revision))
    finally:
        await _git("worktree", "remove", "--force", str(tree))


async def commit(revision: str = "HEAD") -> str:
    """What a revision is called in the report."""
    return await _git("log", "-1", "--format=%h %s", revision)


async def _git(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *("git", "-C", str(ROOT), *arguments), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"git {' '.join(arguments)}"
    return output.decode().strip()
