"""PURE Profiles on social networks: the handle in whatever a vendor wrote, and its full address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from enricher.answer import Kind
from enricher.storable import is_blank, mapping

_NETWORKS: Mapping[str, tuple[str, str]] = {
    "linkedin": (r"linkedin\.com", "https://www.linkedin.com/"),
    "twitter": (r"(?:twitter|x)\.com", "https://twitter.com/"),
    "facebook": (r"(?:facebook|fb)\.com", "https://www.facebook.com/"),
    "crunchbase": (r"crunchbase\.com", "https://www.crunchbase.com/"),
    "github": (r"github\.com", "https://github.com/"),
}
NETWORKS = tuple(_NETWORKS)

_FOLDERS = {
    ("company", "linkedin"): "company/",
    ("person", "linkedin"): "in/",
    ("company", "crunchbase"): "organization/",
    ("person", "crunchbase"): "person/",
}
"""Where a bare handle lives: "acme" is linkedin.com/company/acme."""

_NO_PROFILES = frozenset({"company", "in", "pub", "organization", "person", "profile.php", "pages"})
"""Paths that are no profile by themselves: what named it stood behind them, and is lost."""
_LONGEST = 256
_ONE_SEGMENT = frozenset({"twitter"})
"""What stands behind a handle there is a post of theirs."""


def handle_of(network: str, value: object) -> str | None:
    """ "company/acme" or "acme", from a handle, "@acme" or an address with or without scheme.

    Nothing for an address on another host: it would become a link that only looks right.
    """
    text = value.strip() if isinstance(value, str) and not is_blank(value) else ""
    host = _NETWORKS[network][0]
    found = re.match(rf"(?i)(?:https?:)?(?://)?(?:[a-z]+\.)?{host}(?=[/?#]|$)", text)
    text = text[found.end() :] if found else text
    if len(text) > _LONGEST or re.search(r"[\s:\\<>\[\]\x00-\x1f\x7f]", text):
        return None
    path = _path(text)
    if network in _ONE_SEGMENT:
        path = path.partition("/")[0]
    return None if path.lower() in _NO_PROFILES else path or None


def _path(text: str) -> str:
    try:
        path = urlsplit(text.strip("/")).path
    except ValueError:  # "//[" looks like the start of an IPv6 address
        return ""
    return path.strip("/").removeprefix("@").encode("utf-8", "replace").decode()


def url_of(kind: str, network: str, handle: object) -> str | None:
    """The full address of a profile; `kind` says whether a bare handle is a company or a person."""
    path = handle_of(network, handle)
    if path is None:
        return None
    folder = "" if "/" in path else _FOLDERS.get((kind, network), "")
    return _NETWORKS[network][1] + folder + quote(path, safe="/-_.~%", errors="replace")


def same_profile(kind: str, network: str, handle: object) -> str:
    """Equal for all spellings of one profile; networks do not tell capitals apart."""
    return unquote(url_of(kind, network, handle) or "").casefold()


def social_profiles(before: object, merged: Mapping[str, Any]) -> dict[str, Any] | None:
    """The addresses for all handles in `merged`; what others put beside them stays."""
    profiles = mapping(before)
    for kind in (Kind.COMPANY, Kind.PERSON):
        urls = dict(_urls(kind.value, mapping(merged[kind.section])))
        profiles[kind.value] = mapping(profiles.get(kind.value)) | urls
    return profiles if any(profiles.values()) else None


def _urls(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for network in NETWORKS:
        if url := url_of(kind, network, values.get(f"{network}_handle")):
            yield network, url
