"""PURE The organizations that a page describes in JSON-LD, in all the forms that sites write.

Sites wrap the JSON in comments and CDATA, leave commas and semicolons at its end, break lines within its
strings, and nest the organization anywhere: in a list, in a graph, behind a reference, as the publisher of an
article. One that cannot be read spoils none of the others.

A person is never read: not as an organization, and not as its founder or employee.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from enricher.providers.reading import Record, short_integer
from enricher.values.types import host_of

_MOST_NODES = 2_000
_DEEPEST = 12

_WRAPPING = re.compile(
    r"^\s*(?:<!--|(?://\s*|/\*\s*)?<!\[CDATA\[(?:\s*\*/)?)|(?:-->|(?://\s*|/\*\s*)?\]\]>(?:\s*\*/)?)\s*$"
)
_COMMA = re.compile(r",(\s*[}\]])")

_NONE = frozenset(
    "person product article blogposting newsarticle webpage website breadcrumblist faqpage event jobposting recipe"
    " review service offer imageobject place postaladdress searchaction listitem question answer course book movie"
    " howto videoobject collectionpage aboutpage contactpage rating aggregaterating contactpoint".split()
)
"""Types that are no organization, whatever else they carry."""
_ORGANIZATIONS = frozenset(
    "organization corporation localbusiness onlinebusiness onlinestore ngo educationalorganization"
    " governmentorganization medicalorganization professionalservice".split()
)
_MARKS = ("legalName", "logo", "sameAs", "address", "telephone", "foundingDate")
"""Of other types, an organization is what carries two of these: there are over a hundred."""
_ELSEWHERE = frozenset(
    "founder founders employee employees member members alumni owner reviewedby review reviews client clients"
    " customer memberof parentorganization suborganization brand sponsor funder contributor editor actor performer"
    " worksfor affiliation seller itemreviewed subjectof itemlistelement".split()
)
"""Properties that hold persons, or organizations other than the page's own."""


@dataclass(frozen=True, slots=True, repr=False)
class Organization:
    """One node, with the nodes that it refers to at hand."""

    node: Record
    by_id: Mapping[str, Record] = field(default_factory=dict)

    @property
    def types(self) -> tuple[str, ...]:
        """Its types, without the vocabulary in front, as they are written."""
        return tuple(_types(self.node))

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that it names as its own."""
        named = (each for key in ("url", "@id") for each in self.texts(key))
        return frozenset(host for each in named if (host := host_of(each)))

    def at(self, *path: str) -> Any:
        """Return the first value at the path; references are followed, and the first of several is meant."""
        value: Any = self.node
        for key in path:
            value = _first(self._resolve(value))
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return _first(self._resolve(value))

    def text(self, *path: str) -> str | None:
        """Return the first text at the path."""
        return next(iter(self.texts(*path)), None)

    def texts(self, *path: str) -> list[str]:
        """Return all texts at the path, with languages and numbers taken off their wrapping."""
        *parents, last = path
        parent = self.at(*parents) if parents else self.node
        values = parent.get(last) if isinstance(parent, Mapping) else None
        listed = values if isinstance(values, list) else [values]
        texts = (_plain(self._resolve(each)) for each in listed[:100])
        return [text for text in texts if text]

    def _resolve(self, value: Any) -> Any:
        """Follow a mere reference to the node that it means."""
        value = _first(value) if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, Mapping) and len(value) <= 2 and isinstance(value.get("@id"), str):  # noqa: PLR2004 - `@id` and `@type`
            return self.by_id.get(value["@id"], value)
        return value


def organizations(scripts: Sequence[str]) -> list[Organization]:
    """Return the organizations of a page, in its own order."""
    nodes = list(_nodes(scripts))
    by_id: dict[str, Record] = {}
    for node in nodes:
        if isinstance(id_ := node.get("@id"), str) and len(node) > len(by_id.get(id_, ())):
            by_id[id_] = node
    found = [node for node in nodes if _is_organization(node)]
    distinct = {id(by_id.get(str(node.get("@id")), node)): node for node in found}
    return [Organization(node, by_id) for node in distinct.values()]


def parse(script: str) -> Any:
    """Return what the script holds; `None` for what is no JSON with all its wrapping gone."""
    text = _WRAPPING.sub("", script.strip().lstrip("\ufeff")).strip().rstrip(";").strip()
    for each in (text, _COMMA.sub(r"\1", text)):
        try:
            return json.loads(
                each, strict=False, parse_int=short_integer, parse_constant=lambda _: None
            )
        except (ValueError, RecursionError):
            continue
    return None


def _nodes(scripts: Sequence[str]) -> Iterator[Record]:
    """Yield every object that may be the page's own, outer ones first."""
    left = _MOST_NODES
    level = [each for each in map(parse, scripts) if each is not None]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                left -= 1
                if left < 0:
                    return
                yield value
                deeper += [each for key, each in value.items() if _leads_on(key, each)]
            elif isinstance(value, list):
                deeper += [each for each in value[:_MOST_NODES] if isinstance(each, Mapping | list)]
        level = deeper


def _leads_on(key: object, value: object) -> bool:
    return isinstance(value, Mapping | list) and str(key).lower() not in _ELSEWHERE


def _is_organization(node: Record) -> bool:
    types = {each.lower() for each in _types(node)}
    if types & _NONE or not (node.get("name") or node.get("legalName")):
        return False
    return bool(types & _ORGANIZATIONS) or sum(bool(node.get(mark)) for mark in _MARKS) > 1


def _types(node: Record) -> Iterator[str]:
    listed = node.get("@type")
    for each in listed if isinstance(listed, list) else [listed]:
        if isinstance(each, str):
            yield each.strip().rstrip("/").rpartition("/")[2].rpartition(":")[2]


def _first(value: Any) -> Any:
    if isinstance(value, list):
        return next((each for each in value if each not in (None, "", {}, [])), None)
    return value


def _plain(value: Any) -> str | None:
    """Return the text of a value: bare, with a language, or as a thing with a name or an address."""
    if isinstance(value, Mapping):
        keys = ("@value", "name", "url", "contentUrl", "@id")
        value = next((value[key] for key in keys if isinstance(value.get(key), str)), None)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value.strip() or None if isinstance(value, str) else None
