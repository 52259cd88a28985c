"""What was found, copied into fields of the user's (`[source.copy]`): decided in the settle, against the lead as it
stands at that moment.

A settle that writes data goes on with these stages. For each copy they judge whether its value is written, and why
not; nothing of the document is touched until all is judged, and a field that gets nothing is not named at all. They
read what was found from the data that the stages before them wrote.

`enrichment.copied` holds what was copied, as `{to, value, of, about}`: the field, the value that we wrote, what it is
of, and the half of the subject that it is about. A field that still holds that value is **ours**:

    tracked, always   its next value takes the place of the old one
    fill              stays as it is, unless it is about somebody else
    all of them       goes when there is nothing any more of which it is a copy: the person objected, or the lead is
                      about somebody else

A field that is blank although we once wrote it was emptied by a person, and stays so, but for `always`. A value of the
user's own is never touched, but by `always`; and by that neither where it is of another type, nor where a vendor is
asked about it.

What MongoDB refuses (a validator, a unique index, the size) is tried again without the copies that are to blame,
`refused` in the row: see `settle.py`. All expressions are total, as in `book.py`. A field that stands in a document
twice must not be written (`lanes.py`), and neither must what is within something that is no object: `$set` would put
an object in the place of a text, and write into each element of an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enricher.answer import Kind
from enricher.fields import Names
from enricher.lead import SUBJECT
from enricher.mongo.batch import LoneRow, RowPath, TableRow, encode
from enricher.mongo.expressions import Expression, Pipeline, is_type
from enricher.queue import book
from enricher.settings.paths import fields_of
from enricher.settings.sources import COPIED as VALUES
from enricher.settings.sources import (
    Copy,
    CopyType,
    Policy,
    Source,
    is_either_within,
    is_target,
)
from enricher.values.merge import METADATA, SOCIAL

COPIED, NOT_COPIED = "copied", "not_copied"
"""Keys of the metadata; the first also of the book-keeping."""
_REFUSED = "refused"
"""Value of a row: target -> why MongoDB refuses it, and which of `_BLANKINGS` is next."""
_JUDGED = "copying"
"""Field of the book-keeping, during the settle only."""
_MOST_RECORDS = 100
"""More than there can be copies; a writer may forge any number."""

_WRITTEN, _HELD, _GONE, _EMPTIED, _NOTHING = "written", "held", "gone", "emptied", ""
_BLANKINGS = (_GONE, _EMPTIED)
"""What is tried, one after the other, where MongoDB refuses what takes the place of a value about somebody else."""
_THEIRS = "it holds a value of its own"
_REMOVED = "its value was removed"
_ASKED = "it holds what vendors are asked about"
_OTHER_TYPE = "it holds a value of another type"
_NO_FIT = "what was found does not fit the type of the copy"
_NO_OBJECT = "what it stands in is no object"
_TWICE = "the document holds it more than once"

_ASKED_ABOUT = ("email", "company_domain", "website", "cnpj", "linkedin")
_NUMBERS = ("double", "int", "long", "decimal")
_NONE = ("missing", "null", "undefined")
_LARGEST_WHOLE = 2**53
_PERSONAL = (Kind.PERSON.section, Kind.EMAIL.section, f"{SOCIAL}.{Kind.PERSON}")


@dataclass(frozen=True, slots=True)
class Copying:
    """What the settles of one source copy."""

    names: Names
    copies: tuple[Copy, ...]
    asked: frozenset[str] = frozenset()
    """The paths of what vendors are asked about."""

    @classmethod
    def of(cls, source: Source) -> Copying | None:
        """Return what is copied on the leads of a source, or was (`never`); `None` for nothing."""
        copies = source.copy
        inputs = (*_ASKED_ABOUT, "company") if source.finds_domain else _ASKED_ABOUT
        read = (fields_of(source.read.get(name, ())) for name in inputs)
        asked = frozenset(".".join(each) for paths in read for each in paths)
        return cls(source.names, copies, asked) if copies else None

    def stages(self, row: RowPath | LoneRow) -> Pipeline:
        """Return the stages that follow those of the settle. None for a row without data: what it says of the
        stored data is that it stays."""
        is_due = row.if_has("data", _TRUE, row.if_has("emptied", _TRUE, _FALSE))
        if is_due == _FALSE:
            return []
        refused = row.values.get(_REFUSED, {}) if isinstance(row, LoneRow) else {}
        judged = {
            _key(number): self._judge_refused(copy, *refused[copy.to])
            if copy.to in refused
            else self._judge(copy)
            for number, copy in enumerate(self.copies)
        }
        return [
            {"$set": {self._at: {"$cond": [is_due, judged, {}]}}},
            *({"$replaceWith": self._written(number)} for number in range(len(self.copies))),
            {"$set": {**self._recorded(), **self._told(row)}},
            {"$unset": [self._at]},
        ]

    def without(self, row: TableRow, blamed: Iterable[str] | None, why: str) -> TableRow | None:
        """Return the row without the copies whose fields MongoDB names (without any, where it names none of theirs);
        `None` where nothing would have been copied."""
        values = dict(row.values)
        refused: dict[str, list[Any]] = dict(values.get(_REFUSED, {}))
        tries = {
            each.to: refused[each.to][1] + 1 if each.to in refused else 0 for each in self.copies
        }
        left = [to for to, number in tries.items() if number <= len(_BLANKINGS)]
        if not left or values.keys().isdisjoint(("data", "emptied")):
            return None
        named = list(blamed or ())
        to_blame = [to for to in left if any(_may_mean(each, to) for each in named)] or left
        values[_REFUSED] = refused | {to: [why, tries[to]] for to in to_blame}
        return replace(row, values=encode(values))

    # -- what is judged

    @property
    def _at(self) -> str:
        return self.names.of_book(_JUDGED)

    def _word(self, number: int) -> str:
        return f"${self._at}.{_key(number)}.word"

    def _judge(self, copy: Copy) -> Expression:
        """Return `{word, value}`. Nothing of the field is read before it is known to stand there once."""
        is_off = copy.policy is Policy.NEVER
        has_none: Expression = {"$literal": True} if is_off else _is_none("$$found")
        word = _first(
            ({"$and": [has_none, {"$not": [self._was_written(copy)]}]}, _NOTHING),
            (_is_twice(copy.names), _TWICE),
            (is_in_no_object(copy.names), _NO_OBJECT),
            otherwise=self._judge_field(copy),
        )
        found = f"${self.names.enriched_data}.{copy.value}"
        both = {"word": word, "value": "$$value"}
        judged = {"$let": {"vars": {"value": _converted(copy)}, "in": both}}
        return {"$let": {"vars": {"found": _said(found)}, "in": judged}}

    def _judge_refused(self, copy: Copy, why: str, tries: int) -> Expression:
        """What we wrote goes all the same when it is about nobody, or somebody else."""
        told = _literal(f"MongoDB refuses it: {why}")
        if tries >= len(_BLANKINGS):
            return {"word": told}
        has_none = {"$eq": [_said(f"${self.names.enriched_data}.{copy.value}"), None]}
        must_go = {"$or": [has_none, {"$not": [self._is_about_them(copy)]}]}
        word = _first(
            ({"$or": [_is_twice(copy.names), is_in_no_object(copy.names)]}, told),
            ({"$and": [is_copied(self.names, copy.names), must_go]}, _literal(_BLANKINGS[tries])),
            otherwise=told,
        )
        return {"word": word}

    def _judge_field(self, copy: Copy) -> Expression:
        path = f"${copy.to}"
        is_ours = is_copied(self.names, copy.names)
        has_none = {"$eq": ["$$value", None]}
        if copy.policy is Policy.NEVER:
            must_go = {"$or": [has_none, {"$not": [self._is_about_them(copy)]}]}
            return _first(({"$and": [is_ours, must_go]}, _GONE), otherwise=_NOTHING)
        takes_next = copy.policy is not Policy.FILL or {"$not": [self._is_about_them(copy)]}
        of_their_own = _first((_is_alike(path), _WRITTEN), otherwise=_OTHER_TYPE)
        if copy.policy is not Policy.ALWAYS:
            of_their_own = _literal(_THEIRS)
        elif any(is_either_within(copy.to, each) for each in self.asked):
            of_their_own = _literal(_ASKED)
        stays_empty = copy.policy is not Policy.ALWAYS and self._was_written(copy)
        ours = _first((has_none, _GONE), (takes_next, _WRITTEN), otherwise=_HELD)
        blank = _first(
            (stays_empty, _REMOVED), (_may_fill(path, copy), _WRITTEN), otherwise=_OTHER_TYPE
        )
        return _first(
            (is_ours, ours),
            ({"$and": [has_none, _is_none("$$found")]}, _NOTHING),
            (has_none, _NO_FIT),
            (_is_blank(path), blank),
            otherwise=of_their_own,
        )

    def _was_written(self, copy: Copy) -> Expression:
        written = {"$map": {"input": records(self.names), "as": "one", "in": "$$one.to"}}
        return {"$in": [_literal(copy.to), written]}

    def _is_about_them(self, copy: Copy) -> Expression:
        about = {"$map": {"input": records(self.names), "as": "one", "in": _told_apart("$$one")}}
        return {"$in": [{"to": _literal(copy.to), "about": self._half(copy)}, about]}

    def _half(self, copy: Copy) -> Expression:
        half = "mailbox" if is_personal(copy.value) else "company"
        path = f"${self.names.enriched_data}.{METADATA}.{SUBJECT}.{half}"
        return {"$ifNull": [path, None]}

    # -- what is written

    def _written(self, number: int) -> Expression:
        copy, word = self.copies[number], self._word(number)
        value = f"${self._at}.{_key(number)}.value"
        return _first(
            ({"$eq": [word, _WRITTEN]}, placed(copy.names, value)),
            ({"$eq": [word, _GONE]}, placed(copy.names, "$$REMOVE")),
            ({"$eq": [word, _EMPTIED]}, placed(copy.names, None)),
            otherwise="$$ROOT",
        )

    def _recorded(self) -> dict[str, Expression]:
        path = self.names.of_book(COPIED)
        new = [
            _only_if(self._is(number, _WRITTEN), self._record(number))
            for number in range(len(self.copies))
        ]
        changed = [
            _only_if(self._is(number, _WRITTEN, *_BLANKINGS), _literal(copy.to))
            for number, copy in enumerate(self.copies)
        ]
        kept = {"$not": [{"$in": ["$$one.to", changed]}]}
        is_kept = {"$and": [is_type("$$one.to", "string"), kept]}
        listed = {"$concatArrays": [_filtered(records(self.names), is_kept), _there(new)]}
        is_any = {"$ne": [_there(changed), []]}
        return {path: {"$cond": [is_any, _unless_empty(listed), f"${path}"]}}

    def _record(self, number: int) -> Expression:
        copy = self.copies[number]
        return {
            "to": _literal(copy.to),
            "value": f"${self._at}.{_key(number)}.value",
            "of": _literal(copy.value),
            "about": self._half(copy),
        }

    def _told(self, row: RowPath | LoneRow) -> dict[str, Expression]:
        """Say in the metadata what was copied, and what was not."""
        data = f"${self.names.enriched_data}"
        numbered = list(enumerate(self.copies))
        copied = [
            _only_if(self._is(n, _WRITTEN, _HELD), _literal({"field": each.value, "to": each.to}))
            for n, each in numbered
        ]
        not_copied = [
            _only_if(
                {"$not": [self._is(n, _WRITTEN, _HELD, *_BLANKINGS, _NOTHING)]},
                {"field": _literal(each.value), "to": _literal(each.to), "why": self._word(n)},
            )
            for n, each in numbered
        ]
        told = {
            COPIED: _unless_empty(_there(copied)),
            NOT_COPIED: _unless_empty(_there(not_copied)),
        }
        more = {"$mergeObjects": [f"{data}.{METADATA}", told]}
        with_more = {"$mergeObjects": [data, {METADATA: more}]}
        is_any = {"$ne": [{"$concatArrays": [_there(copied), _there(not_copied)]}, []]}
        described = row.if_has("data", {"$cond": [is_any, with_more, data]}, data)
        return {self.names.enriched_data: described}

    def _is(self, number: int, *words: str) -> Expression:
        return {"$in": [{"$ifNull": [self._word(number), _NOTHING]}, list(words)]}


_TRUE, _FALSE = {"$literal": True}, {"$literal": False}


def _key(number: int) -> str:
    return f"c{number}"


def is_personal(value: str) -> bool:
    """Return whether a found value is about the person."""
    return any(f"{value}.".startswith(f"{each}.") for each in _PERSONAL)


def _may_mean(name: str, to: str) -> bool:
    """Return whether a name in the server's refusal may be that of the field: a schema names only the steps to it."""
    return is_either_within(name, to) or name in to.split(".")


