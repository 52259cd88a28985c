"""Why the server refuses a result, in a sentence for `enrichment_error`: by which index or rule of the operator's.

The server's own text is never passed on, for it quotes keys and documents. What is taken from it is the
name of the index; where it names none, the indexes that can be meant are those of the kind that gives
this code. Of a validator, the names of the properties are told that do not meet it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, PyMongoError

from enricher.lead import Document
from enricher.mongo.refusal import Refusal, refusals

_TOO_LARGE = (10334, 17419, 17420)
_INVALID = 121
_DUPLICATE = 11000
_INDEX_NAME = re.compile(r" index: (.{1,128}?) dup key")
_NAME = re.compile(r"[\w.$ -]{1,128}")
_MOST_NAMES = 5

_Index = Mapping[str, Any]
_KINDS: Mapping[int, tuple[str, Callable[[_Index], bool]]] = {
    171: ("cannot hold two arrays at once", lambda index: len(index["key"]) > 1),
    16755: ("holds places alone", lambda index: _has(index, "2dsphere", "2d")),
    13654: ("holds places alone", lambda index: _has(index, "2dsphere", "2d")),
    16766: ("cannot hold an array", lambda index: _has(index, "hashed")),
    17261: ("takes a field for a language", lambda index: _has(index, "text")),
    17262: ("takes a field for a language", lambda index: _has(index, "text")),
    17280: ("cannot hold a value so long", lambda _: False),
}  # fmt: skip


def _has(index: _Index, *types: str) -> bool:
    return any(each in types for _, each in index["key"])


def sentence(code: int | None) -> str:
    """Where nothing but the code is known."""
    if code in _TOO_LARGE:
        return "it would be larger than MongoDB's 16 MB"
    if code == _INVALID:
        return "the collection's validator refuses it"
    return f"MongoDB refuses it (error {code}), for an index of the collection or for what is in it"


async def sentences(leads: AsyncCollection[Document], error: BulkWriteError) -> dict[int, str]:
    """Position -> reason, of each update that was refused. Raises as `refusals` does."""
    found = refusals(error)
    said = {entry["index"]: entry for entry in error.details["writeErrors"]}
    indexes = await _indexes(leads) if any(each.code in _KINDS for each in found) else {}
    return {each.position: _of(each, said[each.position], indexes) for each in found}


async def _indexes(leads: AsyncCollection[Document]) -> Mapping[str, _Index]:
    """Nothing for a user who may not look: then no name is told."""
    try:
        return await leads.index_information()
    except PyMongoError:
        return {}


def _of(refusal: Refusal, said: Document, indexes: Mapping[str, _Index]) -> str:
    if refusal.code == _DUPLICATE:
        name = _INDEX_NAME.search(str(said.get("errmsg")))
        return f"the unique index{_quoted([name[1]] if name else [])} has the same value from another lead"
    if refusal.code == _INVALID:
        rules = sorted(set(_properties(said.get("errInfo"))))[:_MOST_NAMES]
        return sentence(_INVALID) + (f" for{_quoted(rules)}" if rules else "")
    if refusal.code in _KINDS:
        what, is_meant = _KINDS[refusal.code]
        names = [name for name, index in indexes.items() if is_meant(index)][:_MOST_NAMES]
        return f"an index of the collection{_quoted(names)} {what} (code {refusal.code})"
    return sentence(refusal.code)


def _quoted(names: Sequence[str]) -> str:
    usable = [f'"{name}"' for name in names if _NAME.fullmatch(name)]
    return f" {' or '.join(usable)}" if usable else ""


def _properties(info: object) -> Iterator[str]:
    """Names of properties and fields in the rules that were not met; never a value."""
    if isinstance(info, Mapping):
        for name, value in info.items():
            if name == "propertyName" and isinstance(value, str):
                yield value
            elif name == "missingProperties" and isinstance(value, list):
                yield from (each for each in value if isinstance(each, str))
            elif name == "specifiedAs" and isinstance(value, Mapping):
                is_query = str(info.get("operatorName")).startswith("$")
                yield from (each for each in value if is_query and not each.startswith("$"))
            elif name not in {"consideredValue", "consideredValues"}:
                yield from _properties(value)
    elif isinstance(info, list):
        for each in info:
            yield from _properties(each)
