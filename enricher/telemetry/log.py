"""Logging: one line per event on stderr, and nothing personal or secret in it.

Our own code logs through loguru: a stable event name as the message, the rest as bound fields.

    logger.bind(lead=lease.lead_id, token=lease.token).info("lead.settled")

What other libraries log through `logging` (from WARNING up) or `warnings` arrives as the event
`library.said` with the fields `logger` and `text`.

Every record is cleaned before any sink sees it: e-mail addresses, registered secrets, credentials in
URLs, `api_key=` values and bearer tokens are replaced in the message, in all fields and in tracebacks,
and the driver's "full error", which quotes documents, is cut off. Tracebacks show source lines, never the
values of variables. A name cannot be recognised as one, so an exception from code that handled a lead is
logged by `trace_of`, without its text. Nothing here raises, whatever is logged: a line that cannot be
rendered is replaced by one that says so.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, date
from enum import Enum
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias
from urllib.parse import quote, quote_plus, unquote

from loguru import logger
from pydantic import SecretStr

from enricher.settings.load import LogSettings
from enricher.telemetry import metrics

if TYPE_CHECKING:
    from loguru import Message, Record

Scalar: TypeAlias = str | int | float | bool | None

MAX_TEXT = 16_384
"""Characters of one field that are kept; collectors cut or reject longer lines."""
MAX_DEPTH = 3
"""Levels of a bound mapping that become fields of their own."""
MAX_CAUSES = 8
"""Causes of an exception that are followed."""
MIN_SECRET = 4
"""A shorter "secret" would blot out ordinary words."""
MAX_INTEGER = 2**63
"""Beyond it, JSON readers lose digits, and Python refuses to print very long integers."""

_EVENT = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+")
_AT = r"(?:@|%40|\\u0040)"
_LOCAL = r"""[^\s"<>()\[\],;:@\\=&?]"""
_ADDRESS = re.compile(rf"""(?:"[^"\n]*"|(?<!{_LOCAL}){_LOCAL}+){_AT}[^\s"'<>()\[\],;:@\\/&?=]+""")
"""Also matches percent-encoded addresses, as in a URL. The look-behind keeps the search linear in a long text."""
_RULES = (
    (re.compile(r"//[^/\s@]*:[^\s@/?]*@"), "//[secret]@"),
    (re.compile(r"(?i)\b(bearer\s+|basic\s+(?=\S{12}))[^\s\"',]+"), r"\1[secret]"),
    (
        re.compile(
            r"(?i)((?:api[_-]?key|access_token|client_secret|password)[\"']?\s*(?:=\s*|:\s*[\"'])"
            r"[\"']?|x-api-key:\s*)[^\s&\"',;]+"
        ),
        r"\1[secret]",
    ),
    (re.compile(r"(dup key|full error): [^\n]*"), r"\1: [omitted]"),
)
_SUSPECT = re.compile(r"(?i)[@/=:\\%\s]|u0040")
"""Every match of a rule contains one of these."""
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "INFO": "32", "SUCCESS": "32"}

_encode = json.JSONEncoder(allow_nan=False).encode
"""Made once: `json.dumps` makes an encoder on each call with non-default options."""

_secrets: list[str] = []
_service: dict[str, str] = {}
"""The fields at the end of every line of this process."""


def register_secret(secret: SecretStr | None) -> None:
    """Never print this key, or this URI and the password in it, in any spelling."""
    if secret is None:
        return
    for text in _spellings(secret.get_secret_value()):
        if len(text) >= MIN_SECRET and text not in _secrets:
            _secrets.append(text)
    _secrets.sort(key=len, reverse=True)  # or part of a longer one would be left


def _spellings(secret: str) -> Iterator[str]:
    parts = [secret]
    if "://" in secret:
        authority = secret.partition("://")[2].partition("/")[0]
        parts.append(authority.rpartition("@")[0].partition(":")[2])
    for part in parts:
        yield from (part, unquote(part), quote(part, safe=""), quote_plus(part))
        yield json.dumps(part)[1:-1]


def redact(text: str) -> str:
    """Return `text` without addresses, secrets, credentials and quoted documents."""
    for secret in _secrets:
        text = text.replace(secret, "[secret]")
    if not _SUSPECT.search(text):
        return text
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return _ADDRESS.sub("[e-mail]", text)


def trace_of(error: BaseException) -> dict[str, str]:
    """Return fields for what was raised, and where, without its text: that may quote a lead."""
    return {
        "exception.type": _type_of(error),
        "exception.stacktrace": "".join(_frames(error, MAX_CAUSES)),
    }


