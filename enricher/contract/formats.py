"""PURE The formats in which `enricher schema` prints the contract."""

from __future__ import annotations

from enum import StrEnum


class SchemaFormat(StrEnum):
    """What `enricher schema --format` takes."""

    JSON = "json"
    TYPESCRIPT = "typescript"
    PYDANTIC = "pydantic"
    MONGOOSE = "mongoose"


def contract(format_: SchemaFormat) -> str:
    """Return the contract as a whole file. The same version always gives the same text."""
    from enricher.contract import (  # noqa: PLC0415 - of use to one command only
        json_schema,
        mongoose,
        python,
        typescript,
    )
    from enricher.contract.shape import lead  # noqa: PLC0415 - as above

    writers = {
        SchemaFormat.JSON: json_schema.document,
        SchemaFormat.TYPESCRIPT: typescript.document,
        SchemaFormat.PYDANTIC: python.document,
        SchemaFormat.MONGOOSE: mongoose.document,
    }
    return writers[format_](lead())
