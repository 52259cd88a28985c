"""`enricher reenrich`: sets the leads that an operator names to `pending`; daemons do the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from enricher import wiring
from enricher.calls.ceiling import Ceiling, ceiling_of, promise
from enricher.commands import database
from enricher.commands.database import Meter, explained, filtering, only_one, opened
from enricher.errors import ExitCode, SettingsError
from enricher.lead import Document, LeadId, Status
from enricher.mongo.secret import Keyring, keyring
from enricher.queue.conditions import leads_of
from enricher.queue.inputs import by_address
from enricher.queue.requests import Asked, Requests
from enricher.settings.load import Settings
from enricher.settings.sources import Source

_DOING = "asking for the leads"
NO_ADDRESS = (
    "No lead has this address; tried as typed, in lower case, and as vendors are asked about it."
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which leads, as typed: exactly one of the four."""

    id: str | None = None
    email: str | None = None
    query: str | None = None
    failed: bool = False

    def __post_init__(self) -> None:
        given = [self.id is not None, self.email is not None, self.query is not None, self.failed]
        if sum(given) != 1:
            raise SettingsError(["reenrich: give one of --id, --email, --query and --failed"])


async def reenrich(
    settings: Settings, chosen: Chosen, collection: str | None = None, *, refresh: bool
) -> ExitCode:
    """Request the leads. Returns UNEXPECTED when no lead has the given id or address."""
    console = Console(highlight=False, soft_wrap=True)
    source = only_one(settings, collection)
    match = _match(chosen, source)  # report wrong arguments before connecting
    async with opened(settings) as database:
        with explained(_DOING):
            ring = await keyring(database, settings.privacy.hash_key) if refresh else None
            requests = wiring.requests(settings, leads_of(database, source), source)
            most = ceiling_of(settings)
            if chosen.id is not None:
                return await _by_id(console, requests, source, chosen.id, ring, most)
            asked = await _by_match(console, requests, match, ring, is_by_state=chosen.failed)
    if chosen.email is not None and asked == Asked():
        console.print(NO_ADDRESS + _of_condition(source))
        return ExitCode.UNEXPECTED
    _report(console, asked, most)
    return ExitCode.OK


def _match(chosen: Chosen, source: Source) -> Document:
    if chosen.query is not None:
        return database.query(chosen.query)
    if chosen.email is not None:
        return by_address(source, database.spellings(chosen.email))
    return {source.names.enrichment_status: Status.FAILED}


async def _by_id(
    console: Console,
    requests: Requests,
    source: Source,
    text: str,
    refresh: Keyring | None,
    most: Ceiling | None,
) -> ExitCode:
    meanings = database.ids(text)
    found = await requests.named([id_ for _, id_ in meanings])
    if not found:
        tried = ", then ".join(kind for kind, _ in meanings)
        console.print(f"No lead has this _id; tried as {tried}.{_of_condition(source)}")
        return ExitCode.UNEXPECTED
    _report(console, await requests.ask(found, refresh=refresh), most)
    return ExitCode.OK


def _of_condition(source: Source) -> str:
    """The document may be there all the same."""
    return " What does not meet `only` is no lead: see `enricher explain`." if source.only else ""


async def _by_match(
    console: Console,
    requests: Requests,
    match: Document,
    refresh: Keyring | None,
    *,
    is_by_state: bool,
) -> Asked:
    asked = Asked()
    found = requests.in_state(match) if is_by_state else requests.matching(match)
    only, state = (None, match) if is_by_state else (match, None)
    with Meter(console, "Leads asked for", None) as meter:
        async for ids in _batches(found):
            asked += await requests.ask(ids, only=only, state=state, refresh=refresh)
            meter.at(asked.set)
    return asked


async def _batches(found: AsyncIterator[list[LeadId]]) -> AsyncIterator[Sequence[LeadId]]:
    with filtering():
        async for ids in found:
            yield ids


def _report(console: Console, asked: Asked, most: Ceiling | None) -> None:
    leads = "lead is" if asked.set == 1 else "leads are"
    console.print(f"{asked.set:,} {leads} pending now." if asked.set else "No lead matched.")
    if asked.set and most is not None:
        console.print(promise(most, asked.set))
    if asked.refused:
        console.print(f"{asked.refused:,} could not be written: MongoDB refuses (validator, size).")
