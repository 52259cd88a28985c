"""PURE Answers become one value per field, and every value remembers who gave it.

What must stay true:

* Nothing gets worse. No answer removes a value; what says nothing (null, '', 'N/A', 'Unknown',
  '-', [], {}) never takes the place of what says something.
* The better provider wins, also over time: first by its place in `order` (before all others for what it
  knows best, by the catalogue), then by the confidence it states, then by freshness. Against what is
  stored already the new value wins unless the stored one came from a provider that ranks strictly
  better. A stored value of unknown origin gives way.
* A value has the type of its field (`values/types.py`), whoever gave it. A stored one of another type gives
  way to any good one.
* What lost stays readable beside the winner (`alternatives`), with who said it. What a provider is
  too unsure of is only that, also where there is no value.
* Merging the same answers again changes nothing, so a repeated attempt is harmless.
* What others put beside our data stays: keys, fields and profiles we know nothing of.

Two values depend on their place. 0 says nothing in company and person data (a company of 0
employees is a vendor's way to say "no idea"), while an e-mail score of 0 is a verdict. `unknown`
as the status or result of an e-mail check is the vendor's own word: it is kept while there is
nothing else, and any other verdict replaces it. So is what belongs to such a verdict: a score, and what the
mailbox's server said. A stored verdict whose own provider says `unknown` by now gives way to another's new
one, also to a worse provider's. False is always a value: a flag that was checked.

An exact head count and a range that contradicts it are two fields, and both stay: the exact one is
what the score and the next provider go by.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from enricher.answer import FieldValues, Found, Kind
from enricher.catalogue import KNOWS_BEST
from enricher.fields import SECTIONS
from enricher.identity.domains import classify
from enricher.identity.identify import stated_host
from enricher.lead import SUBJECT, Subject
from enricher.values.storable import is_blank, mapping, safe_name, weight
from enricher.values.types import (
    TYPES,
    UNKNOWN,
    VERDICTS,
    confidence_of,
    is_same,
    says,
    social_profiles,
    type_of,
    typed,
)

# What providers said that is not the value of a field: `enrichment_metadata.alternatives`, by section,
# field and provider.
#
# For people who doubt a value, and for values that are too uncertain to be written. An alternative
# never becomes a value by itself, and what means the same as the value is none. Everything is bounded,
# in a fixed order, so that a lead does not grow and merging again changes nothing.

MOST_PROVIDERS = 5
"""Limit for one field; the better providers are kept."""
MOST_BYTES = 16_384
"""Approximate limit for all fields of a lead."""
MOST_BYTES_EACH = 2_048

THE_LEAD = "lead"
"""Stands in for a provider: what the lead's own writer put into the corresponding field."""

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
    """Return the stored alternatives and what was `said` now, without what `merged` has anyway.

    `winners` are the providers of the values; a winner has no alternative to itself.
    """
    left, before = MOST_BYTES, mapping(stored)
    if not before and not any(said.values()):
        return {}
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    for section in TYPES:
        known, now = mapping(before.get(section)), said.get(section, {})
        if not known and not now:
            continue
        values, winner = mapping(merged.get(section)), winners.get(section, {})
        fields: dict[str, dict[str, Any]] = {}
        for name in sorted(known.keys() | now.keys()):
            pool = _pool(section, name, known.get(name), now.get(name, {}))
            pool.pop(safe_name(winner.get(name, "")), None)
            others = _others(section, name, pool, values.get(name))
            chosen, left = _bounded(others, order, left)
            fields |= {name: chosen} if chosen else {}
        kept |= {section: fields} if fields else {}
    return kept


def _pool(section: str, name: str, known: object, now: Mapping[str, Any]) -> dict[str, Any]:
    """Return provider -> what it said last. Stored values may have any type, so they are read again."""
    read = type_of(section, name).read
    stored = {safe_name(provider): read(value) for provider, value in mapping(known).items()}
    stored.pop(THE_LEAD, None)  # it is stated anew each time, or no longer
    return {**stored, **{safe_name(provider): value for provider, value in now.items()}}


