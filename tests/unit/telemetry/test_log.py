"""What a log line looks like, and what never gets into one."""

from __future__ import annotations

import io
import json
import logging
import math
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId
from loguru import logger
from pydantic import SecretStr

from enricher.answer import Kind
from enricher.settings.load import LogSettings
from enricher.telemetry import log
from enricher.telemetry.metrics import LEVELS
from tests.support.observing import counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, secrets = list(root.handlers), root.level, list(log._secrets)
    yield
    logger.configure(handlers=[], patcher=lambda _: None)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    log._secrets[:] = secrets
    log._service.clear()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    log.configure(LogSettings(level="DEBUG"), "enricher", "1.2.3", stream)
    return stream


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def the_line(out: io.StringIO) -> dict[str, Any]:
    [line] = lines(out)
    return line


# The shape


def test_a_line_is_one_flat_object_with_time_severity_event_fields_and_service(
    out: io.StringIO,
) -> None:
    logger.bind(lead="abc", token=3).info("lead.settled")
    line = the_line(out)
    stamp = line.pop("timestamp")
    assert line == {
        "severity": "INFO",
        "event": "lead.settled",
        "lead": "abc",
        "token": 3,
        "service.name": "enricher",
        "service.version": "1.2.3",
    }
    assert len(stamp) == len("2025-01-01T00:00:00.000Z")
    assert abs(datetime.fromisoformat(stamp) - datetime.now(UTC)).total_seconds() < 60


@pytest.mark.parametrize(
    ("event", "loop", "is_named"),
    [
        ("lead.settled", None, True),
        ("stream.opened", None, True),
        ("database.unavailable", "worker", True),
        ("database.unavailable", "limits", False),
        ("provider.retry", None, False),
    ],
)
def test_only_a_line_about_one_collection_names_it(
    out: io.StringIO, event: str, loop: str | None, is_named: bool
) -> None:
    """What is shared runs in tasks of whichever lead needed it first."""
    with logger.contextualize(**{log.COLLECTION: "customers"}):
        logger.bind(loop=loop).info(event)
    assert (the_line(out).get("collection") == "customers") is is_named


def test_every_line_names_the_process_once_it_has_a_name(out: io.StringIO) -> None:
    logger.info("a.b")
    log.name_instance("host:1:abcd")
    logger.bind(**{"service.instance.id": "somebody else"}).info("a.b")
    first, second = lines(out)
    assert "service.instance.id" not in first
    assert second["service.instance.id"] == "host:1:abcd"


def test_the_event_is_the_name_that_the_message_begins_with(out: io.StringIO) -> None:
    logger.info("lead.settled outcome={} score={:.2f}", "completed", 0.5)
    line = the_line(out)
    assert line["event"] == "lead.settled"
    assert line["message"] == "lead.settled outcome=completed score=0.50"


def test_prose_is_kept_under_the_event_message(out: io.StringIO) -> None:
    logger.info("Hello there")
    line = the_line(out)
    assert (line["event"], line["message"]) == ("message", "Hello there")


def test_fields_given_with_the_message_are_fields(out: io.StringIO) -> None:
    logger.info("vendor.answered", status=200)
    assert the_line(out)["status"] == 200


def test_a_bound_field_cannot_pose_as_the_severity(out: io.StringIO) -> None:
    logger.bind(severity="DEBUG", event="x").error("a.b")
    line = the_line(out)
    assert (line["severity"], line["event"]) == ("ERROR", "a.b")


def test_a_mapping_becomes_dotted_fields(out: io.StringIO) -> None:
    logger.bind(usage={"calls": 1, "by": {"hunter": 2}}).info("a.b")
    line = the_line(out)
    assert (line["usage.calls"], line["usage.by.hunter"]) == (1, 2)


def test_lines_below_the_level_are_not_written(out: io.StringIO) -> None:
    logger.trace("a.b")
    assert not out.getvalue()


