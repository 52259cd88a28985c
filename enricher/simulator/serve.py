"""`enricher simulator`: the simulated vendors as a program of their own, until it is told to stop.

What it prints are settings, one per line, and a comment that any reader of `.env` files skips:

    enricher simulator > .env &
    enricher run
"""

from __future__ import annotations

import asyncio
import errno

import typer

from enricher.errors import SettingsError
from enricher.process import signals
from enricher.simulator.server import Simulator

KEY = "simulated"
"""Any key is good here that does not begin with "wrong"."""
BY_PLAN, PAID_PLAN = ("pdl", "apollo"), "1000"
"""The key is one of a paid plan, and the daemon's defaults are for free ones."""


async def serve(host: str, port: int, *, seed: int, latency: float, jitter: float) -> None:
    """Listen until a signal comes. Raises SettingsError when the address cannot be had."""
    stop = asyncio.Event()
    simulator = Simulator(seed, latency, jitter=jitter)
    try:
        await simulator.start(host, port)
    except OSError as error:
        raise SettingsError([_complaint(error, host, port)]) from error
    try:
        with signals.heeding(
            lambda _: stop.set()
        ):  # first: whoever reads a line may signal at once
            typer.echo(
                "\n".join(["# Simulated vendors; Ctrl-C ends them.", *settings_for(simulator)])
            )
            await stop.wait()
    finally:
        await simulator.stop()


def settings_for(simulator: Simulator) -> list[str]:
    """`NAME=value` lines that make a daemon ask this simulator."""
    return [f"{name}={value}" for name, value in variables_for(simulator).items()]


def variables_for(simulator: Simulator, *vendors: str) -> dict[str, str]:
    """Name -> value of the settings that make a daemon ask this simulator; of all its vendors, or
    only of these."""
    found: dict[str, str] = {}
    for vendor in vendors or simulator.base_urls:
        name, url = vendor.upper(), simulator.base_urls[vendor]
        found |= {f"{name}_BASE_URL": url, f"{name}_API_KEY": KEY}
        found |= {f"{name}_RATE_LIMIT": PAID_PLAN} if vendor in BY_PLAN else {}
    return found


def _complaint(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port: port {port} on {host} is in use"
    if error.errno == errno.EACCES:
        return f"--port: port {port} on {host} needs privileges, use one above 1023"
    return f"--host: expected an address of this machine, got {host!r}"
