"""PURE Answers become one value per field, and every value remembers who gave it.

What must stay true:

* Nothing gets worse. No answer removes a value; what says nothing (null, '', 'N/A', 'Unknown',
  '-', [], {}) never takes the place of what says something.
* The better provider wins, also over time. Among the answers of this run the provider named first
  in `order` decides; against what is stored already, the new value wins unless the stored one
  came from a provider that ranks strictly better. A stored value of unknown origin gives way.
* Merging the same answers again changes nothing, so a repeated attempt is harmless.
* What others put beside our data stays: keys, fields and profiles we know nothing of.

Two values depend on their place. 0 says nothing in company and person data (a company of 0
employees is a vendor's way to say "no idea"), while an e-mail score of 0 is a verdict. `unknown`
as the status or result of an e-mail check is the vendor's own word: it is kept while there is
nothing else, and any other verdict replaces it. False is always a value: a flag that was checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any
from urllib.parse import quote, urlsplit

from enricher.answer import Found, Kind

SECTIONS = tuple(kind.section for kind in Kind)
METADATA = "enrichment_metadata"
SOCIAL = "social_profiles"

PLACEHOLDERS = frozenset({"", "-", "n/a", "unknown", "null", "none"})
"""What vendors write for "we do not know", lower-cased. Not "na": that is Namibia."""

MAX_DEPTH = 20
"""Nesting of a value that is stored; MongoDB refuses a document beyond 100 levels."""
MAX_INTEGER = 2**63
"""BSON has no larger integers: such a number is stored as a float."""

_VERDICTS = {(Kind.EMAIL.section, "status"), (Kind.EMAIL.section, "result")}


class _Strength(IntEnum):
    NOTHING = 0
    POOR = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class _Candidate:
    value: Any
    provider: str | None
    strength: _Strength
    rank: int

    def beats(self, other: _Candidate | None) -> bool:
        """At equal rank the challenger wins: of two answers by one provider, the later counts."""
        if other is None:
            return True
        if self.strength is not other.strength:
            return self.strength > other.strength
        return self.rank <= other.rank


def is_blank(value: object) -> bool:
    """True for what says nothing, wherever it stands."""
    if isinstance(value, str):
        return value.strip().lower() in PLACEHOLDERS
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None or (isinstance(value, Mapping | list | tuple | set) and not value)


def merge(
    previous: Mapping[str, Any], answers: Mapping[str, Found], order: Sequence[str]
) -> dict[str, Any]:
    """The new `enriched_data`, complete except for the figures that `metadata` adds.

    `previous` is whatever the lead holds, of any type; `answers` are this run's, by provider.
    """
    before = _mapping(previous)
    origins = _mapping(_mapping(before.get(METADATA)).get("provenance"))
    merged: dict[str, Any] = dict(before)
    provenance: dict[str, dict[str, str]] = {}
    for section in SECTIONS:
        fields = _merge_section(section, before.get(section), origins.get(section), answers, order)
        merged[section] = {name: field.value for name, field in fields.items()} or None
        known = {name: field.provider for name, field in fields.items() if field.provider}
        provenance |= {section: known} if known else {}
    merged[SOCIAL] = _social_profiles(before.get(SOCIAL), merged)
    merged[METADATA] = {"provenance": provenance}
    return merged


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
) -> dict[str, Any]:
    """`enrichment_metadata` for a merged `enriched`; providers are listed in `order`."""
    score, missing = completeness
    reasons = skipped or {}
    return {
        "enriched_at": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "sources_used": _in_order(used, order),
        "sources_failed": _in_order(failed, order),
        "sources_not_found": _in_order(not_found, order),
        "sources_skipped": {name: reasons[name] for name in _in_order(reasons, order)},
        "completeness_score": score,
        "completeness_missing": missing,
        "provenance": _mapping(_mapping(enriched.get(METADATA)).get("provenance")),
    }


# One section


def _merge_section(
    section: str,
    before: object,
    origins: object,
    answers: Mapping[str, Found],
    order: Sequence[str],
) -> dict[str, _Candidate]:
    fields = _stored(section, _mapping(before), _mapping(origins), order)
    for name, challenger in _best(section, answers, order).items():
        if challenger.beats(fields.get(name)):
            fields[name] = challenger
    return fields


def _stored(
    section: str, values: Mapping[str, Any], origins: Mapping[str, Any], order: Sequence[str]
) -> dict[str, _Candidate]:
    """A stored 0 stays until something better comes: it may be somebody else's own field."""
    fields = {}
    for name, value in values.items():
        provider = origins.get(name)
        provider = provider if isinstance(provider, str) else None
        if not is_blank(value):
            strength = _strength(section, name, value)
            fields[name] = _Candidate(value, provider, strength, _rank(provider, order))
    return fields


