"""Logging: one line per event on stderr, and nothing personal or secret in it.

Our own code logs through loguru: a stable event name as the message, the rest as bound fields. `EVENTS` says
what each event means and what to do about it; `docs/reference/events.md` is generated from it (`make
reference`). The level is set where the event is logged; a test compares the two.

    logger.bind(lead=label(lease.lead_id), token=lease.token).info("lead.settled")

What other libraries log through `logging` (from WARNING up) or `warnings` arrives as the event
`library.said` with the fields `logger` and `text`.

Every record is cleaned before any sink sees it: e-mail addresses, registered secrets, credentials in
URLs, `api_key=` values and bearer tokens are replaced in the message, in all fields and in tracebacks,
and the driver's "full error", which quotes documents, is cut off. Tracebacks show source lines, never the
values of variables. A name cannot be recognised as one, so an exception from code that handled a lead is
logged by `trace_of`, without its text. Nothing here raises, whatever is logged: a line that cannot be
rendered is replaced by one that says so.

Writers choose ids, so an `_id` may be an address, a name or a telephone number. `label` shows only what can
hardly be anything but an id: an ObjectId, a UUID, an integer, a short string of letters, digits, `_` and
`-` that is no telephone number. Everything else is replaced by a keyed hash, always the same for the same
id: a plain hash could be found by trying addresses. Until the key is known, all such ids look alike.
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
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias
from urllib.parse import quote, quote_plus, unquote
from uuid import UUID

from loguru import logger
from pydantic import SecretStr

from enricher.lead import Key, LeadId
from enricher.settings.load import LogSettings
from enricher.telemetry import metrics

if TYPE_CHECKING:
    from loguru import Message, Record

Scalar: TypeAlias = str | int | float | bool | None

COLLECTION = "collection"
"""The field that names a line's collection, where a daemon works on several."""
_OF_A_SOURCE = (
    *("claim.", "drain.", "history.", "indexes.", "lead.", "leads.", "lease.", "progress."),
    *("outbox.", "search.", "settle.", "stream.", "sweep."),
)
_DATABASE = "database."

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
_SUSPECT = r"(?i:[@/=:\\%\s]|u0040)"
"""Every match of a rule contains one of these."""
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "1;31", "INFO": "32", "SUCCESS": "32"}

_encode = json.JSONEncoder(allow_nan=False).encode
"""Made once: `json.dumps` makes an encoder on each call with non-default options."""

_secrets: list[str] = []
_unclean = [re.compile(_SUSPECT)]
"""What a text without any rule's match or secret contains nothing of."""
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
    _unclean[:] = [re.compile("|".join([_SUSPECT, *map(re.escape, _secrets)]))]
    _name.cache_clear()


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
    if not _unclean[0].search(text):
        return text
    for secret in _secrets:
        text = text.replace(secret, "[secret]")
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
        if not _is_of_a_source(record["message"], fields):
            fields.pop(COLLECTION, None)
        if record["exception"] is not None:
            fields |= _exception(record["exception"].value)
    except Exception as error:  # noqa: BLE001 - a log line must never end the work it is about
        fields = {"log.unprintable": type(error).__name__}
    record["extra"].clear()
    record["extra"].update(fields)
    record["message"] = _text(record["message"])
    record["exception"] = None


def _is_of_a_source(event: str, fields: Mapping[str, Scalar]) -> bool:
    """Return whether a line is about one collection of leads. What all share, such as the calls to vendors, runs
    in tasks of whichever lead needed it first, and would name that lead's."""
    if event.startswith(_DATABASE):
        return fields.get("loop") not in metrics.SHARED_LOOPS
    return event.startswith(_OF_A_SOURCE)


def _flat(values: Mapping[Any, Any], depth: int) -> Iterator[tuple[str, Scalar]]:
    """Yield fields as scalars under dotted names, as log collectors want attributes."""
    for name, value in values.items():
        if isinstance(value, Mapping) and depth:
            inner = _flat(value, depth - 1)
            yield from ((f"{_name(name)}.{below}", scalar) for below, scalar in inner)
        else:
            yield _name(name), _scalar(value)


@lru_cache(1024, typed=True)
def _name(name: object) -> str:
    """Return the clean name of a field: there are few, and each comes with every line of its event."""
    return _text(name)


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
    text = text[: 4 * MAX_TEXT]
    text = redact(text if text.isascii() else text.encode("utf-8", "replace").decode())
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


# What each event means, and what to do about it.

