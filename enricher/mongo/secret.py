"""The secret with which addresses become keys, so that no side collection names a person.

Whichever daemon comes first makes it, and it is never replaced: everything stored under its keys (above
all, who must never be asked about again) would silently be lost. So its fingerprint is stored beside the
suppression entries, and no daemon starts with another secret.

    enricher_secrets     {_id: "keys", marked: true, ...}                 the fingerprint was written
                         {_id: "keys", secret: bytes}                     it is stored in the database
                         {_id: "keys", nonce, wrapped, seal: bytes}       only ENRICHER_HASH_KEY opens it
                         {_id: "keys", derived: true}                     it is derived from ENRICHER_HASH_KEY
    enricher_suppressed  {_id: "fingerprint", of: str, derived: bool}

That one document of `enricher_secrets` decides between simultaneous starts; the fingerprint is written
after it, and every entry after the fingerprint. Once a database is marked, none of this is made anew:
where the fingerprint is gone, so are the entries, and the people in them would be asked about again. A
database that has a secret keeps it when ENRICHER_HASH_KEY is first given: the secret is wrapped, so
everything stored keeps its meaning. A version that knows nothing of this finds no `secret` there and
refuses to start.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from loguru import logger
from pydantic import SecretStr
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.errors import DatabaseRefused, SettingsError
from enricher.lead import Document

COLLECTION = "enricher_secrets"
ENTRIES = "enricher_suppressed"
FINGERPRINT = "fingerprint"
"""`_id` of a document beside the entries, whose own ids are keys and look different."""
_ID = "keys"
_BYTES = 32
_KEY_DIGITS = 40
"""160 of the 256 bits: far beyond coincidence, and short enough for an index."""
_LOST = (
    f"the secret of this database is gone although {ENTRIES} was made with it: restore {COLLECTION}"
    " from the same backup"
)
_NO_ENTRIES = (
    f"{ENTRIES} is gone, with all who must never be asked about again: restore it from a backup; or, if nobody"
    f' is to be left alone any more: db.{COLLECTION}.updateOne({{_id: "keys"}}, {{$unset: {{marked: ""}}}})'
)
_MISSING = (
    "ENRICHER_HASH_KEY: not set, but this database was opened with it before: give the same key"
)
_OTHER_KEY = "ENRICHER_HASH_KEY: not the key that this database was opened with before"
_OTHER_SECRET = (
    f"the secret in {COLLECTION} is not the one that {ENTRIES} was made with: restore both"
    " from the same backup"
)


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """Makes keys. Deliberately has no repr: it would end up in a log."""

    secret: bytes

    def key(self, *parts: str) -> str:
        """Return 40 hexadecimal digits for these parts in this order; without the secret they cannot be guessed."""
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        # Include the lengths, or ("ab", "c") and ("a", "bc") would be one question.
        text = b"".join([b"%d:%s" % (len(part), part) for part in encoded])
        return hmac.digest(self.secret, text, "sha256").hex()[:_KEY_DIGITS]

    @property
    def fingerprint(self) -> str:
        """Tells this secret from another and reveals nothing of it."""
        return self.key(FINGERPRINT)


async def keyring(database: AsyncDatabase[Document], hash_key: SecretStr | None = None) -> Keyring:
    """Return the fleet's keyring, making its secret on the first use of the database.

    Raises SettingsError when the stored data was made with another secret, or its secret is gone;
    DatabaseRefused when the stored secret is damaged: a new one would not fit the stored data.
    """
    try:
        return await _open(database, hash_key)
    except DuplicateKeyError:
        return await _open(database, hash_key)  # another daemon created it at the same moment


async def keyring_if_made(
    database: AsyncDatabase[Document], hash_key: SecretStr | None = None
) -> Keyring | None:
    """Return the fleet's keyring without changing anything: `None` when no daemon has needed one yet."""
    mark = await _mark(database)
    document = await database[COLLECTION].find_one({"_id": _ID})
    if document is None:
        if mark is not None and not _is_derived_from(mark, hash_key):
            raise _gone(mark, hash_key)
        return None if mark is None else _derived(hash_key)
    ring = _keyring(document, hash_key)
    _compare(ring, document, await _mark_still_there(database, document, mark))
    return ring


async def _open(database: AsyncDatabase[Document], hash_key: SecretStr | None) -> Keyring:
    mark = await _mark(database)  # before the secret, which is written first
    may_make = mark is None or _is_derived_from(mark, hash_key)
    document = await _find_or_make(database, hash_key, may_make=may_make)
    if document is None:
        raise _gone(mark or {}, hash_key)
    ring = _keyring(document, hash_key)
    await _mark_still_there(database, document, mark)
    _compare(ring, document, await _marked(database, ring, document))
    if hash_key is not None and "secret" in document:
        await _wrap(database, ring, hash_key)
    return ring


async def _mark(database: AsyncDatabase[Document]) -> Document | None:
    """Return the fingerprint; `{}` for a database that has entries but no fingerprint."""
    mark: Document | None = await database[ENTRIES].find_one({"_id": FINGERPRINT})
    if mark is None and await database[ENTRIES].find_one({}, {"_id": 1}) is not None:
        return {}
    return mark


