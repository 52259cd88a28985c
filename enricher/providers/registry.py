"""Which providers there are, and in which order they are asked.

The order is the waterfall within a kind: what is free comes first, so a vendor is only paid for
what the local rules cannot know.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from enricher.providers.apollo import ApolloCompany, ApolloPerson
from enricher.providers.base import Access, Registered
from enricher.providers.clearbit import ClearbitCompany
from enricher.providers.http import HttpProvider
from enricher.providers.hunter import HunterVerifier
from enricher.providers.local import Local
from enricher.providers.pdl import PdlCompany, PdlPerson

VENDORS_PROVIDERS: tuple[type[HttpProvider], ...] = (
    ClearbitCompany,
    HunterVerifier,
    PdlCompany,
    PdlPerson,
    ApolloCompany,
    ApolloPerson,
)
"""Every route we can ask, in the order in which they are asked within their kind."""


def build(
    http: httpx.AsyncClient, accesses: Mapping[str, Access], per_minute: Mapping[str, int]
) -> Registered:
    """`accesses` and `per_minute` are by vendor; a vendor that is not in `accesses` has no key."""
    with_key = [each for each in VENDORS_PROVIDERS if _has_key(accesses.get(each.vendor))]
    return Registered(
        providers=(
            Local(),
            *(each(http, accesses[each.vendor], per_minute.get(each.vendor)) for each in with_key),
        ),
        without_key={each.name: "no key" for each in VENDORS_PROVIDERS if each not in with_key},
    )


def _has_key(access: Access | None) -> bool:
    return access is not None and bool(access.key.get_secret_value().strip())
