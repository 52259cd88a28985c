"""What a lead keeps when it settles and nothing new can be written: no data about somebody else.

A result that MongoDB refuses, or that a bug prevented, ends the lead as `failed` and leaves what stood
there. When that was found for another mailbox or company, all of it goes; to find half of it again costs
nothing, as kept answers are asked first. What others put beside our sections stays.
"""

from __future__ import annotations

from datetime import UTC, datetime

from enricher.answer import Kind
from enricher.lead import SUBJECT, Subject
from enricher.mongo import expressions
from enricher.values.merge import METADATA, SOCIAL, metadata
from enricher.values.score import completeness

_DATA = "$enriched_data"
_BESIDE = f"{_DATA}.{METADATA}.{SUBJECT}"
_NOTED = f"$enrichment.{SUBJECT}"


def unless_about_others(subject: Subject) -> expressions.Expression:
    """For `enriched_data`: as it stands, unless it was found for another than `subject`."""
    is_others = {"$or": [_is_other(half, ours) for half, ours in subject.document.items()]}
    is_ours = {"$and": [expressions.is_type(_DATA, "object"), is_others]}
    return {"$cond": [is_ours, {"$mergeObjects": [_DATA, _nothing(subject)]}, _DATA]}


def _is_other(half: str, ours: str | None) -> expressions.Expression:
    """What stands beside the data knows best; where neither place says anything, it is not known."""
    known = {
        "$switch": {
            "branches": [
                {
                    "case": expressions.is_type(where, "object"),
                    "then": {"$ifNull": [f"{where}.{half}", None]},
                }
                for where in (_BESIDE, _NOTED)
            ],
            "default": {"$literal": ours},
        }
    }
    return {"$ne": [known, {"$literal": ours}]}


def _nothing(subject: Subject) -> expressions.Expression:
    known = metadata(
        {}, now=datetime.now(UTC), order=(), completeness=completeness({}), subject=subject
    )
    sections = dict.fromkeys(kind.section for kind in Kind)
    return {"$literal": {**sections, SOCIAL: {}, METADATA: known}}
