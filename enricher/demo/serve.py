"""`enricher simulator`: the simulated vendors as a program of their own, until it is told to stop.

What it prints are settings, one per line, and a comment that any reader of `.env` files skips:

    enricher simulator > .env &
    enricher run
"""

from __future__ import annotations

import asyncio
import errno
import signal

import typer

from enricher.demo.simulator import Simulator
from enricher.errors import SettingsError

KEY = "simulated"
"""Any key is good here that does not begin with "wrong"."""


async def serve(host: str, port: int, *, seed: int, latency: float, jitter: float) -> None:
    """Listen until SIGTERM or SIGINT. Raises SettingsError when the address cannot be had."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = Simulator(seed, latency, jitter=jitter)
    try:
        await simulator.start(host, port)
    except OSError as error:
        raise SettingsError([_complaint(error, host, port)]) from error
    try:
        typer.echo("\n".join(["# Simulated vendors; Ctrl-C ends them.", *settings_for(simulator)]))
        await stop.wait()
    finally:
        await simulator.stop()


def settings_for(simulator: Simulator) -> list[str]:
    """`NAME=value` lines that make a daemon ask this simulator."""
    return [f"{name}={value}" for name, value in variables_for(simulator).items()]


def variables_for(simulator: Simulator) -> dict[str, str]:
    """Name -> value of the settings that make a daemon ask this simulator."""
    found: dict[str, str] = {}
    for vendor, url in simulator.base_urls.items():
        found |= {f"{vendor.upper()}_BASE_URL": url, f"{vendor.upper()}_API_KEY": KEY}
    return found


def _complaint(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: port {port} on {host} is in use"
    if error.errno == errno.EACCES:
        return f"--port: port {port} on {host} needs privileges, use one above 1023"
    return f"--host: expected an address of this machine, got {host!r}"
