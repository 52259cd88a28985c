"""The doorbell between whoever sees work first and whoever does it."""

from __future__ import annotations

import asyncio


class Bell:
    """Rings are not counted: one wakes the worker, and the claim finds all there is."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There may be work."""
        self._rung.set()

    async def wait(self, seconds: float) -> None:
        """Until it rings, but at most `seconds`. A ring that came before is not lost."""
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._rung.clear()
