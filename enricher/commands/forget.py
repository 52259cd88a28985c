"""`enricher forget`: a person is erased from the leads and the stored answers, and stays away.

The entry that keeps daemons from asking about the person comes first: from then on no lead begins
anew. Then the leads, which fences out whoever has one in work, and the stored answers last.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console

from enricher.answer import Query
from enricher.commands.database import explained, opened
from enricher.enrichment import subject_of
from enricher.errors import SettingsError
from enricher.identity import Identity, identify
from enricher.lead import Document, Inputs, LeadId
from enricher.permission import personal_keys
from enricher.providers import registry, transport
from enricher.providers.base import Access
from enricher.settings import Settings
from enricher.store import book
from enricher.store.cache import Cache
from enricher.store.erasure import Erasure
from enricher.store.secret import Keyring, keyring
from enricher.store.suppression import Suppressed, key_of

WHY = "enricher forget"
_UNSEEN = "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]*"
"""What `address.visible` takes off: nobody meant to type it."""
_AT = "\uff20"
"""The wide one, which is read as "@"."""
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


async def forget(settings: Settings, address: str) -> None:
    """Erase and suppress. Raises SettingsError for what is no address."""
    person = identify(Inputs(email=address))
    if person.email_key is None:
        raise SettingsError(["EMAIL: not an e-mail address"])
    console = Console(highlight=False, soft_wrap=True)
    async with opened(settings) as database:
        with explained("forgetting"):
            done = await _Forgetting(settings, database, person, person.email_key).run(address)
    _report(console, address, done)


@dataclass(slots=True)
class _Forgetting:
    settings: Settings
    database: AsyncDatabase[Document]
    person: Identity
    email_key: str
    done: Forgotten = field(default_factory=Forgotten)
    queries: list[Query] = field(default_factory=list)

    async def run(self, address: str) -> Forgotten:
        keys = await keyring(self.database)
        entry = key_of(keys, self.email_key)
        self.done.is_new = await Suppressed(self.database).add([entry], WHY) > 0
        self.queries.append(Query(email=self.person.email, email_key=self.email_key))
        await self._erase(address)
        await self._forget_answers(keys)
        return self.done

    async def _erase(self, address: str) -> None:
        erasure = Erasure(self.database[self.settings.mongo.collection])
        subject = subject_of(self.person)
        async for lead in erasure.candidates(_spelled(self.email_key, address), [subject]):
            identity = identify(book.read_inputs(lead["inputs"]))
            if identity.email_key == self.email_key:
                self.queries.append(identity.query)
                await self._erase_one(erasure, lead["_id"])
            elif lead.get("subject") == subject:
                self.done.changed += await erasure.erase_data(lead["_id"], subject)

    async def _erase_one(self, erasure: Erasure, lead: LeadId) -> None:
        if await erasure.erase(lead):
            self.done.leads += 1
        else:
            self.done.refused += 1

    async def _forget_answers(self, keys: Keyring) -> None:
        """Whoever asks just now keeps nothing: the reply to a forgotten question is dropped."""
        async with transport.open_client(1, "enricher") as client:
            providers = registry.build(client, self._accesses(), {}).providers
        about = {key for query in self.queries for key in personal_keys(keys, providers, query)}
        cache = Cache(self.database, "enricher forget", self.settings.work.lease_seconds)
        self.done.answers = await cache.forget(about)

    def _accesses(self) -> dict[str, Access]:
        """All vendors: answers outlive the key they were bought with. Nobody is asked here."""
        unused = SecretStr("unused")
        vendors = self.settings.vendors.items()
        return {name: Access(unused, vendor.base_url) for name, vendor in vendors}


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


def _report(console: Console, address: str, done: Forgotten) -> None:
    state = "is" if done.is_new else "was already"
    console.print(
        f"{address} {state} suppressed: no lead with this address is enriched any more.",
        markup=False,
    )
    console.print(f"leads erased: {done.leads:,}")
    if done.changed:
        console.print(f"leads with another address by now, erased as well: {done.changed:,}")
    if done.refused:
        console.print(f"leads that MongoDB refuses to write (validator, size): {done.refused:,}")
    console.print(f"stored answers removed: {done.answers:,}")
