"""The role of the daemon's user, as it is documented and as the script makes it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from enricher.lead import Document

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations" / "running.md"
SCRIPT = ROOT / "deploy" / "mongodb" / "role.js"
_PRIVILEGE = re.compile(r"{ resource: {.*?},\s*actions: \[.*?\] }")
_BESIDE_IN_PAGE = "### Where results stand beside the leads"

_SHELL = """
const made = {}
const database = {
  getRole: () => null, getUser: () => true,
  createRole: (role) => Object.assign(made, role),
}
const db = { getSiblingDB: () => database }
const print = () => console.log(JSON.stringify(made.privileges))
"""
"""As much of mongosh as the script uses."""


def documented(database: str, *, beside: bool = False) -> list[Document]:
    """The privileges of the documented role, for a database of another name."""
    text = re.sub(r'\bdb: "crm"', f'db: "{database}"', PAGE.read_text("utf-8"))
    usual, other = map(_privileges, text.split(_BESIDE_IN_PAGE))
    if not beside:
        return usual
    replaced = [each["resource"] for each in other]
    return [*other, *(each for each in usual if each["resource"] not in replaced)]


def scripted(node: str, **variables: str) -> list[Document]:
    """The privileges of the role that the script makes under these variables. Raises CalledProcessError."""
    program = f"{_SHELL}{{ {SCRIPT.read_text('utf-8')} }}"
    ran = subprocess.run(
        [node, "-e", program], env=variables, capture_output=True, text=True, check=True
    )
    privileges: list[Document] = json.loads(ran.stdout)
    return privileges


def written(database: str) -> list[Document]:
    """The privileges that stand in the script, for a database of this name and a collection `leads`."""
    text = SCRIPT.read_text("utf-8").replace("db: crm,", f'db: "{database}",')
    for kind in ("history", "results"):
        text = text.replace(f'"enricher_{kind}_" + leads', f'"enricher_{kind}_leads"')
    return _privileges(text.replace("collection: leads", 'collection: "leads"'))


def _privileges(text: str) -> list[Document]:
    found = _PRIVILEGE.findall(text)
    assert len(found) == text.count("resource: {"), "a privilege is written in another way"
    return [json.loads(re.sub(r"(\w+): ", r'"\1": ', each)) for each in found]
