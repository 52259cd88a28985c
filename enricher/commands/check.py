"""`enricher check`: would `enricher run` work here? Prints one line for each thing that it needs.

Nothing is left behind, and nothing is charged: privileges are looked up and not tried out, the stream is
opened at its end and closed, and vendors get only free requests. A line never shows a key, a URI or
anything about a lead.

    ok        as it should be, or `enricher run` will set it up by itself
    FAILED    leads would not be enriched, or only by polling
    skipped   not needed here (no key), or it could not be examined (no connection, no privilege)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TypeAlias

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.text import Text

from enricher import privileges, wiring
from enricher.calls.ceiling import MILLION, Ceiling, ceiling_of
from enricher.enrichment.rechecks import rules_of
from enricher.errors import CheckFailed, DatabaseError, EnricherError, SettingsError
from enricher.fields import Names
from enricher.identity.identify import Identity, identify
from enricher.intake.changes import Changes, StreamUnavailable
from enricher.intake.checkpoints import Checkpoint
from enricher.lead import Document
from enricher.mongo import DatabaseTrouble, server, sharding
from enricher.mongo.embedded import find_mongod
from enricher.mongo.outage import describe, reading
from enricher.mongo.secret import keyring_if_made
from enricher.providers.base import Provider
from enricher.providers.http import broken
from enricher.queue import apart, copying, unmoved
from enricher.queue.beside import reads_all
from enricher.queue.conditions import leads_of, queue_of, require
from enricher.queue.indexes import Indexes
from enricher.queue.inputs import mapping_of, read_inputs
from enricher.settings.load import EventSettings, Settings
from enricher.settings.sources import Source
from enricher.settings.types import in_words
from enricher.status.overview import webhook_status
from enricher.status.view import webhook
from enricher.values.storable import one_line
from enricher.webhook.deliveries import Deliveries
from enricher.webhook.sending import reach

_CONNECTIONS = 2
_SUBJECT_WIDTH = 16
_OF_LOGINS = "admin"
"""What a URI names for the sake of the credentials alone."""


class Result(StrEnum):
    """The result of one check; the text is what is printed."""

    OK = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


Finding: TypeAlias = tuple[Result, str]
_COLOURS = {Result.OK: "green", Result.FAILED: "bold red", Result.SKIPPED: "dim"}
_AFTER_CONNECTING = (
    "replica set",
    "privileges",
    "hash key",
    "indexes",
    "leads",
    "sample",
    "stream",
)


@dataclass(slots=True)
class Lines:
    """Prints the lines, aligned, and records which of them failed."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    failed: list[str] = field(default_factory=list)
    collections: Sequence[str] = ()
    """Those of the leads: where there are several, each has lines of its own."""

    async def say_of_each(self, subject: str, check: Callable[[str], Awaitable[Finding]]) -> None:
        """Print a line for each collection of leads."""
        for name in self.collections:
            of = f" {name}" if len(self.collections) > 1 else ""
            self.say(f"{subject}{of}", await _tried(check(name)))

    def say(self, subject: str, verdict: Finding) -> None:
        state, detail = verdict
        if state is Result.FAILED:
            self.failed.append(subject)
        word = (f"{state:<8}", _COLOURS[state])
        self.console.print(Text.assemble(f"{subject:<{self._width}}", word, f" {one_line(detail)}"))

    @property
    def _width(self) -> int:
        """Aligned beside the longest subject that there is one of for each collection."""
        longest = max(map(len, self.collections)) if len(self.collections) > 1 else 0
        return max(_SUBJECT_WIDTH, longest + len("privileges  "))


async def report(settings: Settings) -> None:
    """Print every line. Raises DatabaseError without a usable replica set, CheckFailed if a check failed."""
    lines = Lines(collections=[source.collection for source in settings.sources])
    lines.say("settings", places(settings))
    if settings.mongo.uri is None:
        trouble = _embedded(lines)
    else:
        trouble = await _database(settings, settings.mongo.uri.get_secret_value(), lines)
    lines.say("webhook", await _webhook(settings.events))
    await _providers(settings, lines)
    if trouble is not None:
        raise trouble
    if lines.failed:
        raise CheckFailed(f"enricher check: failed for {', '.join(lines.failed)}")


def places(settings: Settings) -> Finding:
    """Say where the leads are: a URI that ends with the name of a database seems to say so too, and does not."""
    uri, database = settings.mongo.uri, settings.mongo.database
    leads = ", ".join(f"{database}.{each.collection}" for each in settings.sources)
    named = uri and server.database_named_in(uri.get_secret_value())
    hint = f" (MONGODB_DATABASE says so, not MONGODB_URI, which names {named})"
    is_misleading = named and named not in (database, _OF_LOGINS)
    return (
        Result.OK,
        f"leads are in {leads}{hint if is_misleading else ''}, {settings.work.concurrency} at a time are worked on",
    )


