"""Stops of single providers within a bucket that several share: what one of them says holds for it alone.

    stops    provider -> {reason, until}    until as in `hold`: milliseconds since 1970

They stand in the bucket's document, which every reservation brings along: so the whole fleet learns of
them without asking, and a start that ends a hold ends them as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from enricher.answer import Held
from enricher.lead import Document
from enricher.values.storable import mapping

FIELD = "stops"
_LONGEST = 31 * 86_400.0

Expression = Any


def stopping(provider: str, reason: str, seconds: float) -> Document:
    """The field with one more stop, after `now` of the document; 0 seconds end it."""
    until = {"$add": ["$now", math.ceil(1000 * min(max(0.0, seconds), _LONGEST))]}
    stop = {"reason": {"$literal": reason}, "until": until}
    known = {"$cond": [{"$eq": [{"$type": f"${FIELD}"}, "object"]}, f"${FIELD}", {}]}
    ours = {"$arrayToObject": [[{"k": {"$literal": provider}, "v": stop}]]}
    return {FIELD: {"$mergeObjects": [known, ours]}}


def standing(document: Mapping[str, Any], now: float) -> dict[str, Held]:
    """Provider -> its stop with the time that is left of it; `now` in milliseconds."""
    stops = mapping(document.get(FIELD))
    read = {str(provider): _held(mapping(stop), now) for provider, stop in stops.items()}
    return {provider: held for provider, held in read.items() if held is not None}


def _held(stop: Mapping[str, Any], now: float) -> Held | None:
    until, reason = stop.get("until"), stop.get("reason")
    if isinstance(until, bool) or not isinstance(until, int | float) or not until > now:
        return None
    return Held(reason if isinstance(reason, str) else "held", min((until - now) / 1000, _LONGEST))


def none() -> Document:
    """The field after all stops have ended."""
    return {FIELD: {"$literal": {}}}