def _frames(error: BaseException, left: int) -> Iterator[str]:
    """Yield causes first, as in a traceback; a group's members last."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and left:
        yield from _frames(before, left - 1)
    yield from traceback.format_tb(error.__traceback__)
    yield f"{_type_of(error)}\n"
    if isinstance(error, BaseExceptionGroup) and left:
        for each in error.exceptions:
            yield from _frames(each, left - 1)


def _type_of(error: BaseException) -> str:
    module, name = type(error).__module__, type(error).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


_COUNTERS = {level.upper(): metrics.LOG_MESSAGES.labels(level) for level in metrics.LEVELS}


def configure(
    settings: LogSettings, service_name: str, version: str, stream: TextIO | None = None
) -> None:
    """Send every line to `stream` (by default, stderr as it is at that moment). Replaces all sinks."""
    _service.clear()
    _service.update({"service.name": service_name, "service.version": version})
    render = _json_line if settings.format == "json" else _console_line

    def write(message: Message) -> None:
        _COUNTERS.get(message.record["level"].name, _COUNTERS["INFO"]).inc()
        target = stream or sys.stderr
        try:
            target.write(render(message.record, target))
            target.flush()
        except (OSError, ValueError, AttributeError):
            return  # there is nowhere left to log: the terminal is gone or the stream is closed

    logger.configure(handlers=[], patcher=_clean)
    logger.add(write, level=settings.level, format=_no_format, backtrace=False, diagnose=False)
    _route_libraries()


def name_instance(name: str) -> None:
    """Name this process of the fleet in every line from now on, as leads name their holder."""
    _service["service.instance.id"] = name


def _no_format(record: Record) -> str:  # noqa: ARG001 - loguru calls it with the record
    """Return nothing: the sinks render the record, and loguru must not append its own traceback."""
    return ""


# Cleaning


def _clean(record: Record) -> None:
    """Clean each record once, before any sink: what is left is safe to print anywhere."""
    try:
        fields = dict(_flat(record["extra"], MAX_DEPTH))
        if record["exception"] is not None:
            fields |= _exception(record["exception"].value)
    except Exception as error:  # noqa: BLE001 - a log line must never end the work it is about
        fields = {"log.unprintable": type(error).__name__}
    record["extra"].clear()
    record["extra"].update(fields)
    record["message"] = _text(record["message"])
    record["exception"] = None


def _flat(values: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Scalar]]:
    """Yield fields as scalars under dotted names, as log collectors want attributes."""
    for name, value in values.items():
        if isinstance(value, Mapping) and depth:
            inner = _flat(value, depth - 1)
            yield from ((f"{_text(name)}.{below}", scalar) for below, scalar in inner)
        else:
            yield _text(name), _scalar(value)


def _scalar(value: object) -> Scalar:
    if isinstance(value, Enum):
        value = value.value
    match value:
        case None | bool():
            return value
        case int() if abs(value) < MAX_INTEGER:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case date():
            return value.isoformat()
    return _text(value)


def _text(value: object) -> str:
    """Return printable, clean text. Cut generously before cleaning, so that no half address is left."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - __str__ may be third-party code
        text = f"<{type(value).__name__}>"
    text = redact(text[: 4 * MAX_TEXT].encode("utf-8", "replace").decode())
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT // 2]}...{text[-MAX_TEXT // 2 :]}"


def _exception(error: BaseException | None) -> dict[str, Scalar]:
    if error is None:
        return {}
    trace = "".join(traceback.format_exception(error))
    return {
        "exception.type": _type_of(error),
        "exception.message": _text(error),
        "exception.stacktrace": _text(trace),
    }


# Rendering


def _split(record: Record) -> tuple[str, str]:
    """Return the event name at the start of a message, and the whole message if it says more."""
    message = record["message"]
    found = _EVENT.match(message)
    event = found[0] if found and message[found.end() :][:1] in ("", " ") else "message"
    return event, "" if event == message else message


def _json_line(record: Record, _: TextIO) -> str:
    event, message = _split(record)
    stamp = record["time"].astimezone(UTC).isoformat(timespec="milliseconds")
    head = {
        "timestamp": stamp.replace("+00:00", "Z"),
        "severity": record["level"].name,
        "event": event,
    }
    said = {"message": message} if message else {}
    line = {**head, **record["extra"], **head, **_service, **said}
    return _encode(line) + "\n"


def _console_line(record: Record, target: TextIO) -> str:
    event, message = _split(record)
    fields = dict(record["extra"])
    trace = str(fields.pop("exception.stacktrace", ""))
    level = record["level"].name
    words = [
        _paint(f"{record['time']:%H:%M:%S.%f}"[:-3], "2", target),
        _paint(f"{level:<8}", _COLOURS.get(level, "36"), target),
        _paint(_visible(message or event), "1", target),
        *(f"{_paint(name, '36', target)}={_value(value)}" for name, value in fields.items()),
    ]
    return " ".join(words) + "\n" + "".join(f"  {_visible(row)}\n" for row in trace.splitlines())


def _paint(text: str, colour: str, target: TextIO) -> str:
    plain = "NO_COLOR" in os.environ or not target.isatty()
    return text if plain else f"\x1b[{colour}m{text}\x1b[0m"


def _value(value: object) -> str:
    text = _visible(str(value))
    return text if text and " " not in text else f'"{text}"'


def _visible(text: str) -> str:
    """Escape control characters: a logged value must not move the cursor or forge a line."""
    return text if text.isprintable() else json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


# Other libraries


class InterceptHandler(logging.Handler):
    """Passes records of the standard library's logging on to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a format that does not fit its arguments
            text = str(record.msg)
        bound = logger.bind(logger=record.name, text=text)
        bound.opt(exception=record.exc_info).log(level, "library.said")


def _route_libraries() -> None:
    """Pass on WARNING and above only: below it, drivers and HTTP clients quote commands, documents and URLs."""
    handler = InterceptHandler(logging.WARNING)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("pymongo", "aiohttp", "httpx", "asyncio"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.WARNING)
        library.propagate = True
    logging.getLogger("asyncio").addFilter(_is_news)
    logging.captureWarnings(capture=True)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop the failure of a connection that was no longer awaited: its former waiter has logged it.

    An exception that ended one of our tasks is news; its message is a different one.
    """
    error = record.exc_info[1] if record.exc_info else None
    return not ("Future exception was never" in str(record.msg) and isinstance(error, OSError))
