"""A process that calls as often as its limiter lets it, for the tests of the fleet's limits.

    python -m tests.support.callers URI DATABASE BUCKET WINDOWS SECONDS CALLERS

Writes the times of its calls (seconds of the machine's own monotonic clock) as one JSON list.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from bisect import bisect_left
from collections.abc import Sequence

from enricher.catalogue import Window
from enricher.limits.bucket import Bucket
from enricher.limits.limiter import Limiter, Slot
from enricher.mongo import server
from tests.support.processes import bound_to_us


def most_within(seconds: float, times: Sequence[float]) -> int:
    """The most of the sorted times that one sliding window holds."""
    return max(
        (bisect_left(times, began + seconds) - number for number, began in enumerate(times)),
        default=0,
    )


async def processes(
    count: int, uri: str, database: str, windows: Sequence[Window], seconds: float, callers: int
) -> list[list[float]]:
    """The calls of so many processes that share one bucket and work at the same time."""
    arguments = (uri, database, "acme", json.dumps([(w.calls, w.seconds) for w in windows]))
    command = (*bound_to_us(), sys.executable, "-m", __name__, *arguments)
    running = [
        await asyncio.create_subprocess_exec(
            *command, str(seconds), str(callers), stdout=asyncio.subprocess.PIPE
        )
        for _ in range(count)
    ]
    outputs = await asyncio.gather(*(process.communicate() for process in running))
    return [json.loads(output) for output, _ in outputs]


async def call(limiter: Limiter, times: list[float]) -> None:
    """Call at once, again and again. A slot that has lapsed before the call is replaced, as a question does."""
    while True:
        slot = await limiter.acquire()
        if isinstance(slot, Slot) and not slot.has_lapsed:
            times.append(time.monotonic())


async def calls(uri: str, database: str, name: str, windows: str, seconds: str, count: str) -> None:
    limits = tuple(Window(each, length) for each, length in json.loads(windows))
    times: list[float] = []
    async with server.connect(uri, pool=4) as client:
        limiter = Limiter(limits, Bucket(client[database], name, limits))
        callers = [asyncio.create_task(call(limiter, times)) for _ in range(int(count))]
        await asyncio.sleep(float(seconds))
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await limiter.close()
    sys.stdout.write(json.dumps(times))


if __name__ == "__main__":
    asyncio.run(calls(*sys.argv[1:7]))
