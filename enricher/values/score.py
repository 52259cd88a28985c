"""PURE How complete the data of a lead is, from 0 to 100, and what is missing.

The table below is the product's; it adds up to 100, and a lead scores 100 exactly when nothing
is missing. Data of a wrong type gives no points and is no error: others may write there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from enricher.values.storable import is_blank

Rule: TypeAlias = Callable[[Mapping[str, Any]], bool]

GOOD_SCORE = 70
"""An e-mail score has to be above this."""


def _has(name: str) -> Rule:
    def is_known(section: Mapping[str, Any]) -> bool:
        value = section.get(name)
        return not is_blank(value) and value not in (0, False, True)

    return is_known


def _is_valid(email: Mapping[str, Any]) -> bool:
    status = email.get("status")
    return isinstance(status, str) and status.strip().lower() == "valid"


def _scores_well(email: Mapping[str, Any]) -> bool:
    score = email.get("score")
    return isinstance(score, int | float) and not isinstance(score, bool) and score > GOOD_SCORE


TABLE: Mapping[str, tuple[str, int, Rule]] = {
    "company.name": ("company_data", 10, _has("name")),
    "company.employee_count": ("company_data", 15, _has("employee_count")),
    "company.industry": ("company_data", 10, _has("industry")),
    "company.description": ("company_data", 10, _has("description")),
    "company.linkedin_handle": ("company_data", 5, _has("linkedin_handle")),
    "company.tech_stack": ("company_data", 10, _has("tech_stack")),
    "email.valid": ("email_verification", 20, _is_valid),
    "email.score": ("email_verification", 10, _scores_well),
    "email.not_disposable": ("email_verification", 5, lambda e: e.get("is_disposable") is False),
    "email.mx_records": ("email_verification", 5, lambda e: e.get("mx_records") is True),
}
"""Name of the line -> section, points, and when it counts. "Not disposable" has to be known."""


def completeness(enriched: Mapping[str, Any]) -> tuple[int, list[str]]:
    """(score, names of the lines that gave no points), for an `enriched_data` of any shape."""
    missing = [
        name for name, (section, _, counts) in TABLE.items() if not counts(_in(enriched, section))
    ]
    return sum(points for name, (_, points, _) in TABLE.items() if name not in missing), missing


def _in(enriched: object, section: str) -> Mapping[str, Any]:
    found = enriched.get(section) if isinstance(enriched, Mapping) else None
    return found if isinstance(found, Mapping) else {}