def test_configuring_twice_does_not_double_the_lines(out: io.StringIO) -> None:
    log.configure(LogSettings(), "enricher", "1.2.3", out)
    logger.info("a.b")
    assert len(lines(out)) == 1


def test_without_a_stream_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(LogSettings(), "enricher", "1")
    logger.info("a.b")
    captured = capsys.readouterr()
    assert json.loads(captured.err)["event"] == "a.b"
    assert not captured.out


def test_the_console_form_is_coloured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    log.configure(LogSettings(format="console"), "enricher", "1", stream)
    logger.bind(lead="x").warning("lead.failed")
    assert "\x1b[33mWARNING \x1b[0m \x1b[1mlead.failed\x1b[0m" in stream.getvalue()


def test_the_console_form_is_plain_in_a_file() -> None:
    stream = io.StringIO()
    log.configure(LogSettings(format="console"), "enricher", "1", stream)
    logger.bind(lead="x", why="two words").warning("lead.failed")
    assert stream.getvalue()[13:] == 'WARNING  lead.failed lead=x why="two words"\n'


def test_a_value_cannot_move_the_cursor_or_forge_a_line_on_the_console() -> None:
    stream = io.StringIO()
    log.configure(LogSettings(format="console"), "enricher", "1", stream)
    logger.bind(domain="x\x1b[2J\nERROR\x7f\x9b").info("a.b")
    assert stream.getvalue().endswith("domain=x\\u001b[2J\\nERROR\\u007f\\u009b\n")


def test_the_console_form_shows_the_traceback_below() -> None:
    stream = io.StringIO()
    log.configure(LogSettings(format="console"), "enricher", "1", stream)
    fail_with(ValueError("odd"))
    assert "\n  Traceback (most recent call last):\n" in stream.getvalue()
    assert stream.getvalue().endswith("  ValueError: odd\n")


# Exceptions


def fail_with(error: Exception) -> None:
    password_in_a_local = "s3cr3t-local"  # noqa: F841 - must not be printed
    try:
        raise error
    except type(error):
        logger.exception("work.failed")


def test_an_exception_is_three_fields_and_shows_no_local_values(out: io.StringIO) -> None:
    fail_with(ValueError("odd"))
    line = the_line(out)
    assert line["exception.type"] == "ValueError"
    assert line["exception.message"] == "odd"
    assert line["exception.stacktrace"].endswith("ValueError: odd\n")
    assert line["exception.stacktrace"].count("s3cr3t-local") == 0


def test_an_exception_whose_text_cannot_be_had_is_still_logged(out: io.StringIO) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    fail_with(Odd())
    assert the_line(out)["exception.message"] == "<Odd>"


def test_an_address_quoted_by_an_exception_or_its_cause_is_redacted(out: io.StringIO) -> None:
    error = ValueError("no mailbox jane.doe@acme.com")
    error.__cause__ = KeyError("jane.doe@acme.com")
    fail_with(error)
    assert "jane.doe" not in out.getvalue()
    assert the_line(out)["exception.message"] == "no mailbox [e-mail]"


def test_the_document_quoted_by_the_driver_is_cut_off(out: io.StringIO) -> None:
    fail_with(ValueError("E11000 dup key: { name: 'Jane' }, full error: {'op': {'name': 'Jane'}}"))
    assert the_line(out)["exception.message"] == "E11000 dup key: [omitted]"
    assert "'Jane'" not in the_line(out)["exception.message"]


def test_what_code_raised_that_held_a_lead_is_told_without_its_words(out: io.StringIO) -> None:
    def look_up() -> None:
        try:
            int("Jane")
        except ValueError as error:
            raise ExceptionGroup("of Jane", [KeyError("Jane")]) from error

    try:
        look_up()
    except ExceptionGroup as error:
        logger.bind(**log.trace_of(error)).error("work.failed")
    line = the_line(out)
    assert (line["exception.type"], "exception.message" in line) == ("ExceptionGroup", False)
    raised = [row for row in line["exception.stacktrace"].splitlines() if not row.startswith(" ")]
    assert raised == ["ValueError", "ExceptionGroup", "KeyError"]
    assert line["exception.stacktrace"].count("in look_up") == 2


