"""`enricher forget`: erases a person from the leads and the stored answers, and keeps them out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import Any

from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure
from rich.console import Console

from enricher import privileges, wiring
from enricher.calls.flights import Cache
from enricher.commands.backfill import forget_positions
from enricher.commands.database import explained, opened
from enricher.errors import DatabaseRefused, SettingsError
from enricher.identity.identify import MULTIPLE_EMAILS, Identity, identify
from enricher.intake import checkpoints, history
from enricher.intake.history import History
from enricher.lead import Document, Inputs
from enricher.mongo.outage import UNAUTHORIZED, is_denied
from enricher.mongo.secret import keyring
from enricher.privacy.forgetting import Forgetting, Forgotten
from enricher.privacy.suppression import Suppressed, SuppressionEntry, key_of
from enricher.providers import registry
from enricher.providers.base import Access, Provider
from enricher.providers.transport import NOBODY
from enricher.queue import outbox
from enricher.settings.load import Settings
from enricher.settings.sources import RESULTS, Source, Write
from enricher.status import daemons
from enricher.wiring import words_of

# Which collections of a database hold leads: those that daemons work on, or once worked on.
#
# Nobody configures that list. The side collections know it: each leads collection has a checkpoint from its
# first start on, and a record of its history; live daemons report theirs. A collection of results says by its name
# whose they are, and stays when its source is described otherwise, or no more.

_HISTORY = history.collection_name("")
_READING, _ERASING = ("find",), ("find", "update")
_STRIKING = {outbox.COLLECTION: ("find", "remove"), outbox.DRAFTS: ("find", "update")}


async def other_collections(
    database: AsyncDatabase[Document], configured: Sequence[str]
) -> list[str]:
    """Return the names of all that exist besides the configured ones."""
    there = await _if_allowed(database.list_collection_names)
    known = await _if_allowed(lambda: database[checkpoints.COLLECTION].distinct("_id"))
    told = await _if_allowed(lambda: database[daemons.COLLECTION].distinct("leads"))
    on_record = [name.removeprefix(_HISTORY) for name in there if name.startswith(_HISTORY)]
    names = {name for name in (*known, *told, *on_record) if isinstance(name, str) and name}
    others = names & set(there) if there else names
    return sorted(others - set(configured))


async def _if_allowed(read: Callable[[], Awaitable[Sequence[Any]]]) -> Sequence[Any]:
    try:
        return await read()
    except OperationFailure as error:
        if not is_denied(error):
            raise
        return ()


async def lacking(database: AsyncDatabase[Document], source: Source) -> list[str]:
    """Return the privileges for erasing that this user lacks there, such as `update on crm.customers`."""
    wanted = {source.collection: _READING, source.results: _ERASING}
    return await privileges.missing(database.client, database.name, wanted)


# Ids that contain the address of a person who is forgotten: our copies of them are removed.

_HAS_AT = re.compile(r"@|%40|\uff20", re.IGNORECASE)
_PARTS = re.compile(r"[\s:;,/|#]+")


async def forget_ids(
    database: AsyncDatabase[Document], histories: Sequence[History], person: Identity
) -> int | None:
    """Strike such ids from these records of history; return how many, or `None` if the user may not remove them.

    A backfill whose position is such an id starts over, and requests no lead twice.
    """
    await forget_positions(database, lambda texts: _names(texts, person))
    try:
        return sum([await _strike(history, person) for history in histories])
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
        return None


async def _strike(history: History, person: Identity) -> int:
    named = [id_ async for id_, texts in history.texts() if _names(texts, person)]
    for id_ in named:
        await history.strike(id_)
    return len(named)


def _names(texts: Iterable[str], person: Identity) -> bool:
    """PURE Return True when a text is the person's address in any spelling, or contains it among others."""
    return any(
        identify(Inputs(email=part)).email_key == person.email_key
        for text in texts
        if _HAS_AT.search(text)
        for part in dict.fromkeys((text, *_PARTS.split(text)))
        if _HAS_AT.search(part)
    )


WHY = "enricher forget"


async def forget(settings: Settings, address: str) -> None:
    """Erase and suppress. Raises SettingsError for text that is not an address; DatabaseRefused when the user may
    not erase in every leads collection, or when a lead is fatal (written no more)."""
    person = named(address)
    console = Console(highlight=False, soft_wrap=True)
    async with opened(settings) as database:
        with explained("forgetting"):
            sources, denied = await _sources(settings, database)
            strikes, ungranted = await _events(settings, database)
            denied += ungranted
            forgetting = await _forgetting(settings, database, sources, strikes=strikes)
            done = await forgetting.run(person, WHY, reads_all=True)
            histories = [
                wiring.history(settings, database[each.collection], each) for each in sources
            ]
            struck = await forget_ids(database, histories, person)
    _report(console, address, done, list(dict.fromkeys(each.collection for each in sources)))
    _report_ids(console, struck)
    if done.written_off:
        raise DatabaseRefused(
            f"leads not erased, because each write to them ended the server: {len(done.written_off):,}; enricher_fatal"
            " names them: mend or delete them, delete their entries there, and run this again"
        )
    if denied:
        raise DatabaseRefused(
            f"not erased everywhere: MongoDB does not grant {', '.join(denied)}; run this again as a user who has it"
        )


