"""Forgetting a person: nobody is asked about them again, and what was found is erased.

Used by `enricher forget`, and by a daemon when a vendor says that the person objected (451). The
entry that keeps daemons from asking comes first: from then on no lead begins anew. Then the leads,
which fences out whoever has one in work, and the kept answers last: whoever asks just now keeps
nothing, because the reply to a forgotten question is dropped.

Every lead is read for it, since an address may be spelled in many ways. Safe to repeat.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from enricher.answer import Kind, Query
from enricher.identity import Identity, identify, subject_of
from enricher.lead import LeadId
from enricher.providers.base import Provider
from enricher.providers.guarded import question_of
from enricher.store import book
from enricher.store.cache import Cache
from enricher.store.erasure import Erasure
from enricher.store.inputs import read_inputs
from enricher.store.secret import Keyring
from enricher.store.suppression import Suppressed, key_of

_AT = "\uff20"
_UNSEEN = "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]*"
"""What `address.visible` takes off: nobody meant to type it."""
_GMAIL = "@gmail.com"


@dataclass(slots=True)
class Forgotten:
    """What was removed."""

    is_new: bool = False
    leads: int = 0
    refused: int = 0
    changed: int = 0
    """Leads that have another address now, and still held what was found for this one."""
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Of one database and one collection of leads."""

    suppressed: Suppressed
    erasure: Erasure
    cache: Cache
    keyring: Keyring
    providers: Sequence[Provider]

    async def run(self, person: Identity, typed: str, why: str, spared: bytes = b"") -> Forgotten:
        """`typed` is the address as somebody wrote it. Raises DatabaseTrouble.

        `spared` is the key (`book.id_key`) of a lead that its own worker is about to erase.
        """
        if person.email_key is None:
            return Forgotten()
        entry = key_of(self.keyring, person.email_key)
        done = Forgotten(is_new=await self.suppressed.add([entry], why) > 0)
        queries = [Query(email=person.email, email_key=person.email_key)]
        queries += await self._erase(person, typed, done, spared)
        about = {
            key for query in queries for key in personal_keys(self.keyring, self.providers, query)
        }
        done.answers = await self.cache.forget(about)
        return done

    async def _erase(
        self, person: Identity, typed: str, done: Forgotten, spared: bytes
    ) -> list[Query]:
        """Returns what may have been asked about the leads that were erased."""
        subject, queries = subject_of(person), []
        spelled = _spelled(person.email_key or "", typed)
        async for lead in self.erasure.candidates(spelled, [subject]):
            identity = identify(read_inputs(lead["inputs"]))
            if identity.email_key == person.email_key:
                queries.append(identity.query)
                if book.id_key(lead["_id"]) != spared:
                    await self._erase_one(lead["_id"], done)
            elif lead.get("subject") == subject:
                done.changed += await self.erasure.erase_data(lead["_id"], subject)
        return queries

    async def _erase_one(self, lead: LeadId, done: Forgotten) -> None:
        if await self.erasure.erase(lead):
            done.leads += 1
        else:
            done.refused += 1


def personal_keys(keyring: Keyring, providers: Sequence[Provider], query: Query) -> list[str]:
    """Keys of everything that providers may have been asked about the person of this query."""
    asked = [each for each in providers if each.kind is not Kind.COMPANY]
    questions = {each.name: question_of(each, query) for each in asked}
    return [keyring.key(name, text) for name, text in questions.items() if text is not None]


def _spelled(email_key: str, typed: str) -> str:
    """PURE A regular expression for the spellings of one mailbox; what it finds is read again."""
    local, _, host = email_key.rpartition("@")
    is_gmail = email_key.endswith(_GMAIL)
    between = _UNSEEN + (r"\.?" + _UNSEEN if is_gmail else "")
    locals_ = {_loosely(form, between) for form in _forms(local)}
    hosts = {_loosely(each, _UNSEEN) for each in _hosts(host)}
    if is_gmail:
        hosts.add(_loosely("googlemail.com", _UNSEEN))
    tag = rf"(?:{_UNSEEN}\+[^@{_AT}]*)?"
    at = rf"{_UNSEEN}(?:@|%40|{_AT}){_UNSEEN}"
    spelled = f"(?:{'|'.join(sorted(locals_))}){tag}{at}(?:{'|'.join(sorted(hosts))})"
    return f"{spelled}|{re.escape(typed.strip())}"


def _loosely(text: str, between: str) -> str:
    return between.join(re.escape(letter) for letter in text)


def _forms(text: str) -> set[str]:
    return {unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}


def _hosts(host: str) -> Iterator[str]:
    """As it is asked about, and as people write it."""
    yield host
    with suppress(UnicodeError):
        yield from _forms(host.encode("ascii").decode("idna"))
