"""PURE Names that look like settings and are none: which are mistakes, and what they stand for.

A name that begins like ours but is none of ours is an error: a mistyped budget is no budget. Names
that others use too (`MONGODB_...`) are one when they stand for a setting that is not given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

OUR_PREFIXES = ("ENRICHER_", "CLEARBIT_", "HUNTER_", "PDL_", "APOLLO_")
"""Whatever begins with one of these is meant for us, so an unknown one is a mistake."""

_KEY = "API_KEY"

_ALMOST_OURS = ("MONGODB_", "MONGO_", "LEADS_", "LEAD_")
"""Others set such names too, images and charts among them (MONGODB_VERSION, MONGODB_USER), so only
one that is nearly a setting's is a mistake, and none while that setting is given."""
_ALMOST = 0.9
"""Of `difflib`: MONGODB_URL is 0.91 like MONGODB_URI, MONGODB_USER 0.87, MONGODB_VERSION 0.77."""
_ALMOST_OF_OURS = 0.75
_OTHERS_SAY = {
    "MONGO_URL": "MONGODB_URI",
    "MONGO_DB": "MONGODB_DATABASE",
    "MONGODB_DB": "MONGODB_DATABASE",
    "MONGODB_DBNAME": "MONGODB_DATABASE",
    "MONGODB_DB_NAME": "MONGODB_DATABASE",
    "MONGODB_DATABASE_NAME": "MONGODB_DATABASE",
    "MONGODB_COLLECTION": "LEADS_COLLECTION",
    "LEADS_COLLECTION_NAME": "LEADS_COLLECTION",
}
_ADDRESS_OF_MONGODB = re.compile(r"(?i)(MONGO|MONGODB|DATABASE|DB)_\w+=mongodb(\+srv)?://")
"""A name and its value: DATABASE_URL is of no concern to us when it leads to PostgreSQL."""

_LINK_VARIABLE = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$"
)
"""What Kubernetes sets in every pod for a Service that happens to be named like us."""


def is_ours(known: Collection[str], name: str) -> bool:
    """True for the name of a setting, and for any other that begins like one of ours."""
    return name.upper().startswith((*OUR_PREFIXES, *_prefixes(known))) or name in known


def _prefixes(known: Collection[str]) -> Iterator[str]:
    """Of all vendors, those of other packages among them: each has a setting for its key."""
    return (name.removesuffix(_KEY) for name in known if name.endswith(f"_{_KEY}"))


def unknown(variables: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """One line for each mistaken name; `known` are the names of all settings."""
    for name, value in sorted(variables.items()):
        if name in known or _is_link(name, value):
            continue
        meant = _meant(name, value, known)
        if is_ours(known, name) or (meant and meant not in variables):
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"{name}: there is no such setting{hint}"


def _is_link(name: str, value: str) -> bool:
    return bool(_LINK_VARIABLE.search(name)) or re.match(r"(tcp|udp|sctp)://", value) is not None


def _meant(name: str, value: str, known: Collection[str]) -> str | None:
    """The setting that a name which is none of ours seems to stand for."""
    name = name.upper()
    if name in _OTHERS_SAY:
        return _OTHERS_SAY[name]
    if is_ours(known, name) or name.startswith(_ALMOST_OURS):
        nearness = _ALMOST_OF_OURS if is_ours(known, name) else _ALMOST
        close = difflib.get_close_matches(name, known, 1, nearness)
        if close:
            return close[0]
    return "MONGODB_URI" if _ADDRESS_OF_MONGODB.match(f"{name}={value}") else None
