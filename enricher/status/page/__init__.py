"""The status page: one HTML file with its style and script inside, which loads nothing else.

Its parts lie beside this file. Its headers say what the browser may do with it: run this script and this
style and no others (named by their hashes), and ask this server for data.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from importlib.resources import files

_STYLE, _SCRIPT = "/* status.css */", "/* status.js */"


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


@functools.cache
def html() -> str:
    """Return the whole page."""
    page = _text("status.html")
    return page.replace(_STYLE, _text("status.css")).replace(_SCRIPT, _text("status.js"))


@functools.cache
def headers() -> Mapping[str, str]:
    """Return the page's HTTP headers."""
    policy = {
        "default-src": "'none'",
        "script-src": _hash(_text("status.js")),
        "style-src": _hash(_text("status.css")),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