def _others(section: str, name: str, pool: Mapping[str, Any], value: object) -> dict[str, Any]:
    """Drop what says nothing or the same as the value. The lead's own needs a value to be an alternative to."""
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
    others: Mapping[str, Any], order: Sequence[str], left: int
) -> tuple[dict[str, Any], int]:
    chosen: dict[str, Any] = {}
    ranks = {safe_name(name): rank for rank, name in enumerate(order)} if others else {}
    for provider in sorted(others, key=lambda name: (ranks.get(name, len(ranks)), name)):
        size = weight(provider) + weight(others[provider])
        if provider and len(chosen) < MOST_PROVIDERS and size <= min(left, MOST_BYTES_EACH):
            chosen[provider] = others[provider]
            left -= size
    return chosen, left


METADATA = "enrichment_metadata"
SOCIAL = "social_profiles"
BY_FIELD = ("provenance", "alternatives", "confidence")
"""Keys of the metadata that hold an entry for each section and field."""
FLAGS = "flags"
"""Key of the metadata that lists what was odd about the lead; see `conclude`."""
CAPPED = "capped"
"""Key of the metadata that lists the providers not asked because of the most that a lead may cost."""

OF_THE_VERDICT = frozenset({"status", "result", "score", "smtp_check", "accept_all"})
"""Fields of an e-mail check that say nothing beside the status `unknown`."""
LEAST_CONFIDENCE = 0.5
"""Below it, an answer is more likely about somebody else: it gives alternatives and no values."""
_STEPS = 10
"""Confidences are compared in tenths: a tiny drop since last year must not keep last year's value."""

_Stated = Mapping[str, FieldValues]


class _Strength(IntEnum):
    NOTHING = 0
    POOR = 1
    FULL = 2


class _Candidate(NamedTuple):
    value: Any
    provider: str | None
    strength: _Strength
    confidence: float | None = None
    is_taken_back: bool = False
    """Its own provider says by now that it does not know: it ranks behind all others, those of unknown origin too."""

    def beats(self, other: _Candidate, name: str, order: Sequence[str]) -> bool:
        """Tell whether this wins a field. At equal rank and confidence the challenger does: the later answer counts."""
        if self.strength is not other.strength:
            return self.strength > other.strength
        if other.is_taken_back:
            return True
        own, its = rank_of(self.provider, name, order), rank_of(other.provider, name, order)
        return own < its or (own == its and self._is_as_sure_as(other))

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
    """Return the new `enriched_data`, complete except for the figures that `metadata` adds.

    `previous` is whatever the lead holds, of any type; `answers` are this run's, by provider;
    `stated` is what the lead's writer entered, by section: it never becomes a value.
    """
    before = mapping(previous)
    known = mapping(before.get(METADATA))
    said: dict[str, dict[str, _Said]] = {section: {} for section in SECTIONS}
    for name, answer in answers.items():
        for section, each in _said(answer).items():
            said[section][name] = each
    merged: dict[str, Any] = dict(before)
    winners: dict[str, _Fields] = {}
    others: dict[str, dict[str, dict[str, Any]]] = {}
    for section in SECTIONS:
        stored = _stored(section, before.get(section), known)
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
    """Return the values of an answer that can become a lead's; the others do not save asking the next provider."""
    return _read(answer, section) if _is_sure(confidence_of(answer.confidence)) else {}


def metadata(
    enriched: Mapping[str, Any],
    *,
    now: datetime,
    order: Sequence[str],
    used: Iterable[str] = (),
    failed: Iterable[str] = (),
    not_found: Iterable[str] = (),
    skipped: Mapping[str, str] | None = None,
    capped: Iterable[str] = (),
    completeness: tuple[int, list[str]],
    subject: Subject | None = None,
) -> dict[str, Any]:
    """Return `enrichment_metadata` for a merged `enriched`; providers are listed in `order`."""
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
        **({CAPPED: too_dear} if (too_dear := _in_order(capped, order)) else {}),
        **({SUBJECT: subject.document} if subject else {}),
        **{key: each for key, each in by_field.items() if each or key == "provenance"},
    }


