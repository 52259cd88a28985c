"""A real Alertmanager with the configuration that is shipped, and somebody who hears of its alerts.

with listening() as post:
    async with running(alertmanager, directory, filled(directory, post)) as manager:
        ...
        await eventually(lambda: post.told("/page", "EnricherDown", "firing"))
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import yaml

from tests.deploy.promql import DEPLOY, seconds_of
from tests.support.plain_http import plain_client
from tests.support.processes import bound_to_us, free_port
from tests.support.waiting import eventually

SHIPPED = DEPLOY / "alertmanager" / "alertmanager.yml"
RECEIVERS = {"critical": "page", "warning": "ticket", "info": "note"}
"""Severity -> who hears of it."""

Labels: TypeAlias = dict[str, str]


@dataclass(slots=True)
class Post:
    """What came in at a local address, by path."""

    url: str
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def told(self, path: str, name: str, status: str) -> dict[str, Any]:
        """The first alert of this name and status that came to `path`; fails before there is one."""
        wanted = (path, name, status)
        for came_to, message in list(self.messages):
            alert: dict[str, Any]
            for alert in message["alerts"]:
                if (came_to, alert["labels"]["alertname"], alert["status"]) == wanted:
                    return alert
        raise AssertionError(f"nobody was told of {wanted}")

    def paths_of(self, name: str) -> set[str]:
        """Everywhere that heard of the alert."""
        return {
            path
            for path, message in list(self.messages)
            if name in {alert["labels"]["alertname"] for alert in message["alerts"]}
        }


@contextmanager
def listening() -> Iterator[Post]:
    """Somebody at 127.0.0.1, as an operator's pager would be."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    post = server.post = Post(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]  # for the handler
    thread = threading.Thread(target=server.serve_forever, name="post")
    thread.start()
    try:
        yield post
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.post.messages.append((self.path, json.loads(body)))  # type: ignore[attr-defined]  # ours
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: what came in is kept."""


def filled(directory: Path, post: Post, hurry: float = 1) -> Path:
    """The shipped configuration with the addresses of `post`, filled in as operators do it; what is to be told is
    collected for so much shorter."""
    names = RECEIVERS.values()
    made = fill({f"ALERTS_{name.upper()}_URL": f"{post.url}/{name}" for name in names})
    path = directory / "alertmanager.yml"
    path.write_text(_quickened(made.stdout, hurry), "utf-8")
    return path


def _quickened(shipped: str, hurry: float) -> str:
    config = yaml.safe_load(shipped)
    for name in ("group_wait", "group_interval"):
        config["route"][name] = f"{seconds_of(config['route'][name]) / hurry * 1000:.0f}ms"
    return yaml.safe_dump(config)


def fill(given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What `fill.sh` says with this environment."""
    return subprocess.run(
        ["sh", str(SHIPPED.with_name("fill.sh"))],
        env={"PATH": os.environ["PATH"]} | given,
        capture_output=True,
        text=True,
        check=False,
    )


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Its HTTP API."""

    url: str
    http: httpx.AsyncClient

    async def add(self, alerts: Sequence[Labels]) -> None:
        """As Prometheus would."""
        body = [{"labels": labels} for labels in alerts]
        (await self.http.post("/api/v2/alerts", json=body)).raise_for_status()

    async def alerts(self) -> list[dict[str, Any]]:
        """All that it knows, with who hears of it and what silences it."""
        found: list[dict[str, Any]] = (await self.http.get("/api/v2/alerts")).json()
        return found

    async def is_ready(self) -> bool:
        try:
            return (await self.http.get("/-/ready")).is_success
        except httpx.TransportError:
            return False


@asynccontextmanager
async def running(program: str, directory: Path, config: Path) -> AsyncIterator[Alertmanager]:
    """At 127.0.0.1 alone: without a cluster, for which it would listen everywhere."""
    url = f"http://127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        *(*bound_to_us(), program, f"--config.file={config}", "--log.level=warn"),
        *(f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="),
        f"--storage.path={directory / 'alertmanager'}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    try:
        async with plain_client(url, seconds=30) as http:
            manager = Alertmanager(url, http)
            await eventually(manager.is_ready, within=60)
            yield manager
    finally:
        process.terminate()
        await process.wait()


def alerts_that_fire() -> list[Labels]:
    """The labels of every alert that a `*_test.yml` sees firing: of each that is shipped, as a test asserts."""
    return [
        {"alertname": tested["alertname"], **alert["exp_labels"]}
        for path in sorted(Path(__file__).parent.glob("*_test.yml"))
        for case in yaml.safe_load(path.read_text("utf-8"))["tests"]
        for tested in case.get("alert_rule_test", ())
        for alert in tested["exp_alerts"]
    ]
