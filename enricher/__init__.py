"""enricher: tails a MongoDB collection of leads and writes back what data vendors know about each.

The names below are what the author of a provider needs (`docs/own-vendor.md`). They are loaded on
first use: `enricher --version` needs no HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enricher.answer import (
        Answer,
        Found,
        Held,
        Kind,
        NotFound,
        Objected,
        Preparing,
        Query,
        Reply,
        Throttled,
        Unavailable,
    )
    from enricher.catalogue import Window
    from enricher.providers.base import Provider, Request
    from enricher.providers.http import HttpProvider

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Found",
    "Held",
    "HttpProvider",
    "Kind",
    "NotFound",
    "Objected",
    "Preparing",
    "Provider",
    "Query",
    "Reply",
    "Request",
    "Throttled",
    "Unavailable",
    "Window",
    "__version__",
]

_HOMES = {
    **dict.fromkeys(("Provider", "Request"), "enricher.providers.base"),
    "Window": "enricher.catalogue",
    "HttpProvider": "enricher.providers.http",
}
_ANSWERS = "enricher.answer"


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, _ANSWERS)), name)
