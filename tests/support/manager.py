"""The end of NOTIFY_SOCKET that systemd has."""

from __future__ import annotations

import asyncio
import socket

from tests.support.waiting import patience


class Manager:
    """Listens at `name`: a path, or `@name` in the abstract space."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    async def hears(self, within: float = 10.0) -> str:
        """The next thing that it is told."""
        async with patience(within):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 100)).decode()

    async def hears_until(self, last: str) -> list[str]:
        """Everything up to this."""
        heard = [await self.hears(30)]
        while heard[-1] != last:
            heard.append(await self.hears())
        return heard

    def has_heard_nothing(self) -> bool:
        try:
            return not self._socket.recv(100)
        except BlockingIOError:
            return True