# What we wrote


def records(names: Names) -> Expression:
    """Return what the book-keeping says was copied, as a short list of anything."""
    path = book.noted(names, COPIED)
    return {"$cond": [{"$isArray": [path]}, {"$slice": [path, -_MOST_RECORDS]}, []]}


def is_copied(names: Names, to: Sequence[str]) -> Expression:
    """Return whether the field holds what we wrote there last."""
    target = ".".join(to)
    live = {"to": _literal(target), "value": f"${target}"}
    pairs = {"to": "$$one.to", "value": "$$one.value"}
    written = {"$map": {"input": records(names), "as": "one", "in": pairs}}
    is_there = {"$ne": [{"$type": f"${target}"}, "missing"]}
    return {"$and": [is_there, {"$in": [live, written]}]}


def _told_apart(one: str) -> Expression:
    return {"to": f"{one}.to", "about": f"{one}.about"}


def impersonal(metadata: str) -> dict[str, Expression]:
    """Return what the metadata says of copies, without those of the person."""
    personal = _literal([each for each in VALUES if is_personal(each)])
    is_other = {"$not": [{"$in": ["$$one.field", personal]}]}
    return {
        key: {"$cond": [{"$isArray": [path]}, _filtered(path, is_other), "$$REMOVE"]}
        for key, path in ((key, f"{metadata}.{key}") for key in (COPIED, NOT_COPIED))
    }


