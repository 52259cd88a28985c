"""The status as people read it on a terminal, or in a pipe: the same words, with or without colours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from enricher.calls.breaker import Circuit
from enricher.status.daemons import Presence
from enricher.status.picture import (
    Allowance,
    DaemonStatus,
    FleetStatus,
    Limit,
    MinuteStatus,
    ProviderStatus,
    RecheckCost,
    RecheckStatus,
    SourceStatus,
    State,
    Stream,
    WebhookStatus,
    duration,
)
from enricher.status.throughput import Ended

_TONES = {
    State.WORKING: "bold green",
    State.IDLE: "bold blue",
    State.LIMITED: "bold yellow",
    State.STUCK: "bold red",
    State.DOWN: "bold red",
}
_OUTCOMES = {"completed": "green", "retrying": "yellow", "failed": "red", "skipped": "dim"}
_PRESENCES = {Presence.WORKING: "green", Presence.STOPPING: "yellow", Presence.SILENT: "red"}
_BARS = " ▁▂▃▄▅▆▇█"
_LONGEST = 60
_MINUTE_SECONDS = 60


def shown(status: FleetStatus, last: int) -> RenderableType:
    """Return everything, with the `last` latest claims that ended."""
    return Group(*_parts(status, last))


def _parts(status: FleetStatus, last: int) -> Iterator[RenderableType]:
    yield _headline(status)
    for part, why in status.unknown.items():
        yield Text(f"{part} could not be read: {why}", style="yellow")
    yield _facts(status)
    if len(status.sources) > 1:
        yield table("sources", _SOURCES, (_source(each) for each in status.sources))
    yield table("providers", _PROVIDERS, (_provider(each, status.at) for each in status.providers))
    if status.without_key:
        off = ", ".join(f"{name} ({why})" for name, why in status.without_key.items())
        yield Text(f"Not asked: {off}", style="dim")
    yield from _order(status)
    yield table("budgets", _BUDGETS, _budgets(status))
    yield table("daemons", _DAEMONS, (_daemon(each, status.at) for each in status.daemons))
    yield table("last settled", _LAST, (_ended(each) for each in status.last[:last]))


# At the top


def _headline(status: FleetStatus) -> Text:
    verdict = status.verdict
    word = (verdict.state.value.upper(), _TONES[verdict.state])
    return Text.assemble(
        word, f"  {verdict.sentence}  ", (f"{status.leads}, {_at(status.at)} UTC", "dim")
    )


def _facts(status: FleetStatus) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    for name, text in _named(status):
        grid.add_row(name, text)
    return grid


def _named(status: FleetStatus) -> Iterator[tuple[str, str]]:
    backlog = status.backlog
    if backlog is None:
        yield "due now", "unknown"
    else:
        figure = backlog.figure
        lanes = (
            f"{name} {figure(lane.leads)}" for name, lane in backlog.lanes.items() if lane.leads
        )
        yield "due now", backlog.due_figure + _bracketed(lanes)
        yield "oldest pending", duration(backlog.oldest_pending_seconds) or "nothing is pending"
        counts = (f"{name} {figure(leads)}" for name, leads in backlog.statuses.items())
        yield "leads", ", ".join(counts)
        if status.rechecks is not None:
            yield "rechecks", _rechecks(status.rechecks)
        if backlog.unmoved:
            yield "moved by nobody", ", ".join(f"{why} {n:,}" for why, n in backlog.unmoved.items())
    yield "change stream", _stream(status)
    yield from _preparing(status.stream)
    if status.webhook is not None:
        yield "webhook", webhook(status.webhook, status.at)
    yield from _hour(status.hour)


def _rechecks(these: RecheckStatus) -> str:
    """Say how many thin leads come back, and what those that are due cost."""
    calls = f"{these.calls_today:,} of {these.calls_per_day:,} calls made today"
    costs = (f"{name} {_cost(cost)}" for name, cost in these.at_most.items())
    at_most = "; ".join(costs)
    asks = f"; those due ask at most {at_most}" if at_most else ""
    if at_most and these.ceiling is not None:
        asks += f"; by the ceiling of each lead together at most {these.ceiling:,.10g}"
    return f"{these.due:,} due, {these.coming:,} within a day; {calls}{asks}"


def _cost(cost: RecheckCost) -> str:
    price = "" if cost.cost is None else f", cost {cost.cost:,.2f}"
    return f"(calls {cost.calls:,}, credits {cost.credits:,g}{price})"


def _stream(status: FleetStatus) -> str:
    if not status.alive:
        return "nobody watches"
    if not status.stream.open:
        return "closed: leads are found by polling"
    lag = duration(status.stream.lag_seconds)
    return f"open at {status.stream.open} of {len(status.alive)}, lag {lag}"


def webhook(webhook: WebhookStatus, now: datetime) -> str:
    """Say how the webhook stands, in a line."""
    said = f"{webhook.to}: " if webhook.to else ""
    if not webhook.waiting:
        said += "has every event"
    else:
        oldest = duration(webhook.oldest_seconds)
        said += f"{webhook.waiting:,} events wait, the oldest for {oldest}"
    if webhook.given_up:
        said += f"; {webhook.given_up:,} given up"
    if webhook.delivered_at is not None:
        said += f"; last success {_since(webhook.delivered_at, now)} ago"
    if webhook.failing_since is not None:
        said += f"; failing for {_since(webhook.failing_since, now)}"
    return f"{said}; {_cut(_explained(webhook.error))}" if webhook.error else said


def _explained(error: str) -> str:
    return f"{error}: it wants no more" if error == "HTTP 410" else error


def _since(moment: datetime, now: datetime) -> str:
    return duration(max(0.0, (now - moment).total_seconds()))


def _preparing(stream: Stream) -> Iterator[tuple[str, str]]:
    if stream.building_seconds is not None:
        yield "indexes", f"being built for {duration(stream.building_seconds)}; new leads go on"
    if stream.on_record is not None:
        yield "history", f"{stream.on_record:,} leads written down so far; new leads go on"


def _hour(hour: Sequence[MinuteStatus]) -> Iterator[tuple[str, str]]:
    ended = [minute.ended for minute in hour]
    kinds = (f"{kind} {sum(getattr(each, kind) for each in hour):,}" for kind in _OUTCOMES)
    yield "last hour", f"{sum(ended):,} settled{_bracketed(kinds)}"
    yield "", _chart(ended)
    waits = [minute.waited_mean_seconds or 0.0 for minute in hour]
    longest = max((minute.waited_longest_seconds for minute in hour), default=0.0)
    yield (
        "waiting time",
        f"mean by minute, at most {duration(max(waits, default=0.0))}; longest {duration(longest)}",
    )
    yield "", _chart(waits)


def _chart(values: Sequence[float]) -> str:
    """Draw one character per value; anything above zero is visible."""
    most = max(values, default=0) or 1
    steps = len(_BARS) - 1
    return "".join(_BARS[min(steps, -int(-steps * value / most // 1))] for value in values)


def _bracketed(words: Iterable[str]) -> str:
    text = ", ".join(words)
    return f"  ({text})" if text else ""


# Tables

_PROVIDERS = (
    "provider",
    "state",
    ">last minute",
    ">waiting",
    ">calls today",
    ">charged",
    ">saved",
    ">this month",
)
ORDERS = ("kind", "", "order", ">cost", ">fields", ">per field", ">guessed")
_CHANGES = 5
_BUDGETS = ("vendor", "period", ">used", ">left")
_SOURCES = (
    "collection",
    ">due now",
    ">oldest pending",
    ">in work",
    ">retrying",
    ">completed",
    "change stream",
)
_DAEMONS = ("holder", "state", ">in work", "change stream", ">seen", ">up for", "version")
_LEAST = {"time": 8, "lead": 24, "outcome": 9}
"""Minimum widths of columns that would otherwise break in the middle of a word."""
_NEVER_BROKEN = "provider"
"""Readers look for its names as whole words; the other columns give way as long as they can."""
_LAST = ("time", "lead", "outcome", ">attempt", ">took", "score or reason")
Cell = str | Text


def table(title: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> RenderableType:
    """Build a table; a heading that begins with > stands over figures. On a narrow screen only reasons are cut."""
    made = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        is_figure = heading.startswith(">")
        name = heading.lstrip(">")
        justify: JustifyMethod = "right" if is_figure else "left"
        made.add_column(
            name,
            justify=justify,
            overflow="fold",
            min_width=_LEAST.get(name),
            no_wrap=name == _NEVER_BROKEN,
        )
    for row in rows:
        made.add_row(*row)
    head = Text(title, style="bold")
    return (
        Group(Text(), head, made)
        if made.row_count
        else Group(Text(), head, Text("none", style="dim"))
    )


def _source(each: SourceStatus) -> Sequence[Cell]:
    backlog, stream = each.backlog, each.stream
    lag = f"open at {stream.open}, lag {duration(stream.lag_seconds)}" if stream.open else "closed"
    if backlog is None:
        return [each.collection, "unknown", "", f"{each.in_work:,}", "", "", lag]
    ended = (backlog.figure(backlog.statuses[name]) for name in ("retrying", "completed"))
    oldest = duration(backlog.oldest_pending_seconds)
    return [each.collection, backlog.due_figure, oldest, f"{each.in_work:,}", *ended, lag]


def _provider(each: ProviderStatus, now: datetime) -> Sequence[Cell]:
    counted = each.today.calls, each.today.charged, each.today.saved, each.month.charged
    named: list[Cell] = [each.name, _standing(each, now), _used(each.limit), f"{each.waiting:,}"]
    return [*named, *("-" if each.is_free else f"{calls:,}" for calls in counted)]


def _used(limit: Limit | None) -> str:
    if limit is None:
        return "no limit"
    shared = ", shared" if limit.shared_with else ""
    return f"{limit.used:,.0f} of {limit.calls:,}/{_per(limit.seconds)}{shared}"


def _per(seconds: float) -> str:
    return "min" if seconds == _MINUTE_SECONDS else f"{seconds:g}s"


def _standing(each: ProviderStatus, now: datetime) -> Text:
    if each.hold is not None:
        left = duration((each.hold.until - now).total_seconds())
        return Text(f"held for {left}: {_cut(each.hold.reason)}", style="red")
    if each.circuit is not Circuit.CLOSED:
        return Text(f"circuit {each.circuit.value}", style="red")
    if each.is_held:
        return Text("held: the budget is used up", style="yellow")
    if each.paused_until is not None:
        left = duration((each.paused_until - now).total_seconds())
        return Text(f"asked to wait {left}", style="yellow")
    return Text("asked", style="green")


def _order(status: FleetStatus) -> Iterator[RenderableType]:
    """Yield what each kind's order costs and fills, and its changes, where the fleet finds it by itself."""
    if status.order is None:
        return
    yield table("order of asking", ORDERS, orders(status.order.kinds))
    if status.order.explored:
        yield Text(f"Explored, a few leads first: {', '.join(status.order.explored)}", style="dim")
    yield from (Text(change) for change in status.order.changes[:_CHANGES])
    if status.order.next_at is not None:
        yield Text(f"The next change is possible at {status.order.next_at:%Y-%m-%d %H:%M} UTC.")


