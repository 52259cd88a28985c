"""PURE Answers become one value per field, and every value remembers who gave it.

What must stay true:

* Nothing gets worse. No answer removes a value; what says nothing (null, '', 'N/A', 'Unknown',
  '-', [], {}) never takes the place of what says something.
* The better provider wins, also over time: first by its place in `order`, then by the confidence it
  states, then by freshness. Against what is stored already the new value wins unless the stored one
  came from a provider that ranks strictly better. A stored value of unknown origin gives way.
* A value has the type of its field (`field_types`), whoever gave it. A stored one of another type gives
  way to any good one.
* What lost stays readable beside the winner (`alternatives`), with who said it. What a provider is
  too unsure of is only that, also where there is no value.
* Merging the same answers again changes nothing, so a repeated attempt is harmless.
* What others put beside our data stays: keys, fields and profiles we know nothing of.

Two values depend on their place. 0 says nothing in company and person data (a company of 0
employees is a vendor's way to say "no idea"), while an e-mail score of 0 is a verdict. `unknown`
as the status or result of an e-mail check is the vendor's own word: it is kept while there is
nothing else, and any other verdict replaces it. False is always a value: a flag that was checked.

An exact head count and a range that contradicts it are two fields, and both stay: the exact one is
what the score and the next provider go by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple

from enricher.answer import FieldValues, Found
from enricher.fields import SECTIONS
from enricher.lead import SUBJECT, Subject
from enricher.values.alternatives import THE_LEAD, alternatives
from enricher.values.profiles import social_profiles
from enricher.values.storable import is_blank, mapping
from enricher.values.types import UNKNOWN, VERDICTS, confidence_of, says, type_of, typed

METADATA = "enrichment_metadata"
SOCIAL = "social_profiles"
BY_FIELD = ("provenance", "alternatives", "confidence")
"""Keys of the metadata that hold something for each section and field."""
FLAGS = "flags"
"""Key of the metadata that names what was odd about the lead; see `conclude`."""

LEAST_CONFIDENCE = 0.5
"""An answer that is more likely about somebody else gives alternatives, and no values."""
_STEPS = 10
"""Confidences are compared in tenths: a hair less than last year must not keep last year's value."""

_Stated = Mapping[str, FieldValues]


class _Strength(IntEnum):
    NOTHING = 0
    POOR = 1
    FULL = 2


class _Candidate(NamedTuple):
    value: Any
    provider: str | None
    strength: _Strength
    rank: int
    confidence: float | None = None

    def beats(self, other: _Candidate | None) -> bool:
        """At equal rank and confidence the challenger wins: of two answers, the later counts."""
        if other is None:
            return True
        if self.strength is not other.strength:
            return self.strength > other.strength
        if self.rank != other.rank:
            return self.rank < other.rank
        return self._is_as_sure_as(other)

    def _is_as_sure_as(self, other: _Candidate) -> bool:
        if self.confidence is None or other.confidence is None:
            return True
        return round(self.confidence * _STEPS) >= round(other.confidence * _STEPS)


_Fields = dict[str, _Candidate]


def merge(
    previous: Mapping[str, Any],
    answers: Mapping[str, Found],
    order: Sequence[str],
    stated: _Stated | None = None,
) -> dict[str, Any]:
    """The new `enriched_data`, complete except for the figures that `metadata` adds.

    `previous` is whatever the lead holds, of any type; `answers` are this run's, by provider;
    `stated` is what the lead's writer said themselves, by section: it is never a value.
    """
    before = mapping(previous)
    known = mapping(before.get(METADATA))
    said = {section: _said(section, answers) for section in SECTIONS}
    merged: dict[str, Any] = dict(before)
    winners: dict[str, _Fields] = {}
    others: dict[str, dict[str, dict[str, Any]]] = {}
    for section in SECTIONS:
        stored = _stored(section, before.get(section), known, order)
        winners[section] = _winners(section, stored, said[section], order)
        others[section] = _losers(section, said[section], stored, winners[section])
        merged[section] = {name: each.value for name, each in winners[section].items()} or None
    for section, values in (stated or {}).items():
        for name, value in typed(section, values).items():
            others[section].setdefault(name, {})[THE_LEAD] = value
    merged[SOCIAL] = social_profiles(before.get(SOCIAL), merged)
    merged[METADATA] = _remembered(known, merged, winners, others, order)
    return merged


def usable(answer: Found, section: str) -> Mapping[str, Any]:
    """The values of an answer that can become a lead's; the others cannot spare the next provider."""
    said = _values(section, answer)
    return said.values if said.is_sure else {}


def metadata(
    enriched: Mapping[str, Any],
    *,
    now: datetime,
    order: Sequence[str],
    used: Iterable[str] = (),
    failed: Iterable[str] = (),
    not_found: Iterable[str] = (),
    skipped: Mapping[str, str] | None = None,
    completeness: tuple[int, list[str]],
    subject: Subject | None = None,
) -> dict[str, Any]:
    """`enrichment_metadata` for a merged `enriched`; providers are listed in `order`."""
    score, missing = completeness
    reasons = skipped or {}
    known = mapping(enriched.get(METADATA))
    by_field = {key: mapping(known.get(key)) for key in BY_FIELD}
    return {
        "enriched_at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "sources_used": _in_order(used, order),
        "sources_failed": _in_order(failed, order),
        "sources_not_found": _in_order(not_found, order),
        "sources_skipped": {name: reasons[name] for name in _in_order(reasons, order)},
        "completeness_score": score,
        "completeness_missing": missing,
        FLAGS: flags_of(enriched),
        **({SUBJECT: subject.document} if subject else {}),
        **{key: each for key, each in by_field.items() if each or key == "provenance"},
    }


