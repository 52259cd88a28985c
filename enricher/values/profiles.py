"""PURE Profiles on social networks: the handle in whatever a vendor wrote, and its full address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from enricher.answer import Kind
from enricher.values.storable import is_blank, mapping, plain


class _Network(NamedTuple):
    host: re.Pattern[str]
    """How an address on it begins."""
    url: str
    parts: int
    """Of how many parts of an address's path a handle is made."""


def _on(host: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)(?:https?:)?(?://)?(?:[a-z]+\.)?{host}(?=[/?#]|$)")


_NETWORKS: Mapping[str, _Network] = {
    "linkedin": _Network(_on(r"linkedin\.com"), "https://www.linkedin.com/", 2),
    "twitter": _Network(_on(r"(?:twitter|x)\.com"), "https://twitter.com/", 1),
    "facebook": _Network(_on(r"(?:facebook|fb)\.com"), "https://www.facebook.com/", 1),
    "crunchbase": _Network(_on(r"crunchbase\.com"), "https://www.crunchbase.com/", 2),
    "github": _Network(_on(r"github\.com"), "https://github.com/", 1),
}
NETWORKS = tuple(_NETWORKS)

_FOLDERS = {
    ("company", "linkedin"): "company/",
    ("person", "linkedin"): "in/",
    ("company", "crunchbase"): "organization/",
    ("person", "crunchbase"): "person/",
}
"""Where a bare handle lives: "acme" is linkedin.com/company/acme."""

_NO_HANDLE = frozenset({"profile.php", "people", "groups", "intent", "i", "hashtag"})
"""First parts of paths that name no account."""
_NO_PROFILES = frozenset({"company", "in", "pub", "organization", "person", "pages"})
"""Paths that are no profile by themselves: what named it stood behind them, and is lost."""
_WHOLE = frozenset({"pub", "pages"})
"""What these name is told by the last part of the path."""
_LONGEST = 256
_IN_NO_HANDLE = re.compile(r"[\s:\\<>\[\]\x00-\x1f\x7f]")


def handle_of(network: str, value: object) -> str | None:
    """ "company/acme" or "acme", from a handle, "@acme" or an address with or without scheme.

    Nothing for an address on another host: it would become a link that only looks right.
    """
    if not isinstance(value, str) or is_blank(value):
        return None
    text = value.strip()
    host, _, parts = _NETWORKS[network]
    found = host.match(text)
    text = text[found.end() :] if found else text
    if len(text) > _LONGEST or _IN_NO_HANDLE.search(text):
        return None
    names = [name for name in _path(text).split("/") if name]
    if len(names) < (parts if found else 1) or (not found and _begins_with_a_host(names)):
        return None
    kept = names if names[0].lower() in _WHOLE else names[:parts]
    return None if _is_nobodys(kept) else "/".join(kept)


def _begins_with_a_host(names: Sequence[str]) -> bool:
    return len(names) > 1 and "." in names[0]


def _is_nobodys(names: Sequence[str]) -> bool:
    """Also "company" of "company/acme", where handles have one part: it is another network's."""
    first = names[0].lower()
    is_elsewhere = any(not unquote(name).strip(".") for name in names)  # browsers follow ".."
    return is_elsewhere or first in _NO_HANDLE or (len(names) == 1 and first in _NO_PROFILES)


def _path(text: str) -> str:
    try:
        path = urlsplit(plain(text).strip("/")).path
    except ValueError:  # "//[" looks like the start of an IPv6 address
        return ""
    return path.strip("/").lstrip("@")


def url_of(kind: str, network: str, handle: object) -> str | None:
    """The full address of a profile; `kind` says whether a bare handle is a company or a person."""
    path = handle_of(network, handle)
    if path is None:
        return None
    folder = "" if "/" in path else _FOLDERS.get((kind, network), "")
    return _NETWORKS[network].url + folder + quote(path, safe="/-_.~%", errors="replace")


def same_profile(kind: str, network: str, handle: object) -> str:
    """Equal for all spellings of one profile; networks do not tell capitals apart."""
    return unquote(url_of(kind, network, handle) or "").casefold()


def social_profiles(before: object, merged: Mapping[str, Any]) -> dict[str, Any]:
    """The addresses for all handles in `merged`; what others put beside them stays. Empty, and never
    null, where nothing is known: readers look inside."""
    profiles = mapping(before)
    for kind in (Kind.COMPANY, Kind.PERSON):
        urls = dict(_urls(kind.value, mapping(merged[kind.section])))
        profiles[kind.value] = mapping(profiles.get(kind.value)) | urls
    return profiles if any(profiles.values()) else {}


def _urls(kind: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for network in NETWORKS:
        if url := url_of(kind, network, values.get(f"{network}_handle")):
            yield network, url
