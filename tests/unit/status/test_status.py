"""The verdict on the fleet, and the status as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from enricher.calls.breaker import Circuit
from enricher.status.daemons import DaemonRecord, Presence, Report
from enricher.status.picture import (
    BacklogStatus,
    DaemonStatus,
    FleetStatus,
    Hold,
    LaneStatus,
    MinuteStatus,
    ProviderStatus,
    State,
    Stream,
    as_json,
    duration,
    join_backlogs,
)
from enricher.status.throughput import Ended

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _daemon(presence: Presence = Presence.WORKING, in_work: int = 0) -> DaemonStatus:
    started, seen = NOW - timedelta(hours=1), NOW - timedelta(seconds=3)
    return DaemonStatus("host:1:a", "1.0", presence, started, seen, in_work, 64, True, 0.1)


def _hour(*ended: int) -> list[MinuteStatus]:
    """The last minutes, this one last."""
    counts = [0] * (60 - len(ended)) + list(ended)
    first = NOW - timedelta(minutes=59)
    return [
        MinuteStatus(first + timedelta(minutes=n), completed=count)
        for n, count in enumerate(counts)
    ]


def _backlog(due: int = 0, oldest: float | None = None) -> BacklogStatus:
    return BacklogStatus(due, oldest, {"fresh": LaneStatus(due, oldest)}, {"pending": due})


def _status(
    daemons: Sequence[DaemonStatus] = (_daemon(),),
    backlog: BacklogStatus | None = None,
    hour: Sequence[MinuteStatus] = (),
    **more: object,
) -> FleetStatus:
    status = FleetStatus(
        at=NOW,
        leads="crm.leads",
        backlog=backlog or _backlog(),
        stream=Stream(1, 0.1, NOW),
        daemons=daemons,
        providers=[ProviderStatus("clearbit", "clearbit", "company")],
        without_key={"hunter": "no key"},
        budgets=[],
        hour=hour or _hour(),
        last=[Ended(NOW, "1", "completed", 1, 0.5, 80)],
    )
    return replace(status, **more)  # type: ignore[arg-type]  # names are fields of a status


def test_it_is_idle_when_nothing_is_due_and_working_when_something_is_done() -> None:
    assert _status().verdict.state is State.IDLE
    assert _status(hour=_hour(5, 0)).verdict.state is State.WORKING
    assert _status(daemons=[_daemon(in_work=1)]).verdict.state is State.WORKING
    assert _status(backlog=_backlog(3, 0.2)).verdict.state is State.WORKING


@pytest.mark.parametrize("presence", [Presence.STOPPED, Presence.SILENT])
def test_it_is_down_when_every_daemon_is_gone_and_the_sentence_says_since_when(
    presence: Presence,
) -> None:
    gone = replace(_daemon(presence), seen_at=NOW - timedelta(minutes=5))
    verdict = _status(daemons=[gone, replace(gone, seen_at=NOW - timedelta(minutes=9))]).verdict
    assert verdict.state is State.DOWN
    assert "5 min" in verdict.sentence
    assert _status(daemons=[gone, _daemon()]).verdict.state is State.IDLE


def test_it_is_down_when_no_daemon_was_ever_seen_unless_that_could_not_be_read() -> None:
    assert _status(daemons=[]).verdict.state is State.DOWN
    unknown = {"daemons": "a privilege is missing"}
    assert _status(daemons=[], unknown=unknown).verdict.state is State.IDLE


def test_it_is_stuck_when_leads_wait_and_none_is_settled() -> None:
    late = _backlog(9, 90.0)
    assert _status(backlog=late, hour=_hour(7, 0, 0, 0)).verdict.state is State.STUCK
    assert "90 s" in _status(backlog=late).verdict.sentence
    assert _status(backlog=late, hour=_hour(7, 0, 0)).verdict.state is State.LIMITED
    assert _status(backlog=_backlog(9, 59.0)).verdict.state is State.WORKING


def test_it_is_not_stuck_before_a_daemon_had_the_time_to_settle_something() -> None:
    young = replace(_daemon(), started_at=NOW - timedelta(minutes=2))
    assert _status(daemons=[young], backlog=_backlog(9, 900.0)).verdict.state is State.LIMITED
    both = _status(daemons=[young, _daemon()], backlog=_backlog(9, 900.0))
    assert both.verdict.state is State.STUCK


@pytest.mark.parametrize(
    "trouble",
    [
        {"circuit": Circuit.OPEN},
        {"circuit": Circuit.HALF_OPEN},
        {"is_held": True},
        {"hold": Hold("The key is refused.", NOW + timedelta(hours=1))},
    ],
)
def test_it_is_limited_while_a_provider_is_not_asked(trouble: dict[str, object]) -> None:
    held = replace(ProviderStatus("hunter", "hunter", "email"), **trouble)  # type: ignore[arg-type]
    verdict = _status(providers=[ProviderStatus("clearbit", "clearbit", "company"), held]).verdict
    assert verdict.state is State.LIMITED
    assert "hunter is not asked" in verdict.sentence
    assert "clearbit" not in verdict.sentence


def test_a_daemon_is_silent_when_it_gave_no_sign_for_half_a_minute_unless_it_took_its_leave() -> (
    None
):
    report = Report("1.0", 60.0, Presence.WORKING, 0, 64, True, 0.0)
    daemon = DaemonRecord("host:1:a", NOW, report)
    assert daemon.started_at == NOW - timedelta(minutes=1)
    assert daemon.presence(NOW + timedelta(seconds=29)) is Presence.WORKING
    assert daemon.presence(NOW + timedelta(seconds=31)) is Presence.SILENT
    stopped = replace(daemon, report=replace(report, presence=Presence.STOPPED))
    assert stopped.presence(NOW + timedelta(minutes=5)) is Presence.STOPPED


def test_json_has_every_part_with_dates_in_iso_and_words_for_states() -> None:
    told = json.loads(as_json(_status()))
    assert told["verdict"]["state"] == "idle"
    assert told["at"] == "2026-03-01T12:00:00+00:00"
    assert told["daemons"][0]["presence"] == "working"
    assert told["providers"][0]["circuit"] == "closed"
    assert len(told["hour"]) == 60
    assert told["last"][0]["lead"] == "1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0 ms"), (0.25, "250 ms"), (3.21, "3.2 s"), (42, "42 s"), (119, "119 s"),
     (120, "2 min"), (7_200, "2 h"), (200_000, "2 d"), (-1, "0 ms")],
)  # fmt: skip
def test_a_duration_is_told_in_the_unit_that_people_would_use(
    seconds: float | None, text: str
) -> None:
    assert duration(seconds) == text


def test_backlogs_of_several_collections_add_up() -> None:
    """What one of them does not know is not known of all."""
    one = BacklogStatus(
        3,
        None,
        {"fresh": LaneStatus(0, None)},
        {"pending": 1, "completed": None},
        {"hunter": 2},
        most=10,
        unmoved={"stray": 1},
    )
    other = BacklogStatus(
        8,
        5.0,
        {"fresh": LaneStatus(8, 5.0)},
        {"pending": 8, "completed": 4},
        {"hunter": 1, "clearbit": 1},
        most=20,
    )
    assert join_backlogs([one, other]) == BacklogStatus(
        11,
        5.0,
        {"fresh": LaneStatus(8, 5.0)},
        {"pending": 9, "completed": None},
        {"hunter": 3, "clearbit": 1},
        most=10,
        unmoved={"stray": 1},
    )
    assert join_backlogs([one]) is one
    assert join_backlogs([]) is None