def named(address: str) -> Identity:
    """Return the one person with that address. Raises SettingsError for anything else."""
    person = identify(Inputs(email=address))
    if person.email_key is None:
        raise SettingsError(["EMAIL: not an e-mail address"])
    if MULTIPLE_EMAILS in person.flags:  # only the first would be forgotten
        raise SettingsError(["EMAIL: more than one address; give one at a time"])
    return person


async def _sources(
    settings: Settings, database: AsyncDatabase[Document]
) -> tuple[list[Source], list[str]]:
    """Return the sources to look at, and the privileges missing on others."""
    own = list(settings.sources)
    names = await other_collections(database, [source.collection for source in own])
    others = [*map(settings.source_of, names), *await _left(settings, database)]
    lacks = [(source, await lacking(database, source)) for source in others]
    denied = [privilege for _, missing in lacks for privilege in missing]
    return [*own, *(source for source, missing in lacks if not missing)], denied


async def _left(settings: Settings, database: AsyncDatabase[Document]) -> list[Source]:
    """Return a source for each collection of results that none of the settings' writes any more."""
    there = await _if_allowed(database.list_collection_names)
    written = {source.results for source in settings.sources}
    left = sorted(name for name in there if name.startswith(RESULTS) and name not in written)
    leads = [settings.source_of(name.removeprefix(RESULTS)) for name in left]
    return [replace(source, write=Write.BESIDE) for source in leads]


async def _events(settings: Settings, database: AsyncDatabase[Document]) -> tuple[bool, list[str]]:
    """Return whether there are events to delete, and the privileges missing for it.

    Those of daemons with other settings count too, or of a time when events were on."""
    listing = partial(database.list_collection_names, authorizedCollections=True)
    there = await _if_allowed(listing)
    wanted = {name: privilege for name, privilege in _STRIKING.items() if name in there}
    wanted = _STRIKING if settings.events.are_on else wanted
    lacking = await privileges.missing(database.client, database.name, wanted)
    return bool(wanted) and not lacking, lacking


async def _forgetting(
    settings: Settings,
    database: AsyncDatabase[Document],
    sources: Sequence[Source],
    *,
    strikes: bool,
) -> Forgetting:
    return Forgetting(
        Suppressed(database),
        [wiring.erasure(settings, database[each.collection], each) for each in sources],
        Cache(database, WHY, settings.work.lease_seconds),
        await keyring(database, settings.privacy.hash_key),
        _providers(settings),
        words_of(settings),
        partial(outbox.forget, database) if strikes else None,
    )


def _providers(settings: Settings) -> tuple[Provider, ...]:
    """Build all providers: answers outlive the key they were bought with. None of them is asked here."""
    unused = SecretStr("unused")
    accesses = {name: Access(unused, vendor.base_url) for name, vendor in settings.vendors.items()}
    return registry.build(NOBODY, accesses, {}).providers


def _report_ids(console: Console, struck: int | None) -> None:
    if struck is None:
        console.print(
            "ids that are this address stay on the record of history: grant remove on it"
            " (deploy/mongodb/role.js does) and repeat this command"
        )
    elif struck:
        console.print(f"ids with this address struck from the record of history: {struck:,}")


def _report(console: Console, address: str, done: Forgotten, names: Sequence[str]) -> None:
    state = "is" if done.is_new else "was already"
    console.print(
        f"{address} {state} suppressed: no lead with this address is enriched any more.",
        markup=False,
    )
    console.print(f"looked at: {', '.join(names)}", markup=False)
    console.print(f"leads erased: {done.leads:,}")
    if done.changed:
        console.print(f"leads with another address by now, erased as well: {done.changed:,}")
    if done.refused:
        console.print(f"leads that MongoDB refuses to write (validator, size): {done.refused:,}")
    console.print(f"stored answers removed: {done.answers:,}")


# `enricher forget --undo` and `--list`: who must not be asked about, and who may be again.

_DIGITS_SHOWN = 12


async def undo(settings: Settings, address: str) -> None:
    """Let daemons ask about the person again. Raises SettingsError for text that is not an address."""
    person = named(address)
    async with opened(settings) as database:
        with explained("removing the entry"):
            ring = await keyring(database, settings.privacy.hash_key)
            key = key_of(ring, person.email_key or "")
            was_there = await Suppressed(database).remove(key)
    _console().print(_undone(address) if was_there else f"{address} was not suppressed.")


def _undone(address: str) -> str:
    return (
        f"{address} is suppressed no more. What was erased is not brought back, and leads that were"
        " skipped for it stay skipped until their status is set to pending (enricher reenrich)."
    )


async def list_entries(settings: Settings) -> None:
    """Print one line for each entry, oldest first. No address can be shown: none is stored."""
    console, entries = _console(), 0
    async with opened(settings) as database:
        with explained("reading the entries"):
            async for entry in Suppressed(database).entries():
                entries += 1
                console.print(_line(entry))
    if not entries:
        console.print("Nobody is suppressed.")


def _line(entry: SuppressionEntry) -> str:
    at = entry.at and entry.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{at or 'unknown':<24} {entry.key[:_DIGITS_SHOWN]}  {entry.why}"


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
