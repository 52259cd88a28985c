"""The real program as a process of its own, for the acceptance and chaos tests."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support import forks
from tests.support.plain_http import plain_client
from tests.support.waiting import patience

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
"""All that a process sees of our environment: no setting leaks in from outside."""

_TELL_PYTHON = ("PYTHON", "LANG", "LC_", "SSL_CERT", "LD_")
"""Variables that are read as an interpreter starts, is loaded, or imports; others may be given to a forked one."""

Line = dict[str, Any]

_MEMORY = Path("/dev/shm")  # noqa: S108 - within it a directory of our own
_PLENTY = 6 * 2**30
_OURS = "enricher-servers-"

_CONSOLE = re.compile(r"[\d:.]{12} [A-Z]+ +(?P<event>[a-z]+\.[a-z_]+)(?P<fields>(?: .*)?)")
_FIELD = re.compile(r" ([\w.]+)=([^\s\"]+)")


def bound_to_us() -> tuple[str, ...]:
    """Arguments before a command that end it with us, should the test run itself be killed.

    Where there is no `setpriv` (it is part of util-linux) nothing is put before it.
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


@contextmanager
def server_directory() -> Iterator[Path]:
    """For the data of a `mongod`: in memory where there is plenty, for a disk makes each write wait.

    A test run that is killed leaves its directories behind, which are memory: the next one removes them. The kernel
    tells which they are, for it drops the lock of an owner that died, however it died.
    """
    place = _in_memory() or Path(tempfile.gettempdir())
    for directory in place.glob(f"{_OURS}*"):
        _remove_if_left_behind(directory)
    with tempfile.TemporaryDirectory(prefix=_OURS, dir=place) as name:
        owned = _try_to_own(directory := Path(name))
        assert owned is not None, "one with nothing in it is left alone"
        try:
            yield directory
        finally:
            os.close(owned)


def _remove_if_left_behind(directory: Path) -> None:
    """Not an empty one: its owner may be about to lock it."""
    with suppress(OSError):  # somebody else's, or removed by somebody else
        if any(directory.iterdir()) and (owned := _try_to_own(directory)) is not None:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(owned)


