"""The `.env` file, and a complaint about each line of ours in it that cannot be read."""

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
