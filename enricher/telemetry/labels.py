"""How an `_id` is shown: in the log, on the status page, in `enricher_daemons`.

Writers choose ids, so one may be an address, a name or a telephone number. Only what can hardly be
anything but an id is shown: an ObjectId, a UUID, an integer, a short string of letters, digits, `_` and
`-` that is no telephone number. Everything else is replaced by a keyed hash, always the same for the same
id: a plain hash could be found by trying addresses. Until the key is known, all such ids look alike.
"""

from __future__ import annotations

import re
from uuid import UUID

from enricher.lead import Key, LeadId

_HASH_DIGITS = 16
_UUID_SUBTYPES = (3, 4)
_UUID_BYTES = 16
_TELLING_NOTHING = re.compile(r"[A-Za-z0-9_-]{1,36}")
"""Up to the length of a UUID in text form."""
_MADE_BY_A_PROGRAM = re.compile(
    r"[0-9a-f]{24}|[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE
)
_TELEPHONE = re.compile(r"[\d_-]*(?:\d[_-]*){7}[\d_-]*|.*(?:\d[_-]?){9}.*")
"""Nothing but seven digits or more; nine in a row within anything else."""

_keys: list[Key] = []


def use(key: Key) -> None:
    """Hash this process's ids with `Keyring.key` from now on."""
    _keys[:] = [key]


def label(id_: LeadId) -> str:
    """Return the id itself, or its keyed hash."""
    if (uuid := uuid_in(id_)) is not None:
        return uuid
    text = str(id_)
    if isinstance(id_, int) and not isinstance(id_, bool):
        return text
    # ObjectId is not imported here; its text is its digits.
    is_text = isinstance(id_, str) or type(id_).__name__ == "ObjectId"
    return text if is_text and _tells_nothing(text) else _hidden(id_)


def uuid_in(value: object) -> str | None:
    """Return a UUID in text form, if `value` is one."""
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, bytes) or len(value) != _UUID_BYTES:
        return None
    return str(UUID(bytes=bytes(value))) if getattr(value, "subtype", 0) in _UUID_SUBTYPES else None


def _tells_nothing(text: str) -> bool:
    if not _TELLING_NOTHING.fullmatch(text):
        return False
    return bool(_MADE_BY_A_PROGRAM.fullmatch(text)) or not _TELEPHONE.fullmatch(text)


def _hidden(id_: LeadId) -> str:
    if not _keys:
        return "hidden"
    key = _keys[0]
    return "hidden-" + key("label", f"{type(id_).__name__} {id_!r}")[:_HASH_DIGITS]