# Redaction


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("to jane.doe+x@acme.co.uk now", "to [e-mail] now"),
        ("GET /verify?email=jane%40acme.com&x=1", "GET /verify?email=[e-mail]&x=1"),
        ("<jürgen@münchen.de>", "<[e-mail]>"),
        ('"john doe"@acme.com', "[e-mail]"),
        (r'{"email": "jane\u0040acme.com"}', '{"email": "[e-mail]"}'),
        ("mongodb://ann:pa%40ss@db:27017/x", "mongodb://[secret]@db:27017/x"),
        ("GET /v2?domain=a.com&api_key=abc123&x=1", "GET /v2?domain=a.com&api_key=[secret]&x=1"),
        ("X-API-KEY: abc123", "X-API-KEY: [secret]"),
        ("{'api_key': 'abc123'}", "{'api_key': '[secret]'}"),
        ("Authorization: Bearer sk_1.x-y", "Authorization: Bearer [secret]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [secret]"),
        ("a basic check of http://host:80/x", "a basic check of http://host:80/x"),
        ("HUNTER_API_KEY: expected a key", "HUNTER_API_KEY: expected a key"),
    ],
)
def test_what_is_personal_or_secret_is_replaced(text: str, clean: str) -> None:
    assert log.redact(text) == clean


def test_a_registered_secret_is_replaced_everywhere_in_every_spelling(out: io.StringIO) -> None:
    log.register_secret(SecretStr("k3y/with+odd signs"))
    logger.bind(url="x=k3y%2Fwith%2Bodd%20signs", data={"k": ["k3y/with+odd signs"]}).info(
        "a.b k3y/with+odd signs"
    )
    assert "k3y" not in out.getvalue()
    assert the_line(out)["message"] == "a.b [secret]"


def test_a_secret_in_the_name_of_a_field_is_replaced_from_when_it_is_known(
    out: io.StringIO,
) -> None:
    logger.bind(**{"n4me-of-a-field": 1}).info("a.b")
    assert "n4me-of-a-field" in out.getvalue()
    log.register_secret(SecretStr("n4me-of-a-field"))
    logger.bind(**{"n4me-of-a-field": 2}).info("a.b")
    assert lines(out)[-1]["[secret]"] == 2


def test_secrets_that_overlap_leave_no_part_of_the_longer_one(out: io.StringIO) -> None:
    log.register_secret(SecretStr("abcd1"))
    log.register_secret(SecretStr("cd1efgh"))
    logger.bind(text="abcd1efgh").info("a.b")
    assert the_line(out)["text"] == "ab[secret]"


def test_the_password_of_a_registered_uri_is_replaced_on_its_own(out: io.StringIO) -> None:
    log.register_secret(SecretStr("mongodb://ann:tr%40de@db/?x=1"))
    logger.bind(one="tr@de", two="tr%40de").info("a.b")
    line = the_line(out)
    assert (line["one"], line["two"]) == ("[secret]", "[secret]")


def test_a_uri_without_a_password_and_no_secret_at_all_register_nothing() -> None:
    before = list(log._secrets)
    log.register_secret(None)
    log.register_secret(SecretStr(""))
    log.register_secret(SecretStr("abc"))
    assert log._secrets == before


def test_redaction_takes_linear_time() -> None:
    for text in ("a" * 60_000 + " @", "a@" * 30_000, '"' * 60_000 + "@", "//a:" * 15_000):
        log.redact(text)


