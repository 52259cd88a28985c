"""Settings from files: `.env`, and a directory of credentials in which each file is one value.

What is ours in them and cannot be read is a complaint each, never passed over. Only regular files of a sane
size are read: to open a FIFO waits for somebody who may never write, and a device never ends.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from pydantic_settings import DotEnvSettingsSource

from enricher.settings.types import Section

MOST_BYTES = 256 * 1024
"""No settings are longer."""
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z0-9_]+)")
_GIVEN = re.compile(_ASSIGNMENT.pattern + r"\s*=\s*[\"']?[^\s\"'#]")
_EVERYBODY = stat.S_IROTH | stat.S_IWOTH
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_env_file(
    path: Path, is_ours: Callable[[str], bool], problems: list[str]
) -> dict[str, str]:
    """The file as python-dotenv reads it, {} when there is none. Adds to `problems`."""
    try:
        if not _is_there(path):
            return {}
        text = _text(path)
        source = DotEnvSettingsSource(Section, path, "utf-8-sig", case_sensitive=True)
        values = source.env_vars if text else {}
    except (OSError, ValueError) as error:
        problems.append(_complaint(path, error))
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
                values[file.name] = _text(file)
            except (OSError, ValueError) as error:
                problems.append(_complaint(file, error))
    return values


def exposes_one_of(secrets: AbstractSet[str], path: Path) -> bool:
    """True when the file gives a secret and everybody on the machine may read or replace it."""
    try:
        mode, text = path.stat().st_mode, _text(path)
    except (OSError, ValueError):
        return False
    names = [found[1] for line in text.splitlines() if (found := _GIVEN.match(line))]
    return bool(mode & _EVERYBODY) and any(name in secrets for name in names)


class _Unfit(ValueError):
    """No file that settings are read from; says what it is."""


def _is_there(path: Path) -> bool:
    """Also a link that leads nowhere: somebody meant to put something there."""
    return path.exists() or path.is_symlink()


def _text(path: Path) -> str:
    """Raises OSError, UnicodeDecodeError, or _Unfit. The check comes first: opening some devices does things."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _Unfit(_KINDS.get(stat.S_IFMT(found.st_mode), "no file"))
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _Unfit(f"more than {MOST_BYTES // 1024} KiB")
    return content.decode("utf-8-sig")


def _complaint(path: Path, error: Exception) -> str:
    what = str(error) if isinstance(error, _Unfit) else type(error).__name__
    return f"{path}: expected a readable UTF-8 file ({what})"
