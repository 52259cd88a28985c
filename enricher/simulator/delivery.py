"""From a decision to bytes on the wire, whole or spoilt.

Bodies of many megabytes are streamed from one small block, never built, so a test can ask for them
without a simulator that needs the memory it denies to its clients.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from aiohttp import web

from enricher.answer import Reply
from enricher.simulator.faults import DEFAULT_SIZE, Injection
from enricher.simulator.records import encode

BLOCK = b" " * 65_536
DRIPS = 100
"""In how many pieces a dripping body leaves."""


def plain(reply: Reply) -> web.Response:
    """The answer as decided."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def deliver(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """The answer as the fault leaves it."""
    kind = injection.fault.kind
    if kind in _WIRE:
        return await _WIRE[kind](request, reply, injection)
    if kind in _SPOIL:
        reply = Reply(reply.status, reply.headers, _SPOIL[kind](reply.body))
    return plain(reply)


def _seconds(injection: Injection, default: float) -> float:
    return default if injection.fault.seconds is None else injection.fault.seconds


def _size(injection: Injection) -> int:
    return DEFAULT_SIZE if injection.fault.size is None else injection.fault.size


async def _hang(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """Silence, then a reset: the client must have given up by itself long before."""
    await asyncio.sleep(_seconds(injection, 600.0))
    return await _reset(request, reply, injection)


async def _reset(request: web.Request, _reply: Reply, _how: Injection) -> web.StreamResponse:
    """Linger of zero seconds makes the kernel send RST instead of an orderly end."""
    transport = request.transport
    if transport is not None:
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def _cut_off(request: web.Request, reply: Reply, _how: Injection) -> web.StreamResponse:
    response = await _begin(request, reply, length=len(reply.body) or 2)
    await response.write(reply.body[: len(reply.body) // 2] or b"{")
    if request.transport is not None:
        request.transport.close()
    return response


async def _drip(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    response = await _begin(request, reply, length=len(reply.body))
    step = max(1, len(reply.body) // DRIPS)
    pause = _seconds(injection, 30.0) / max(1, len(reply.body) / step)
    for start in range(0, len(reply.body), step):
        await asyncio.sleep(pause)
        await response.write(reply.body[start : start + step])
    return response


async def _huge(request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    """White space before the value: legal JSON that a careful reader never finishes."""
    size = _size(injection)
    response = await _begin(request, reply, length=size + len(reply.body))
    for start in range(0, size, len(BLOCK)):
        await response.write(BLOCK[: size - start])
    await response.write(reply.body)
    return response


async def _bomb(_request: web.Request, reply: Reply, injection: Injection) -> web.StreamResponse:
    packed = _packed_spaces(_size(injection))
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    return plain(Reply(reply.status, headers, packed))


@lru_cache(maxsize=4)
def _packed_spaces(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    blocks = [packer.compress(BLOCK[: size - start]) for start in range(0, size, len(BLOCK))]
    return b"".join([*blocks, packer.compress(b"{}"), packer.flush()])


async def _begin(request: web.Request, reply: Reply, length: int) -> web.StreamResponse:
    headers = {**reply.headers, "Content-Length": str(length)}
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    return response


def _half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _mislabelled(body: bytes) -> bytes:
    """An é in Latin-1, which is no UTF-8, as a further member of the object."""
    return body.rstrip()[:-1] + ',"note":"café"}'.encode("latin-1")


def _with_text_for_numbers(body: bytes) -> bytes:
    return encode(_mapped(json.loads(body or b"{}"), _number_as_text))


def _with_nulls(body: bytes) -> bytes:
    return encode(_mapped(json.loads(body or b"{}"), lambda _value: None))


def _number_as_text(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Change every leaf; lists keep their length and objects their keys."""
    match value:
        case dict():
            return {key: _mapped(inner, change) for key, inner in value.items()}
        case list():
            return [_mapped(inner, change) for inner in value]
    return change(value)


_SPOIL: Mapping[str, Callable[[bytes], bytes]] = {
    "truncated": _half,
    "wrong_charset": _mislabelled,
    "wrong_types": _with_text_for_numbers,
    "all_nulls": _with_nulls,
}
_WIRE = {
    "hang": _hang,
    "reset": _reset,
    "cut_off": _cut_off,
    "drip": _drip,
    "huge": _huge,
    "gzip_bomb": _bomb,
}
