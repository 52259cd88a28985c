"""Show explanations to people, and as one JSON object. The words are the same on a terminal and in
a pipe; a terminal adds colours."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from enricher.explain.explanation import (
    HELD,
    SKIPPED,
    USED,
    CopyNote,
    Decision,
    Explanation,
    FieldOrigin,
    Kept,
)
from enricher.lead import Status
from enricher.telemetry.log import uuid_in

_LONGEST = 80
_STYLES = {USED: "green", "failed": "red", HELD: "yellow", SKIPPED: "dim"}
_OPEN = (Status.PENDING, Status.PROCESSING, Status.RETRYING)
"""A run is under way or waits: only then do its attempts and its place in the queue mean anything."""
_Row = tuple[str, ...]


def as_json(explanations: Sequence[Explanation]) -> str:
    """Return `{"leads": [...]}`; dates are ISO 8601, and values that JSON cannot express become text."""
    return json.dumps({"leads": [_plain(asdict(each)) for each in explanations]}, indent=2)


def show(
    console: Console, explanations: Sequence[Explanation], *, says_where: bool = False
) -> None:
    """Print all of them, one after the other; with `says_where`, say which collection each lead is in."""
    for number, each in enumerate(explanations):
        if number:
            console.print()
        where = f" in {each.collection}" if says_where else ""
        console.print(Text(f"lead {_shown(each.id)}{where}", style="bold"))
        _table(console, "", [*_lead(each), *_who(each), *_outlook(each)])
        _table(console, "providers", [_provider(one) for one in each.providers], style_by=1)
        _table(console, "fields", [_field(one) for one in each.fields])
        if each.copies:
            _table(console, "copies", [_copy(one) for one in each.copies])


# The rows


def _lead(each: Explanation) -> Iterator[_Row]:
    yield (
        "status",
        _shown(each.status or "none") + (f", since {_at(each.since)}" if each.since else ""),
    )
    if each.excluded_by:
        yield "excluded", f"it does not meet `only`: {_shown(', '.join(each.excluded_by), 1000)}"
    if each.error:
        yield "error", _shown(each.error, 1000)
    if each.status in _OPEN and not each.excluded_by:
        yield from _run(each)
    if each.ceiling is not None:
        yield "cost", f"{each.spent:g} of at most {each.ceiling:g} ({each.unit})"
    if each.capped:
        yield "capped", f"{', '.join(map(_shown, each.capped))}: a call might cost too much"


def _run(each: Explanation) -> Iterator[_Row]:
    ended = f", {each.interruptions} in a row ended with their process"
    yield "attempts", f"{each.attempts} spent in this run" + (ended if each.interruptions else "")
    yield "queue", f"{each.lane}, priority {each.priority:g}"
    if each.holder:
        yield "held by", _shown(each.holder)


def _who(each: Explanation) -> Iterator[_Row]:
    who = each.who
    yield "asked as", who.email or "no address"
    origin = f"{who.company_domain}, from {who.from_field}" if who.company_domain else "none"
    yield "company", origin + (f": {who.no_company_domain}" if who.no_company_domain else "")
    if who.traits:
        yield "noticed", ", ".join(map(_shown, who.traits))
    if who.malformed:
        yield "unusable", ", ".join(f"{name} ({why})" for name, why in who.malformed.items())
    if who.reason:
        yield "nobody asked", who.reason.sentence
    if not who.is_of_data:
        yield "stored data", "is about another address or domain; the next run begins without it"


def _outlook(each: Explanation) -> Iterator[_Row]:
    missing = ", ".join(f"{name} ({points})" for name, points in each.missing.items())
    yield "score", f"{each.score} of 100" + (f"; missing: {missing}" if missing else "")
    for line in each.order:
        yield "order", _shown(line, 1000)
    yield "next", each.next.what + (f", {_at(each.next.due_at)}" if each.next.due_at else "")


def _provider(each: Decision) -> _Row:
    kept = _kept(each.kept, is_too_old=each.is_kept_too_old) if each.kept else ""
    price = f"a call costs {each.credits:g}" if each.credits else ""
    return each.provider, each.decision, "; ".join(filter(None, (_shown(each.why), price, kept)))


def _kept(kept: Kept, *, is_too_old: bool) -> str:
    until = f" until {_at(kept.until)}" if kept.until else ""
    charged = f"charged {kept.credits:g}" if kept.credits else "not charged"
    too_old = ", too old for the refresh that was asked for" if is_too_old else ""
    return f"answer of {_at(kept.at)} kept{until}, {charged}{too_old}"


def _field(each: FieldOrigin) -> _Row:
    sure = "" if each.confidence is None else f" ({each.confidence:.0%} sure)"
    lost = "; ".join(f"{name} said {_shown(value)}" for name, value in each.alternatives.items())
    return (
        f"{each.section}.{each.name}",
        _shown(each.value),
        (each.provider or "nobody") + sure,
        "; ".join(filter(None, (each.why, lost))),
    )


def _copy(each: CopyNote) -> _Row:
    said = "copied" if each.why_not is None else f"not copied: {_shown(each.why_not, 300)}"
    return _shown(each.value), _shown(each.to), said


# Layout


def _table(
    console: Console, title: str, rows: Iterable[_Row], *, style_by: int | None = None
) -> None:
    lines = list(rows)
    if title:
        console.print(Text(title, style="bold"))
    columns = list(zip(*lines, strict=True))[:-1]
    widths = [max(map(len, column)) for column in columns]
    for row in lines:
        style = "" if style_by is None else _STYLES.get(row[style_by], "")
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        console.print(Text("  " + "  ".join([*cells, row[-1]]).rstrip(), style=style))


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _shown(value: object, longest: int = _LONGEST) -> str:
    """Return the value on one line, without characters that a terminal would interpret."""
    text = value if isinstance(value, str) else _dumped(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _dumped(value: object) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return uuid_in(value) or f"0x{value.hex()}"
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
    return str(value)
