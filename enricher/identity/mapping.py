"""PURE What MongoDB evaluates to read a mapped value from a lead (`settings/paths.py` has the language).

Every expression is total: whatever type stands at whatever step, it finds nothing rather than raise an error, which would
stop all leads of its batch. So each operator is guarded by a test of the type that it wants.

A path walks a list of values. A name goes into every object of it, and into the objects of every list in it; a number
takes one element of every list; a pick keeps some elements. What is left counts where it is usable: a text that is not
blank and not longer than any address (`text`, `texts`), or any value but null, blank and empty ones (`value`).

What we copied into a lead's own field is no input (`Copied`): a path finds nothing while its field holds our copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from enricher.mongo.expressions import Expression, is_type
from enricher.settings.paths import (
    MOST_CANDIDATES,
    Candidate,
    Candidates,
    Field,
    Hop,
    Number,
    Operand,
    Other,
    Part,
    Path,
    Pick,
    Template,
    fields_of,
)

_Test: TypeAlias = Callable[[str], Expression]
"""Of the value that a path or a variable names."""

Copied: TypeAlias = Callable[[Sequence[str]], Sequence[Expression]]
"""Return the conditions of which one is true while what stands at these names is our copy; none where nothing of
ours can stand."""

LONGEST_TEXT_BYTES = 1024
"""An address has at most 254 characters, and no URL that we can use is longer than this either."""
MOST_TEXTS = MOST_CANDIDATES
"""Addresses that one lead may have."""


def nothing_copied(_: Sequence[str]) -> Sequence[Expression]:
    """Say of every field that nothing of ours can stand in it."""
    return ()


def text(candidates: Candidates, copied: Copied = nothing_copied) -> Expression:
    """Return the first usable text as it is stored, else null."""
    return _first_of([_text(each, copied) for each in candidates])


def texts(candidates: Candidates, copied: Copied = nothing_copied) -> Expression:
    """Return all usable texts, those of earlier candidates first."""
    listed = [_listed(each, copied) for each in candidates]
    joined = listed[0] if len(listed) == 1 else {"$concatArrays": listed}
    return {"$slice": [_those(joined, is_usable), MOST_TEXTS]}


def value(candidates: Candidates) -> Expression:
    """Return the first value of any type that is not null, blank or an empty list, else null."""
    return _first_of([*(_value(each) for each in candidates), None])


def _first_of(found: Sequence[Expression]) -> Expression:
    first = found[-1]
    for each in reversed(found[:-1]):
        first = {"$ifNull": [each, first]}
    return first


def _text(candidate: Candidate, copied: Copied) -> Expression:
    match candidate:
        case Template():
            return _filled(candidate, copied)
        case Field(path=path):
            one = {"$cond": [is_usable(f"${path}"), f"${path}", None]}
            return _unless_copied(candidate, copied, one, None)
        case Path():
            first = _first_text(_Walk.along(candidate), _is_fit, None)
            return _unless_copied(candidate, copied, first, None)


def _unless_copied(
    candidate: Candidate, copied: Copied, found: Expression, otherwise: Expression
) -> Expression:
    """Return what is found unless one of the fields that it is read from holds our copy."""
    ours = [each for names in fields_of((candidate,)) for each in copied(names)]
    return {"$cond": [{"$or": ours}, otherwise, found]} if ours else found


def _listed(candidate: Candidate, copied: Copied) -> Expression:
    """Return a list of what may be the texts of one candidate."""
    if isinstance(candidate, Path):
        return _unless_copied(candidate, copied, _Walk.along(candidate).flat(), [])
    return [_text(candidate, copied)]


def _value(candidate: Candidate) -> Expression:
    if isinstance(candidate, Path):
        return _first_there(_Walk.along(candidate))
    return f"${candidate.path}" if isinstance(candidate, Field) else _filled(candidate)


def is_usable(found: Expression) -> Expression:
    """Return whether the value is a text that is not blank, and no longer than any that we can use."""
    return {"$cond": [is_type(found, "string"), _is_fit(found), False]}


def _is_fit(text: Expression) -> Expression:
    return {"$and": [_fits(text), {"$ne": [_trimmed(text), ""]}]}


def _fits(text: Expression, most: int = LONGEST_TEXT_BYTES) -> Expression:
    return {"$lte": [{"$strLenBytes": text}, most]}


def _trimmed(text: Expression) -> Expression:
    return {"$trim": {"input": text}}


def _is_there(found: Expression) -> Expression:
    is_none = {"$eq": [{"$ifNull": [found, None]}, None]}
    is_text = is_type(found, "string")
    branches = [
        {"case": is_none, "then": False},
        {"case": is_text, "then": is_usable(found)},
        {"case": {"$isArray": [found]}, "then": {"$ne": [found, []]}},
    ]
    return {"$switch": {"branches": branches, "default": True}}


def _first_text(walk: _Walk, is_wanted: _Test, otherwise: Expression) -> Expression:
    """Return the first usable text. A lone one is only asked what `is_wanted` asks, and before all else: on most leads
    it is what a path leads to."""
    if walk.lone is None:
        return {"$ifNull": [_first(walk.flat(), is_usable), otherwise]}
    first = {"$ifNull": [_first(walk.flat_list(), is_usable), otherwise]}
    among = {"$cond": [{"$isArray": [walk.lone]}, first, otherwise]}
    one = {"$cond": [is_wanted(walk.lone), walk.lone, otherwise]}
    return {"$cond": [is_type(walk.lone, "string"), one, among]}


def _first_there(walk: _Walk) -> Expression:
    if walk.lone is None:
        return _first(walk.flat(), _is_there)
    one = {"$cond": [_is_there(walk.lone), walk.lone, None]}
    return {"$cond": [{"$isArray": [walk.lone]}, _first(walk.flat_list(), _is_there), one]}


def _first(listed: Expression, is_wanted: _Test) -> Expression:
    return {"$arrayElemAt": [_those(listed, is_wanted), 0]}


def _those(listed: Expression, is_wanted: _Test) -> Expression:
    return {"$filter": {"input": listed, "as": "one", "cond": is_wanted("$$one")}}


# Templates


def _filled(template: Template, copied: Copied = nothing_copied) -> Expression:
    """Return the parts that are found, each with the text before it unless it is the first of them.

    A part that is missing is the empty text, and so are all of them together if none is found.
    """
    names = [f"part{number}" for number in range(len(template.parts))]
    parts = {name: _part(each, copied) for name, each in zip(names, template.parts, strict=True)}
    placed = [_placed(names[: number + 1], part) for number, part in enumerate(template.parts)]
    around = len((template.prefix + template.suffix).encode())
    is_found = {"$and": [{"$ne": ["$$found", ""]}, _fits("$$found", LONGEST_TEXT_BYTES - around)]}
    whole = {"$cond": [is_found, _between(template, "$$found"), None]}
    joined = {"$let": {"vars": {"found": {"$concat": placed}}, "in": whole}}
    return {"$let": {"vars": parts, "in": joined}}


def _part(part: Part, copied: Copied) -> Expression:
    found = _first_text(_Walk.along(part.path), _fits, "")
    return _trimmed(_unless_copied(part.path, copied, found, ""))


def _placed(names: Sequence[str], part: Part) -> Expression:
    *earlier, name = (f"$${each}" for each in names)
    if not (earlier and part.before):
        return name
    is_later = {"$or": [{"$ne": [each, ""]} for each in earlier]}
    is_placed = {"$and": [{"$ne": [name, ""]}, is_later]}
    return {"$cond": [is_placed, {"$concat": [_literally(part.before), name]}, name]}


def _between(template: Template, found: Expression) -> Expression:
    if not (template.prefix or template.suffix):
        return found
    return {"$concat": [_literally(template.prefix), found, _literally(template.suffix)]}


def _literally(constant: object) -> Expression:
    return {"$literal": constant}


# The walk


class _Walk:
    """Where a path has come to: a list of values, or a lone one."""

    def __init__(self, listed: Expression, lone: Expression = None, depth: int = 1) -> None:
        self.lone = lone
        """The one value, where the path has met neither number nor pick."""
        self._listed = listed
        self._depth = depth
        """How many lists may be around what the lone value holds."""

    @classmethod
    def along(cls, path: Path) -> _Walk:
        """Walk as far as MongoDB's own paths go, and from there hop by hop."""
        native = [hop.name for hop in path.hops[: _native(path.hops)]]
        if path.hops[len(native) : len(native) + 1] and path.hops[len(native)].is_place:
            native = native[:1]  # MongoDB would put the lists below the names before it into one
        if not native:
            walk = cls(["$$ROOT"])
        else:
            lone = "$" + ".".join(native)
            walk = cls([lone], lone, len(native))
        first = path.hops[max(0, len(native) - 1)]
        if native and first.picks:
            walk = walk.picked(first.picks)
        for hop in path.hops[len(native) :]:
            walk = walk.gone(hop).picked(hop.picks)
        return walk

    def flat(self) -> Expression:
        """Return the values, with the elements of lists in the place of the lists."""
        if self.lone is None:
            return _without_lists(self._listed)
        return {"$cond": [{"$isArray": [self.lone]}, self.flat_list(), [self.lone]]}

    def flat_list(self) -> Expression:
        """Return the same where the lone value is known to be a list."""
        flat = self.lone
        for _ in range(self._depth - 1):
            flat = _without_lists(flat)
        return flat

    def gone(self, hop: Hop) -> _Walk:
        """Go one hop further."""
        if hop.is_place:
            return _Walk(_mapped(self._listed, _placed_at("$$here", hop.name)))
        objects = {
            "$filter": {"input": self.flat(), "as": "here", "cond": is_type("$$here", "object")}
        }
        return _Walk(_mapped(objects, _field("$$here", hop.name)))

    def picked(self, picks: Sequence[Pick]) -> _Walk:
        """Keep the elements that are picked."""
        if not picks:
            return self
        is_picked = {"$and": [_is_picked("$$here", pick) for pick in picks]}
        return _Walk({"$filter": {"input": self.flat(), "as": "here", "cond": is_picked}})


