"""PURE The shape of what readers find on a lead, from which every format is made.

What the daemon writes and nothing else: all other fields of a lead are its writer's. Any field can be missing
or null, and there may be more than these, because providers of other packages bring their own. Both hold
everywhere, so the shape says neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from enricher.answer import Kind
from enricher.fields import TYPES, ValueType
from enricher.lead import SUBJECT, Status

STATUSES = tuple(status.value for status in Status)
ROOT = "Lead"


class Basic(StrEnum):
    """A value without parts."""

    TEXT = "text"
    WHOLE = "whole"
    NUMBER = "number"
    FLAG = "flag"
    DATE = "date"
    STATUS = "status"
    ANYTHING = "anything"


@dataclass(frozen=True, slots=True)
class ListOf:
    """Values of one shape; none of them is null."""

    items: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """Values of one shape under names that are not ours to list."""

    values: Shape


@dataclass(frozen=True, slots=True)
class Property:
    """One named value and what it means."""

    shape: Shape
    meaning: str
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Values under the names of the contract."""

    name: str
    meaning: str
    fields: Mapping[str, Property]


Shape: TypeAlias = Basic | ListOf | MapOf | Record

TEXTS = ListOf(Basic.TEXT)
_SHAPES: Mapping[ValueType, Shape] = {
    ValueType.TEXTS: TEXTS,
    ValueType.COUNT: Basic.WHOLE,
    ValueType.YEAR: Basic.WHOLE,
    ValueType.FLAG: Basic.FLAG,
    ValueType.SCORE: Basic.NUMBER,
}
"""All other types of fields are texts."""
_BOUNDS: Mapping[ValueType, tuple[int | None, int | None]] = {
    ValueType.COUNT: (1, None),
    ValueType.SCORE: (0, 100),
}
_MEANINGS = {
    Kind.COMPANY: "The company that the lead belongs to.",
    Kind.PERSON: "The person whose address the lead names.",
    Kind.EMAIL: "The verdict on the lead's e-mail address.",
}


def lead() -> Record:
    """Return the shape of a lead, with everything in it."""
    return Record(
        ROOT,
        "What enricher writes on a lead. All other fields are its writer's.",
        {
            "enrichment_status": Property(
                Basic.STATUS, "where the work on the lead stands; missing until the daemon saw it"
            ),
            "enriched_data": Property(
                _enriched_data(), "what was found; missing until something was"
            ),
            "enriched_at": Property(Basic.DATE, "when it was last completed"),
            "enrichment_error": Property(Basic.TEXT, "why it is not completed, as one sentence"),
            "updated_at": Property(Basic.DATE, "when data or an end status was last written"),
            "enrichment": Property(
                MapOf(Basic.ANYTHING), "the daemon's own book-keeping: keep it, and do not read it"
            ),
            "qualification_status": Property(
                Basic.TEXT, 'set to "pending" when a lead with a qualification_score is completed'
            ),
            "qualification_requested_at": Property(Basic.DATE, "when that was set"),
        },
    )


def records(of: Record) -> Iterator[Record]:
    """Yield each record once, and after every record that it contains."""
    seen: dict[str, Record] = {}
    for each in of.fields.values():
        shape = each.shape.items if isinstance(each.shape, ListOf) else each.shape
        if isinstance(shape, Record):
            seen |= {inner.name: inner for inner in records(shape)}
    yield from (seen | {of.name: of}).values()


def _enriched_data() -> Record:
    sections = {kind.section: Property(_section(kind), _MEANINGS[kind]) for kind in Kind}
    profiles = Property(_social_profiles(), "addresses of profiles; {} where none is known")
    metadata = Property(_metadata(), "who was asked, and where each value came from")
    return Record(
        "EnrichedData",
        "What was found about a lead.",
        {**sections, "social_profiles": profiles, "enrichment_metadata": metadata},
    )


def _section(kind: Kind) -> Record:
    fields = {name: _field(each) for name, each in TYPES[kind].items()}
    return Record(kind.section.title().replace("_", ""), _MEANINGS[kind], fields)


def _field(each: ValueType) -> Property:
    least, most = _BOUNDS.get(each, (None, None))
    return Property(_SHAPES.get(each, Basic.TEXT), each.value, least, most)


def _social_profiles() -> Record:
    handles = [
        name for types in TYPES.values() for name, each in types.items() if each is ValueType.HANDLE
    ]
    networks = dict.fromkeys(name.removesuffix("_handle") for name in handles)
    profiles = Record(
        "Profiles",
        "Web addresses of profiles, by network.",
        {network: Property(Basic.TEXT, ValueType.URL.value) for network in networks},
    )
    of = {kind.value: Property(profiles, f"the {kind}'s") for kind in (Kind.COMPANY, Kind.PERSON)}
    return Record("SocialProfiles", "The profiles of the handles that were found.", of)


def _metadata() -> Record:
    def by_field(values: Shape) -> Shape:
        return MapOf(MapOf(values))

    return Record(
        "EnrichmentMetadata",
        "How the data came about.",
        {
            "enriched_at": Property(Basic.TEXT, "when it was written, in ISO 8601"),
            "sources_used": Property(TEXTS, "providers that gave data"),
            "sources_failed": Property(TEXTS, "providers that erred"),
            "sources_not_found": Property(TEXTS, "providers that answered and had none"),
            "sources_skipped": Property(
                MapOf(Basic.TEXT), "providers that were not asked, and why"
            ),
            "completeness_score": Property(Basic.WHOLE, "points for what is known", 0, 100),
            "completeness_missing": Property(TEXTS, "what gave no points"),
            "flags": Property(TEXTS, "what was odd about the lead"),
            "capped": Property(
                TEXTS,
                "providers not asked because of the most that a lead may cost; absent if none",
            ),
            SUBJECT: Property(_subject(), "keyed hashes of whom the data is about"),
            "provenance": Property(by_field(Basic.TEXT), "section, field, provider of the value"),
            "alternatives": Property(
                by_field(MapOf(Basic.ANYTHING)), "section, field, provider, the value that lost"
            ),
            "confidence": Property(
                by_field(Basic.NUMBER), "section, field, how sure its provider is, from 0 to 1"
            ),
            "copied": Property(ListOf(_copied()), "values that stand in fields of your own, too"),
            "not_copied": Property(ListOf(_not_copied()), "values that do not, and why"),
        },
    )


_OF_A_COPY = {
    "field": Property(Basic.TEXT, "section and field of the value"),
    "to": Property(Basic.TEXT, "the field of your own"),
}


def _copied() -> Record:
    return Record("Copied", "A value that was copied.", _OF_A_COPY)


def _not_copied() -> Record:
    why = {"why": Property(Basic.TEXT, "why it was not")}
    return Record("NotCopied", "A value that was not copied.", {**_OF_A_COPY, **why})


def _subject() -> Record:
    return Record(
        "Subject",
        "Keyed hashes of whom the data is about.",
        {
            "mailbox": Property(Basic.TEXT, "the same for all spellings of one mailbox"),
            "company": Property(Basic.TEXT, "of the company's domain"),
        },
    )
