"""A real, headless Chromium, spoken to in its own DevTools protocol: no driver, no library.

    with chromium() as port:
        async with browsing(port) as browser:
            page = await browser.open("http://127.0.0.1:9464/")
            await page.until("#verdict", lambda text: "Idle" in text)

It gets an empty profile, asks nobody for anything by itself, and is ended with the test. Whatever
the page complains about (console, exceptions, refused by a policy, failed requests) is in `complaints`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.processes import bound_to_us
from tests.support.waiting import eventually, patience

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
_MOST_BYTES = 32 * 1024 * 1024


def find_chromium() -> str:
    """Skips without one on a laptop, and fails in CI: there a green run must mean that it ran."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    reason = f"no browser: none of {', '.join(NAMES)} is installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(slots=True)
class Page:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    complaints: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    async def listen(self) -> None:
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                answer = self._answers.pop(said["id"])
                if not answer.done():  # else nobody waits for it any more
                    answer.set_result(said)
            elif complaint := _complaint(said["method"], said["params"]):
                self.complaints.append(complaint)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        async with patience(20):
            said = await answer
        assert "error" not in said, said
        result: dict[str, Any] = said["result"]
        return result

    async def value(self, expression: str) -> Any:
        """Of a JavaScript expression, as JSON has it."""
        said = await self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def text(self, selector: str) -> str:
        """As a person sees it; empty while it is not there, or not shown."""
        found = f"document.querySelector({json.dumps(selector)})"
        return str(
            await self.value(f"{found} && {found}.checkVisibility() ? {found}.innerText : ''")
        )

    async def until(self, selector: str, holds: Callable[[str], bool], within: float = 30.0) -> str:
        """The text, once it is as wanted."""
        __tracebackhide__ = True

        async def wanted() -> str:
            text = await self.text(selector)
            assert holds(text), f"{selector} says {text!r}"
            return text or " "

        return await eventually(wanted, within)

    async def see_as(self, scheme: str, width: int, height: int = 900) -> None:
        """`light` or `dark`, on a screen so many CSS pixels wide."""
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        await self.command("Emulation.setEmulatedMedia", features=[scheme_feature])
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def screenshot(self, **options: Any) -> bytes:
        """As PNG; with `captureBeyondViewport=True` of the whole page."""
        shot = await self.command("Page.captureScreenshot", **options)
        return base64.b64decode(shot["data"])


def _complaint(method: str, said: dict[str, Any]) -> str | None:
    match method:
        case "Log.entryAdded" if said["entry"]["level"] in ("error", "warning"):
            return str(said["entry"]["text"])
        case "Runtime.consoleAPICalled" if said["type"] in ("error", "warning", "assert"):
            return str(said["args"])
        case "Runtime.exceptionThrown":
            return str(said["exceptionDetails"])
    return None


@dataclass(frozen=True, slots=True)
class Browser:
    """One Chromium, with a profile of its own."""

    session: aiohttp.ClientSession
    port: int
    pages: list[Page] = field(default_factory=list)
    listeners: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self, url: str, *, scheme: str = "light", width: int = 1280) -> Page:
        new = f"http://127.0.0.1:{self.port}/json/new?about:blank"
        async with self.session.put(new) as reply:
            address = (await reply.json())["webSocketDebuggerUrl"]
        page = Page(await self.session.ws_connect(address, max_msg_size=_MOST_BYTES))
        self.pages.append(page)
        self.listeners.add(asyncio.create_task(page.listen(), name="browser-page"))
        for domain in ("Log", "Runtime", "Page"):
            await page.command(f"{domain}.enable")
        await page.see_as(scheme, width)
        await page.command("Page.navigate", url=url)
        return page


@contextmanager
def chromium() -> Iterator[int]:
    """One for many tests, in no loop of theirs; yields the port of its DevTools."""
    binary = find_chromium()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*bound_to_us(), binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
            start_new_session=True,
        )
        try:
            yield asyncio.run(eventually(lambda: _port(Path(profile)), within=30)) or 0
        finally:
            with suppress(ProcessLookupError):  # its whole group: it has children of its own
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@asynccontextmanager
async def browsing(port: int) -> AsyncIterator[Browser]:
    """The tabs that are opened here are closed with the block."""
    async with aiohttp.ClientSession() as session:
        browser = Browser(session, port)
        yield browser
        for page in browser.pages:
            await page.command("Page.close")
        for listener in browser.listeners:
            listener.cancel()
        await asyncio.gather(*browser.listeners, return_exceptions=True)


def _port(profile: Path) -> int | None:
    """Chromium writes it there once it listens."""
    file = profile / "DevToolsActivePort"
    lines = file.read_text().splitlines() if file.exists() else []
    return int(lines[0]) if lines else None