def _native(hops: Sequence[Hop]) -> int:
    """Return how many names from the beginning one path of MongoDB's own can walk."""
    for number, hop in enumerate(hops):
        if hop.is_place or not _is_native(hop.name):
            return number
        if hop.picks:
            return number + 1
    return len(hops)


def _is_native(name: str) -> bool:
    return "." not in name and not name.startswith("$")


def _mapped(listed: Expression, found: Expression) -> Expression:
    return {"$map": {"input": listed, "as": "here", "in": found}}


def _elements(found: Expression) -> Expression:
    return {"$cond": [{"$isArray": [found]}, found, [found]]}


def _without_lists(listed: Expression) -> Expression:
    """Put the elements of the lists in a list in their places."""
    joined = {"$concatArrays": ["$$value", _elements("$$this")]}
    return {"$reduce": {"input": listed, "initialValue": [], "in": joined}}


def _field(of: str, name: str) -> Expression:
    """Return a field of what is known to be an object."""
    if _is_native(name):
        return f"{of}.{name}"
    return {"$getField": {"field": _literally(name), "input": of}}


def _placed_at(of: str, digits: str) -> Expression:
    """Return the element of a list, or the field of an object, that a number means."""
    at = {"$arrayElemAt": [of, int(digits)]}
    inside = {"$cond": [is_type(of, "object"), _field(of, digits), None]}
    return {"$cond": [{"$isArray": [of]}, at, inside]}


