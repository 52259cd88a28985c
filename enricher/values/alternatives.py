"""PURE What providers said that is not the value of a field: `enrichment_metadata.alternatives`.

    {section: {field: {provider: value}}}

For people who doubt a value, and for values that are too uncertain to be written. An alternative
never becomes a value by itself, and what means the same as the value is none. Everything is bounded,
in a fixed order, so that a lead does not grow and merging again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enricher.values.storable import mapping, safe_name, weight
from enricher.values.types import TYPES, VERDICTS, is_same, says, type_of

MOST_PROVIDERS = 5
"""For one field; the better ones are kept."""
MOST_BYTES = 16_384
"""For all fields of a lead, roughly."""
MOST_BYTES_EACH = 2_048

THE_LEAD = "lead"
"""In place of a provider: what the lead's own writer put into the field of the same meaning."""

Said = Mapping[str, Mapping[str, Any]]
"""Field -> provider -> value."""
Rank = Callable[[str], int]


def alternatives(
    stored: object,
    said: Mapping[str, Said],
    merged: Mapping[str, Any],
    winners: Mapping[str, Mapping[str, str]],
    order: Sequence[str],
) -> dict[str, dict[str, dict[str, Any]]]:
    """What is stored already and what was `said` now, without what `merged` has anyway.

    `winners` are the providers of the values; they have no alternative to themselves.
    """
    ranks = {safe_name(name): rank for rank, name in enumerate(order)}
    left = MOST_BYTES
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    for section in TYPES:
        values, known = mapping(merged.get(section)), mapping(mapping(stored).get(section))
        now, winner = said.get(section, {}), winners.get(section, {})
        fields: dict[str, dict[str, Any]] = {}
        for name in sorted(known.keys() | now.keys()):
            pool = _pool(section, name, known.get(name), now.get(name, {}))
            pool.pop(safe_name(winner.get(name, "")), None)
            others = _others(section, name, pool, values.get(name))
            chosen, left = _bounded(others, ranks, left)
            fields |= {name: chosen} if chosen else {}
        kept |= {section: fields} if fields else {}
    return kept


def _pool(section: str, name: str, known: object, now: Mapping[str, Any]) -> dict[str, Any]:
    """By provider: what it said last. What is stored may be anything, so it is read again."""
    read = type_of(section, name).read
    stored = {safe_name(provider): read(value) for provider, value in mapping(known).items()}
    stored.pop(THE_LEAD, None)  # it is said anew each time, or no longer
    return {**stored, **{safe_name(provider): value for provider, value in now.items()}}


def _others(section: str, name: str, pool: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Without what says nothing, and what the value says; to the lead's own there has to be one."""
    if not pool:
        return {}
    current = type_of(section, name).read(value)
    return {
        provider: other
        for provider, other in pool.items()
        if says(section, name, other)
        and not ((section, name) in VERDICTS and other == "unknown")
        and not (current is not None and is_same(section, name, other, current))
        and not (current is None and provider == THE_LEAD)
    }


def _bounded(
    others: Mapping[str, Any], ranks: Mapping[str, int], left: int
) -> tuple[dict[str, Any], int]:
    chosen: dict[str, Any] = {}
    for provider in sorted(others, key=lambda name: (ranks.get(name, len(ranks)), name)):
        size = weight(provider) + weight(others[provider])
        if provider and len(chosen) < MOST_PROVIDERS and size <= min(left, MOST_BYTES_EACH):
            chosen[provider] = others[provider]
            left -= size
    return chosen, left