# -- MongoDB -------------------------------------------------------------------------------


def _embedded(lines: Lines) -> DatabaseError | None:
    try:
        binary = find_mongod()
    except DatabaseError as error:
        lines.say(
            "mongodb", (Result.FAILED, "MONGODB_URI is not set, and no embedded server found")
        )
        return error
    detail = f"MONGODB_URI is not set: `enricher run` starts an embedded server ({binary})"
    lines.say("mongodb", (Result.OK, detail))
    _skip(lines, "there is no server yet")
    return None


async def _database(settings: Settings, uri: str, lines: Lines) -> DatabaseError | None:
    """Print each line that can be determined; return the error that keeps a daemon from starting or streaming."""
    database = settings.mongo.database
    async with server.connect(uri, _CONNECTIONS) as client:
        try:
            each = [
                await server.inspect(client, database, leads, settings.source_of(leads).results)
                for leads in lines.collections
            ]
        except DatabaseError as error:
            lines.say("mongodb", (Result.FAILED, str(error)))
            _skip(lines, "MongoDB cannot be used")
            return error
        found = each[0]
        lines.say("mongodb", (Result.OK, f"version {found.version} answers, leads can be read"))
        lines.say("replica set", _replica_set(found))
        await lines.say_of_each("privileges", partial(_privileges, settings, client))
        lines.say("hash key", await _tried(_hash_key(settings, client)))
        await lines.say_of_each("indexes", partial(_indexes, settings, client))
        conditions = await _judge_conditions(settings, client)
        await lines.say_of_each(
            "leads", conditions.unless_refused(partial(_leads, settings, client))
        )
        await lines.say_of_each(
            "sample", conditions.unless_refused(partial(_sample, settings, client))
        )
        if any(source.only or source.person_only for source in settings.sources):
            await lines.say_of_each("conditions", conditions.of)
        if any(source.copy for source in settings.sources):
            await lines.say_of_each("copies", partial(_copies, settings, client))
        await lines.say_of_each("stream", partial(_stream, settings, client))
        if settings.events.url is not None:
            lines.say("deliveries", await _tried(_deliveries(client[database])))
        if found.replica_set == server.ROUTER:
            for finding in await _shard_keys(client, database, lines.collections):
                lines.say("shard key", finding)
    return None if found.replica_set else DatabaseError("MongoDB is not a replica set")


def _skip(lines: Lines, why: str) -> None:
    for subject in _AFTER_CONNECTING:
        lines.say(subject, (Result.SKIPPED, why))


async def _tried(check: Awaitable[Finding]) -> Finding:
    """Await a check; report only the type and code of a driver's error: its text may quote a document."""
    try:
        return await check
    except (*DatabaseTrouble, TimeoutError) as error:
        return Result.FAILED, describe(error)


def _replica_set(found: server.Server) -> Finding:
    if found.replica_set == server.ROUTER:
        return Result.OK, "a sharded cluster"
    if found.replica_set:
        return Result.OK, found.replica_set
    return (
        Result.FAILED,
        "a standalone server has no change streams: leads are found by polling",
    )


def _indexes_of(settings: Settings, client: AsyncMongoClient[Document], leads: str) -> Indexes:
    source = settings.source_of(leads)
    return Indexes(client[settings.mongo.database][source.results], source.names)


async def _privileges(
    settings: Settings, client: AsyncMongoClient[Document], leads: str
) -> Finding:
    """Check the privileges. An index that exists already needs no privilege to create it."""
    database = settings.mongo.database
    source = settings.source_of(leads)
    what = {"is_beside": source.is_beside, "has_events": settings.events.are_on}
    required, desired = privileges.required(leads, **what), privileges.desired(leads, **what)
    wanted = {
        collection: [*required.get(collection, ()), *desired.get(collection, ())]
        for collection in required | desired
    }
    lacking = await privileges.missing(client, database, wanted)
    making = f"createIndex on {database}.{source.results}"
    if making in lacking and await _indexes_of(settings, client, leads).missing() == []:
        lacking.remove(making)
    if lacking:
        return Result.FAILED, f"missing: {', '.join(lacking)}"
    can_be = "read" if source.is_beside else "updated"
    return Result.OK, f"leads can be {can_be}, side collections written, indexes made"


