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

    @property
    def is_rung(self) -> bool:
        """And nobody has heard it yet."""
        return self._rung.is_set()

    async def wait(self, seconds: float) -> bool:
        """Until it rings, but at most `seconds`; False when it did not. No earlier ring is lost."""
        try:
            async with asyncio.timeout(seconds):
                return await self._rung.wait()
        except TimeoutError:
            return False
        finally:
            self._rung.clear()
