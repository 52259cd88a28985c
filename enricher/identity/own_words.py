"""PURE What an operator says about names, where the lists are silent or wrong for them.

One value, made once from the settings, goes wherever a lead is identified: into the daemon, `explain`,
`backfill` and `forget` alike, or these would speak of different leads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from enricher.identity.desks import DESKS, Desks, desk_key
from enricher.identity.domains import BY_THE_LISTS, Platforms, ascii_host

_AWAY = "-"
"""In front of an entry: it is none, whatever the lists say."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnWords:
    """Equal only to itself, so that what is cached for it is found without comparing its sets."""

    internal_domains: frozenset[str] = frozenset()
    """Whose leads are skipped."""
    desks: Desks = DESKS
    platforms: Platforms = BY_THE_LISTS


NO_WORDS = OwnWords()


def own_words(
    internal_domains: Iterable[str] = (),
    role_names: Iterable[str] = (),
    platform_domains: Iterable[str] = (),
) -> OwnWords:
    """As they are written in the settings; an entry with "-" in front takes one away."""
    roles, no_roles = _sorted_out(role_names)
    platforms, no_platforms = _sorted_out(platform_domains)
    return OwnWords(
        _hosts(internal_domains),
        DESKS.changed(map(desk_key, roles), map(desk_key, no_roles)),
        Platforms(_hosts(platforms), _hosts(no_platforms)) if platform_domains else BY_THE_LISTS,
    )


def _sorted_out(entries: Iterable[str]) -> tuple[list[str], list[str]]:
    """What is added, and what is taken away."""
    written = list(entries)
    away = [one.removeprefix(_AWAY) for one in written if one.startswith(_AWAY)]
    return [one for one in written if not one.startswith(_AWAY)], away


def _hosts(names: Iterable[str]) -> frozenset[str]:
    return frozenset(host for name in names if (host := ascii_host(name.strip().strip("."))))
