"""What is personal or secret in a run, and whether a text holds any of it, in whatever spelling.

personal = Personal()
personal.person("Ada Lovelace", "ada.lovelace@quokka-freight.com")
assert personal.leaks(said) == []
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

SHORTEST = 5
"""A shorter word stands in other words by chance."""
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(slots=True)
class Personal:
    """Every word that nobody but the database and the vendor asked may see."""

    words: set[str] = field(default_factory=set)
    """Case-folded."""

    def address(self, address: str) -> None:
        """The address, and the part of it that tells who it is."""
        local, at, _ = address.strip().rpartition("@")
        self.secret(address, *([local] if at else []))

    def name(self, name: str) -> None:
        """A full name and its parts."""
        self.secret(name, *name.split())

    def secret(self, *words: str) -> None:
        """Keys, and whatever else must not be seen. Ids look like short or hexadecimal words."""
        for word in (each.strip().casefold() for each in words):
            if len(word) >= SHORTEST and not _HEXADECIMAL.issuperset(word):
                self.words.add(word)

    def leaks(self, text: str) -> list[str]:
        """Where the text holds one of the words: the word, and what stands around it."""
        found: dict[str, str] = {}
        for spelt in _spellings(text):
            for word in self.words - found.keys():
                if (at := spelt.find(word)) >= 0:
                    found[word] = spelt[max(0, at - 80) : at + len(word) + 40]
        return sorted(f"{word!r} in {around!r}" for word, around in found.items())


def as_said(lines: Iterable[object]) -> str:
    """Log lines as text: fields as they are, not as JSON escapes them."""
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)


def _spellings(text: str) -> Iterator[str]:
    """As it stands, and as it reads once escapes of JSON and of URLs are undone."""
    yield text.casefold()
    yield unquote(text).casefold()
    yield unquote_plus(text).casefold()
    unescaped = text.encode("utf-8", "replace").decode("unicode_escape", "replace")
    yield unescaped.casefold()