EVENTS: Mapping[str, str] = {
    "http.listening": "The status page, metrics and probes are served at `host` and `port`.",
    "daemon.started": "Connected; names server, replica set, providers, and those without a key.",
    "website.off": "No company's data can be had, since no vendor of it has a key. `setting` set to `true` reads companies' own web sites, which costs nothing.",
    "website.loopback": "A development setting is on: all web sites are read from `port` of this machine. Never in production.",
    "daemon.stopping": "The first signal: nothing more is claimed, leads in work finish.",
    "drain.finished": "Nothing is in work any more; `released` leads went back as `pending`.",
    "drain.not_released": "MongoDB took no lead back; they are due when their leases run out.",
    "drain.cut_short": "Draining took 5 s longer than the grace period, and the process ends; leases run out.",
    "daemon.stopped": "Everything is closed.",
    "secret.wrapped": "The key of the hashes stands in the database no longer in clear: only `ENRICHER_HASH_KEY` opens it.",
    "process.no_descriptors": "Calls to vendors wait, at no cost of an attempt: this process may open no more than `limit` files and sockets. Once a minute.",
    "process.stalled": "This process stood still for `seconds`; the time counts against no vendor and no lead. Once a minute. Give it more CPU.",
    "process.no_memory": "This process could have no more memory: what it worked on waits, at no cost of an attempt. Once a minute.",
    "settings.exposed": "Everybody on the machine may read the keys in `file`: `chmod 600 .env`.",
    "systemd.not_told": "systemd started the daemon, and does not take what it says; see `error`.",
    "command.failed": "A bug ended the command, with exit code 1.",
    "lead.settled": "A claim has ended: outcome, attempt, seconds, and its score, reason or error.",
    "lead.rechecked": "A thin lead was looked at again, for the `number`-th time; `result` as in `enricher_rechecks_total`.",
    "lead.capped": "`providers` were not asked: a call might have taken the lead beyond `ceiling`, and it has cost `spent`. It is completed with what it has.",
    "lead.not_written": "A result was dropped; `why` as in `enricher_results_dropped_total`. A user's `pending` causes `lease_lost`.",
    "lead.unwritable": "MongoDB refuses any write to this lead, or there is no place for our fields in it, as `why` says. Mend the document or the validator.",
    "lead.blocked": "A writer's transaction that has not ended holds so many `leads`, `lead` among them; they are written when it ends, and delay no others. Often: keep transactions short.",
    "lead.broken": "A bug met by one lead, which becomes `failed`.",
    "lead.abandoned": "A bug kept a lead from being settled; it is due when its lease runs out.",
    "leads.called_back": "So many `leads` that waited for a `provider` (it was held, or had no time) are due again, spread over the time that it takes for them.",
    "lease.lost": "Work on a lead was stopped; `found_by` as in `enricher_leases_lost_total`. Many: look at MongoDB and the CPU.",
    "claim.unreadable": "A writer wrote into `enrichment` between a claim and the moment it was read back; the lead is claimed again when its lease runs out. Find the writer: that field is not for others.",
    "claim.unknown": "MongoDB did not answer a claim; what it won is read back. Nothing to do.",
    "progress.not_kept": "What one provider found was not stored early; the settle writes it again.",
    "settle.refused": "MongoDB will never take this result; the lead becomes `failed` and says why.",
    "outbox.recovered": "So many `events` were published that a daemon left behind when it died, or whose lead was claimed again before MongoDB took them.",
    "webhook.unavailable": "Five tries in a row failed, the last with `error`; events wait, and one at a time is tried. See the receiver.",
    "webhook.available": "It takes events again, after `seconds`.",
    "webhook.given_up": "An event was not delivered in three days, the last time because of `error`; `id` is its `_id` in `enricher_events`. The receiver should read the lead.",
    "webhook.gone": "The receiver answered `410 Gone`: this daemon delivers nothing more. Take `ENRICHER_WEBHOOK_URL` away, or restart the daemons when the receiver is back.",
    "webhook.broken": "A bug while an event was delivered; it is tried again in a minute.",
    "order.broken": "A bug while the order of providers was weighed; it stays as it is, and is looked at again.",
    "order.changed": "With `ENRICHER_PROVIDER_ORDER=auto`: `ahead` is asked before `behind` from now on, for `why`. `enricher report` shows both sides.",
    "provider.retry": "A try is repeated within the attempt.",
    "provider.held": "Key refused, quota or budget used up, answers unreadable, too many objections; not asked for `seconds`. Mend it, then restart a daemon. A warning for an operator's pause, which `enricher resume` ends.",
    "provider.paused": "The vendor asked to wait for `asked_seconds`; it is believed for `seconds`. Many: see its limits.",
    "provider.released": "The hold is over; it is asked again. A daemon that was started since then has nothing to release.",
    "provider.unavailable": "No answer, several times in a row; leads are retried. See the vendor's status page.",
    "provider.available": "It answers again, after `seconds`.",
    "provider.circuit_opened": "Ten questions in a row got no answer; left alone for `seconds`, then tried one by one.",
    "provider.unreadable": "An answer in no shape that we know; it counts as no answer. Please report it.",
    "provider.schema_drift": "Records have `missing` keys, or `wrong` types in known ones; once an hour. Please report it.",
    "provider.broken": "A bug in the code of a provider; it counts as no answer.",
    "stream.opened": "New leads are seen at once from here on; `start` as in `enricher_stream_opens_total`.",
    "stream.ended": "The collection was dropped or renamed; the stream is opened again by itself.",
    "stream.position_lost": "MongoDB no longer knows the position; the next best is tried, and a gap searched.",
    "stream.unavailable": "Polling instead, for `reason`: standalone, no privilege, or turned off.",
    "history.recording": "The first start writes down which leads stood there before it: so many `leads` by now, told every 10 s. New leads go on meanwhile.",
    "history.recorded": "So many `leads` stood there without a status and are left alone.",
    "history.lost": "The record of history was dropped. It is made anew: new leads of a gap count as history.",
    "sweep.taken_up": "So many `leads` were left lying by a writer's save and were taken up again, for this `reason` (see `enricher_leads_taken_up_total`). Find the writer that saves `enrichment`.",
    "search.going_on": "A search has found so many `leads` by now; told every 10 s.",
    "search.found": "A search found `leads` to be admitted.",
    "indexes.building": "The indexes of a large collection are being built, for `seconds` by now; told every 30 s. New leads go on meanwhile; counts, and leads that were pending or in work before, wait.",
    "indexes.built": "They stand, after `seconds`.",
    "indexes.missing": "Indexes could not be made, and claims are slow. Grant `createIndex`.",
    "indexes.unknown": "Indexes can neither be made nor looked at. Grant `createIndex` and `listIndexes`.",
    "cache.refused": "MongoDB refuses to store an answer; it will have to be asked, and paid for, again.",
    "cache.too_large": "An answer is too large to be stored; the same.",
    "ledger.not_written": "MongoDB was away at the stop: the last calls that ended stay counted as charged. Nothing to do.",
    "database.unavailable": "A loop waits for MongoDB, and tries again by itself.",
    "database.available": "It answers again, after `seconds`.",
    "presence.refused": "This daemon may not write `enricher_daemons`: it works, and nobody sees it. Grant what the role has.",
    "http.check_failed": "A bug in a readiness check, which counts as not ready.",
    "http.request_failed": "A bug while answering a request for metrics or probes.",
    "library.said": "What a library logged, from its warnings up: `logger` and `text`.",
}


