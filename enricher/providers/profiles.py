"""PURE Readers for addresses of profiles and web sites, in whichever of their spellings they come.

    "http://www.linkedin.com/company/acme/"  ->  handle "company/acme"
    "https://twitter.com/@acme"              ->  handle "acme"
    "http://www.acme.example/about"          ->  domain "acme.example"

A profile on another host than its network's is no profile: it would become a link that only looks
right.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from enricher.domains import ascii_host, classify
from enricher.providers import reading

_NETWORKS = {
    "linkedin": (("linkedin.com",), 2),
    "crunchbase": (("crunchbase.com",), 2),
    "twitter": (("twitter.com", "x.com"), 1),
    "facebook": (("facebook.com", "fb.com"), 1),
    "github": (("github.com",), 1),
}
"""Network -> its hosts, and of how many parts of the path a handle is made."""
_NO_HANDLE = frozenset({"profile.php", "pages", "people", "groups", "intent", "i", "hashtag"})
"""First parts of paths that name no account."""


def handle(record: object, *path: str, network: str) -> str | None:
    """The path of a profile on its network, as other vendors name it."""
    hosts, parts = _NETWORKS[network]
    host, where = _split(reading.text(record, *path))
    if not any(host == each or host.endswith(f".{each}") for each in hosts):
        return None
    names = [name for name in where.split("/") if name]
    if len(names) < parts or names[0] in _NO_HANDLE:
        return None
    found = "/".join(names[:parts]).removeprefix("@")
    return found if found and not any(sign.isspace() for sign in found) else None


def domain(record: object, *path: str) -> str | None:
    """The host of a web site without its "www", in A-labels."""
    host, _ = _split(reading.text(record, *path))
    return ascii_host(host.removeprefix("www.")) if "." in host else None


def registrable(host: str | None) -> str | None:
    """Whose domain it is: the same for all hosts of one owner; `None` when it is nobody's."""
    known = ascii_host(host) if host else None
    return classify(known).registrable if known else None


def _split(address: str | None) -> tuple[str, str]:
    """(host in lower case, path) of an address with or without scheme; empty when it is none."""
    if not address:
        return "", ""
    try:
        parts = urlsplit(address if "://" in address else f"https://{address}")
    except ValueError:
        return "", ""
    return parts.hostname or "", parts.path