def flags_of(enriched: object) -> list[str]:
    """Return what was odd about the lead when `enriched` was written, whoever wrote it."""
    flags = mapping(mapping(enriched).get(METADATA)).get(FLAGS)
    return [each for each in flags if isinstance(each, str)] if isinstance(flags, list) else []


def without_sections(enriched: dict[str, Any], sections: Iterable[str]) -> None:
    """Remove sections and all metadata about them. This is a duty (privacy), so nothing may stay behind."""
    for section in sections:
        enriched[section] = None
        for key in BY_FIELD:
            enriched[METADATA].get(key, {}).pop(section, None)


# What was said


class _Said(NamedTuple):
    """One provider's values of one section, each of its field's type."""

    values: Mapping[str, Any]
    confidence: float | None
    unsure: Mapping[str, Any]


def _said(answer: Found) -> dict[str, _Said]:
    """Return what an answer says, by section."""
    sure, unsure = mapping(answer.sections), mapping(answer.unsure)
    confidence = confidence_of(answer.confidence)
    return {
        section: _Said(
            _read(answer, section),
            confidence,
            typed(section, unsure[section]) if section in unsure else {},
        )
        for section in SECTIONS
        if section in sure or section in unsure
    }


def _is_sure(confidence: float | None) -> bool:
    return confidence is None or confidence >= LEAST_CONFIDENCE


def _read(answer: Found, section: str) -> FieldValues:
    """Return the section's values, which several ask for, each of its field's type."""
    if section not in answer.read:
        answer.read[section] = typed(section, mapping(answer.sections).get(section))
    return answer.read[section]


def _losers(
    section: str, said: Mapping[str, _Said], stored: _Fields, winners: _Fields
) -> dict[str, dict[str, Any]]:
    """Return field -> provider -> value for the values that lost, both stored ones and this run's."""
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
    old = {name: _as_stands(section, name, each, said) for name, each in stored.items()}
    won = {
        name: challenger
        for name, challenger in _best(section, said, order).items()
        if name not in old or challenger.beats(old[name], name, order)
    }
    return {**stored, **won}


def _as_stands(
    section: str, name: str, stored: _Candidate, said: Mapping[str, _Said]
) -> _Candidate:
    """Return what a stored value counts for today."""
    now = said.get(stored.provider or "")
    is_outdated = now is not None and name in _without_verdict(section, now.values)
    typed_one = _as_typed(section, name, stored)
    return typed_one._replace(is_taken_back=True) if is_outdated else typed_one


def _as_typed(section: str, name: str, stored: _Candidate) -> _Candidate:
    """Weaken a stored value that does not have its field's type, so that it gives way to a good one."""
    if type_of(section, name).read(stored.value) is not None:
        return stored
    return stored._replace(strength=min(stored.strength, _Strength.POOR))


def _stored(section: str, values: object, known: Mapping[str, Any]) -> _Fields:
    """Read the stored fields. A stored 0 stays until something better comes: the field may be somebody else's."""
    if not (present := mapping(values)):
        return {}
    origins, sure = (
        mapping(mapping(known.get(key)).get(section)) for key in ("provenance", "confidence")
    )
    fields, void = {}, _without_verdict(section, present)
    for name, value in present.items():
        provider = origins.get(name)
        provider = provider if isinstance(provider, str) else None
        if says(section, name, value) or not is_blank(value):
            strength = _strength(section, name, value)
            if origins.get("status") == provider and name in void:
                strength = min(strength, _Strength.POOR)
            fields[name] = _Candidate(value, provider, strength, confidence_of(sure.get(name)))
    return fields


