"""Which providers are asked, and in which order.

The order of the built-in ones is the catalogue's (`enricher/catalogue.py`). The local rules come first, so a
vendor is only paid for what they cannot know; then what other packages do for nothing, then the vendors, then
those of other packages. `ENRICHER_PROVIDER_ORDER` changes it, `ENRICHER_PROVIDERS_OFF` leaves some out, and
`ENRICHER_REQUIRED_FIELDS` says what the next one is asked for.

Providers are found by the entry points of the group `enricher.providers`: ours and those of other packages.

    [project.entry-points."enricher.providers"]
    acme_company = "acme_enricher:AcmeCompany"

Each entry is a subclass of `Provider`: either asked over HTTP with a key, or a set of rules that cost
nothing (`is_free`). Built-in providers are declared in the same group, and are loaded and checked like a
stranger's; those without a key are not (`catalogue.FREE`), because each is made with what it needs. The entries
of the others are read from the catalogue, which a test compares with the package's metadata: the metadata may be
an older version's, or missing in a source tree.

Anything wrong with an entry stops the start: a daemon that silently went without a provider would
write leads that look complete. Each class is instantiated once here, on trial, for errors that only
show then. An installed package is trusted: what it does when it is asked is its own affair.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from pydantic import SecretStr, TypeAdapter, ValidationError

from enricher.answer import Kind
from enricher.catalogue import FINDERS, FREE, PROVIDERS, VENDORS, ProviderListing, Window
from enricher.errors import SettingsError
from enricher.fields import FIELDS
from enricher.providers.base import Access, Provider, Registered
from enricher.providers.http import HttpProvider
from enricher.providers.local import Local
from enricher.providers.transport import NOBODY, Client
from enricher.settings.types import DAY, MOST_CALLS, Url
from enricher.settings.vendors import ProviderSettings, ThirdParties

GROUP = "enricher.providers"

_OURS = "enricher.providers."
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_NO_VENDORS = frozenset(
    {"enricher", "mongodb", "mongo", "leads", "lead", *(each.vendor for each in FREE)}
)
"""`MONGODB_...` and the like already mean something else."""
_LONGEST_WINDOW = 31 * DAY
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Plugin:
    """One provider of another package."""

    provider: type[Provider]
    package: str
    """Name of the distribution, for error messages."""


class _Wrong(Exception):
    """What is wrong with an entry."""


@functools.cache
def built_in() -> tuple[type[HttpProvider], ...]:
    """Return the catalogue's providers, in its order."""
    return _coded(PROVIDERS.values())


@functools.cache
def finders() -> tuple[type[HttpProvider], ...]:
    """Return those that find a company's domain by its name, in the order of asking."""
    return _coded(FINDERS.values())


def _coded(listed: Iterable[ProviderListing]) -> tuple[type[HttpProvider], ...]:
    entries = (EntryPoint(each.name, each.code, GROUP) for each in listed)
    providers = (_checked(_loaded(entry)) for entry in entries)
    return tuple(each for each in providers if issubclass(each, HttpProvider))


@functools.cache
def installed() -> tuple[Plugin, ...]:
    """Return those of all other installed packages; SettingsError names every entry that is wrong."""
    return found(entry_points(group=GROUP))


def third_parties(plugins: Iterable[Plugin]) -> ThirdParties:
    """Return what the settings have to know of these plugins."""
    providers = [plugin.provider for plugin in plugins]
    hosts = {each.vendor: each.host for each in providers if issubclass(each, HttpProvider)}
    return ThirdParties(
        names=tuple(each.name for each in providers),
        hosts={vendor: host for vendor, host in hosts.items() if vendor not in VENDORS},
    )


def found(entries: Iterable[EntryPoint]) -> tuple[Plugin, ...]:
    """Load and check the entries, by package and name: the order is the same at every start and machine."""
    plugins: list[Plugin] = []
    problems: list[str] = []
    for package, entry in sorted(((_package(each), each) for each in entries), key=_order):
        if entry.value.startswith(_OURS):
            continue
        try:
            provider = _checked(_loaded(entry))
            _agree(provider, plugins)
        except _Wrong as wrong:
            problems.append(f"provider {entry.name} of the package {package}: {wrong}")
        else:
            plugins.append(Plugin(provider, package))
    if problems:
        raise SettingsError(problems)
    return tuple(plugins)