def orders(kinds: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Cell]]:
    """Yield both sides of each kind: its order, and the proposed one."""
    for each in kinds:
        today, proposed, unit = each["today"], each["proposed"], each["unit"]
        yield [each["kind"], "today", *_side(today, each["before"], unit)]
        if proposed == today:
            yield ["", "proposed", "the same", "", "", "", ""]
        else:
            word = "proposed" if each["is_clear"] else "perhaps"
            yield ["", word, *_side(proposed, each["after"], unit)]


def _side(order: Sequence[str], bill: Mapping[str, Any], unit: str) -> Sequence[str]:
    cost = money(bill["cost"]) + (" credits" if unit == "credits" else "")
    figures = f"{bill['filled']:,.0f}", money(bill["per_field"]), f"{bill['guessed']:.0%}"
    return [", ".join(order), cost, *figures]


def money(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:,.4g}" if amount < 1 else f"{amount:,.2f}"


def _budgets(status: FleetStatus) -> Iterator[Sequence[Cell]]:
    for each in status.budgets:
        for period, allowance in (("today", each.daily), ("this month", each.monthly)):
            if allowance is not None:
                used = f"{allowance.used:,} of {allowance.calls:,}"
                yield [each.vendor, period, used, _left(allowance)]


def _left(allowance: Allowance) -> Text:
    return Text(f"{allowance.left:,}") if allowance.left else Text("used up", style="red")