def _try_to_own(directory: Path) -> int | None:
    """The lock, held until it is closed; `None` while another process has it."""
    handle = os.open(directory, os.O_RDONLY)
    with suppress(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    os.close(handle)
    return None


def _in_memory() -> Path | None:
    """None where somebody chose a place, and where several servers of 0.5 GB each may not fit."""
    is_free = "TMPDIR" not in os.environ and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    return _MEMORY if is_free and shutil.disk_usage(_MEMORY).free > _PLENTY else None


def free_port() -> int:
    """For a program that cannot choose its own and say which: free a moment ago.

    No system hands out such a low one by itself, so that none of the other tests is given it meanwhile.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Daemon:
    """`python -m enricher <command> ...` with a known environment; use as `async with`.

    Its directory is an empty one, so no `.env` is read. Its HTTP port is chosen by the system and
    learnt from the line `http.listening`. What it wrote is shown when the test fails.
    """

    def __init__(
        self,
        command: str = "run",
        *arguments: str,
        env: Mapping[str, str] | None = None,
        quiet: bool = False,
        ignoring: Collection[signal.Signals] = (),
        before: Sequence[str] = (),
    ) -> None:
        """`ignoring` are signals that it finds ignored, as SIGINT is in what a script starts with `&`;
        `before` are words that go before the command, such as `prlimit --nofile=64`."""
        self._quiet = quiet
        self._ignoring, self._before = ignoring, before
        self._given = [*(env or {})]
        self._arguments = (command, *arguments)
        self._env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._env |= {"ENRICHER_HTTP_PORT": "0", "ENRICHER_LOG_FORMAT": "json", **(env or {})}
        self._directory = tempfile.TemporaryDirectory(prefix="enricher-test-")
        self._process: asyncio.subprocess.Process | forks.Forked | None = None
        self._readers: tuple[asyncio.Task[None], ...] = ()
        self._news = asyncio.Condition()
        self._is_over = False
        self.lines: list[Line] = []
        """Every log line so far. One that is not JSON has itself as `text`; a traceback no more."""
        self.stdout = ""

    async def __aenter__(self) -> Self:
        self._process = await (self._start() if self._is_special() else self._fork())
        self._readers = (
            asyncio.create_task(self._read_stderr(), name="stderr"),
            asyncio.create_task(self._read_stdout(), name="stdout"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await self.wait()
        self._directory.cleanup()
        if not self._quiet:
            self._show()

    def _is_special(self) -> bool:
        """What only an interpreter that really starts can show (`tests/support/forks.py`)."""
        is_told = any(name.startswith(_TELL_PYTHON) for name in self._given)
        return bool(is_told or self._before or self._ignoring or not forks.IS_POSSIBLE)

    async def _fork(self) -> forks.Forked:
        return await forks.fork(self._arguments, self._env, self._directory.name, bound_to_us())

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(*bound_to_us(), *self._before, sys.executable, "-m", "enricher", *self._arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._directory.name,
            env=self._env,
            limit=forks.LONGEST_LINE,
            preexec_fn=self._ignore if self._ignoring else None,
        )

    def _ignore(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup make test` hands on as ignored
        for number in self._ignoring:
            signal.signal(number, signal.SIG_IGN)

    @property
    def directory(self) -> Path:
        """Where it runs; what is put there before it is entered is there when it starts."""
        return Path(self._directory.name)

    @property
    def process(self) -> asyncio.subprocess.Process | forks.Forked:
        assert self._process is not None, "use it in `async with`"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def terminate(self) -> None:
        """Ask it to drain; follow with `wait`."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to this process alone, by its pid; none when it is over.

        Not asyncio's own `send_signal`: that polls first, and when it finds the process dead its exit code
        is lost to who waits for it.
        """
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self, within: float = 30.0) -> int:
        """The exit code, once it has ended and all it wrote has been read."""
        __tracebackhide__ = True
        try:
            async with patience(within):
                await asyncio.wait(self._readers)  # unlike `gather`, leaves them be when time is up
                return await self.process.wait()
        except TimeoutError:
            message = f"still running after {within:g} s\n{self._tail()}"
            raise AssertionError(message) from None

    def events(self, name: str, **fields: object) -> list[Line]:
        """The log lines of one event so far, with these values in their fields."""
        return [line for line in self.lines if _is_event(line, name, fields)]

    def troubles(self) -> list[Line]:
        """The lines beyond INFO, but that the machine left it waiting."""
        return [
            line
            for line in self.lines
            if line.get("severity") != "INFO" and line.get("event") != "process.stalled"
        ]

    async def wait_for_event(self, name: str, within: float = 15.0, **fields: object) -> Line:
        """The first line of this event, past or to come; fails at once when the process ends."""
        __tracebackhide__ = True
        try:
            async with patience(within), self._news:
                while not (found := self.events(name, **fields)):
                    assert not self._is_over, f"ended before {name} {fields}\n{self._tail()}"
                    await self._news.wait()
                return found[0]
        except TimeoutError:
            message = f"no {name} {fields} within {within:g} s\n{self._tail()}"
            raise AssertionError(message) from None

    async def http_url(self) -> str:
        """Where its HTTP server listens, e.g. `http://127.0.0.1:40001`."""
        line = await self.wait_for_event("http.listening")
        return f"http://127.0.0.1:{line['port']}"

    async def get(self, path: str) -> httpx.Response:
        """One GET on its HTTP server: `/metrics`, `/livez`, `/readyz`."""
        async with plain_client(await self.http_url()) as client:
            return await client.get(path)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples called `name` that carry these labels; 0 when none does.

        `name` is the sample's: with `_total`, `_count`, `_sum` or `_bucket`. An unknown one
        fails, or a misspelling would pass for a zero.
        """
        page = (await self.get("/metrics")).text
        values = _samples("\n".join(line for line in page.splitlines() if _name_of(line) == name))
        assert values, f"no metric {name}; there are {sorted({s.name for s in _samples(page)})}"
        return sum(sample.value for sample in values if labels.items() <= sample.labels.items())

    async def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            async with self._news:
                self.lines.append(_parse(raw.decode(errors="replace").rstrip("\n")))
                self._news.notify_all()
        async with self._news:
            self._is_over = True
            self._news.notify_all()

    async def _read_stdout(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.stdout += raw.decode(errors="replace")

    def _tail(self, count: int = 40) -> str:
        return "\n".join(_text(line) for line in self.lines[-count:])

    def _show(self) -> None:
        """To where pytest captures it, which it prints for a failing test only."""
        title = f"--- enricher {' '.join(self._arguments)} (pid {self.pid}, exit {self.process.returncode})"
        sys.stderr.write(f"{title}\n{self.stdout}{self._tail(len(self.lines))}\n")


def _name_of(line: str) -> str:
    """The sample's, on a page of metrics. To take the whole page apart for one takes its time."""
    return line.partition(" ")[0].partition("{")[0]


def _samples(page: str) -> list[Sample]:
    families = text_string_to_metric_families(page + "\n")
    return [sample for family in families for sample in family.samples]


def _parse(text: str) -> Line:
    try:
        line = json.loads(text)
    except ValueError:
        return {"text": text} | _for_people(text)
    return line if isinstance(line, dict) else {"text": text}


def _for_people(text: str) -> Line:
    """Event and fields of a line of the log in its other form."""
    if not (found := _CONSOLE.match(text)):
        return {}
    return {"event": found["event"], **dict(_FIELD.findall(found["fields"]))}


def _text(line: Line) -> str:
    return str(line["text"]) if set(line) == {"text"} else json.dumps(line)


def _is_event(line: Line, name: str, fields: Mapping[str, object]) -> bool:
    return line.get("event") == name and fields.items() <= line.items()
