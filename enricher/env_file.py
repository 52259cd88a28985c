"""Settings from files: `.env`, and a directory of credentials in which each file is one value.

What is ours in them and cannot be read is a complaint each, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pydantic_settings import DotEnvSettingsSource

from enricher.setting_types import Section

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z0-9_]+)")


def read_env_file(
    path: Path, is_ours: Callable[[str], bool], problems: list[str]
) -> dict[str, str]:
    """The file as python-dotenv reads it, {} when there is none. Adds to `problems`."""
    try:
        text = path.read_text("utf-8-sig") if path.is_file() else ""
        source = DotEnvSettingsSource(Section, path, "utf-8-sig", case_sensitive=True)
        values = source.env_vars if text else {}
    except (OSError, ValueError) as error:
        problems.append(f"{path}: expected a readable UTF-8 file ({type(error).__name__})")
        return {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _ASSIGNMENT.match(line)
        if found and is_ours(found[1]) and found[1] not in values:
            problems.append(f"{path} line {number}: expected {found[1]}=value")
    return {name: value or "" for name, value in values.items()}


def read_credentials(
    directory: str | None, is_ours: Callable[[str], bool], problems: list[str]
) -> dict[str, str]:
    """Name -> content of the files that are named like settings. Adds to `problems`.

    systemd's LoadCredential makes such a directory and gives its name in CREDENTIALS_DIRECTORY;
    secrets that a container has mounted look the same, with a link for each file.
    """
    values: dict[str, str] = {}
    try:
        files = sorted(Path(directory).iterdir()) if directory else []
    except OSError as error:
        problems.append(f"CREDENTIALS_DIRECTORY: cannot be read ({type(error).__name__})")
        return values
    for file in files:
        if is_ours(file.name):
            try:
                values[file.name] = file.read_text("utf-8-sig")
            except (OSError, ValueError) as error:
                kind = type(error).__name__
                problems.append(f"{file}: expected a readable UTF-8 file ({kind})")
    return values
