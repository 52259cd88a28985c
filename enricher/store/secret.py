"""The secret with which addresses become keys, so that no side collection names a person.

It is made once, by whichever daemon comes first, and never replaced: what was stored under keys
made with it (who must never be asked about again, above all) would silently be lost.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from enricher.errors import DatabaseRefused
from enricher.lead import Document

COLLECTION = "enricher_secrets"
_ID = "keys"
_BYTES = 32
_KEY_DIGITS = 40
"""160 of the 256 bits: far beyond coincidence, and short enough to stand in an index."""


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """Makes keys. Has no repr on purpose: it would end up in a log."""

    secret: bytes

    def key(self, *parts: str) -> str:
        """40 hexadecimal digits for these parts in this order; nobody without the secret can guess them."""
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        # Lengths go in as well, or ("ab", "c") and ("a", "bc") would be one question.
        text = b"".join(b"%d:%s" % (len(part), part) for part in encoded)
        return hmac.digest(self.secret, text, "sha256").hex()[:_KEY_DIGITS]


async def keyring(database: AsyncDatabase[Document]) -> Keyring:
    """The fleet's keyring; its secret is made now if this is the first use of the database.

    Raises DatabaseRefused when the stored secret is not one: a new one would not fit what is stored.
    """
    try:
        document = await _find_or_make(database)
    except DuplicateKeyError:
        document = await _find_or_make(database)  # another daemon made it at the same moment
    return _keyring(document)


def _keyring(document: Document) -> Keyring:
    secret = document.get("secret")
    if not isinstance(secret, bytes) or len(secret) < _BYTES:
        raise DatabaseRefused(f"the secret in {COLLECTION} is damaged: restore it from a backup")
    return Keyring(bytes(secret))


async def keyring_if_made(database: AsyncDatabase[Document]) -> Keyring | None:
    """The fleet's keyring for who may change nothing: `None` when no daemon has needed one yet."""
    document = await database[COLLECTION].find_one({"_id": _ID})
    return _keyring(document) if document else None


async def _find_or_make(database: AsyncDatabase[Document]) -> Document:
    """One write in either case, for it answers only when a majority has the secret.

    A mere read could return one that a fail-over takes back.
    """
    document = await database[COLLECTION].find_one_and_update(
        {"_id": _ID},
        {
            "$setOnInsert": {"secret": secrets.token_bytes(_BYTES)},
            "$currentDate": {"read_at": True},
        },
        upsert=True,
        return_document=ReturnDocument.AFTER,
    )
    return document or {}