async def _mark_still_there(
    database: AsyncDatabase[Document], document: Document, mark: Document | None
) -> Document | None:
    """Return the mark. Raises SettingsError if it has gone, and every entry with it."""
    if mark is None and document.get("marked"):
        mark = await _mark(database)  # another daemon, starting with us, may have written it by now
        if mark is None:
            raise SettingsError([_NO_ENTRIES])
    return mark


async def _marked(
    database: AsyncDatabase[Document], ring: Keyring, document: Document
) -> Document | None:
    """Return the fingerprint, writing it if there is none yet."""
    values = {"of": ring.fingerprint, "derived": "derived" in document}
    mark: Document | None = await database[ENTRIES].find_one_and_update(
        {"_id": FINGERPRINT},
        {"$setOnInsert": values},
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    if not document.get("marked"):
        await database[COLLECTION].update_one({"_id": _ID}, {"$set": {"marked": True}})
    return mark


def _compare(ring: Keyring, document: Document, mark: Document | None) -> None:
    if mark and not hmac.compare_digest(str(mark.get("of")), ring.fingerprint):
        raise SettingsError([_OTHER_KEY if "derived" in document else _OTHER_SECRET])


def _gone(mark: Document, hash_key: SecretStr | None) -> SettingsError:
    if not mark.get("derived"):
        return SettingsError([_LOST])
    return SettingsError([_MISSING if hash_key is None else _OTHER_KEY])


def _is_derived_from(mark: Document, hash_key: SecretStr | None) -> bool:
    """True when the secret can be derived without the database."""
    return hash_key is not None and mark.get("of") == _derived(hash_key).fingerprint


def _derived(hash_key: SecretStr | None) -> Keyring:
    if hash_key is None:
        raise SettingsError([_MISSING])
    return Keyring(_digest(hash_key, b"enricher: the secret"))


def _keyring(document: Document, hash_key: SecretStr | None) -> Keyring:
    if "derived" in document:
        return _derived(hash_key)
    secret = _unwrapped(document, hash_key) if "wrapped" in document else document.get("secret")
    if not isinstance(secret, bytes) or len(secret) < _BYTES:
        raise DatabaseRefused(f"the secret in {COLLECTION} is damaged: restore it from a backup")
    return Keyring(bytes(secret))


async def _find_or_make(
    database: AsyncDatabase[Document], hash_key: SecretStr | None, *, may_make: bool
) -> Document | None:
    """Find or create the document, with a write in either case: it returns only once a majority has the secret.

    A mere read could return a secret that a fail-over rolls back.
    """
    made: Document = (
        {"secret": secrets.token_bytes(_BYTES)} if hash_key is None else {"derived": True}
    )
    found: Document | None = await database[COLLECTION].find_one_and_update(
        {"_id": _ID},
        {"$setOnInsert": made, "$currentDate": {"read_at": True}},
        upsert=may_make,
        return_document=ReturnDocument.AFTER,
    )
    return found


# -- wrapping ------------------------------------------------------------------------------


async def _wrap(database: AsyncDatabase[Document], ring: Keyring, hash_key: SecretStr) -> None:
    """Encrypt the secret so that only ENRICHER_HASH_KEY opens it. Another daemon may be quicker."""
    nonce = secrets.token_bytes(_BYTES)
    wrapped = _padded(ring.secret, nonce, hash_key)
    values = {"nonce": nonce, "wrapped": wrapped, "seal": _seal(nonce, wrapped, hash_key)}
    written = await database[COLLECTION].update_one(
        {"_id": _ID, "secret": ring.secret}, {"$set": values, "$unset": {"secret": ""}}
    )
    if written.modified_count:
        logger.info("secret.wrapped")
        return
    now = await database[COLLECTION].find_one({"_id": _ID})
    _keyring(now or {}, hash_key)  # raises when it was wrapped with another key


def _unwrapped(document: Document, hash_key: SecretStr | None) -> bytes | None:
    if hash_key is None:
        raise SettingsError([_MISSING])
    nonce, wrapped, seal = (document.get(name) for name in ("nonce", "wrapped", "seal"))
    if not (isinstance(nonce, bytes) and isinstance(wrapped, bytes) and isinstance(seal, bytes)):
        return None
    if not hmac.compare_digest(seal, _seal(nonce, wrapped, hash_key)):
        raise SettingsError([_OTHER_KEY])
    return _padded(wrapped, nonce, hash_key)


def _padded(text: bytes, nonce: bytes, hash_key: SecretStr) -> bytes:
    """XOR with a pad that is used only once, because its nonce is; wraps and unwraps."""
    blocks = range(len(text) // _BYTES + 1)
    pad = b"".join(_digest(hash_key, b"enricher: pad %d of " % each + nonce) for each in blocks)
    return bytes(one ^ other for one, other in zip(text, pad, strict=False))


def _seal(nonce: bytes, wrapped: bytes, hash_key: SecretStr) -> bytes:
    return _digest(hash_key, b"enricher: seal of " + nonce + wrapped)


def _digest(hash_key: SecretStr, text: bytes) -> bytes:
    return hmac.digest(hash_key.get_secret_value().encode(), text, "sha256")
