"""The contract in other languages, read by their own tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from enricher.contract.formats import SchemaFormat, contract
from enricher.contract.shape import lead, records
from tests.packages.readers.odms import EXAMPLES

pytestmark = [pytest.mark.packages, pytest.mark.timeout(120)]

READER = """
import type { CompanyData, EnrichmentStatus, Lead } from "./lead";

interface OurLead extends Lead { email: string }
const ends: EnrichmentStatus[] = ["completed", "failed", "skipped"];

export function heads(lead: OurLead): number | undefined {
  const company: CompanyData | null | undefined = lead.enriched_data?.company_data;
  return company?.employee_count ?? undefined;
}
export function isOver(lead: Lead): boolean {
  return lead.enrichment_status != null && ends.includes(lead.enrichment_status);
}
export function wonBy(lead: Lead, field: string): string | undefined {
  return lead.enriched_data?.enrichment_metadata?.provenance?.["company_data"]?.[field];
}
export const day = (lead: Lead): number | undefined => lead.enriched_at?.getDate();
export const text = (lead: Lead<string>): string | undefined => lead.enriched_at?.slice(0, 10);

// @ts-expect-error there is no such status
ends.push("done");
// @ts-expect-error it can be missing
export const name = (lead: Lead): string => lead.enriched_data.company_data.name;
// @ts-expect-error there is no such field
export const typo = (lead: Lead): unknown => lead.enriched_dta;
"""
STUBS = {
    "org/bson/types/ObjectId": "public class ObjectId {}",
    "org/springframework/data/annotation/Id": "public @interface Id {}",
    "org/springframework/data/mongodb/core/mapping/Document": "public @interface Document { String value(); }",
    "org/springframework/data/mongodb/core/mapping/Field": "public @interface Field { String value(); }",
    "org/springframework/data/repository/Repository": "public interface Repository<T, I> {}",
}
"""What the example in Java needs of Spring, so that it compiles without Spring."""


def test_the_contract_in_typescript_compiles_and_holds_readers_to_it(node_modules: Path) -> None:
    (node_modules / "lead.ts").write_text(contract(SchemaFormat.TYPESCRIPT))
    (node_modules / "reader.ts").write_text(READER)
    options = ("--noEmit", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022")
    compiled = subprocess.run(
        ["node_modules/.bin/tsc", *options, "--module", "es2022", "reader.ts"],
        cwd=node_modules,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (compiled.returncode, compiled.stdout) == (0, "")


def test_the_contract_for_mongoose_has_every_field_once_it_is_loaded(node_modules: Path) -> None:
    program = """
import { Schema } from "mongoose";
import { enrichedLead } from "./enriched_lead.mjs";
const paths = (schema) => Object.entries(schema.paths).flatMap(([name, path]) =>
  [name, ...(path.schema ? paths(path.schema).map((inner) => `${name}.${inner}`) : [])]);
console.log(paths(new Schema(enrichedLead)).join("\\n"));
"""
    (node_modules / "paths.mjs").write_text(program)
    ran = subprocess.run(
        ["node", "paths.mjs"], cwd=node_modules, capture_output=True, text=True, check=True
    )
    names = {path.rpartition(".")[2] for path in ran.stdout.split()} - {"_id"}
    assert names == {name for record in records(lead()) for name in record.fields}


@pytest.mark.skipif(not shutil.which("javac"), reason="there is no Java compiler")
def test_the_example_in_java_compiles(tmp_path: Path) -> None:
    for path, declaration in STUBS.items():
        package = Path(path).parent.as_posix().replace("/", ".")
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{path}.java").write_text(f"package {package};\n{declaration}\n")
    command = ["javac", "-d", str(tmp_path), "-sourcepath", str(tmp_path)]
    subprocess.run([*command, str(EXAMPLES / "Lead.java")], check=True)
