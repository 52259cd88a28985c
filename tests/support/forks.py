"""`python -m enricher` without its imports: a process that has made them all, and forks for each start.

To import everything takes most of a start, a second of CPU each time, and the suite starts hundreds of
processes. Here a test's process imports nothing, and finds the tables read that are part of the
installation. It is one of its own all the same, with the environment, directory and arguments that it is
given, and runs `enricher/__main__.py` from its first line to the last handler of its exit. Left to a real start is what
a fork cannot have: an interpreter that is told something (`PYTHON...`, a locale), signals that it finds ignored,
words before the command, and an end that takes the interpreter apart.

This module is both sides of it. `python -m tests.support.forks FD` is the one that forks: it reads requests from the
socket FD until nobody is left to send one. A request brings the ends of three pipes: stdout, stderr, and where to
write the pid at once and the exit code at the end.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import functools
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent.parent.parent
LONGEST_LINE = 2**24
IS_POSSIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open")
_LONGEST_REQUEST = 2**18
_DONE_AT_A_START = ("__main__", "beginning")
"""Modules that each process loads for itself: what is started, and what looks at the clock."""
_ASKED_FOR_LATE = ("typer", "uvloop", "concurrent.futures.thread")
"""What our modules import when they come to it, and each run does."""
_PASSED_ON = ("PATH", "HOME", "SSL_CERT_FILE")
_PR_SET_PDEATHSIG = 1


class Forked:
    """What `asyncio.subprocess.Process` is for a process of our own."""

    def __init__(self, pid: int, pipes: Sequence[asyncio.StreamReader]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout, self.stderr, status = pipes
        self._end = asyncio.create_task(self._until_it_ends(status), name=f"end of {pid}")

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def _until_it_ends(self, status: asyncio.StreamReader) -> int:
        """Read to its end, or the pipe would still be open when the test's loop is closed."""
        self.returncode = int(await status.read() or -signal.SIGKILL)
        return self.returncode


async def fork(
    arguments: Sequence[str], env: Mapping[str, str], directory: str, before: Sequence[str]
) -> Forked:
    """`before` are words that go before the command of the one that forks, the first time."""
    ends = [os.pipe() for _ in range(3)]
    request = json.dumps([[*arguments], dict(env), directory]).encode()
    socket.send_fds(_forker((*before,)), [request], [write for _, write in ends])
    for _, write in ends:
        os.close(write)
    pipes = [await _reader(read) for read, _ in ends]
    return Forked(int(await pipes[-1].readline()), pipes)


async def _reader(pipe: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    return reader


@functools.cache
def _forker(before: tuple[str, ...]) -> socket.socket:
    """One for the whole run, of this worker; it ends when the worker does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_REQUEST)
    with its:
        command = (*before, sys.executable, "-m", __name__, str(its.fileno()))
        env = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, pass_fds=[its.fileno()], stdin=nowhere, stdout=nowhere
        )
    atexit.register(_end, ours, process)
    return ours


def _end(ours: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ours.close()
    process.wait()


# The one that forks


@dataclass(frozen=True, slots=True)
class _Start:
    """What a new process is to do, and where its stdout and stderr go."""

    arguments: list[str]
    env: dict[str, str]
    directory: str
    outputs: list[int]


def _everything() -> Iterator[str]:
    import enricher

    yield from _ASKED_FOR_LATE
    for module in pkgutil.walk_packages(enricher.__path__, "enricher."):
        if module.name.rpartition(".")[2] not in _DONE_AT_A_START and ".demo" not in module.name:
            yield module.name


def _read_tables() -> None:
    """What is the same in every process and takes each one 0.15 s of CPU, most of it for the list of suffixes."""
    from loguru import logger

    from enricher import cli
    from enricher.errors import SettingsError
    from enricher.identity.domains import classify
    from enricher.providers import registry, transport
    from enricher.settings import load
    from enricher.values.types import country_name_of

    classify("example.com")
    country_name_of("us")
    registry.installed()
    registry.built_in()
    registry.finders()
    cli.command()
    transport.trusted()
    with suppress(SettingsError):  # it lacks an address, but the sections are built
        load.load({}, None)
    # The log asks for each of these paths at every start.
    sysconfig.get_path = functools.cache(sysconfig.get_path)  # type: ignore[assignment] # it answers alike
    logger.remove(logger.add(lambda _: None))


def _serve(requests: socket.socket) -> _Start | None:
    """Returns in each new process, with what it is to do; in this one when nobody is left to ask."""
    with selectors.DefaultSelector() as events:
        events.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in events.select():
                if key.data is not None:
                    _tell(events, key.fd, *key.data)
                    continue
                request, pipes, *_ = socket.recv_fds(requests, _LONGEST_REQUEST, 3)
                if not request:
                    return None
                if (pid := os.fork()) == 0:
                    _forget_others(events, pipes[-1])
                    arguments, env, directory = json.loads(request)
                    return _Start(arguments, env, directory, pipes[:-1])
                _follow(events, pid, pipes)


def _follow(events: selectors.BaseSelector, pid: int, pipes: list[int]) -> None:
    *outputs, status = pipes
    for output in outputs:
        os.close(output)
    _write(status, pid)
    events.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _tell(events: selectors.BaseSelector, pidfd: int, pid: int, status: int) -> None:
    events.unregister(pidfd)
    _write(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(pidfd)
    os.close(status)


def _write(status: int, number: int) -> None:
    try:
        os.write(status, b"%d\n" % number)
    except BrokenPipeError:
        return  # the test is over and does not want to know


def _forget_others(events: selectors.BaseSelector, status: int) -> None:
    os.close(status)
    for key in [*events.get_map().values()]:
        if key.data is not None:
            os.close(key.fd)
            os.close(key.data[1])


def _become(start: _Start) -> None:
    """What an interpreter finds as it begins."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup make test` hands on as ignored
    for number, output in enumerate(start.outputs, 1):
        os.dup2(output, number)
        os.close(output)
    os.chdir(start.directory)
    os.environ.clear()
    os.environ.update(start.env)
    time.tzset()
    sys.path[0] = start.directory
    sys.argv = ["enricher", *start.arguments]
    importlib.reload(
        sys.modules["enricher.process.beginning"]
    )  # it began now, not when it was imported


def _run() -> None:
    try:
        runpy.run_module("enricher", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int | None):
            _leave(end.code or 0)
        raise


def _leave(code: int) -> NoReturn:
    """As the interpreter does, but for taking all modules apart: that touches, and so copies, 25 MB of the one
    that forked. What a run left behind is collected, and complains."""
    threading._shutdown()  # type: ignore[attr-defined]  # typeshed leaves it out
    atexit._run_exitfuncs()
    gc.collect()
    for output in (sys.stdout, sys.stderr):
        output.flush()
    os._exit(code)


def _main() -> None:
    for name in _everything():
        importlib.import_module(name)
    _read_tables()
    gc.freeze()  # or each process would touch, and so copy, all of it when it ends: 0.25 s
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        start = _serve(requests)
    if start is not None:
        _become(start)
        _run()


if __name__ == "__main__":
    _main()