def flags_of(enriched: object) -> list[str]:
    """What was odd about the lead when `enriched` was written, by whomever."""
    flags = mapping(mapping(enriched).get(METADATA)).get(FLAGS)
    return [each for each in flags if isinstance(each, str)] if isinstance(flags, list) else []


def without_sections(enriched: dict[str, Any], sections: Iterable[str]) -> None:
    """Take sections out, and all that the metadata has of them: a duty, so nothing stays behind."""
    for section in sections:
        enriched[section] = None
        for key in BY_FIELD:
            enriched[METADATA].get(key, {}).pop(section, None)


# What was said


class _Said(NamedTuple):
    """One provider's values of one section, each of the type of its field."""

    values: Mapping[str, Any]
    confidence: float | None
    unsure: Mapping[str, Any]

    @property
    def is_sure(self) -> bool:
        return self.confidence is None or self.confidence >= LEAST_CONFIDENCE


def _said(section: str, answers: Mapping[str, Found]) -> dict[str, _Said]:
    return {provider: _values(section, answer) for provider, answer in answers.items()}


def _values(section: str, answer: Found) -> _Said:
    if section not in answer.read:
        answer.read[section] = typed(section, mapping(answer.sections).get(section))
    unsure = typed(section, mapping(answer.unsure).get(section)) if answer.unsure else {}
    return _Said(answer.read[section], confidence_of(answer.confidence), unsure)


def _losers(
    section: str, said: Mapping[str, _Said], stored: _Fields, winners: _Fields
) -> dict[str, dict[str, Any]]:
    """Field -> provider -> value, of the stored values that lost and of this run's that did."""
    fields: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, old in stored.items():
        if old.provider and old is not winners[name]:
            fields[name][old.provider] = type_of(section, name).read(old.value)
    for provider, each in said.items():
        for name, value in (*each.values.items(), *each.unsure.items()):
            if name not in winners or winners[name].provider != provider:
                fields[name][provider] = value
    return fields


# Who wins


def _winners(
    section: str, stored: _Fields, said: Mapping[str, _Said], order: Sequence[str]
) -> _Fields:
    won = {
        name: challenger
        for name, challenger in _best(section, said, order).items()
        if challenger.beats(_as_typed(section, name, stored.get(name)))
    }
    return {**stored, **won}


def _as_typed(section: str, name: str, stored: _Candidate | None) -> _Candidate | None:
    """What is stored in a field with another type than the field's gives way to a good value."""
    if stored is None or type_of(section, name).read(stored.value) is not None:
        return stored
    return stored._replace(strength=min(stored.strength, _Strength.POOR))


def _stored(
    section: str, values: object, known: Mapping[str, Any], order: Sequence[str]
) -> _Fields:
    """A stored 0 stays until something better comes: it may be somebody else's own field."""
    origins, sure = (_section(known, key, section) for key in ("provenance", "confidence"))
    fields = {}
    for name, value in mapping(values).items():
        provider = origins.get(name)
        provider = provider if isinstance(provider, str) else None
        if says(section, name, value) or not is_blank(value):
            strength = _strength(section, name, value)
            confidence = confidence_of(sure.get(name))
            rank = _rank(provider, order)
            fields[name] = _Candidate(value, provider, strength, rank, confidence)
    return fields


def _best(section: str, said: Mapping[str, _Said], order: Sequence[str]) -> _Fields:
    """The values of this run, asked from the worst provider up to the best."""
    fields: _Fields = {}
    for provider in reversed(_in_order(said, order)):
        each, rank = said[provider], _rank(provider, order)
        for name, value in each.values.items() if each.is_sure else ():
            is_poor = value == UNKNOWN and (section, name) in VERDICTS
            strength = _Strength.POOR if is_poor else _Strength.FULL
            candidate = _Candidate(value, provider, strength, rank, each.confidence)
            if name not in fields or candidate.beats(fields[name]):
                fields[name] = candidate
    return fields


def _strength(section: str, name: str, value: object) -> _Strength:
    if (section, name) in VERDICTS and str(value).strip().lower() == "unknown":
        return _Strength.POOR
    return _Strength.FULL if says(section, name, value) else _Strength.NOTHING


def _rank(provider: str | None, order: Sequence[str]) -> int:
    if provider is None or provider not in order:
        return len(order) + (provider is None)
    return order.index(provider)


def _in_order(providers: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(set(providers), key=lambda name: (_rank(name, order), name))


# What is remembered of it


def _remembered(
    known: Mapping[str, Any],
    merged: Mapping[str, Any],
    winners: Mapping[str, _Fields],
    others: Mapping[str, Mapping[str, Mapping[str, Any]]],
    order: Sequence[str],
) -> dict[str, Any]:
    provenance = {section: dict(_origins(fields)) for section, fields in winners.items()}
    confidence = {section: dict(_confidences(fields)) for section, fields in winners.items()}
    lost = alternatives(known.get("alternatives"), others, merged, provenance, order)
    remembered: dict[str, Any] = {"provenance": {k: v for k, v in provenance.items() if v}}
    remembered |= {"alternatives": lost} if lost else {}
    sure = {section: each for section, each in confidence.items() if each}
    return remembered | ({"confidence": sure} if sure else {})


def _origins(fields: _Fields) -> Iterator[tuple[str, str]]:
    yield from ((name, each.provider) for name, each in fields.items() if each.provider)


def _confidences(fields: _Fields) -> Iterator[tuple[str, float]]:
    for name, each in fields.items():
        if each.confidence is not None:
            yield name, each.confidence


def _section(known: Mapping[str, Any], key: str, section: str) -> dict[str, Any]:
    return mapping(mapping(known.get(key)).get(section))
