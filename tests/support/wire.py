"""Counts what a client asks of MongoDB, on the wire: each request is one round trip.

    async with wire_to(uri) as wire:
        ...a daemon with MONGODB_URI=wire.uri works...
        wire.requests   # {("find", "leads"): 3, ("update", "leads"): 1, ...}

Neither the client nor the server has a say in it, and nobody else on the same server is counted.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pymongo.asynchronous.uri_parser import parse_uri

from tests.support.cable import Cable, MayPass, serving

_HEADER = struct.Struct("<iiii")
"""Length, request id, responds to, kind of message."""
_LENGTH = struct.Struct("<i")
_OP_MSG = 2013
_FIRST = _HEADER.size + 9
"""After the flags, the kind of the section and the length of its document comes the first element:
its type, its name (the command), and its value (mostly the collection)."""
_STRING = 2
IDLE = frozenset({"hello", "isMaster", "ismaster", "ping", "endSessions"})
"""What a driver asks without being asked."""

Request = tuple[str, str]
"""The command and its collection, if it names one."""


@dataclass
class Wire(Cable):
    """A cable that reads along."""

    requests: Counter[Request] = field(default_factory=Counter)

    def round_trips(self, *collections: str) -> int:
        """Those that a client made for itself, or only those about these collections."""
        return sum(
            count
            for (command, collection), count in self.requests.items()
            if command not in IDLE and (not collections or collection in collections)
        )

    def _requests(self) -> MayPass:
        """For one connection: its messages come in pieces of any size."""
        pending = bytearray()

        async def count(chunk: bytes) -> None:
            await self._request_may_pass(chunk)
            pending.extend(chunk)
            while len(pending) >= _HEADER.size:
                length, _, _, kind = _HEADER.unpack_from(pending)
                if len(pending) < length:
                    return
                if kind == _OP_MSG:
                    self.requests[command_of(bytes(pending[:length]))] += 1
                del pending[:length]

        return count


def command_of(message: bytes) -> Request:
    """Of an `OP_MSG` of which the beginning is here."""
    elements = message[_FIRST:]
    name, _, value = elements[1:].partition(b"\0")
    if not elements or elements[0] != _STRING:
        return name.decode(), ""
    (length,) = _LENGTH.unpack_from(value)
    return name.decode(), value[_LENGTH.size : _LENGTH.size + length - 1].decode()


@asynccontextmanager
async def wire_to(uri: str) -> AsyncIterator[Wire]:
    """A wire to the first server that `uri` names."""
    host, port = (await parse_uri(uri))["nodelist"][0]
    async with serving(Wire(host, port or 27017)) as wire:
        yield wire
