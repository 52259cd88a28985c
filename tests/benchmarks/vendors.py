"""The simulated vendors in a process of their own, without limits: `python -m ... SECONDS`."""

from __future__ import annotations

import asyncio
import sys

from enricher.demo.simulator import Simulator


async def _serve(latency: float) -> None:
    windows: dict[str, tuple[tuple[float, float], ...]] = {"clearbit": (), "hunter": ()}
    async with Simulator(latency=latency, windows=windows) as simulator:
        print(simulator.url, flush=True)  # noqa: T201 - the reader waits for this line
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
