"""Made-up verdicts of an e-mail verifier: the same (seed, address) always gives the same one.

Null means "not looked at": a webmail server is never contacted, an unreachable one tells nothing.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random

from enricher.simulator.records import Record, encode

CACHED = 8192
"""About 500 bytes each: 4 MB for the working set of a benchmark that asks again."""

FREE_MAIL = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "yahoo.com",
        "icloud.com",
        "aol.com",
        "gmx.de",
        "gmx.net",
        "web.de",
        "proton.me",
        "protonmail.com",
    ]
)
DISPOSABLE = frozenset(
    [
        "mailinator.com",
        "yopmail.com",
        "guerrillamail.com",
        "10minutemail.com",
        "sharklasers.com",
        "trashmail.com",
        "temp-mail.org",
    ]
)


@lru_cache(maxsize=CACHED)
def verification_body(seed: int, email: str) -> bytes:
    """A Hunter verification in its envelope, as bytes."""
    data = verification(seed, email)
    return encode({"data": data, "meta": {"params": {"email": email}}})


def verification(seed: int, email: str) -> Record:
    """A Hunter verification with one of the six statuses; see the words in `stories.py`."""
    chance = Random(f"{seed}:{email}")
    status = _status(chance, email)
    return {
        "status": status,
        "result": _RESULTS[status],
        "score": _score(chance, status),
        "email": email,
        "regexp": True,
        **_checks(status),
        "block": False,
        "sources": _sources(chance, email) if status == "valid" else [],
    }


_RESULTS = {
    "valid": "deliverable",
    "invalid": "undeliverable",
    "accept_all": "risky",
    "webmail": "risky",
    "disposable": "risky",
    "unknown": "unknown",
}
_SCORES = {"valid": (88, 99), "invalid": (0, 12), "accept_all": (50, 80), "webmail": (72, 90)}
_WORDS = {
    "bounce": "invalid",
    "catchall": "accept_all",
    "unknown": "unknown",
}


def _status(chance: Random, email: str) -> str:
    """Told by the domain or a word in the address; else mostly valid, as a real list is."""
    domain = email.rpartition("@")[2]
    if domain in DISPOSABLE:
        return "disposable"
    if domain in FREE_MAIL:
        return "webmail"
    told = next((status for word, status in _WORDS.items() if word in email), None)
    return told or chance.choices(("valid", "accept_all", "invalid", "unknown"), (86, 8, 4, 2))[0]


def _score(chance: Random, status: str) -> int | None:
    low, high = _SCORES.get(status, (15, 40))
    return None if status == "unknown" else chance.randint(low, high)


def _checks(status: str) -> Record:
    reached = None if status in ("webmail", "unknown") else True
    return {
        "gibberish": None if status == "unknown" else False,
        "disposable": status == "disposable",
        "webmail": status == "webmail",
        "mx_records": None if status == "unknown" else True,
        "smtp_server": reached,
        "smtp_check": reached and status != "invalid",
        "accept_all": reached and status == "accept_all",
    }


def _sources(chance: Random, email: str) -> list[Record]:
    domain = email.rpartition("@")[2]
    source = {
        "domain": domain,
        "uri": f"https://{domain}/team",
        "extracted_on": "2024-08-04",
        "last_seen_on": "2026-03-18",
        "still_on_page": True,
    }
    return [source] * chance.randint(0, 1)
