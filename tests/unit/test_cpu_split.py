"""Whose code a sample of the profiler is charged to."""

from __future__ import annotations

from tests.benchmarks.cpu_split import LOOP, OWN, read

COMMAND_LINE = (
    "main (enricher/cli.py:43);run (uvloop/__init__.py:92);Runner.run (asyncio/runners.py:118)"
)


def kind_of(*stack: str) -> str:
    """The kind of one sample with these frames below the event loop's."""
    profile = read(f"{';'.join([COMMAND_LINE, *stack])} 7\n")
    ((kind, samples),) = profile.kinds.items()
    assert samples == 7
    return kind


def test_what_a_library_has_the_standard_library_do_is_the_librarys() -> None:
    stack = (
        "Gate.ask (enricher/calls/question.py:9)",
        "ClientSession._request (aiohttp/client.py:3)",
    )
    assert kind_of(*stack, "timeout (asyncio/timeouts.py:1)") == "vendor calls"


def test_what_our_code_has_other_libraries_do_is_ours() -> None:
    assert (
        kind_of("_report (enricher/queue/worker.py:9)", "Logger.info (loguru/_logger.py:3)") == OWN
    )


def test_a_reply_that_the_driver_reads_for_the_event_loop_is_the_databases() -> None:
    assert kind_of("PyMongoProtocol.data_received (pymongo/network_layer.py:3)") == "database"


def test_the_event_loop_alone_is_nobodys() -> None:
    """Every stack begins with our command line, which must not make all of it ours."""
    assert kind_of() == LOOP


def test_frames_without_a_line_and_with_odd_names_are_read() -> None:
    assert kind_of("<lambda> (<string>)", "f.<locals>.g (enricher/a.py:1)") == OWN