# Picks


def _is_picked(element: str, pick: Pick) -> Expression:
    found = _beneath(element, pick.names)
    operand = pick.value
    if isinstance(operand, Other):
        test = {
            "$let": {
                "vars": {"found": found, "other": _beneath("$$ROOT", operand.names)},
                "in": _is_same("$$found", "$$other"),
            }
        }
    else:
        test = {"$let": {"vars": {"found": found}, "in": _equals("$$found", operand)}}
    return {"$not": [test]} if pick.is_negated else test


def _beneath(of: str, names: Sequence[str]) -> Expression:
    """Return what stands at these names, one below another."""
    if all(_is_native(name) and not name.isdigit() for name in names):
        return ".".join((of, *names))
    found: Expression = of
    for name in names:
        found = {"$let": {"vars": {"at": found}, "in": _one_below("$$at", name)}}
    return found


def _one_below(of: str, name: str) -> Expression:
    if name.isdigit():
        return _placed_at(of, name)
    return {"$cond": [is_type(of, "object"), _field(of, name), None]}


def _equals(found: Expression, operand: Operand) -> Expression:
    """Return whether the value equals the operand, or is a list that holds it."""
    if operand is None:
        return {"$eq": [{"$ifNull": [found, None]}, None]}
    if isinstance(operand, Number):
        digits = operand.digits
        number = float(digits) if "." in digits else int(digits)
        return {"$or": [_holds(found, _literally(number)), _holds(found, _literally(digits))]}
    return _holds(found, _literally(operand))


def _holds(found: Expression, wanted: Expression) -> Expression:
    held = {"$cond": [{"$isArray": [found]}, {"$in": [wanted, _elements(found)]}, False]}
    return {"$or": [{"$eq": [found, wanted]}, held]}


def _is_same(found: Expression, other: Expression) -> Expression:
    """Return whether two fields share a value; two that are missing share none."""
    is_there = {"$ne": [{"$ifNull": [other, None]}, None]}
    return {"$and": [is_there, {"$or": [_holds(found, other), _holds(other, found)]}]}
