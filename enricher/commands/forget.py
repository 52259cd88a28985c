"""`enricher forget`: a person is erased from the leads and the stored answers, and stays away."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console

from enricher.calls.cache import Cache
from enricher.commands.database import explained, opened
from enricher.commands.ids import forget_ids
from enricher.commands.territory import lacking, leads_collections
from enricher.errors import DatabaseRefused, SettingsError
from enricher.identity.identify import MULTIPLE_EMAILS, Identity, identify
from enricher.lead import Document, Inputs
from enricher.mongo.secret import keyring
from enricher.privacy.erasure import Erasure
from enricher.privacy.forgetting import Forgetting, Forgotten
from enricher.privacy.suppression import Suppressed
from enricher.providers import registry
from enricher.providers.base import Access, Provider
from enricher.providers.transport import NOBODY
from enricher.settings.load import Settings
from enricher.wiring import words_of

WHY = "enricher forget"


async def forget(settings: Settings, address: str) -> None:
    """Erase and suppress. Raises SettingsError for what is no address, DatabaseRefused
    when the user may not erase in every collection of leads."""
    person = named(address)
    console = Console(highlight=False, soft_wrap=True)
    async with opened(settings) as database:
        with explained("forgetting"):
            names, denied = await _collections(settings, database)
            forgetting = await _forgetting(settings, database, names)
            done = await forgetting.run(person, WHY, reads_all=True)
            struck = await forget_ids(database, names, person)
    _report(console, address, done, names)
    _report_ids(console, struck)
    if denied:
        raise DatabaseRefused(
            f"not erased everywhere: MongoDB does not grant {', '.join(denied)}; run this again as a user who has it"
        )


def named(address: str) -> Identity:
    """The one person with that address. Raises SettingsError for anything else."""
    person = identify(Inputs(email=address))
    if person.email_key is None:
        raise SettingsError(["EMAIL: not an e-mail address"])
    if MULTIPLE_EMAILS in person.flags:  # only the first would be forgotten
        raise SettingsError(["EMAIL: more than one address; give one at a time"])
    return person


async def _collections(
    settings: Settings, database: AsyncDatabase[Document]
) -> tuple[list[str], list[str]]:
    """The collections to look at, and what is not granted on the others."""
    own, *others = await leads_collections(database, settings.mongo.collection)
    lacks = {name: await lacking(database, name) for name in others}
    denied = [privilege for name in others for privilege in lacks[name]]
    return [own, *(name for name in others if not lacks[name])], denied


async def _forgetting(
    settings: Settings, database: AsyncDatabase[Document], names: Sequence[str]
) -> Forgetting:
    return Forgetting(
        Suppressed(database),
        [Erasure(database[name]) for name in names],
        Cache(database, WHY, settings.work.lease_seconds),
        await keyring(database, settings.privacy.hash_key),
        _providers(settings),
        words_of(settings),
    )


def _providers(settings: Settings) -> tuple[Provider, ...]:
    """All that there are: answers outlive the key they were bought with. Nobody is asked here."""
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