# Odd values


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (b"\x00\xff", "<2 bytes>"),
        (ObjectId("65a000000000000000000000"), "65a000000000000000000000"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ("\ud800", "?"),
        (Kind.EMAIL, "email"),
        (None, None),
        (True, True),
        (2**70, str(2**70)),
        pytest.param(10**5000, "<int>", id="endless"),
        (Unprintable(), "<Unprintable>"),
        ([1, "a@b.c"], "[1, [e-mail]']"),
        (datetime(2025, 1, 1, tzinfo=UTC), "2025-01-01T00:00:00+00:00"),
        (SecretStr("abc"), "**********"),
        ({}, ...),
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_no_value_can_break_a_line(value: object, written: object, form: Any) -> None:
    stream = io.StringIO()
    log.configure(LogSettings(format=form), "enricher", "1", stream)
    logger.bind(odd=value).info("a.b")
    assert stream.getvalue().count("\n") == 1
    if form == "json":
        assert the_line(stream).get("odd", ...) == written


def test_a_mapping_that_contains_itself_ends(out: io.StringIO) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    logger.bind(odd=endless).info("a.b")
    assert the_line(out)["event"] == "a.b"


def test_a_value_too_long_for_collectors_is_cut(out: io.StringIO) -> None:
    logger.bind(odd="x" * 1_000_000).info("a.b")
    assert len(the_line(out)["odd"]) == log.MAX_TEXT + 3


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    log.configure(LogSettings(), "enricher", "1", stream)
    stream.close()
    logger.info("a.b")


# Other libraries


def test_warnings_of_libraries_are_routed_in_and_redacted(out: io.StringIO) -> None:
    logging.getLogger("pymongo.client").warning("lost %s", "jane@acme.com")
    line = the_line(out)
    assert line["event"] == "library.said"
    assert (line["logger"], line["text"]) == ("pymongo.client", "lost [e-mail]")
    assert line["severity"] == "WARNING"


@pytest.mark.parametrize("name", ["pymongo.command", "aiohttp.access", "httpx", "asyncio"])
def test_what_libraries_say_below_warning_is_not_logged(out: io.StringIO, name: str) -> None:
    logging.getLogger(name).info("GET https://api/?email=x")
    assert not out.getvalue()


def test_a_libraries_exception_is_routed_in(out: io.StringIO) -> None:
    logging.getLogger("asyncio").error("Task exception was never retrieved", exc_info=KeyError("x"))
    assert the_line(out)["exception.type"] == "KeyError"


@pytest.mark.parametrize(
    ("whose", "error", "is_told"),
    [
        ("Future", ssl.SSLCertVerificationError("x"), False),
        ("Future", ValueError("x"), True),
        ("Task", ConnectionResetError("x"), True),
    ],
)
def test_a_connection_that_failed_for_nobody_is_no_line_of_its_own(
    out: io.StringIO, whose: str, error: Exception, *, is_told: bool
) -> None:
    """uvloop's TLS leaves one behind now and then when the driver has given up already."""
    text = f"{whose} exception was never retrieved"
    logging.getLogger("asyncio").error(text, exc_info=error)
    assert bool(out.getvalue()) is is_told


def test_a_library_line_that_does_not_fit_its_arguments_is_no_error(out: io.StringIO) -> None:
    record = logging.LogRecord("httpx", 35, "", 0, "%d and {braces}", ("x",), None)
    log.InterceptHandler().emit(record)
    line = the_line(out)
    assert (line["text"], line["severity"]) == ("%d and {braces}", "Level 35")


def test_python_warnings_are_routed_in(out: io.StringIO) -> None:
    warnings.simplefilter("default")
    warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    line = the_line(out)
    assert line["logger"] == "py.warnings"
    assert "old thing" in line["text"]


def test_each_line_that_is_written_counts_by_its_severity(out: io.StringIO) -> None:
    before = {level: counted("enricher_log_messages_total", level=level) for level in LEVELS}
    logger.error("a.error")
    logger.log(25, "an.odd_level")
    logger.success("a.success")
    after = {level: counted("enricher_log_messages_total", level=level) for level in LEVELS}
    assert {level: after[level] - before[level] for level in LEVELS} == {
        **dict.fromkeys(LEVELS, 0),
        "error": 1,
        "info": 2,
    }