def _best(section: str, said: Mapping[str, _Said], order: Sequence[str]) -> _Fields:
    """Return this run's best values, going from the worst provider up to the best."""
    fields: _Fields = {}
    for provider in reversed(_in_order(said, order)):
        each = said[provider]
        if not _is_sure(each.confidence):
            continue
        void = _without_verdict(section, each.values)
        for name, value in each.values.items():
            is_unknown = value == UNKNOWN and (section, name) in VERDICTS
            strength = _Strength.POOR if is_unknown or name in void else _Strength.FULL
            candidate = _Candidate(value, provider, strength, each.confidence)
            if name not in fields or candidate.beats(fields[name], name, order):
                fields[name] = candidate
    return fields


def _strength(section: str, name: str, value: object) -> _Strength:
    if (section, name) in VERDICTS and str(value).strip().lower() == "unknown":
        return _Strength.POOR
    return _Strength.FULL if says(section, name, value) else _Strength.NOTHING


def _without_verdict(section: str, values: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields that say nothing, as they belong to an e-mail check that came to no verdict."""
    is_void = section == _CHECK and values.get("status") == UNKNOWN
    return OF_THE_VERDICT if is_void else frozenset()


_CHECK = Kind.EMAIL.section


def knows_best(provider: str, name: str) -> bool:
    """Tell whether the provider knows this field better than all others."""
    return name in KNOWS_BEST.get(provider, ())


def rank_of(provider: str | None, name: str, order: Sequence[str]) -> int:
    """Return a provider's rank for a field, the lowest the best: before all others where it knows best, else by its
    place in the order. Values of unknown origin come last."""
    if provider is None:
        return len(order) + 1
    if knows_best(provider, name):
        return -1
    return order.index(provider) if provider in order else len(order)


def _in_order(providers: Iterable[str], order: Sequence[str]) -> list[str]:
    """List each provider once, the best first; those without a place in `order` come last, by name."""
    found = set(providers)
    if not found:
        return []
    return [name for name in order if name in found] + sorted(found.difference(order))


# What is recorded about it


def _remembered(
    known: Mapping[str, Any],
    merged: Mapping[str, Any],
    winners: Mapping[str, _Fields],
    others: Mapping[str, Mapping[str, Mapping[str, Any]]],
    order: Sequence[str],
) -> dict[str, Any]:
    provenance = {
        section: {name: each.provider for name, each in fields.items() if each.provider}
        for section, fields in winners.items()
    }
    stated = {
        section: {
            name: sure for name, each in fields.items() if (sure := each.confidence) is not None
        }
        for section, fields in winners.items()
    }
    lost = alternatives(known.get("alternatives"), others, merged, provenance, order)
    remembered: dict[str, Any] = {"provenance": {k: v for k, v in provenance.items() if v}}
    remembered |= {"alternatives": lost} if lost else {}
    confidence = {section: each for section, each in stated.items() if each}
    return remembered | ({"confidence": confidence} if confidence else {})


# How complete the data of a lead is, from 0 to 100, and what is missing.
#
# The table below is the product's; it adds up to 100, and a lead scores 100 exactly when nothing
# is missing. Data of a wrong type gives no points and is no error: others may write there too.

Rule: TypeAlias = Callable[[Mapping[str, Any]], bool]

GOOD_SCORE = 70
"""An e-mail score must be above this."""


def _has(name: str) -> Rule:
    def is_known(section: Mapping[str, Any]) -> bool:
        value = section.get(name)
        return not is_blank(value) and value not in (0, False, True)

    return is_known


def _is_valid(email: Mapping[str, Any]) -> bool:
    status = email.get("status")
    return isinstance(status, str) and status.strip().lower() == "valid"


def _scores_well(email: Mapping[str, Any]) -> bool:
    score = email.get("score")
    return isinstance(score, int | float) and not isinstance(score, bool) and score > GOOD_SCORE


TABLE: Mapping[str, tuple[str, int, Rule]] = {
    "company.name": ("company_data", 10, _has("name")),
    "company.employee_count": ("company_data", 15, _has("employee_count")),
    "company.industry": ("company_data", 10, _has("industry")),
    "company.description": ("company_data", 10, _has("description")),
    "company.linkedin_handle": ("company_data", 5, _has("linkedin_handle")),
    "company.tech_stack": ("company_data", 10, _has("tech_stack")),
    "email.valid": ("email_verification", 20, _is_valid),
    "email.score": ("email_verification", 10, _scores_well),
    "email.not_disposable": ("email_verification", 5, lambda e: e.get("is_disposable") is False),
    "email.mx_records": ("email_verification", 5, lambda e: e.get("mx_records") is True),
}
"""Name of the line -> section, points, and condition. "Not disposable" must be known, not just assumed."""


def completeness(enriched: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Return (score, names of the lines that gave no points) for an `enriched_data` of any shape."""
    stored = mapping(enriched)
    sections = {section: mapping(stored.get(section)) for section in SECTIONS}
    earned = {
        name: points
        for name, (section, points, counts) in TABLE.items()
        if counts(sections[section])
    }
    return sum(earned.values()), [name for name in TABLE if name not in earned]


# Whether a person still works for the lead's company, by what a provider says of them.
#
# People change jobs and keep their address in vendors' records. What such a record says of the new job
# is true of the person and wrong on a lead of the old company, so it is no value: it is held as an
# alternative, and the lead carries the flag `employer_mismatch`. The lead itself stays with its company.
#
# A provider states the employer in `Found.employers`, as its vendor wrote it. One that states none is
# taken at its word: it was asked for one address alone.

MISMATCH = "employer_mismatch"
OF_THE_JOB = frozenset({"job_title", "role", "seniority", "bio"})
"""Fields about the present employment. Vendors' headlines (`bio`) name job and employer."""


def owners(named: Iterable[object]) -> frozenset[str]:
    """Return the owners' domains, the same for all hosts of one owner. `named` may hold domains, URLs and
    addresses; what is nobody's, or not a company's own site, is left out."""
    hosts = (stated_host(each) for each in named if isinstance(each, str))
    return frozenset(owner for host in hosts if host and (owner := classify(host).registrable))


def works_elsewhere(found: Found, own: frozenset[str]) -> bool | None:
    """Tell whether the answer names only other employers; `None` when it names none, or there is nothing to
    compare it with. `own` are the `owners` of the domains of the lead's company."""
    employers = owners(found.employers)
    return employers.isdisjoint(own) if employers and own else None


def without_disowned_job(
    stored: Mapping[str, Any], said: Mapping[str, Found], own: frozenset[str]
) -> Mapping[str, Any]:
    """Return `enriched_data` without a stored job that its own provider now places at another company: the
    data may be from before the lead's company was corrected."""
    section = Kind.PERSON.section
    values = mapping(stored.get(section))
    origins = mapping(
        mapping(mapping(stored.get("enrichment_metadata")).get("provenance")).get(section)
    )
    gone = {
        name
        for name in OF_THE_JOB & values.keys()
        if (found := said.get(str(origins.get(name)))) and works_elsewhere(found, own)
        if _says_the_same(section, name, values[name], found)
    }
    kept = {name: value for name, value in values.items() if name not in gone}
    return {**stored, section: kept} if gone else stored


def _says_the_same(section: str, name: str, stored: object, found: Found) -> bool:
    read = type_of(section, name).read
    old, new = read(stored), read(found.sections.get(section, {}).get(name))
    return old is not None and new is not None and is_same(section, name, old, new)


def without_job_elsewhere(found: Found, own: frozenset[str]) -> Found:
    """Return the answer with a job at another company turned into an alternative."""
    section = Kind.PERSON.section
    values = found.sections.get(section)
    if not values or not works_elsewhere(found, own):
        return found
    job = {name: value for name, value in values.items() if name in OF_THE_JOB}
    rest = {name: value for name, value in values.items() if name not in OF_THE_JOB}
    unsure = {**found.unsure, section: {**found.unsure.get(section, {}), **job}}
    return replace(found, sections={**found.sections, section: rest}, unsure=unsure)
