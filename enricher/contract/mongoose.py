"""PURE The contract as definitions for Mongoose.

Each part is a schema of its own and not a nested path: only then can it be null, as it is on old leads, and keep
what it does not know. Lists have no default, because Mongoose would write its `[]` with the next `save()`.
"""

from __future__ import annotations

from collections.abc import Mapping

from enricher.contract.shape import STATUSES, Basic, ListOf, MapOf, Property, Record, Shape, records

_HEAD = """\
// What enricher writes on a lead; made by `enricher schema --format mongoose`.
//
//   const Lead = mongoose.model("Lead", new Schema({ email: String, ...enrichedLead }));
//
// Every field can be missing or null, and there may be more of them than these: unknown ones are kept.

import { Schema } from "mongoose";

const open = { _id: false, id: false, strict: false, minimize: false };

"""
_BASICS: Mapping[Basic, str] = {
    Basic.TEXT: "String",
    Basic.WHOLE: "Number",
    Basic.NUMBER: "Number",
    Basic.FLAG: "Boolean",
    Basic.DATE: "Date",
    Basic.STATUS: "{ type: String, enum: [" + ", ".join(f'"{each}"' for each in STATUSES) + "] }",
    Basic.ANYTHING: "Schema.Types.Mixed",
}


def document(lead: Record) -> str:
    """Return a module of schemas, and the fields of a lead to be spread into the schema of its owner."""
    *parts, root = records(lead)
    schemas = "\n".join(
        f"export const {_constant(each)} = new Schema({_fields(each)}, open);\n" for each in parts
    )
    return f"{_HEAD}{schemas}\nexport const enrichedLead = {_fields(root)};\n"


def _constant(record: Record) -> str:
    return record.name[0].lower() + record.name[1:]


def _fields(record: Record) -> str:
    lines = "".join(_line(name, each) for name, each in record.fields.items())
    return f"{{\n{lines}}}"


def _line(name: str, field: Property) -> str:
    return f"  {name}: {_type(field.shape)}, // {field.meaning}\n"


def _type(shape: Shape) -> str:
    match shape:
        case Basic():
            return _BASICS[shape]
        case ListOf(items):
            return f"{{ type: [{_type(items)}], default: undefined }}"
        case MapOf():
            return _BASICS[Basic.ANYTHING]
        case Record():
            return _constant(shape)