# How an `_id` is shown: in the log, on the status page, in `enricher_daemons`.

_HASH_DIGITS = 16
_UUID_SUBTYPES = (3, 4)
_UUID_BYTES = 16
_TELLING_NOTHING = re.compile(r"[A-Za-z0-9_-]{1,36}")
"""Up to the length of a UUID in text form."""
_MADE_BY_A_PROGRAM = re.compile(
    r"[0-9a-f]{24}|[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE
)
_TELEPHONE = re.compile(r"[\d_-]*(?:\d[_-]*){7}[\d_-]*|.*(?:\d[_-]?){9}.*")
"""Nothing but seven digits or more; nine in a row within anything else."""

_keys: list[Key] = []


def label_with(key: Key) -> None:
    """Label this process's ids with `Keyring.key` from now on."""
    _keys[:] = [key]


def label(id_: LeadId) -> str:
    """Return the id itself, or its keyed hash."""
    match id_:
        case bool():
            return _hidden(id_)
        case int():
            return str(id_)
        case UUID() | bytes() if (uuid := uuid_in(id_)) is not None:
            return uuid
    text = str(id_)
    # ObjectId is not imported here; its text is its digits.
    is_text = isinstance(id_, str) or type(id_).__name__ == "ObjectId"
    return text if is_text and _tells_nothing(text) else _hidden(id_)


def uuid_in(value: object) -> str | None:
    """Return a UUID in text form, if `value` is one."""
    match value:
        case UUID():
            return str(value)
        case bytes() if len(value) == _UUID_BYTES:
            is_uuid = getattr(value, "subtype", 0) in _UUID_SUBTYPES
            return str(UUID(bytes=bytes(value))) if is_uuid else None
    return None


def _tells_nothing(text: str) -> bool:
    if not _TELLING_NOTHING.fullmatch(text):
        return False
    return bool(_MADE_BY_A_PROGRAM.fullmatch(text)) or not _TELEPHONE.fullmatch(text)


def _hidden(id_: LeadId) -> str:
    if not _keys:
        return "hidden"
    key = _keys[0]
    return "hidden-" + key("label", f"{type(id_).__name__} {id_!r}")[:_HASH_DIGITS]
