"""PURE The language in which a source says where its leads' values are.

    emails.address                       a path: names, one below another; lists on the way are walked
    emails.0.address                     a number is a place in a list, or a field of that name
    emails[verified=true].address        a pick: only the elements of a list of which that is true
    `odd.name`.value                     a name in backticks may hold any sign; `` stands for one backtick
    {firstName} {lastName}               a template: what is missing vanishes, with the text before it

A pick compares a field of the element with a text, `true`, `false`, `null`, a number (which matches the same digits as a
text, too) or, behind `$`, with another field of the document: `[id=$primary_id]`. `!=` picks the others. Text that would
be read as one of these, or that holds a `]`, stands in quotes or backticks.

This module reads the text and says what is wrong with it; `identity/mapping.py` makes what MongoDB evaluates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MOST_SIGNS = 500
MOST_HOPS = 12
MOST_PICKS = 4
"""In one path. The server bounds how deep an expression may be nested."""
MOST_PARTS = 12
MOST_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Other:
    """Another field of the same document, as a pick compares with it."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a pick, as it was written: it also matches a text of the same digits."""

    digits: str


Operand: TypeAlias = str | bool | Number | Other | None


@dataclass(frozen=True, slots=True)
class Pick:
    """The condition under which an element of a list counts."""

    names: tuple[str, ...]
    """Where in the element the compared value is."""
    value: Operand
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Hop:
    name: str
    picks: tuple[Pick, ...] = ()
    is_place: bool = False
    """Written as a bare number: the place of an element in a list, or a field of that name."""


