"""PURE The contract as pydantic models; ours in `models.py` are made here too.

The models change nothing that they read: unknown fields are kept, a whole number stays one, and a text
stays text even where it holds a date. So a lead that is read, changed and saved as a whole is still the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enricher.contract.shape import STATUSES, Basic, ListOf, MapOf, Property, Record, Shape, records

_HEAD = '''\
"""What enricher writes on a lead, as pydantic models; made by `enricher schema --format pydantic`.

Every field can be missing or `None`, and there may be more of them than these: unknown ones are kept.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

'''
_BASICS: Mapping[Basic, str] = {
    Basic.TEXT: "str",
    Basic.WHOLE: "int",
    Basic.NUMBER: "int | float",
    Basic.FLAG: "bool",
    Basic.DATE: "datetime",
    Basic.STATUS: "EnrichmentStatus",
    Basic.ANYTHING: "Any",
}


def document(lead: Record) -> str:
    """Return a module of models, formatted as ours are."""
    classes = "\n\n".join(_class(each) for each in records(lead))
    return f"{_HEAD}{_statuses()}\n\n{classes}"


def _statuses() -> str:
    names = "".join(f'    "{status}",\n' for status in STATUSES)
    return f"EnrichmentStatus = Literal[\n{names}]\n"


def _class(record: Record) -> str:
    fields = "".join(_lines(record))
    return (
        f'class {record.name}(BaseModel):\n    """{record.meaning}"""\n\n'
        f'    model_config = ConfigDict(extra="allow")\n\n{fields}'
    )


def _lines(record: Record) -> Iterator[str]:
    for name, each in record.fields.items():
        yield f'    {name}: {_type(each.shape)} | None = None\n    """{_sentence(each)}"""\n'


def _sentence(field: Property) -> str:
    text = field.meaning.removesuffix(".")
    return f"{text[0].upper()}{text[1:]}."


def _type(shape: Shape) -> str:
    match shape:
        case Basic():
            return _BASICS[shape]
        case ListOf(items):
            return f"list[{_type(items)}]"
        case MapOf(values):
            return f"dict[str, {_type(values)}]"
        case Record(name):
            return name
