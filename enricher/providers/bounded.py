"""A connection whose answers end, whatever is at its other end.

aiohttp bounds a line and a header, but not how many interim answers (`103 Early Hints`) come before the
real one, nor what stands around a body: extensions and sizes of chunks, trailers. A server that sends
them for ever, at the speed of the network, would have the event loop do nothing else, and
fill the memory before the call's time is up. So the bytes of each answer are counted as they arrive,
before anybody reads them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MOST_OF_HEAD = 64 * 1024
"""Of everything before the body, interim answers included; vendors send one or two thousand bytes."""
MOST_OF_FRAMES = 64 * 1024
"""Of what stands around the body: sizes and extensions of chunks, trailers. With chunks of one byte each,
which cost the most to read, these are thirteen thousand."""
_SLICE = 16 * 1024
"""Bytes after which they are counted anew: what is read at once may be much more."""
MOST_OF_ALL = 3 * 1024 * 1024
"""Of a whole answer on the wire; of a body less is read."""
_INTERIM_BELOW, _SWITCHING = 200, 101


class Endless(aiohttp.ClientPayloadError):
    """The answer had not begun, or not ended, after more bytes than any answer has."""


class BoundedResponses(ResponseHandler):
    """What `aiohttp` makes of the bytes of one connection, as long as they are few enough."""

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._received = 0
        self._has_head = False

    def set_response_params(self, **how: Any) -> None:
        """A request is about to be sent on this connection."""
        self._received, self._has_head = 0, False
        super().set_response_params(**how)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """An answer's head is complete."""
        code = data[0].code
        self._has_head = self._has_head or code >= _INTERIM_BELOW or code == _SWITCHING
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """No further than it may go: what is read at once may be a thousand interim answers."""
        if not data:  # reading goes on after a pause: the parser has kept what came before it
            super().data_received(data)
            return
        if not self._has_head:
            room = MOST_OF_HEAD - self._received
            head, data = data[:room], data[room:]
            self._received += len(head)
            super().data_received(head)
            if not data:
                return
        for start in range(0, len(data), _SLICE):
            if not self._has_head or self._is_too_much():
                self._end()
                return
            part = data[start : start + _SLICE]
            self._received += len(part)
            super().data_received(part)

    def _is_too_much(self) -> bool:
        around = self._received - getattr(self._payload, "total_bytes", 0)
        return self._received > MOST_OF_ALL or around > MOST_OF_HEAD + MOST_OF_FRAMES

    def _end(self) -> None:
        self.set_exception(Endless())
        if self.transport is not None:
            self.transport.abort()


def bound(connector: aiohttp.TCPConnector) -> aiohttp.TCPConnector:
    """There is no public switch for it; a test over real sockets sees to it that it still works."""
    protocol = partial(BoundedResponses, loop=connector._loop)  # noqa: SLF001 - see above
    connector._factory = protocol  # type: ignore[assignment]  # noqa: SLF001 - see above
    return connector