def is_of_person(record: Mapping[str, Any]) -> bool:
    """PURE Return whether a record is of something about the person, as far as it can be read."""
    return isinstance(record.get("to"), str) and is_personal(str(record.get("of")))


def erasing(names: Names, found: Sequence[Mapping[str, Any]], blank: Expression) -> Pipeline:
    """Return the stages that put `blank` where what we copied about a person still stands, by the records as they
    were read (`found`), and forget these records. `blank` may be `$$REMOVE`."""
    personal = [each["to"] for each in found if is_of_person(each)]
    theirs = {path for path in personal if is_target(path) and not _is_of(names, path)}
    at = names.of_book(COPIED)
    is_left = {"$not": [{"$in": ["$$one.to", _literal(personal)]}]}
    left = _filtered(records(names), {"$and": [is_type("$$one", "object"), is_left]})
    return [
        *({"$replaceWith": _erased(names, path.split("."), blank)} for path in sorted(theirs)),
        {"$set": {at: _unless_empty(left)}},
    ]


def _is_of(names: Names, path: str) -> bool:
    return any(is_either_within(path, each) for each in names.written().values())


def _erased(names: Names, to: Sequence[str], blank: Expression) -> Expression:
    return _first(
        (_is_twice(to), "$$ROOT"),
        (is_in_no_object(to), "$$ROOT"),
        (is_copied(names, to), placed(to, blank)),
        otherwise="$$ROOT",
    )