async def _hash_key(settings: Settings, client: AsyncMongoClient[Document]) -> Finding:
    """Check whether this start could read what is stored under keyed hashes."""
    key = settings.privacy.hash_key
    try:
        ring = await keyring_if_made(client[settings.mongo.database], key)
    except EnricherError as error:
        return Result.FAILED, str(error)
    if ring is None:
        return Result.OK, "made at the first start of `enricher run`"
    return (
        Result.OK,
        f"fits what is stored; kept in {'the database' if key is None else 'ENRICHER_HASH_KEY'}",
    )


async def _indexes(settings: Settings, client: AsyncMongoClient[Document], leads: str) -> Finding:
    missing = await _indexes_of(settings, client, leads).missing()
    if missing is None:
        where = f"{settings.mongo.database}.{settings.source_of(leads).results}"
        return Result.FAILED, f"unknown: the user lacks listIndexes on {where}"
    source = settings.source_of(leads)
    if source.is_beside and await reads_all(client[settings.mongo.database][leads]):
        return Result.FAILED, _NO_INDEX_FOR_TEXTS.format(leads=leads, of_shell=_in_the_shell(leads))
    if missing:
        return Result.OK, f"made at the start of `enricher run`: {', '.join(missing)}"
    return Result.OK, "present"


_NO_INDEX_FOR_TEXTS = (
    "{leads} has a collation of its own, so all of it is read to find one lead by a text _id: "
    '{of_shell}.createIndex({{_id: 1, email: 1}}, {{collation: {{locale: "simple"}}}})'
)


