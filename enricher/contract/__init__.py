"""What readers find on a lead: the same names and types for every language.

A program that follows it can read every lead. All formats agree: the models named below, the JSON Schema and the
definitions for TypeScript and Mongoose are made from one description (`shape.py`), which is made from the table of
fields. A reader's import loads pydantic and nothing of the daemon; the daemon's start builds no models, because
they are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enricher.contract.models import (
        CompanyData,
        EmailVerification,
        EnrichedData,
        EnrichmentMetadata,
        EnrichmentStatus,
        Lead,
        PersonData,
        Profiles,
        SocialProfiles,
        Subject,
    )

__all__ = [
    "CompanyData",
    "EmailVerification",
    "EnrichedData",
    "EnrichmentMetadata",
    "EnrichmentStatus",
    "Lead",
    "PersonData",
    "Profiles",
    "SocialProfiles",
    "Subject",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("enricher.contract.models"), name)