# The field of the user's


def placed(to: Sequence[str], value: Expression, of: str = "$$ROOT") -> Expression:
    """Return the document with a value at that path, all of whose steps are objects or missing. All else stays as
    it is, in its order."""
    name, *rest = to
    inner = placed(rest, value, f"{of}.{name}") if rest else value
    there = of if of == "$$ROOT" else {"$ifNull": [of, _literal({})]}
    return {"$setField": {"field": _literal(name), "input": there, "value": inner}}


def is_in_no_object(to: Sequence[str]) -> Expression:
    """Return whether something around the field is no object, so that nothing can stand there."""
    parents = [".".join(to[:steps]) for steps in range(1, len(to))]
    return {
        "$or": [
            {"$not": [{"$in": [{"$type": f"${each}"}, ["missing", "object"]]}]} for each in parents
        ]
    }


def _is_twice(to: Sequence[str]) -> Expression:
    """Return whether one of the steps stands twice in what it is in: to write it would end the server."""
    within = ["$$ROOT", *(f"$$ROOT.{'.'.join(to[:steps])}" for steps in range(1, len(to)))]
    return {"$or": [_stands_twice(of, name) for of, name in zip(within, to, strict=True)]}


def _stands_twice(of: str, name: str) -> Expression:
    named = {"$eq": ["$$one.k", _literal(name)]}
    # Of a copy: of two fields of a name that were read, the server writes the first in place of both.
    copied = {"$setField": {"field": _literal(_JUDGED), "input": of, "value": None}}
    is_twice = {"$gt": [{"$size": _filtered({"$objectToArray": copied}, named)}, 1]}
    return {"$cond": [is_type(of, "object"), is_twice, False]}


def _is_none(path: str) -> Expression:
    return {"$in": [{"$type": path}, list(_NONE)]}


def _is_blank(path: str) -> Expression:
    is_blank_text = {"$eq": [{"$trim": {"input": path}}, ""]}
    text = {"$cond": [is_type(path, "string"), is_blank_text, False]}
    return {"$or": [_is_none(path), {"$eq": [path, []]}, text]}


