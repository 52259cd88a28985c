"""Servers that never stop sending, each in a thread of its own, so that a client's loop is not theirs.

with flooding(EARLY_HINTS) as flood:
    ...ask flood.url...
    flood.sent      # bytes that were taken from it
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import repeat

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
_AT_ONCE = 2000

FLOODS: dict[str, tuple[bytes, bytes]] = {
    "early_hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n"),
    "short_early_hints": (b"", b"HTTP/1.1 103 E\r\n\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "processing": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "headers": (OK, b"X-More: and more\r\n"),
    "one_header": (OK + b"X: ", b"a" * 32),
    "cookies": (OK, b"Set-Cookie: a=b\r\n"),
    "reason": (b"HTTP/1.1 200 ", b"fine" * 8),
    "blank_lines": (b"", b"\r\n"),
    "no_http": (b"", b"\x00\xff\x01"),
    "chunk_extension": (_CHUNKED + b"5;", b"name=value;" * 4),
    "chunk_extensions": (_CHUNKED, b"1;name=value\r\n \r\n"),
    "one_byte_chunks": (_CHUNKED, b"1\r\n \r\n"),
    "chunk_size": (_CHUNKED, b"0" * 32),
    "trailers": (_CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-More: and more\r\n"),
    "body": (OK + b"\r\n", b" " * 64),
    "answers": (b"", OK + b"Content-Length: 2\r\n\r\n{}"),
}
"""Name -> how the answer begins, and what is sent then, again and again."""


@dataclass
class Flood:
    """One such server."""

    listener: socket.socket
    name: str
    seconds: float = 0.0
    """Between two pieces; 0 sends as many as there is room for."""
    sent: int = 0
    calls: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        while not self.over.is_set():
            with suppress(OSError):
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        first, piece = FLOODS[self.name]
        pieces = piece if self.seconds else piece * _AT_ONCE
        with connection, suppress(OSError):
            connection.recv(65_536)
            self.calls += 1
            connection.sendall(first)
            for more in repeat(pieces):
                if self.over.wait(self.seconds) if self.seconds else self.over.is_set():
                    return
                self.sent += connection.send(more)


@contextmanager
def flooding(name: str, seconds: float = 0.0) -> Iterator[Flood]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        flood = Flood(listener, name, seconds)
        thread = threading.Thread(target=flood.serve, daemon=True)
        thread.start()
        try:
            yield flood
        finally:
            flood.over.set()
            thread.join()
