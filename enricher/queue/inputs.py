"""The inputs of a lead as they lie in the database: read, noted at the claim, and compared at the settle.

What is no usable text (another type, a text beyond any address) never leaves the database; it is told
by its name and why: `{malformed: why}`. Texts that are not valid UTF-8 do leave it, as others.
"""

from __future__ import annotations

from enricher.lead import Document, Inputs
from enricher.mongo.expressions import Expression, is_type
from enricher.queue.book import LONGEST_TEXT_BYTES

INPUT_FIELDS = ("email", "company_domain", "website", "name", "company")


def _usable(path: str) -> Expression:
    """The text itself, or `{malformed: why}`: a value that is no usable text stays in the database."""
    fits = {"$lte": [{"$strLenBytes": path}, LONGEST_TEXT_BYTES]}
    return {
        "$switch": {
            "branches": [
                {
                    "case": {"$in": [{"$type": path}, ["missing", "null", "undefined"]]},
                    "then": None,
                },
                {
                    "case": is_type(path, "string"),
                    "then": {"$cond": [fits, path, {"malformed": "too long"}]},
                },
            ],
            "default": {"malformed": {"$type": path}},
        }
    }


def text_or_null(path: str) -> Expression:
    """The text itself when it is of a usable length, else null."""
    fits = {"$lte": [{"$strLenBytes": path}, LONGEST_TEXT_BYTES]}
    return {"$cond": [is_type(path, "string"), {"$cond": [fits, path, None]}, None]}


INPUTS: Expression = {field: _usable(f"${field}") for field in INPUT_FIELDS}


ASKED_ABOUT = ("email", "company_domain", "website")
"""What the question to a vendor is made of. A writer who corrects a name in the meantime must not
cost a result that was paid for."""

_INPUTS_UNCHANGED: Document = {
    "$expr": {
        "$eq": [
            {name: f"$enrichment.inputs.{name}" for name in ASKED_ABOUT},
            {name: INPUTS[name] for name in ASKED_ABOUT},
        ]
    }
}
"""Both sides are the server's: a text that is not valid UTF-8 reaches us as another one, and would
look changed for ever."""
_NO_VALUE: Document = {
    "$not": {
        "$type": [
            *("double", "decimal", "int", "long", "string", "symbol", "object", "array", "binData"),
            *("objectId", "bool", "date", "timestamp", "regex", "dbPointer", "javascript"),
            *("javascriptWithScope", "minKey", "maxKey"),
        ]
    }
}
"""Missing, null or the outdated `undefined`, which from MongoDB 8.0 on is no longer equal to null: the
lead would look changed at every settle, for ever."""
_BROKEN = "\ufffd"
"""What stands in our copy of a text that is not valid UTF-8."""


def inputs_unchanged(inputs: Inputs) -> Document:
    """The filter of a write that is only right while the lead asks what it asked when it was claimed.

    Where what we read is what is stored, it is compared with that: the server takes a third less for
    the whole write than with an expression (0.30 against 0.47 ms of CPU, MongoDB 6.0).
    """
    asked = {name: getattr(inputs, name) for name in ASKED_ABOUT}
    if any(name in inputs.malformed or _BROKEN in (asked[name] or "") for name in ASKED_ABOUT):
        return _INPUTS_UNCHANGED
    return {name: _NO_VALUE if text is None else _only(text) for name, text in asked.items()}


def _only(text: str) -> Document:
    """Without the second condition an array that contains the text would pass for it."""
    return {"$eq": text, "$not": {"$type": "array"}}


def same_email(text: str | None) -> Document:
    """The filter of a write that is only right while the e-mail field holds this text. What is not
    stored as we read it cannot be compared."""
    return {} if text is None or _BROKEN in text else {"email": _only(text)}


def read_inputs(raw: Document) -> Inputs:
    """What INPUTS evaluated to, as `Inputs`."""
    texts = {name: value for name, value in raw.items() if isinstance(value, str)}
    malformed = {
        name: str(value["malformed"]) for name, value in raw.items() if isinstance(value, dict)
    }
    return Inputs(**texts, malformed=malformed)
