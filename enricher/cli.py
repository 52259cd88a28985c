"""The commands. Each ends with one of `errors.ExitCode`, and with one clear line when it cannot continue."""

from __future__ import annotations

from enricher.process import beginning

# isort: split

import functools
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from loguru import logger

from enricher import __version__
from enricher.contract.formats import SchemaFormat, contract
from enricher.errors import EnricherError, ExitCode, SettingsError
from enricher.process import shortage, signals
from enricher.settings.load import LogSettings, Settings, is_exposed, load
from enricher.telemetry import log
from enricher.values.storable import many_lines

_COLLECTION = typer.Option(
    "--collection", help="Collection of the leads, where the settings name several."
)

DATA_DIR = Path("enricher-data")
"""Where `enricher run` keeps its embedded MongoDB."""

cli = typer.Typer(
    name="enricher",
    help="Enriches every lead inserted into a MongoDB collection, within seconds and exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> NoReturn:
    """Entry point: usage errors end with 2, as settings errors do; everything unexpected with 1.

    SIGTERM and a closed terminal end a command as Ctrl-C does, with everything that it started
    (`process/signals.py`). Even errors before the settings are loaded are logged redacted.
    """
    signals.end_at_once()
    log.configure(LogSettings(), "enricher", __version__)
    try:
        command()(standalone_mode=True)
    except EnricherError as error:
        print(many_lines(str(error)), file=sys.stderr)  # noqa: T201 - the one clear line
        sys.exit(error.exit_code)
    except Exception:  # noqa: BLE001 - the process ends visibly, with a redacted traceback
        logger.exception("command.failed")
        sys.exit(ExitCode.UNEXPECTED)
    sys.exit(ExitCode.OK)


@functools.cache
def command() -> Callable[..., object]:
    """Return what `cli` describes; built once, for that takes 15 ms."""
    return typer.main.get_command(cli)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"enricher {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What holds for every command."""


@cli.command()
def run() -> None:
    """Enrich leads until told to stop. Without MONGODB_URI it starts an embedded MongoDB."""
    with suppress(KeyboardInterrupt):  # told to stop during the start: nothing is left behind
        signals.run(_daemon(_configured()))


async def _daemon(settings: Settings) -> None:
    from enricher import app  # noqa: PLC0415 - commands that need no drivers start without them

    async with AsyncExitStack() as stack:
        uri = settings.mongo.uri and settings.mongo.uri.get_secret_value()
        await app.run(settings, uri or await _embedded(stack), beginning.BEGAN)


async def _embedded(stack: AsyncExitStack) -> str:
    from enricher.mongo.embedded import EmbeddedServer  # noqa: PLC0415 - an extra, for first steps

    server = await stack.enter_async_context(EmbeddedServer(DATA_DIR))
    typer.echo(f"MONGODB_URI={server.uri}")
    return server.uri


@cli.command()
def check() -> None:
    """Check settings, MongoDB, replica set, privileges, indexes, stream and each provider's key.

    Ends with 0, with 3 when MongoDB cannot be used or is no replica set, and with 4 when anything
    else failed. Changes nothing and costs nothing.
    """
    from enricher.commands.check import report  # noqa: PLC0415 - see run

    signals.run(report(_configured()))


@cli.command()
def reenrich(
    id_: Annotated[
        str | None,
        typer.Option(
            "--id", help="_id of one lead: an ObjectId, else extended JSON, else the text itself."
        ),
    ] = None,
    email: Annotated[
        str | None,
        typer.Option(
            help="Leads with this address, as typed, in lower case, or as vendors are asked."
        ),
    ] = None,
    query: Annotated[str | None, typer.Option(help="A MongoDB filter in extended JSON.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Leads that ended as failed.")] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask vendors again: stored answers do not count.")
    ] = False,
    collection: Annotated[str | None, _COLLECTION] = None,
) -> None:
    """Set leads to pending. A lead in work loses that run and gets a fresh one.

    Ends with 1 when --id or --email names no lead.
    """
    from enricher.commands.reenrich import Chosen, reenrich  # noqa: PLC0415 - see run

    chosen = Chosen(id_, email, query, failed)
    sys.exit(signals.run(reenrich(_configured(), chosen, collection, refresh=refresh)))


