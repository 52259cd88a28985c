"""PURE What of a vendor's text is to be read, and what only does things to whoever reads it.

Control characters move a terminal's cursor (U+009B begins a sequence as ESC [ does), line separators of
Unicode forge lines, overrides and isolates have what follows shown backwards, and invisible characters
make two names differ that look the same. None of them is part of a name. Joiners are, in Persian,
in Indic scripts and in emoji; between letters of ASCII they are not.
"""

from __future__ import annotations

import re

_BREAKS = "\n\x0b\x0c\r\x85\u2028\u2029"
_CONTROLS = "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff"
_DIRECTIONS = "\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates. The marks (U+200E, U+200F, U+061C) turn nothing round."""
_INVISIBLE = "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_JOINER = "[\u200c\u200d]"
_SPOKEN = r"[^\x00-\x7f\s]"

_UNREADABLE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}{_INVISIBLE}]")
_STRAY_JOINER = re.compile(f"(?<!{_SPOKEN}){_JOINER}+|{_JOINER}+(?!{_SPOKEN}|{_JOINER})")
_LINE_BREAK = re.compile(f"\r\n|[{_BREAKS}]")
_GAP = re.compile(f"[ \t]*[\t{_BREAKS}][ \t{_BREAKS}]*")


def one_line(text: str) -> str:
    """PURE For names, titles, places: a break is a space."""
    return text.strip() if is_plain(text) else _GAP.sub(" ", readable(text)).strip()


def many_lines(text: str) -> str:
    """PURE For descriptions: a break of whatever kind is a newline; tabs stay."""
    return text.strip() if is_plain(text) else _LINE_BREAK.sub("\n", readable(text)).strip()


def is_plain(text: str) -> bool:
    """PURE Nearly all are, and this is quicker than to clean them."""
    return text.isascii() and text.isprintable()


def readable(text: str) -> str:
    """PURE Without what nobody can read; breaks and spaces stay as they are."""
    if is_plain(text):
        return text
    return _STRAY_JOINER.sub("", _UNREADABLE.sub("", text))