def _best(
    section: str, answers: Mapping[str, Found], order: Sequence[str]
) -> dict[str, _Candidate]:
    """The values of this run, asked from the worst provider up to the best."""
    fields: dict[str, _Candidate] = {}
    for provider in reversed(_in_order(answers, order)):
        rank = _rank(provider, order)
        for name, value in _storable_fields(answers[provider].sections.get(section)):
            candidate = _Candidate(value, provider, _strength(section, name, value), rank)
            if candidate.strength and candidate.beats(fields.get(name)):
                fields[name] = candidate
    return fields


def _strength(section: str, name: str, value: object) -> _Strength:
    if (section, name) in _VERDICTS and str(value).strip().lower() == "unknown":
        return _Strength.POOR
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_blank(value) or (is_number and not value and section != Kind.EMAIL.section):
        return _Strength.NOTHING
    return _Strength.FULL


def _rank(provider: str | None, order: Sequence[str]) -> int:
    if provider is None or provider not in order:
        return len(order) + (provider is None)
    return order.index(provider)


def _in_order(providers: Iterable[str], order: Sequence[str]) -> list[str]:
    return sorted(set(providers), key=lambda name: (_rank(name, order), name))


def _mapping(value: object) -> dict[str, Any]:
    """Whatever is stored there, or nothing: others may have written a string or a list."""
    return dict(value) if isinstance(value, Mapping) else {}


# What can be stored


def _storable_fields(values: object) -> Iterator[tuple[str, Any]]:
    for name, value in _mapping(values).items():
        if safe := _safe_name(name):
            yield safe, _storable(value, MAX_DEPTH)


def _safe_name(name: object) -> str:
    """A dot or a leading dollar would be taken for a path or an operator; NUL ends a name in BSON."""
    text = _text(str(name)).replace("\0", "").replace(".", "_")
    return re.sub(r"^\$", "_", text)


def _storable(value: Any, depth: int) -> Any:
    """What BSON can hold: one unencodable string would make the whole write fail."""
    match value:
        case str():
            return _text(value)
        case Mapping():
            inner = {_safe_name(key): item for key, item in value.items()} if depth else {}
            return {key: _storable(item, depth - 1) for key, item in inner.items() if key}
        case list() | tuple() | set() | frozenset():
            return [_storable(item, depth - 1) for item in value] if depth else []
        case int() if abs(value) >= MAX_INTEGER:
            return float(value) if abs(value) < 10**300 else None
    return value


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# Social profiles

_NETWORKS: Mapping[str, tuple[str, str]] = {
    "linkedin": (r"linkedin\.com", "https://www.linkedin.com/"),
    "twitter": (r"(?:twitter|x)\.com", "https://twitter.com/"),
    "facebook": (r"facebook\.com", "https://www.facebook.com/"),
    "crunchbase": (r"crunchbase\.com", "https://www.crunchbase.com/"),
    "github": (r"github\.com", "https://github.com/"),
}
_FOLDERS = {
    ("company", "linkedin"): "company/",
    ("person", "linkedin"): "in/",
    ("company", "crunchbase"): "organization/",
    ("person", "crunchbase"): "person/",
}
"""Where a bare handle lives: "acme" is linkedin.com/company/acme."""


def _social_profiles(before: object, merged: Mapping[str, Any]) -> dict[str, Any] | None:
    profiles = _mapping(before)
    for kind in (Kind.COMPANY, Kind.PERSON):
        urls = dict(_urls(kind.value, _mapping(merged[kind.section])))
        profiles[kind.value] = _mapping(profiles.get(kind.value)) | urls
    return profiles if any(profiles.values()) else None


def _urls(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for network, (host, start) in _NETWORKS.items():
        path = _path(values.get(f"{network}_handle"), host)
        if path:
            folder = "" if "/" in path else _FOLDERS.get((kind, network), "")
            yield network, start + folder + quote(path, safe="/-_.~%", errors="replace")


def _path(handle: object, host: str) -> str:
    """The path of a profile, from "company/acme", "@acme" or an address with or without scheme.

    Nothing for an address on another host: it would become a link that only looks right.
    """
    text = handle.strip() if isinstance(handle, str) and not is_blank(handle) else ""
    found = re.match(rf"(?i)(?:https?:)?(?://)?(?:[a-z]+\.)?{host}(?=[/?#]|$)", text)
    text = text[found.end() :] if found else text
    if re.search(r"[\s:\\]", text):
        return ""
    return urlsplit(text.strip("/")).path.strip("/").removeprefix("@")