def _order(found: tuple[str, EntryPoint]) -> tuple[str, str]:
    package, entry = found
    return package, entry.name


def _package(entry: EntryPoint) -> str:
    return (entry.dist and entry.dist.name) or "(unknown)"


def _loaded(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        raise _Wrong(f"{entry.value} cannot be imported: {_reason(error)}") from error


def _checked(loaded: object) -> type[Provider]:
    """Check what an entry says about itself, before anything relies on it."""
    if not isinstance(loaded, type) or not issubclass(loaded, Provider):
        raise _Wrong("it is no subclass of enricher.Provider")
    if inspect.isabstract(loaded):
        raise _Wrong(f"it lacks {', '.join(sorted(loaded.__abstractmethods__))}")
    for what in ("name", "vendor"):
        word = getattr(loaded, what, None)
        if not isinstance(word, str) or not _NAME.fullmatch(word):
            raise _Wrong(f"its {what} is no word of a-z, 0-9 and _, of 40 characters at most")
    if not isinstance(getattr(loaded, "kind", None), Kind):
        raise _Wrong("its kind is none of enricher.Kind")
    _check_fields(loaded)
    return _checked_over_http(loaded) if issubclass(loaded, HttpProvider) else _checked_free(loaded)


def _check_fields(provider: type[Provider]) -> None:
    """Check the field names. A required field that does not exist would always be missing, at every lead's cost."""
    for what in ("required", "lacks"):
        fields = getattr(provider, what)
        if not isinstance(fields, frozenset):
            raise _Wrong(f"{what} is no frozenset of fields")
        if stray := sorted(map(str, fields - FIELDS[provider.kind])):
            raise _Wrong(f"{what}: {provider.kind} has no field {stray[0][:40]!r}")


def _checked_free(provider: type[Provider]) -> type[Provider]:
    if not provider.is_free:
        raise _Wrong("it costs something (is_free is not set), so it must be an HttpProvider")
    _on_trial(provider)
    return provider


def _checked_over_http(provider: type[HttpProvider]) -> type[HttpProvider]:
    if provider.is_free:
        raise _Wrong("it is asked over HTTP, so it has limits and cannot be is_free")
    if provider.vendor in _NO_VENDORS:
        raise _Wrong(f"no vendor can be called {provider.vendor!r}: its settings would be others'")
    try:
        TypeAdapter(Url).validate_python(getattr(provider, "host", None), strict=True)
    except ValidationError:
        raise _Wrong("its host is no http:// or https:// and a host") from None
    _check_windows(_on_trial(provider).windows)
    return provider


def _on_trial(provider: type[Provider]) -> Provider:
    """Make it as the daemon will, with a dummy key and a client that reaches nobody."""
    try:
        if not issubclass(provider, HttpProvider):
            return provider()
        return provider(NOBODY, Access(SecretStr("none"), provider.host), None)
    except Exception as error:
        raise _Wrong(f"it cannot be made: {_reason(error)}") from error


def _check_windows(windows: object) -> None:
    if not isinstance(windows, tuple) or not windows:
        raise _Wrong("its windows are no tuple of at least one enricher.Window")
    for window in windows:
        if not isinstance(window, Window):
            raise _Wrong("its windows are no tuple of enricher.Window")
        if type(window.calls) is not int or not 1 <= window.calls <= MOST_CALLS:
            raise _Wrong(f"a window has {window.calls!r} calls, not a whole number from 1")
        seconds = window.seconds
        if type(seconds) not in (int, float) or not 0 < seconds <= _LONGEST_WINDOW:
            raise _Wrong(f"a window has {seconds!r} seconds, not more than 0 and at most 31 days")


def _agree(provider: type[Provider], others: Iterable[Plugin]) -> None:
    """Check that names are unique, since they are stored, and that a vendor has one host, as it has one base URL."""
    ours = (*PROVIDERS, *FINDERS, *(each.name for each in FREE))
    taken = dict.fromkeys(ours, "enricher")
    taken |= {other.provider.name: other.package for other in others}
    if provider.name in taken:
        raise _Wrong(f"the name {provider.name} is taken by the package {taken[provider.name]}")
    if not issubclass(provider, HttpProvider):
        return
    hosts = {vendor.name: vendor.host for vendor in VENDORS.values()}
    hosts |= third_parties(others).hosts
    known = hosts.get(provider.vendor, provider.host)
    if provider.host.rstrip("/") != known.rstrip("/"):
        raise _Wrong(f"its host is not {known}, as for others of the vendor {provider.vendor}")


def _reason(error: BaseException) -> str:
    """Return one line: the text of a package's own error may have many."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:_LONGEST_REASON]


_EVERY = ProviderSettings(off=())


def build(
    http: Client,
    accesses: Mapping[str, Access],
    per_minute: Mapping[str, int],
    wishes: ProviderSettings = _EVERY,
    others: Sequence[type[Provider]] | None = None,
    *,
    mx_lookup: bool = False,
    own: Sequence[Provider] = (),
    finds_domain: bool = False,
) -> Registered:
    """Build the providers of this daemon.

    `accesses` and `per_minute` are by vendor; a vendor missing from `accesses` has no key. `others` are the
    providers of other packages, by default all that are installed. With `mx_lookup`, the local rules ask
    the DNS whether a domain takes mail. `own` are ours that need no key, where the operator wants them. With
    `finds_domain`, companies are also asked about by their names.
    """
    made = {type(each): each for each in own}
    kinds = _in_order(list(made), _installed() if others is None else others, wishes)
    kinds = [*kinds, *(finders() if finds_domain else ())]
    why_not = {each.name: _why_not(each, accesses, wishes) for each in kinds}
    asked = (
        made[each]
        if each in made
        else each(http, accesses[each.vendor], per_minute.get(each.vendor))
        if issubclass(each, HttpProvider)
        else each()
        for each in kinds
        if why_not[each.name] is None
    )
    return Registered(
        providers=(
            _local(mx_lookup=mx_lookup),
            *(each if each.finds_domain else _asked_for(each, wishes) for each in asked),
        ),
        without_key={name: why for name, why in why_not.items() if why is not None},
    )


def _local(*, mx_lookup: bool) -> Local:
    if not mx_lookup:
        return Local()
    from enricher.providers.mail_dns import MailDns  # noqa: PLC0415 - costs a start 100 ms

    return Local(MailDns())


def _installed() -> list[type[Provider]]:
    return [plugin.provider for plugin in installed()]


def _in_order(
    own: Sequence[type[Provider]], others: Sequence[type[Provider]], wishes: ProviderSettings
) -> Sequence[type[Provider]]:
    """A slow one of ours comes last: nothing that is paid for should wait behind its limit."""
    slow = [each for each in own if issubclass(each, HttpProvider)]
    free = [each for each in (*own, *others) if each.is_free and each not in slow]
    kinds = [*free, *built_in(), *(each for each in others if not each.is_free), *slow]
    order = [*wishes.order, *(each.name for each in kinds)]
    return sorted(kinds, key=lambda each: order.index(each.name))


def _why_not(
    provider: type[Provider], accesses: Mapping[str, Access], wishes: ProviderSettings
) -> str | None:
    if provider.name in wishes.off:
        return "turned off"
    if provider.is_free:
        return None
    access = accesses.get(provider.vendor)
    return None if access and access.key.get_secret_value().strip() else "no key"


def _asked_for(provider: Provider, wishes: ProviderSettings) -> Provider:
    """Require what the operator wants and the provider can know. If it can know none of that, require all of
    it, so that it is still asked: it may be the only one of its kind."""
    wanted = wishes.required.get(provider.kind, provider.required)
    provider.required = wanted - provider.lacks or wanted
    return provider
