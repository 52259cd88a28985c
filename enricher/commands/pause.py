"""`enricher pause` and `enricher resume`: the switch by which an operator stops the calls to a vendor, for the fleet.

A pause is a stop in the document of each provider's limit, which every daemon reads with its next slot: so
it holds without a restart, and also for daemons that start meanwhile. The command waits until no slot from
before can be used any more: once it has returned, no daemon begins a call. Leads that need the provider wait
for it, as for any hold; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from functools import partial

from rich.console import Console

from enricher import wiring
from enricher.calls.breaker import PAUSED
from enricher.commands.database import opened, patiently
from enricher.errors import SettingsError
from enricher.limits.bucket import LAST_CALL_SECONDS, LONGEST_HOLD, Bucket
from enricher.providers.base import Provider
from enricher.settings.load import Settings
from enricher.settings.types import DAY, either, in_words, seconds_of

EVERYBODY = "all"
_DAYS = int(LONGEST_HOLD / DAY)


def duration_of(text: str | None) -> float:
    """Parse `--for`: 30m, 2h, 1.5d. Without it, a pause lasts as long as any can. Raises SettingsError."""
    if text is None:
        return LONGEST_HOLD
    seconds = seconds_of(text) or 0.0
    if not 0 < seconds <= LONGEST_HOLD:
        raise SettingsError(
            [f"--for: expected a time like 90s, 30m, 2h or 7d, {_DAYS} days at most"]
        )
    return seconds


async def pause(settings: Settings, name: str, seconds: float) -> None:
    """Stop all calls to a provider, to all of a vendor, or to all. Raises SettingsError for an unknown name."""
    async with _buckets(settings, name) as chosen:
        for provider, bucket in chosen:
            stopping = partial(bucket.stop, provider.name, PAUSED, seconds, by_hand=True)
            await patiently("pausing", stopping)
    await asyncio.sleep(min(seconds, LAST_CALL_SECONDS))
    until = f"until `enricher resume {name}`, {_DAYS} days at most"
    if seconds < LONGEST_HOLD:
        until = f"for {in_words(seconds)}"
    _say(f"Paused {_names(chosen)} {until}. Leads that need it wait; calls under way end.")


async def resume(settings: Settings, name: str) -> None:
    """End the pause, and what a daemon stopped by itself. What the vendor holds back stays held."""
    async with _buckets(settings, name) as chosen:
        for provider, bucket in chosen:
            await patiently("resuming", partial(bucket.stop, provider.name, "", 0, by_hand=True))
    _say(f"Resumed {_names(chosen)}. The leads that waited come back within seconds, spread out.")


@asynccontextmanager
async def _buckets(
    settings: Settings, name: str
) -> AsyncIterator[Sequence[tuple[Provider, Bucket]]]:
    async with wiring.vendors(settings) as registered:
        chosen = named(registered.providers, name, registered.without_key)
        async with opened(settings) as database:
            yield [(each, Bucket(database, each.bucket, each.windows)) for each in chosen]


def named(
    providers: Sequence[Provider], name: str, without_key: Collection[str] = ()
) -> list[Provider]:
    """Return the providers that a name means; a vendor's name means all of its providers, `all` whoever is asked."""
    asked = [each for each in providers if not each.is_rule]
    chosen = [each for each in asked if name in {EVERYBODY, each.vendor}]
    chosen = chosen or [each for each in asked if each.name == name]
    if chosen:
        return chosen
    if any(each.name == name for each in providers):
        raise SettingsError([f"{name}: these are rules of the daemon's own; nobody is asked"])
    if name in without_key:
        raise SettingsError([f"{name}: there is no key, so nobody is asked"])
    if name == EVERYBODY:
        raise SettingsError([f"{name}: no provider is set, so nobody is asked"])
    known = sorted({EVERYBODY, *(each.vendor for each in asked), *(each.name for each in asked)})
    raise SettingsError([f"{name}: there is no such provider or vendor; expected {either(known)}"])


def _names(chosen: Sequence[tuple[Provider, Bucket]]) -> str:
    return ", ".join(provider.name for provider, _ in chosen)


def _say(text: str) -> None:
    Console(highlight=False, soft_wrap=True, markup=False).print(text)
