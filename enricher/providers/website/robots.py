"""PURE The rules of a robots.txt, by RFC 9309.

Rules that cannot be had because of the site's own failure forbid everything; a site without rules forbids nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protego import Protego

MOST_BYTES = 512 * 1024
"""A crawler has to read 500 KiB; what comes after counts for nobody."""
MOST_REDIRECTS = 5
LONGEST_DELAY = 5.0
"""Seconds: a site that wants longer breaks between requests gets no second page."""
_OK, _SERVERS_FAULT = 200, 500
_TOKEN = re.compile(r"[^\s/()]+")


@dataclass(frozen=True, slots=True, repr=False)
class Rules:
    """What a site lets this crawler do."""

    token: str
    """The product token of the crawler's name: what groups of rules are for."""
    parsed: Protego | None = None
    allows_by_default: bool = True

    def allow(self, url: str) -> bool:
        """Tell whether the URL may be asked for."""
        if self.parsed is None:
            return self.allows_by_default
        return bool(self.parsed.can_fetch(url, self.token))

    @property
    def delay(self) -> float:
        """Seconds that the site wants between requests."""
        return (self.parsed and self.parsed.crawl_delay(self.token)) or 0.0


def token_of(user_agent: str) -> str:
    """Return the product token of a User-Agent: `enricher` of `enricher/1.0 (+https://...)`."""
    found = _TOKEN.match(user_agent)
    return found[0] if found else user_agent


def read_rules(status: int, body: bytes, user_agent: str) -> Rules:
    """Read what came in answer to a request for robots.txt."""
    token = token_of(user_agent)
    if status == _OK:
        return Rules(token, Protego.parse(body[:MOST_BYTES].decode("utf-8", "replace")))
    is_failure = status >= _SERVERS_FAULT or status < _OK
    return Rules(token, allows_by_default=not is_failure)
