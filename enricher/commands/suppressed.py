"""`enricher forget --undo` and `--list`: who must not be asked about, and who may be again."""

from __future__ import annotations

from datetime import UTC

from rich.console import Console

from enricher.commands.database import explained, opened
from enricher.commands.forget import named
from enricher.mongo.secret import keyring
from enricher.privacy.suppression import Suppressed, SuppressionEntry, key_of
from enricher.settings.load import Settings

_DIGITS_SHOWN = 12


async def undo(settings: Settings, address: str) -> None:
    """Daemons may ask about the person again. Raises SettingsError for what is no address."""
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
    """One line for each, oldest first. No address can be shown: none is stored."""
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