def _daemon(each: DaemonStatus, now: datetime) -> Sequence[Cell]:
    is_gone = each.presence in (Presence.STOPPED, Presence.SILENT)
    stream = f"open, lag {duration(each.stream_lag_seconds)}" if each.is_stream_open else "polling"
    until = each.seen_at if is_gone else now
    return [
        each.holder,
        Text(each.presence.value, style=_PRESENCES.get(each.presence, "dim")),
        "" if is_gone else f"{each.in_work:,} of {each.concurrency:,}",
        "" if is_gone else stream,
        f"{duration((now - each.seen_at).total_seconds())} ago",
        duration((until - each.started_at).total_seconds()),
        each.version,
    ]


def _ended(each: Ended) -> Sequence[Cell]:
    said = f"score {each.score}" if each.score is not None else _cut(each.why)
    outcome = Text(each.outcome, style=_OUTCOMES.get(each.outcome, ""))
    named = f"{each.collection}/{each.lead}" if each.collection else each.lead
    lead = "".join(letter if letter.isprintable() else " " for letter in named)
    reason = Text(said, no_wrap=True, overflow="ellipsis")
    return [_at(each.at), lead, outcome, str(each.attempt), duration(each.seconds), reason]


def _at(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}"


def _cut(text: str) -> str:
    """Return one line without anything that a terminal would obey."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
