"""PURE Which provider won each field of a lead, and why, as `enrichment_metadata` has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from enricher.answer import Kind
from enricher.values.employer import MISMATCH, OF_THE_JOB
from enricher.values.merge import LEAST_CONFIDENCE, METADATA, SECTIONS, flags_of
from enricher.values.storable import mapping

_ELSEWHERE = "the person works for another company by now"


@dataclass(frozen=True, slots=True, repr=False)
class FieldOrigin:
    """Who won a field, and who lost it."""

    section: str
    name: str
    value: Any
    provider: str | None
    confidence: float | None
    why: str
    alternatives: Mapping[str, Any]


def origins(data: Mapping[str, Any], order: Sequence[str]) -> Iterator[FieldOrigin]:
    """Every field that has a value or an alternative; `order` is that of the providers, best first."""
    known = mapping(data.get(METADATA))
    for section in SECTIONS:
        values = mapping(data.get(section))
        winners, sure, lost = (
            mapping(mapping(known.get(key)).get(section))
            for key in ("provenance", "confidence", "alternatives")
        )
        is_about_a_job = section == Kind.PERSON.section and MISMATCH in flags_of(data)
        for name in (*values, *(name for name in lost if name not in values)):
            winner, others = _text(winners.get(name)), mapping(lost.get(name))
            value = values.get(name)
            is_held = is_about_a_job and value is None and name in OF_THE_JOB
            why = _ELSEWHERE if is_held else _why(value, winner, others, order)
            yield FieldOrigin(section, name, value, winner, _number(sure.get(name)), why, others)


def _why(value: object, winner: str | None, lost: Mapping[str, Any], order: Sequence[str]) -> str:
    if value is None:
        return f"nobody was sure enough (below {LEAST_CONFIDENCE:g})"
    if winner is None:
        return "of unknown origin: the next answer replaces it"
    rivals = [name for name in lost if name in order]
    if not rivals:
        return "no other provider said anything else"
    better = [name for name in rivals if _rank(name, order) < _rank(winner, order)]
    if better:
        return f"{', '.join(better)} would come first, but was too unsure or said less"
    return f"comes before {', '.join(rivals)} in the order"


def _rank(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
