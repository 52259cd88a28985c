"""PURE The contract as TypeScript. Dates are `Date`, as the driver gives them; `Lead<string>` is one read from JSON."""

from __future__ import annotations

from collections.abc import Mapping

from enricher.contract.shape import STATUSES, Basic, ListOf, MapOf, Property, Record, Shape, records

_HEAD = """\
// What enricher writes on a lead; made by `enricher schema --format typescript`.
// Every field can be missing or null, and there may be more of them than these.

"""
_BASICS: Mapping[Basic, str] = {
    Basic.TEXT: "string",
    Basic.WHOLE: "number",
    Basic.NUMBER: "number",
    Basic.FLAG: "boolean",
    Basic.DATE: "When",
    Basic.STATUS: "EnrichmentStatus",
    Basic.ANYTHING: "unknown",
}


def document(lead: Record) -> str:
    """Return a module of interfaces."""
    statuses = " | ".join(f'"{status}"' for status in STATUSES)
    interfaces = "\n".join(map(_interface, records(lead)))
    return f"{_HEAD}export type EnrichmentStatus = {statuses};\n\n{interfaces}"


def _interface(record: Record) -> str:
    has_dates = any(each.shape is Basic.DATE for each in record.fields.values())
    name = f"{record.name}<When = Date>" if has_dates else record.name
    fields = "".join(_property(name, each) for name, each in record.fields.items())
    return f"/** {record.meaning} */\nexport interface {name} {{\n{fields}}}\n"


def _property(name: str, field: Property) -> str:
    return f"  /** {field.meaning} */\n  {name}?: {_type(field.shape)} | null;\n"


def _type(shape: Shape) -> str:
    match shape:
        case Basic():
            return _BASICS[shape]
        case ListOf(items):
            return f"{_type(items)}[]"
        case MapOf(values):
            return f"Record<string, {_type(values)}>"
        case Record(name):
            return name
