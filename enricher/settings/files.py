"""Settings from files: `.env`, and a directory of credentials in which each file is one value.

What is ours in them and cannot be read is a complaint each, never passed over. Only regular files of a sane
size are read: to open a FIFO waits for somebody who may never write, and a device never ends.
"""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from pydantic_settings import DotEnvSettingsSource

from enricher.catalogue import VENDORS
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


# PURE Names that look like settings and are none: which are mistakes, and what they stand for.
#
# A name that begins like ours but is none of ours is an error: a mistyped budget is no budget. Names
# that others use too (`MONGODB_...`) are one when they stand for a setting that is not given.

OUR_PREFIXES = ("ENRICHER_", *(f"{vendor.upper()}_" for vendor in VENDORS))
"""Whatever begins with one of these is meant for us, so an unknown one is a mistake."""

_KEY = "API_KEY"

_ALMOST_OURS = ("MONGODB_", "MONGO_", "LEADS_", "LEAD_")
"""Others set such names too, images and charts among them (MONGODB_VERSION, MONGODB_USER), so only
one that is nearly a setting's is a mistake, and none while that setting is given."""
_ALMOST = 0.9
"""Of `difflib`: MONGODB_URL is 0.91 like MONGODB_URI, MONGODB_USER 0.87, MONGODB_VERSION 0.77."""
_ALMOST_OF_OURS = 0.75
_OTHERS_SAY = {
    "MONGO_URL": "MONGODB_URI",
    "MONGO_DB": "MONGODB_DATABASE",
    "MONGODB_DB": "MONGODB_DATABASE",
    "MONGODB_DBNAME": "MONGODB_DATABASE",
    "MONGODB_DB_NAME": "MONGODB_DATABASE",
    "MONGODB_DATABASE_NAME": "MONGODB_DATABASE",
    "MONGODB_COLLECTION": "LEADS_COLLECTION",
    "LEADS_COLLECTION_NAME": "LEADS_COLLECTION",
}
_ADDRESS_OF_MONGODB = re.compile(r"(?i)(MONGO|MONGODB|DATABASE|DB)_\w+=mongodb(\+srv)?://")
"""A name and its value: DATABASE_URL is of no concern to us when it leads to PostgreSQL."""

_LINK_VARIABLE = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$"
)
"""What Kubernetes sets in every pod for a Service that happens to be named like us."""


def is_ours(known: Collection[str], name: str) -> bool:
    """True for the name of a setting, and for any other that begins like one of ours."""
    return name.upper().startswith((*OUR_PREFIXES, *_prefixes(known))) or name in known


def _prefixes(known: Collection[str]) -> Iterator[str]:
    """Of all vendors, those of other packages among them: each has a setting for its key."""
    return (name.removesuffix(_KEY) for name in known if name.endswith(f"_{_KEY}"))


def unknown(variables: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """One line for each mistaken name; `known` are the names of all settings."""
    for name, value in sorted(variables.items()):
        if name in known or _is_link(name, value):
            continue
        meant = _meant(name, value, known)
        if is_ours(known, name) or (meant and meant not in variables):
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"{name}: there is no such setting{hint}"


def _is_link(name: str, value: str) -> bool:
    return bool(_LINK_VARIABLE.search(name)) or re.match(r"(tcp|udp|sctp)://", value) is not None


def _meant(name: str, value: str, known: Collection[str]) -> str | None:
    """The setting that a name which is none of ours seems to stand for."""
    name = name.upper()
    if name in _OTHERS_SAY:
        return _OTHERS_SAY[name]
    if is_ours(known, name) or name.startswith(_ALMOST_OURS):
        nearness = _ALMOST_OF_OURS if is_ours(known, name) else _ALMOST
        close = difflib.get_close_matches(name, known, 1, nearness)
        if close:
            return close[0]
    return "MONGODB_URI" if _ADDRESS_OF_MONGODB.match(f"{name}={value}") else None
