"""Vendors that answer garbage to whom a word in the domain names, and everybody else as they should.

The words of one half are faults of the simulator. Those of the other half never end: they are cut off
from the wire before the simulator sees them, by a cable that reads what passes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Any

from enricher.providers.clearbit import ClearbitCompany
from enricher.simulator.server import Simulator
from tests.support.bodies import body_of
from tests.support.cable import Cable
from tests.support.floods import FLOODS

_FLOOD_SECONDS = 30.0
_FLOOD_PIECES = 50
_FLOOD_PAUSE = 0.001
MUTATED = 60
"""So many different bodies that are nearly the vendor's own."""

_RECORD = {"name": "Quokka \u202e\u009b31m\u2028 Ltd\x00", "domain": "$where", "a.b": {"$set": 1}}
_WIDE = json.dumps({"data": {"name": "x", "tags": ["x" * 99] * 15_000}, "name": "y"})
_NAN = '{"name": NaN, "data": {"score": 1e999}, "metrics": {"raised": -Infinity}}'


def _says(status: int, body: str = "<html>Blocked by your network's policy</html>") -> Any:
    return {"kind": "status", "status": status, "body": body}


# What slows or stops a vendor for everybody is not among them: a 429, or a 401 in the vendor's own words.
ANSWERS: Mapping[str, Mapping[str, Any]] = {
    **{f"says{status}": _says(status) for status in (200, 204, 400, 401, 402, 403, 404, 405, 410)},
    **{f"says{status}": _says(status) for status in (422, 451, 500, 502, 503, 599)},
    **{f"own{status}": _says(status, "{}") for status in (200, 202, 222, 400, 404, 422, 500)},
    **{kind: {"kind": kind} for kind in ("html", "empty", "truncated", "cut_off", "reset")},
    **{kind: {"kind": kind} for kind in ("empty_list", "wrong_types", "all_nulls")},
    **{kind: {"kind": kind} for kind in ("wrong_charset", "huge", "gzip_bomb")},
    "silent": {"kind": "hang", "seconds": 15},
    "dripping": {"kind": "drip", "seconds": 15},
    "pit": _says(200, "[" * 200_000),
    "deep": _says(200, '{"a":' * 900 + "1" + "}" * 900),
    "wide": _says(200, _WIDE),
    "odd": _says(200, json.dumps({**_RECORD, "data": _RECORD})),
    "nonumber": _says(200, _NAN),
    "away": {**_says(302), "headers": {"Location": "http://169.254.169.254/latest/meta-data"}},
    "garbled": {"kind": "status", "status": 503, "headers": {"Retry-After": "Fri, 99 Foo 99999"}},
    "never": {"kind": "status", "status": 503, "headers": {"Retry-After": "1e400"}},
    "coded": {**_says(200), "headers": {"Content-Encoding": "br, gzip, deflate, zstd, x"}},
}
WORDS = tuple(
    word.replace("_", "")
    for word in (
        *ANSWERS,
        *(f"flood{name}" for name in FLOODS),
        *(f"mutated{number}x" for number in range(MUTATED)),
    )
)
_FLOODS = {f"-flood{name.replace('_', '')}-".encode(): each for name, each in FLOODS.items()}


def spoil(simulator: Simulator, seed: int) -> None:
    """Have it answer so from now on."""
    for word, answer in ANSWERS.items():
        simulator.inject(question=f"*-{word.replace('_', '')}-*", **answer)
    for number in range(MUTATED):
        body = body_of(ClearbitCompany, Random(f"{seed} {number}"), number)
        text = body.decode("utf-8", "surrogateescape")
        simulator.inject(question=f"*-mutated{number}x-*", **_says(200, text))


class Spillway(Cable):
    """The way to the simulator; who asks about a flood gets one, for a while."""

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _head_of(reader)
        flood = next((FLOODS[_name(word)] for word in _FLOODS if word in head), None)
        with suppress(ConnectionError):
            if flood is None:
                await self._pass_on(head, reader, writer)
            else:
                await _pour(writer, *flood)
        await _close(writer)

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One question for each connection: what else might come along it is not read here."""
        there, back = await asyncio.open_connection(self.host, self.port)
        self._ends |= {writer, back}
        try:
            back.write(_alone(head))
            answering = asyncio.create_task(_copy(there, writer))
            gone = asyncio.create_task(reader.read(1))
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            for task in (answering, gone):
                task.cancel()
            await asyncio.wait({answering, gone})
        finally:
            self._ends -= {writer, back}
            await _close(back)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def _name(word: bytes) -> str:
    return next(name for name in FLOODS if f"-flood{name.replace('_', '')}-".encode() == word)


def _alone(head: bytes) -> bytes:
    lines = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"connection:")]
    return b"\r\n".join([lines[0], b"Connection: close", *lines[1:]])


async def _head_of(reader: asyncio.StreamReader) -> bytes:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        return await reader.readuntil(b"\r\n\r\n")
    return b""


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await source.read(65_536):
            target.write(chunk)
            await target.drain()


async def _pour(writer: asyncio.StreamWriter, first: bytes, piece: bytes) -> None:
    writer.write(first)
    with suppress(TimeoutError):
        async with asyncio.timeout(_FLOOD_SECONDS):
            while True:
                writer.write(piece * _FLOOD_PIECES)
                await writer.drain()
                await asyncio.sleep(_FLOOD_PAUSE)