def _may_fill(path: str, copy: Copy) -> Expression:
    """Return whether a blank may be filled: an empty text says that a text belongs there, unless the copy says what."""
    return True if copy.type is not None else {"$or": [_is_none(path), _is_alike(path)]}


def _is_alike(path: str) -> Expression:
    return {"$eq": [_family(path), _family("$$value")]}


def _family(path: str) -> Expression:
    return {"$cond": [{"$isNumber": path}, "number", {"$type": path}]}


# What was found


def _said(path: str) -> Expression:
    """Return the found value; null for one that says nothing or is of no type that we find."""
    is_known = {"$in": [{"$type": path}, ["string", "bool", "array", *_NUMBERS]]}
    return {"$cond": [{"$and": [is_known, {"$not": [_is_blank(path)]}]}, path, None]}


def _converted(copy: Copy) -> Expression:
    """Return `$$found` as the copy wants it; null where that cannot be."""
    match copy.type:
        case None:
            return "$$found"
        case CopyType.TEXT:
            return _as_text("$$found")
        case CopyType.NUMBER:
            return _as_number("$$found")
        case CopyType.LIST:
            return _as_list("$$found")
        case words:
            return _in_words("$$found", words)


def _as_text(found: str) -> Expression:
    joined = {
        "$reduce": {
            "input": _filtered(found, is_type("$$one", "string")),
            "initialValue": "",
            "in": {
                "$concat": ["$$value", {"$cond": [{"$eq": ["$$value", ""]}, "", ", "]}, "$$this"]
            },
        }
    }
    return _first(
        ({"$isArray": [found]}, joined), (_is_none(found), None), otherwise=_text_of(found)
    )


def _text_of(found: str) -> Expression:
    return _first(
        (is_type(found, "string"), found),
        ({"$or": [{"$isNumber": found}, is_type(found, "bool")]}, {"$toString": found}),
        otherwise=None,
    )


def _as_number(found: str) -> Expression:
    number = {"$convert": {"input": found, "to": "double", "onError": None, "onNull": None}}
    is_whole = {
        "$and": [
            {"$lt": [{"$abs": "$$number"}, _LARGEST_WHOLE]},
            {"$eq": ["$$number", {"$trunc": "$$number"}]},
        ]
    }
    is_finite = {"$and": [{"$gt": ["$$number", -1e300]}, {"$lt": ["$$number", 1e300]}]}
    shortest = {"$cond": [is_whole, {"$toLong": "$$number"}, "$$number"]}
    read = {"$let": {"vars": {"number": number}, "in": {"$cond": [is_finite, shortest, None]}}}
    return _first(({"$isNumber": found}, found), (is_type(found, "string"), read), otherwise=None)


def _as_list(found: str) -> Expression:
    return _first(({"$isArray": [found]}, found), (_is_none(found), None), otherwise=[found])


def _in_words(found: str, words: Mapping[str, Any]) -> Expression:
    each = {"$map": {"input": found, "as": "one", "in": _word_for("$$one", words)}}
    listed = {
        "$let": {
            "vars": {"words": _there(each)},
            "in": _first(({"$eq": ["$$words", []]}, None), otherwise="$$words"),
        }
    }
    return _first(({"$isArray": [found]}, listed), otherwise=_word_for(found, words))


def _word_for(found: str, words: Mapping[str, Any]) -> Expression:
    text = {"$toLower": {"$ifNull": [_text_of(found), ""]}}
    at = {"$indexOfArray": [_literal(list(words)), text]}
    word = {"$arrayElemAt": [_literal(list(words.values())), "$$at"]}
    return {"$let": {"vars": {"at": at}, "in": {"$cond": [{"$gte": ["$$at", 0]}, word, None]}}}


# Expressions


def _literal(value: object) -> Expression:
    return {"$literal": value}


def _first(*cases: tuple[Expression, Expression], otherwise: Expression) -> Expression:
    branches = [{"case": case, "then": then} for case, then in cases]
    return {"$switch": {"branches": branches, "default": otherwise}}


def _filtered(listed: Expression, is_wanted: Expression) -> Expression:
    return {"$filter": {"input": listed, "as": "one", "cond": is_wanted}}


def _there(listed: Expression) -> Expression:
    return _filtered(listed, {"$ne": ["$$one", None]})


def _only_if(condition: Expression, value: Expression) -> Expression:
    return {"$cond": [condition, value, None]}


def _unless_empty(listed: Expression) -> Expression:
    return {"$cond": [{"$eq": [listed, []]}, "$$REMOVE", listed]}