@dataclass(frozen=True, slots=True)
class Path:
    hops: tuple[Hop, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(hop.name for hop in self.hops)


@dataclass(frozen=True, slots=True)
class Part:
    """A path of a template. `before` stands in front of it when another part is found before it."""

    before: str
    path: Path


@dataclass(frozen=True, slots=True)
class Template:
    """Parts, and what stands before and after all of them when one of them is found."""

    parts: tuple[Part, ...]
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A field as a setting of the environment names it: read as it stands, whatever signs are in its name."""

    path: str


Candidate: TypeAlias = Path | Template | Field
Candidates: TypeAlias = tuple[Candidate, ...]


class PathError(ValueError):
    """A path cannot be read; the text says what was expected, and never quotes the path."""


def candidates(value: object) -> Candidates:
    """Read a path, a template or a list of them. Raises PathError."""
    listed = value if isinstance(value, list) else [value]
    texts = [each for each in listed if isinstance(each, str)]
    if not 0 < len(texts) == len(listed) <= MOST_CANDIDATES:
        raise PathError(
            f'expected a path like "emails.address", or a list of 1 to {MOST_CANDIDATES} of them'
        )
    if len(texts) == 1:
        return (candidate(texts[0]),)
    return tuple(_numbered(number, each) for number, each in enumerate(texts, 1))


def _numbered(number: int, text: str) -> Candidate:
    try:
        return candidate(text)
    except PathError as error:
        raise PathError(f"number {number} of the list: {error}") from None


def candidate(text: str) -> Candidate:
    """Read a path or a template. Raises PathError."""
    if len(text) > MOST_SIGNS:
        raise PathError(f"expected at most {MOST_SIGNS} characters")
    return _Reader(text).read()


def paths_of(candidate: Candidate) -> tuple[Path, ...]:
    """Return every path that a candidate is read from, those of its picks besides."""
    match candidate:
        case Template(parts=parts):
            return tuple(part.path for part in parts)
        case Path():
            return (candidate,)
        case Field(path=path):
            return (Path(tuple(Hop(name) for name in path.split("."))),)


def others_of(path: Path) -> tuple[tuple[str, ...], ...]:
    """Return the other fields of the document that the picks of a path compare with."""
    picks = [pick for hop in path.hops for pick in hop.picks]
    return tuple(pick.value.names for pick in picks if isinstance(pick.value, Other))


def fields_of(candidates: Candidates) -> tuple[tuple[str, ...], ...]:
    """Return every field of the document that candidates are read from, as names one below another."""
    paths = [path for each in candidates for path in paths_of(each)]
    others = [names for path in paths for names in others_of(path)]
    return (*(path.names for path in paths), *others)


_NAME = re.compile(r"[^.\[\]{}`\0]+")
_KEY = re.compile(r"[^.\[\]{}`\0=!]+")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_IN_QUOTES = re.compile(
    r"""\[(?:[^\]"'`]|"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`)*\]|`(?:[^`]|``)*`"""
)
"""Whole picks, and quoted names outside of them."""
_PLACE = re.compile(r"\d{1,6}")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> Path | Template:
        start, path = self._at, None
        try:
            path = self._path()
        except PathError:
            if not self._has_braces():
                raise
        if path is not None and self._is_done:
            return path
        if not self._has_braces():
            raise self._error("expected a dot or the end")
        self._at = start
        return self._template()

    def _has_braces(self) -> bool:
        """Tell whether a brace stands outside of picks and quotes: then the whole is a template."""
        bare = _IN_QUOTES.sub("", self._text)
        return "{" in bare or "}" in bare

    # -- templates

    def _template(self) -> Template:
        texts, paths = [self._literal()], []
        while not self._is_done:
            self._expect("{")
            paths.append(self._path())
            self._expect("}")
            texts.append(self._literal())
        if not 0 < len(paths) <= MOST_PARTS:
            raise PathError(f"expected a template of 1 to {MOST_PARTS} parts like {{firstName}}")
        parts = zip(["", *texts[1:-1]], paths, strict=True)
        return Template(tuple(Part(before, path) for before, path in parts), texts[0], texts[-1])

    def _literal(self) -> str:
        found = re.compile(r"[^{}\0]*").match(self._text, self._at)
        return self._took(found)

    # -- paths

    def _path(self) -> Path:
        hops = [self._hop()]
        while self._takes("."):
            hops.append(self._hop())
        if len(hops) > MOST_HOPS:
            raise PathError(f"expected at most {MOST_HOPS} names, one below another")
        if sum(len(hop.picks) for hop in hops) > MOST_PICKS:
            raise PathError(f"expected at most {MOST_PICKS} picks in a path")
        return Path(tuple(hops))

    def _hop(self) -> Hop:
        is_quoted = self._is_at("`")
        name = self._name(_NAME)
        picks = []
        while self._takes("["):
            picks.append(self._pick())
        return Hop(name, tuple(picks), not is_quoted and bool(_PLACE.fullmatch(name)))

    def _name(self, plain: re.Pattern[str]) -> str:
        if self._is_at("`"):
            name = self._quoted("`")
            if not name or "\0" in name:
                raise self._error("expected a name between the backticks")
            return name
        name = self._took(plain.match(self._text, self._at)).strip()
        if not name:
            raise self._error("expected the name of a field")
        if name.startswith("$"):
            raise self._error("expected a name that begins with $ in backticks")
        return name

    def _names(self, plain: re.Pattern[str]) -> tuple[str, ...]:
        names = [self._name(plain)]
        while self._takes("."):
            names.append(self._name(plain))
        if len(names) > MOST_HOPS:
            raise PathError(f"expected at most {MOST_HOPS} names, one below another")
        return tuple(names)

    def _pick(self) -> Pick:
        names = self._names(_KEY)
        self._skip_blanks()
        is_negated = self._takes("!")
        if not self._takes("="):
            raise self._error("expected a pick like [verified=true] or [confirmedAt!=null]")
        self._skip_blanks()
        value = self._operand()
        self._skip_blanks()
        self._expect("]")
        return Pick(names, value, is_negated)

    def _operand(self) -> Operand:
        if self._takes("$"):
            return Other(self._names(_KEY))
        for quote in ('"', "'", "`"):
            if self._is_at(quote):
                return self._quoted(quote)
        if self._is_at("="):
            raise self._error("expected one = only")
        text = self._took(re.compile(r"[^\]\0]*").match(self._text, self._at)).strip()
        if not text:
            raise self._error('expected a value; the empty text is ""')
        if text in _WORDS:
            return _WORDS[text]
        return Number(text) if _NUMBER.fullmatch(text) else text

    # -- signs

    @property
    def _is_done(self) -> bool:
        return self._at == len(self._text)

    def _is_at(self, sign: str) -> bool:
        return self._text.startswith(sign, self._at)

    def _takes(self, sign: str) -> bool:
        if found := self._is_at(sign):
            self._at += 1
        return found

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._error(f"expected {sign}")

    def _skip_blanks(self) -> None:
        while self._is_at(" "):
            self._at += 1

    def _took(self, found: re.Match[str] | None) -> str:
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _quoted(self, quote: str) -> str:
        """Read a text in quotes; two of them stand for one."""
        found = re.compile(f"{quote}((?:[^{quote}]|{quote}{quote})*){quote}").match(
            self._text, self._at
        )
        if found is None:
            raise self._error(f"expected a closing {quote}")
        self._at = found.end()
        return found[1].replace(quote * 2, quote)

    def _error(self, expected: str) -> PathError:
        place = f"at character {self._at + 1}" if not self._is_done else "at its end"
        return PathError(f"{expected} {place}")