_UNMOVED = {
    "foreign": "with a status that is none of ours",
    "no_text": "with a status that is no text",
    "unset": "whose status was taken away",
    "stray": "in work and held by nobody, which a daemon takes up",
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the server says of each source's conditions. One that it refuses is one mistake, and one line."""

    findings: Mapping[str, Finding]

    async def of(self, name: str) -> Finding:
        return self.findings[name]

    def unless_refused(
        self, check: Callable[[str], Awaitable[Finding]]
    ) -> Callable[[str], Awaitable[Finding]]:
        """Return the check, for collections whose condition can be asked with."""

        async def checked(name: str) -> Finding:
            if self.findings[name][0] is Result.FAILED:
                return Result.SKIPPED, "needs the condition, which fails below"
            return await check(name)

        return checked


async def _judge_conditions(settings: Settings, client: AsyncMongoClient[Document]) -> Conditions:
    names = [source.collection for source in settings.sources]
    return Conditions({name: await _tried(_condition(settings, client, name)) for name in names})


async def _condition(settings: Settings, client: AsyncMongoClient[Document], name: str) -> Finding:
    """Try the source's conditions, by an update of no lead and by reading one."""
    source = settings.source_of(name)
    try:
        await require(client[settings.mongo.database], source)
    except SettingsError as error:
        return Result.FAILED, str(error)
    return Result.OK, "the server takes them"


async def _leads(settings: Settings, client: AsyncMongoClient[Document], name: str) -> Finding:
    """Fail for fatal leads only. Leads that nothing moves are reported: statuses are their writers' business."""
    source = settings.source_of(name)
    leads, names = queue_of(client[settings.mongo.database], source), source.names
    if deadly := await apart.count_fatal(leads):
        return (
            Result.FAILED,
            f"{deadly:,} ended the server and are written no more: see enricher_fatal",
        )
    found = await unmoved.count(leads, names)
    if found is None:
        return Result.OK, "those that nothing moves are counted once the indexes are there"
    parts = [f"{n:,} {_UNMOVED[why]}" for why, n in found.items() if n]
    if not parts:
        return Result.OK, "none is left lying"
    return Result.OK, f"nothing moves {', '.join(parts)}{remedy(found, leads.name, names)}"


def remedy(found: Mapping[str, int], leads: str, names: Names) -> str:
    """PURE Say how to have such leads enriched; strays come back by themselves. Only a status of somebody else's tells
    which leads are meant."""
    if not any(n for why, n in found.items() if why != "stray"):
        return ""
    status = names.enrichment_status
    status = f'"{status}"' if "." in status else status
    which = f'updateMany({{{status}: "new"}}' if found.get("foreign") else "updateOne({_id: ID}"
    command = f'{_in_the_shell(leads)}.{which}, {{$set: {{{status}: "pending"}}}})'
    return f'; for one to be enriched, set it to "pending": {command}'


def _in_the_shell(collection: str) -> str:
    """Return what names the collection in `mongosh`: form-submissions alone would be a subtraction."""
    is_word = collection.replace(".", "_").isidentifier()
    return f"db.{collection}" if is_word else f'db.getCollection("{collection}")'


_SAMPLED = 20


async def _sample(settings: Settings, client: AsyncMongoClient[Document], name: str) -> Finding:
    """Read the newest documents as the daemon would, and count what they gave."""
    database = client[settings.mongo.database]
    source = settings.source_of(name)
    view = {"_id": 1, "inputs": mapping_of(source).inputs}
    newest = database[name].find({}, view).sort("$natural", -1).limit(_SAMPLED)
    with reading(f"{database.name}.{name}"):
        found = await newest.to_list()
        these = {"_id": {"$in": [each["_id"] for each in found]}}
        leads = await leads_of(database, source).count_documents(these) if source.only else 0
    finding, said = _sampled(source, [identify(read_inputs(each["inputs"])) for each in found])
    excluded = f"; only excludes {len(found) - leads} of them" if source.only and found else ""
    return finding, f"{said}{excluded}"


def _sampled(source: Source, read: Sequence[Identity]) -> Finding:
    """Say what documents gave. A mapping by which none gives anything is wrong."""
    if not read:
        return Result.OK, "there is no document yet"
    gave = {
        "an e-mail": sum(each.email is not None for each in read),
        "a company": sum(bool(each.company or each.company_domain) for each in read),
        "a person": sum(each.full_name is not None for each in read),
        "nothing": sum(_is_empty(each) for each in read),
    }
    told = ", ".join(f"{count} {what}" for what, count in gave.items())
    said = f"of the {len(read)} newest documents {told}"
    if gave["nothing"] < len(read):
        return Result.OK, said
    if source.read == Source().read:
        return Result.OK, f"{said}: where are the leads' values? ENRICHER_CONFIG says it"
    return Result.FAILED, f"{said}: do the paths of [source.read] fit these documents?"


def _is_empty(read: Identity) -> bool:
    stated = (read.email, read.company, read.company_domain, read.full_name)
    return not any(stated) and read.is_valid


async def _copies(settings: Settings, client: AsyncMongoClient[Document], name: str) -> Finding:
    """Say what is copied, and on how many of the newest documents something stands in its way now."""
    source, database = settings.source_of(name), client[settings.mongo.database]
    if not source.copy:
        return Result.OK, "nothing is copied"
    view = {each.to: copying.is_in_no_object(each.names) for each in source.copy}
    flat = {f"c{number}": each for number, each in enumerate(view.values())}
    with reading(f"{database.name}.{name}"):
        found = await database[name].find({}, flat).sort("$natural", -1).limit(_SAMPLED).to_list()
    hindered = {
        to: sum(document[key] for document in found) for to, key in zip(view, flat, strict=True)
    }
    told = (
        f"{each.value} to {each.to} ({each.policy})"
        + (f", in no object on {hindered[each.to]} of {len(found)}" if hindered[each.to] else "")
        for each in source.copy
    )
    return Result.OK, "; ".join(told)


async def _stream(settings: Settings, client: AsyncMongoClient[Document], leads: str) -> Finding:
    """Open the stream at its end, so that nothing is read and no position is moved."""
    if not settings.work.stream:
        return Result.SKIPPED, "ENRICHER_STREAM is off: leads are found by polling"
    source = settings.source_of(leads)
    changes = Changes(
        client[settings.mongo.database][leads], names=source.names, is_beside=source.is_beside
    )
    try:
        await changes.open(Checkpoint(None, datetime.now(UTC), None, history_known=False))
    except StreamUnavailable as error:
        return Result.FAILED, str(error)
    finally:
        await changes.close()
    return Result.OK, "can be opened"


async def _shard_keys(
    client: AsyncMongoClient[Document], database: str, collections: Sequence[str]
) -> list[Finding]:
    """Report each sharded collection of ours. No key fails the check: it takes time, or depends on the router's version."""
    ours = dict.fromkeys(
        name
        for leads in collections
        for name in privileges.required(leads, has_events=True) | privileges.desired(leads)
    )
    try:
        keys = await sharding.read(client, [f"{database}.{name}" for name in ours])
    except (*DatabaseTrouble, TimeoutError) as error:
        return [(Result.SKIPPED, f"config.collections cannot be read: {describe(error)}")]
    return about_shard_keys(keys)


def about_shard_keys(keys: Mapping[str, sharding.ShardKey] | None) -> list[Finding]:
    """PURE Return a line for each sharded collection, or the one that says why there is none."""
    if keys is None:
        hint = (
            "find on config.collections is not granted, and not needed; sh.status() shows the keys"
        )
        return [(Result.SKIPPED, f"unknown: {hint}")]
    if not keys:
        return [(Result.OK, "no collection of ours is sharded")]
    return [(Result.OK, sharding.describe(name, key)) for name, key in keys.items()]


# -- the webhook ---------------------------------------------------------------------------


async def _webhook(events: EventSettings) -> Finding:
    """Connect to the receiver, and post nothing. Of the address only the host is shown."""
    if events.url is None:
        published = "published in enricher_events alone" if events.are_on else "off"
        return Result.OK, f"ENRICHER_WEBHOOK_URL is not set; events are {published}"
    problem = await reach(events.url.get_secret_value())
    if problem is not None:
        return Result.FAILED, f"{events.shown_url} cannot be reached: {problem}"
    signed = "two secrets" if len(events.keys) > 1 else "one secret"
    return Result.OK, f"{events.shown_url} takes connections; posts are signed with {signed}"


async def _deliveries(database: AsyncDatabase[Document]) -> Finding:
    """Say what the receiver is yet to get. Fails while it takes nothing."""
    found = await Deliveries(database).waiting()
    said = webhook(webhook_status(found, None), datetime.now(UTC))
    return (Result.OK if found.failing_since is None else Result.FAILED), said


# -- providers -----------------------------------------------------------------------------


async def _providers(settings: Settings, lines: Lines) -> None:
    async with wiring.vendors(settings) as registered:
        seconds = settings.work.provider_timeout_seconds
        probes = (_probe(provider, seconds) for provider in registered.providers)
        verdicts = await asyncio.gather(*probes)
    if most := ceiling_of(settings):
        lines.say("ceiling", ceiling(most, registered.providers))
    for provider, verdict in zip(registered.providers, verdicts, strict=True):
        lines.say(provider.name, verdict)
    for name, why in registered.without_key.items():
        lines.say(name, (Result.SKIPPED, why))
    if settings.rechecks.after:
        lines.say("rechecks", say_whom_rechecks_ask(settings, registered.providers))


def say_whom_rechecks_ask(settings: Settings, providers: Sequence[Provider]) -> Finding:
    """Return whom rechecks ask, and which price has to be known for the others."""
    rules = rules_of(settings.rechecks, settings.vendors, providers)
    times = ", ".join(map(in_words, settings.rechecks.after))
    asked = ", ".join(each.name for each in providers if each.name in rules.priced)
    left_out = {
        each.name: f"{each.vendor.upper()}_CREDIT_PRICE"
        for each in providers
        if not each.is_free and not each.finds_domain and each.name not in rules.priced
    }
    others = "; ".join(f"{name} only with {price}" for name, price in left_out.items())
    found = f"after {times}, ask {asked or 'nobody'}" + (f"; {others}" if others else "")
    return (Result.OK if asked else Result.SKIPPED), found


def ceiling(most: Ceiling, providers: Sequence[Provider]) -> Finding:
    """PURE Say which providers a lead can never be asked of, for what a call may cost."""
    costs = {each.name: most.cost_of(each) for each in providers if not each.is_free}
    unit = "in your currency" if most.is_money else "credits of any vendor"
    said = f"a lead may cost {most.amount:g} ({unit})"
    if not costs:
        return Result.OK, f"{said}; no provider costs anything"
    cheapest = min(costs.values())
    if cheapest > most.most:
        price = f"{cheapest / MILLION:g}"
        return Result.FAILED, f"{said}, and the cheapest call may cost {price}: none is ever made"
    never = [each.name for each in providers if not most.affords(each)]
    return Result.OK, said + (f"; never asked: {', '.join(never)}" if never else "")


async def _probe(provider: Provider, seconds: float) -> Finding:
    if provider.is_free and not _can_probe(provider):
        return Result.OK, "needs no key"
    if not _can_probe(provider):
        return Result.SKIPPED, "there is a key; it is not tried, for no free call is known"
    left: float | None = None
    try:
        async with asyncio.timeout(seconds):
            problem = await provider.probe()
            left = None if problem else await provider.quota_left()
    except TimeoutError:
        problem = "timed out"
    except Exception as error:  # noqa: BLE001 - a provider may be anybody's code
        problem = broken(provider, error)
    return (Result.FAILED, problem) if problem else (Result.OK, _good(provider, left))


def _can_probe(provider: Provider) -> bool:
    return type(provider).probe is not Provider.probe


def _good(provider: Provider, left: float | None) -> str:
    if provider.is_free:
        return "answers; needs no key"
    return "the key is accepted" + ("" if left is None else f", {left:,.0f} credits are left")