@cli.command()
def explain(
    lead: Annotated[
        str,
        typer.Argument(metavar="ID|EMAIL", help="_id of a lead as for reenrich, or an address."),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, with every value in full.")
    ] = False,
    collection: Annotated[
        str | None,
        typer.Option(help="Look in this collection only, where the settings name several."),
    ] = None,
) -> None:
    """Every decision on a lead: who was asked, what it cost, who won each field, what comes next.

    Shows personal data. Changes no lead and asks nobody. Ends with 1 when there is no such lead.
    """
    from enricher.commands.explain import explain  # noqa: PLC0415 - see run

    sys.exit(signals.run(explain(_configured(), lead, collection, as_json=as_json)))


@cli.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """How the fleet stands: backlog, providers, budgets, daemons, what was settled lately.

    Reads only the database, so it works without a daemon. Shows no personal data, changes nothing.
    """
    from enricher.commands.status import once, watched  # noqa: PLC0415 - see run

    if as_json and watch:
        raise SettingsError(["status: --json and --watch exclude each other"])
    with suppress(KeyboardInterrupt):  # the way to end --watch
        signals.run(watched(_configured()) if watch else once(_configured(), as_json=as_json))


@cli.command()
def report(
    days: Annotated[
        int, typer.Option(help="So many days (UTC), today included.", min=1, max=3660)
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What each provider was worth: calls, charges and cost, fields it filled, hits by country and size.

    Reads the ledger and the leads enriched in these days. Shows no personal data, changes nothing.
    """
    from enricher.commands.report import report  # noqa: PLC0415 - see run

    signals.run(report(_configured(), days, as_json=as_json))


@cli.command()
def backfill(
    query: Annotated[str, typer.Option(help="A MongoDB filter in extended JSON; '{}' is all.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count leads and calls; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it begins.")] = False,
    collection: Annotated[str | None, _COLLECTION] = None,
) -> None:
    """Enrich old leads: count what it costs, ask, then do it behind all other work.

    Old are leads without a status; others only when the query names enrichment_status.
    After Ctrl-C the same command goes on where it stopped.
    """
    from enricher.commands import database  # noqa: PLC0415 - see run
    from enricher.commands.backfill import fill, plan  # noqa: PLC0415 - see run

    match = database.query(query)
    if not (dry_run or yes or sys.stdin.isatty()):
        raise SettingsError(["backfill: without a terminal to ask on, give --yes or --dry-run"])
    settings = _configured()
    try:
        made = signals.run(plan(settings, match, collection))
        if dry_run or made.is_empty:
            return
        if yes or not made.estimate.leads or typer.confirm("Enrich these leads?"):
            sys.exit(signals.run(fill(settings, made)))
        typer.echo("Nothing was changed.")
    except KeyboardInterrupt:  # while it was counting
        sys.exit(ExitCode.UNEXPECTED)


@cli.command()
def forget(
    email: Annotated[str | None, typer.Argument(help="The person's e-mail address.")] = None,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="The person may be asked about again; nothing is restored."),
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Print who is suppressed: when, a hash, why.")
    ] = False,
) -> None:
    """Erase what was found about a person, and never ask about them again.

    Finds the address in any spelling, for which it reads all leads. The lead's own fields stay.
    """
    from enricher.commands import forget as forgetting  # noqa: PLC0415 - see run

    if list_ and (undo or email is not None):
        raise SettingsError(["forget: --list goes alone, without EMAIL and --undo"])
    if list_:
        signals.run(forgetting.list_entries(_configured()))
    elif email is None:
        raise SettingsError(["forget: give the person's e-mail address, or --list"])
    else:
        signals.run((forgetting.undo if undo else forgetting.forget)(_configured(), email))


_WHOM = "A provider, a vendor (all of its providers), or all."


@cli.command()
def pause(
    name: Annotated[str, typer.Argument(metavar="PROVIDER|VENDOR|all", help=_WHOM)],
    for_: Annotated[
        str | None,
        typer.Option("--for", help="How long: 90s, 30m, 2h or 7d; without it, until resume."),
    ] = None,
) -> None:
    """Stop the calls to a provider, to all of a vendor's or to all, for the whole fleet and at once.

    Daemons are not restarted. Leads that need it wait as for any hold, and keep what they have.
    A name that is a vendor's and a provider's (hunter) means the vendor.
    """
    from enricher.commands import pause as pausing  # noqa: PLC0415 - see run

    seconds = pausing.duration_of(for_)
    signals.run(pausing.pause(_configured(), name, seconds))


@cli.command()
def resume(
    name: Annotated[str, typer.Argument(metavar="PROVIDER|VENDOR|all", help=_WHOM)],
) -> None:
    """End a pause. The leads that waited for it come back by themselves, spread out."""
    from enricher.commands import pause as pausing  # noqa: PLC0415 - see run

    signals.run(pausing.resume(_configured(), name))


@cli.command()
def schema(
    format_: Annotated[
        SchemaFormat, typer.Option("--format", help="The language of the program that reads.")
    ] = SchemaFormat.JSON,
) -> None:
    """Print what the daemon writes on a lead, for programs that read it.

    Needs no settings and no database. The same version always prints the same.
    """
    typer.echo(contract(format_), nl=False)


@cli.command()
def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 9500,
    seed: Annotated[int, typer.Option(help="Same seed, same companies and faults.")] = 1,
    latency: Annotated[float, typer.Option(help="Seconds every answer takes.", min=0)] = 0.0,
    jitter: Annotated[float, typer.Option(help="Up to so many seconds more.", min=0)] = 0.0,
) -> None:
    """Serve the vendors' APIs, simulated, on one port; print the settings that point at it."""
    from enricher.simulator.server import serve  # noqa: PLC0415 - nothing else imports the demo

    signals.run(serve(host, port, seed=seed, latency=latency, jitter=jitter))


@cli.command()
def demo(
    leads: Annotated[
        int, typer.Option(help="Leads to insert; without --once, more keep coming.", min=1)
    ] = 60,
    once: Annotated[
        bool,
        typer.Option("--once", help="End when all leads are settled: 0, or 1 when some are not."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same leads and answers.")] = 1,
    explain: Annotated[
        bool, typer.Option("--explain", help="At the end, explain one lead of each story.")
    ] = False,
) -> None:
    """Show the daemon at work: embedded MongoDB, simulated vendors, sample leads, a live table.

    Needs no key and no MongoDB, and leaves nothing behind.
    Without --once it goes on, with one new lead after another, until Ctrl-C.
    """
    from enricher.demo.show import show  # noqa: PLC0415 - nothing else imports the demo

    with suppress(KeyboardInterrupt):  # during the start; later a signal ends it in order
        sys.exit(signals.run(show(leads, once=once, seed=seed, explain=explain)))
    sys.exit(ExitCode.UNEXPECTED if once else ExitCode.OK)


def _configured(environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings, set up logging by them, and register every secret for redaction."""
    shortage.forbid_core_dumps()  # before the first secret is read
    from enricher.providers import registry  # noqa: PLC0415 - see run

    others = registry.third_parties(registry.installed())
    settings = load(environ, others=others)
    log.register_secret(settings.mongo.uri)
    log.register_secret(settings.privacy.hash_key)
    for secret in settings.events.never_shown:
        log.register_secret(secret)
    for vendor in settings.vendors.values():
        log.register_secret(vendor.key)
    log.configure(settings.log, "enricher", __version__)
    if is_exposed(others=others):
        logger.bind(file=".env").warning("settings.exposed")
    return settings
