"""PURE The contract as JSON Schema (2020-12), for a lead as JSON has it: a date is text in ISO 8601."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from enricher.contract.shape import STATUSES, Basic, ListOf, MapOf, Property, Record, Shape, records

_JsonSchema = dict[str, Any]

_BASICS: Mapping[Basic, _JsonSchema] = {
    Basic.TEXT: {"type": "string"},
    Basic.WHOLE: {"type": "integer"},
    Basic.NUMBER: {"type": "number"},
    Basic.FLAG: {"type": "boolean"},
    Basic.DATE: {"type": "string", "format": "date-time"},
    Basic.STATUS: {"type": "string", "enum": list(STATUSES)},
    Basic.ANYTHING: {},
}


def document(lead: Record) -> str:
    """Return the whole schema; its definitions stand for themselves as well (`#/$defs/EnrichedData`)."""
    *definitions, root = records(lead)
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_record(root),
        "$defs": {each.name: _record(each) for each in definitions},
    }
    return json.dumps(whole, indent=2) + "\n"


def _record(record: Record) -> _JsonSchema:
    return {
        "title": record.name,
        "description": record.meaning,
        "type": "object",
        "properties": {name: _property(each) for name, each in record.fields.items()},
        "additionalProperties": True,
    }


def _property(field: Property) -> _JsonSchema:
    bounds = {"minimum": field.least, "maximum": field.most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return {**_nullable(_of(field.shape)), **given, "description": field.meaning}


def _nullable(schema: _JsonSchema) -> _JsonSchema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    null = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **null}


def _of(shape: Shape) -> _JsonSchema:
    match shape:
        case Basic():
            return dict(_BASICS[shape])
        case ListOf(items):
            return {"type": "array", "items": _of(items)}
        case MapOf(values):
            return {"type": "object", "additionalProperties": _of(values) or True}
        case Record(name):
            return {"$ref": f"#/$defs/{name}"}
