"""The settings: one frozen section per subject, read once from the environment and from files.

`load` is the only thing that reads them from outside. It answers with every section, or raises
`SettingsError` with one line per wrong setting, so an operator repairs a deployment in one go.
The environment wins over credentials, and those over `.env`; a blank value means "not given" in
each of them.

Two rules keep a mistake from passing in silence:

* a name that begins like ours but is none of ours is an error;
* the value is shown next to the complaint where it is a number, and never else: it may be a key in the
  wrong line. Nor does a complaint quote a part of it.

A section that is built directly reads nothing from outside: `WorkSettings(concurrency=4)` is the
defaults plus that one value. Each part of the daemon receives only its own section.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource

from enricher.catalogue import CNPJ
from enricher.errors import SettingsError
from enricher.settings import sources as described
from enricher.settings.sources import Source, from_environment
from enricher.settings.types import (
    MOST_CALLS,
    MOST_DAYS,
    Domains,
    HashKey,
    Level,
    PlatformDomains,
    Quotas,
    RoleNames,
    Section,
    Spans,
    Strings,
    Url,
    UserAgent,
    WebhookSecrets,
    WebhookUrl,
    collection_name,
    database_name,
    expected,
    field_path,
    in_days,
    is_loopback,
    is_secret,
    lower,
    mongodb_uri,
    seconds,
    setting,
    shown,
    upper,
    webhook_keys,
)
from enricher.settings.vendors import (
    VENDORS,
    ProviderSettings,
    ThirdParties,
    VendorSettings,
    provider_settings,
    vendor_settings,
)

# Settings from files: `.env`, and a directory of credentials in which each file is one value.
#
# What is ours in them and cannot be read is a complaint each, never passed over. Only regular files of a sane
# size are read: to open a FIFO waits for somebody who may never write, and a device never ends.

MOST_BYTES = 256 * 1024
"""No settings file is longer."""
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z0-9_]+)")
_GIVEN = re.compile(_ASSIGNMENT.pattern + r"\s*=\s*[\"']?[^\s\"'#]")
_EVERYBODY = stat.S_IROTH | stat.S_IWOTH
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def read_env_file(
    path: Path, is_ours: Callable[[str], bool], problems: list[str]
) -> dict[str, str]:
    """Read the file as python-dotenv does; {} when there is none. Appends to `problems`."""
    try:
        if not _is_there(path):
            return {}
        text = _text(path)
        source = DotEnvSettingsSource(Section, path, "utf-8-sig", case_sensitive=True)
        values = source.env_vars if text else {}
    except (OSError, ValueError) as error:
        problems.append(_complaint(path, error))
        return {}
    for number, line in enumerate(text.splitlines(), 1):
        found = _ASSIGNMENT.match(line)
        if found and is_ours(found[1]) and found[1] not in values:
            problems.append(f"{path} line {number}: expected {found[1]}=value")
    return {name: value or "" for name, value in values.items()}


def read_credentials(
    directory: str | None, is_ours: Callable[[str], bool], problems: list[str]
) -> dict[str, str]:
    """Return name -> content of the files that are named like settings. Appends to `problems`.

    systemd's LoadCredential makes such a directory and names it in CREDENTIALS_DIRECTORY;
    secrets mounted into a container look the same, with a link for each file.
    """
    values: dict[str, str] = {}
    try:
        files = sorted(Path(directory).iterdir()) if directory else []
    except OSError as error:
        problems.append(f"CREDENTIALS_DIRECTORY: cannot be read ({type(error).__name__})")
        return values
    for file in files:
        if is_ours(file.name):
            try:
                values[file.name] = _text(file)
            except (OSError, ValueError) as error:
                problems.append(_complaint(file, error))
    return values


def exposes_one_of(secrets: AbstractSet[str], path: Path) -> bool:
    """Return True when the file sets a secret and everybody on the machine may read or replace it."""
    try:
        mode, text = path.stat().st_mode, _text(path)
    except (OSError, ValueError):
        return False
    names = [found[1] for line in text.splitlines() if (found := _GIVEN.match(line))]
    return bool(mode & _EVERYBODY) and any(name in secrets for name in names)


class _Unfit(ValueError):
    """Raised for a file that settings are not read from; the text says what it is."""


def _is_there(path: Path) -> bool:
    """Return True for a dangling link too: somebody meant to put something there."""
    return path.exists() or path.is_symlink()


def _text(path: Path) -> str:
    """Read the file; raise OSError, UnicodeDecodeError or _Unfit. Check first: opening a device may have effects."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise _Unfit(_KINDS.get(stat.S_IFMT(found.st_mode), "no file"))
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _Unfit(f"more than {MOST_BYTES // 1024} KiB")
    return content.decode("utf-8-sig")


def _complaint(path: Path, error: Exception) -> str:
    return f"{path}: {_unreadable(error)}"


def _unreadable(error: Exception) -> str:
    what = str(error) if isinstance(error, _Unfit) else type(error).__name__
    return f"expected a readable UTF-8 file ({what})"


# Names that look like settings but are not: which are mistakes, and what was meant.
#
# An unknown name that begins like ours is an error: a mistyped budget is no budget. A name that other
# programs use too (`MONGODB_...`) is an error only if it resembles a setting that is not given.

OUR_PREFIXES = ("ENRICHER_", "CNPJ_", *(f"{vendor.upper()}_" for vendor in VENDORS))
"""A name with one of these prefixes is meant for us, so an unknown one is a mistake."""

_KEY = "API_KEY"
_CONFIG = "ENRICHER_CONFIG"

_ALMOST_OURS = ("MONGODB_", "MONGO_", "LEADS_", "LEAD_")
"""Others set such names too, images and charts among them (MONGODB_VERSION, MONGODB_USER), so only a name
close to a setting's is a mistake, and only while that setting is not given."""
_ALMOST = 0.9
"""A ratio of `difflib`: MONGODB_URL scores 0.91 against MONGODB_URI, MONGODB_USER 0.87, MONGODB_VERSION 0.77."""
_ALMOST_OF_OURS = 0.75
_OTHERS_SAY = {
    "MONGO_URL": "MONGODB_URI",
    "MONGO_DB": "MONGODB_DATABASE",
    "MONGODB_DB": "MONGODB_DATABASE",
    "MONGODB_DBNAME": "MONGODB_DATABASE",
    "MONGODB_DB_NAME": "MONGODB_DATABASE",
    "MONGODB_DATABASE_NAME": "MONGODB_DATABASE",
    "MONGODB_COLLECTION": "LEADS_COLLECTION",
    "LEADS_COLLECTION_NAME": "LEADS_COLLECTION",
}
_ADDRESS_OF_MONGODB = re.compile(r"(?i)(MONGO|MONGODB|DATABASE|DB)_\w+=mongodb(\+srv)?://")
"""Matches name and value: DATABASE_URL is no concern of ours when it leads to PostgreSQL."""

_LINK_VARIABLE = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$"
)
"""What Kubernetes sets in every pod for a Service whose name happens to begin like our settings."""


def is_ours(known: Collection[str], name: str) -> bool:
    """Return True for the name of a setting, and for any other that begins like one of ours."""
    return name.upper().startswith((*OUR_PREFIXES, *_prefixes(known))) or name in known


def _prefixes(known: Collection[str]) -> Iterator[str]:
    """Yield the prefixes of all vendors, third-party ones included: each has a setting for its key."""
    return (name.removesuffix(_KEY) for name in known if name.endswith(f"_{_KEY}"))


def unknown(variables: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Yield one line for each mistaken name; `known` are the names of all settings."""
    for name, value in sorted(variables.items()):
        if name in known or _is_link(name, value):
            continue
        meant = _meant(name, value, known)
        if is_ours(known, name) or (meant and meant not in variables):
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"{name}: there is no such setting{hint}"


def _is_link(name: str, value: str) -> bool:
    return bool(_LINK_VARIABLE.search(name)) or re.match(r"(tcp|udp|sctp)://", value) is not None


def _meant(name: str, value: str, known: Collection[str]) -> str | None:
    """Return the setting that an unknown name seems to stand for."""
    name = name.upper()
    if name in _OTHERS_SAY:
        return _OTHERS_SAY[name]
    if is_ours(known, name) or name.startswith(_ALMOST_OURS):
        nearness = _ALMOST_OF_OURS if is_ours(known, name) else _ALMOST
        close = difflib.get_close_matches(name, known, 1, nearness)
        if close:
            return close[0]
    return "MONGODB_URI" if _ADDRESS_OF_MONGODB.match(f"{name}={value}") else None


class MongoSettings(Section):
    uri: Annotated[SecretStr | None, AfterValidator(mongodb_uri)] = setting(
        "MONGODB_URI", None, "Address of MongoDB; without it `enricher run` starts an embedded one."
    )
    database: Annotated[str, AfterValidator(database_name)] = setting(
        "MONGODB_DATABASE", "crm", "Database that holds the leads."
    )
    collection: Annotated[str, AfterValidator(collection_name)] = setting(
        "LEADS_COLLECTION", "leads", "Collection that is watched for new leads."
    )
    config: str | None = setting(
        "ENRICHER_CONFIG",
        None,
        "TOML file that describes the collections with leads: one [[source]] block each.",
    )


class WorkSettings(Section):
    concurrency: int = setting(
        "ENRICHER_CONCURRENCY",
        64,
        "Leads in work at a time, per process, whatever their collection.",
        ge=1,
        le=10_000,
    )
    lease_seconds: float = seconds(
        "ENRICHER_LEASE_SECONDS", 60, "How long a lead stays with a process that fell silent.", ge=1
    )
    max_attempts: int = setting(
        "ENRICHER_MAX_ATTEMPTS", 3, "Retries of a lead after its first attempt.", ge=0, le=20
    )
    retry_delay_seconds: float = seconds(
        "ENRICHER_RETRY_DELAY_SECONDS", 60, "Wait before the first retry; it doubles with each."
    )
    provider_timeout_seconds: float = seconds(
        "ENRICHER_PROVIDER_TIMEOUT_SECONDS", 10, "Time for one call to a vendor."
    )
    lead_timeout_seconds: float = seconds(
        "ENRICHER_LEAD_TIMEOUT_SECONDS", 300, "Time for one attempt at a lead, all calls together."
    )
    refresh_days: int = setting(
        "ENRICHER_REFRESH_DAYS",
        90,
        "Age at which a lead is done again; 0 = never.",
        ge=0,
        le=36_500,
    )
    poll_seconds: float = seconds(
        "ENRICHER_POLL_SECONDS", 1, "How often to look for due leads when no change rings."
    )
    shutdown_grace_seconds: float = seconds(
        "ENRICHER_SHUTDOWN_GRACE_SECONDS", 25, "Time for leads in work to finish at a stop.", ge=0
    )
    stream: bool = setting(
        "ENRICHER_STREAM", True, "Watch the change stream; false means polling only."
    )


class PrioritySettings(Section):
    field: Annotated[str, AfterValidator(field_path)] = setting(
        "ENRICHER_PRIORITY_FIELD", "temperature", "Field of a lead that says how urgent it is."
    )
    order: Strings = setting(
        "ENRICHER_PRIORITY_ORDER",
        ("hot", "warm", "cold"),
        "Values of that field, most urgent first. A number counts as itself, but never goes before the first.",
    )


class IdentitySettings(Section):
    internal_domains: Domains = setting(
        "ENRICHER_INTERNAL_DOMAINS",
        (),
        "Domains whose leads are skipped: your own, and others that are never worth a call.",
    )
    role_names: RoleNames = setting(
        "ENRICHER_ROLE_NAMES",
        (),
        "Local parts of role addresses, besides the built-in ones; `-` in front takes one away.",
    )
    platform_domains: PlatformDomains = setting(
        "ENRICHER_PLATFORM_DOMAINS",
        (),
        "Domains whose sub-domains and pages are other companies', besides the built-in ones;"
        " `-` in front takes one away.",
    )
    finds_domain: bool = setting(
        "ENRICHER_FIND_DOMAIN",
        False,
        "Look for the domain of a company by its name, where a lead has no other; this costs credits.",
    )
    mx_lookup: bool = setting(
        "ENRICHER_MX_LOOKUP", False, "Ask the DNS whether the domain of an address takes mail."
    )


class PrivacySettings(Section):
    hash_key: HashKey = setting(
        "ENRICHER_HASH_KEY",
        None,
        "Key of the hashes of addresses, at least 32 characters; without it the database holds one.",
    )


class CacheSettings(Section):
    days: float = in_days(
        "ENRICHER_CACHE_DAYS",
        7,
        "How long a vendor's answer is kept, and used in place of a new call.",
    )
    negative_days: float = in_days(
        "ENRICHER_NEGATIVE_CACHE_DAYS", 1, "The same for an answer that nothing is known."
    )


class RecheckSettings(Section):
    after: Spans = setting(
        "ENRICHER_RECHECKS",
        (),
        "When a thin lead is looked at again, each time counted from the look before it: a list, or true for"
        ' `["4h","3d","30d"]`. Off unless set: it makes further paid calls.',
    )
    below: int = setting(
        "ENRICHER_RECHECKS_BELOW",
        50,
        "Completeness below which a lead is thin; one is thin as well while its company, person or e-mail"
        " verdict is unknown.",
        ge=0,
        le=100,
    )
    per_day: int = setting(
        "ENRICHER_RECHECKS_PER_DAY",
        1000,
        "Calls to vendors with a key that rechecks make in a day (UTC), at most, all processes together.",
        ge=0,
        le=MOST_CALLS,
    )


class QuotaSettings(Section):
    account_field: Annotated[str, AfterValidator(field_path)] = setting(
        "ENRICHER_ACCOUNT_FIELD", "account_id", "Field of a lead that names its account."
    )
    plan_field: Annotated[str, AfterValidator(field_path)] = setting(
        "ENRICHER_PLAN_FIELD", "plan", "Field of a lead that names the plan of its account."
    )
    plans: Quotas = setting(
        "ENRICHER_PLAN_QUOTAS",
        {},
        "Leads of an account in a calendar month (UTC), by plan; other plans are unlimited.",
    )


class CostSettings(Section):
    most_per_lead: float | None = setting(
        "ENRICHER_MAX_CREDITS_PER_LEAD",
        None,
        "The most that one enrichment of a lead may cost, all vendors and attempts together: in credits, or in"
        " your currency once `<VENDOR>_CREDIT_PRICE` is set; without it a lead may cost anything.",
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
    )


class WebsiteSettings(Section):
    is_on: bool = setting(
        "ENRICHER_WEBSITE",
        False,
        "Read what a company's own web site says of it; this needs no key and costs nothing.",
    )
    user_agent: UserAgent = setting(
        "ENRICHER_USER_AGENT",
        None,
        "Who asks, as sites are told: a product's name, and best a page about it, like"
        " `acme-leads/1.0 (+https://acme.com/bot)`; without it `enricher` and its version.",
    )
    loopback: int | None = setting(
        "ENRICHER_WEBSITE_LOOPBACK",
        None,
        "For development: the port of this machine that all sites are read from instead;"
        " refused beside a key for a vendor that is not on this machine.",
        ge=1,
        le=65_535,
    )


class CnpjSettings(Section):
    is_on: bool = setting(
        "ENRICHER_CNPJ",
        False,
        "Ask the public register of Brazilian companies about the number that a lead carries (its mapped"
        " input `cnpj`), or else its company's own web site; this needs no key and costs nothing.",
    )
    base_url: Url = setting(
        "CNPJ_BASE_URL",
        CNPJ.host,
        "What comes before the number in the register's address: BrasilAPI's, or that of your own Minha Receita.",
    )
    per_minute: int = setting(
        "CNPJ_RATE_LIMIT",
        CNPJ.windows[0].calls,
        "Calls to the register in any minute, at most, by all processes together. BrasilAPI asks for moderation.",
        ge=1,
        le=1_000_000,
    )


class EventSettings(Section):
    is_wanted: bool = setting(
        "ENRICHER_EVENTS",
        False,
        "Publish an event for each settle, in the collection `enricher_events`; a webhook turns this on by itself.",
    )
    days: int = setting(
        "ENRICHER_EVENTS_DAYS",
        7,
        "How long an event is kept, delivered or not.",
        ge=1,
        le=MOST_DAYS,
    )
    url: WebhookUrl = setting(
        "ENRICHER_WEBHOOK_URL",
        None,
        "Where each event is posted, signed; `https://`, or `http://` within your own network.",
    )
    secrets: WebhookSecrets = setting(
        "ENRICHER_WEBHOOK_SECRET",
        None,
        "What the posts are signed with: `whsec_` and the base64 of 24 to 64 random bytes. While you change it, both,"
        " with a blank between them.",
    )

    @property
    def are_on(self) -> bool:
        return self.is_wanted or self.url is not None

    @property
    def shown_url(self) -> str | None:
        """The webhook's host. What follows it may be a secret, and is cut."""
        if self.url is None:
            return None
        parts = urlsplit(self.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys of the signatures."""
        return webhook_keys(self.secrets)

    @property
    def never_shown(self) -> list[SecretStr]:
        """The address and each secret."""
        words = self.secrets.get_secret_value().split() if self.secrets else []
        return [*map(SecretStr, words), *([self.url] if self.url else [])]


class HttpSettings(Section):
    host: str = setting(
        "ENRICHER_HTTP_HOST",
        "127.0.0.1",
        "Address that the status page, metrics and probes are served on.",
    )
    port: int = setting(
        "ENRICHER_HTTP_PORT",
        9464,
        "Port of the status page, metrics and probes; 0 = any free one.",
        ge=0,
        le=65_535,
    )
    allowed_hosts: Domains = setting(
        "ENRICHER_HTTP_ALLOWED_HOSTS",
        (),
        "Public names that are answered, besides addresses and names of your own network.",
    )


class LogSettings(Section):
    level: Annotated[Level, BeforeValidator(upper)] = setting(
        "ENRICHER_LOG_LEVEL", "INFO", "Least severity that is logged."
    )
    format: Annotated[Literal["json", "console"], BeforeValidator(lower)] = setting(
        "ENRICHER_LOG_FORMAT",
        "json",
        "One JSON object per line, or console (default on a terminal).",
    )


SECTIONS: Mapping[str, type[Section]] = {
    "mongo": MongoSettings,
    "work": WorkSettings,
    "priority": PrioritySettings,
    "identity": IdentitySettings,
    "privacy": PrivacySettings,
    "cache": CacheSettings,
    "rechecks": RecheckSettings,
    "quota": QuotaSettings,
    "cost": CostSettings,
    "providers": ProviderSettings,
    "website": WebsiteSettings,
    "cnpj": CnpjSettings,
    "events": EventSettings,
    "http": HttpSettings,
    "log": LogSettings,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections. `Settings()` is the defaults."""

    mongo: MongoSettings = field(default_factory=MongoSettings)
    vendors: Mapping[str, VendorSettings] = field(
        default_factory=lambda: {
            name: vendor.model_validate({}) for name, vendor in VENDORS.items()
        }
    )
    work: WorkSettings = field(default_factory=WorkSettings)
    priority: PrioritySettings = field(default_factory=PrioritySettings)
    identity: IdentitySettings = field(default_factory=IdentitySettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    rechecks: RecheckSettings = field(default_factory=RecheckSettings)
    quota: QuotaSettings = field(default_factory=QuotaSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    providers: ProviderSettings = field(default_factory=ProviderSettings)
    website: WebsiteSettings = field(default_factory=WebsiteSettings)
    cnpj: CnpjSettings = field(default_factory=CnpjSettings)
    events: EventSettings = field(default_factory=EventSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    sources: tuple[Source, ...] = ()
    """The collections with leads. Left out, the one that the sections describe."""

    def __post_init__(self) -> None:
        if not self.sources:
            source = from_environment(
                self.mongo.collection,
                self.priority.field,
                self.quota.account_field,
                self.quota.plan_field,
            )
            object.__setattr__(self, "sources", (source,))
        finds = self.identity.finds_domain
        sources = tuple(replace(each, finds_domain=finds) for each in self.sources)
        object.__setattr__(self, "sources", sources)

    def source_of(self, collection: str) -> Source:
        """Return the source of that collection of leads; one by the contract if it is not described."""
        described = {source.collection: source for source in self.sources}
        return described.get(collection) or Source(collection)


_NO_OTHERS = ThirdParties()


def load(
    environ: Mapping[str, str] | None = None,
    env_file: str | Path | None = ".env",
    others: ThirdParties = _NO_OTHERS,
) -> Settings:
    """Read every section from the environment and files. Raises SettingsError, which lists all that is wrong."""
    section_kinds = {**SECTIONS, "providers": provider_settings(others.names)}
    vendor_kinds = {
        **VENDORS,
        **{name: vendor_settings(name, host) for name, host in others.hosts.items()},
    }
    known = _fields((*section_kinds.values(), *vendor_kinds.values()))
    problems: list[str] = []
    ours = functools.partial(is_ours, known)
    given = dict(os.environ if environ is None else environ)
    from_file = read_env_file(Path(env_file), ours, problems) if env_file else {}
    mounted = read_credentials(given.get("CREDENTIALS_DIRECTORY"), ours, problems)
    variables = _given(from_file | mounted | given)
    problems += unknown(variables, known)
    if "ENRICHER_LOG_FORMAT" not in variables and sys.stderr.isatty():
        variables["ENRICHER_LOG_FORMAT"] = "console"
    sources = _sources(variables, problems)
    if sources and sources[0].collection:
        variables["LEADS_COLLECTION"] = sources[0].collection
    sections = {name: _section(kind, variables, problems) for name, kind in section_kinds.items()}
    vendors = {name: _section(kind, variables, problems) for name, kind in vendor_kinds.items()}
    problems += _stray_loopback(sections["website"], vendors)
    problems += _missing_prices(sections["cost"], vendors)
    problems += _half_a_webhook(sections["events"])
    if problems:
        raise SettingsError(problems)
    return Settings(**sections, vendors=vendors, sources=sources)  # type: ignore[arg-type]  # kinds follow SECTIONS


_SAID_BY_SOURCES = (
    *("LEADS_COLLECTION", "ENRICHER_PRIORITY_FIELD"),
    *("ENRICHER_ACCOUNT_FIELD", "ENRICHER_PLAN_FIELD"),
)


def _sources(variables: dict[str, str], problems: list[str]) -> tuple[Source, ...]:
    """Read the file of ENRICHER_CONFIG; nothing without one. What it says, no other setting may say as well:
    nobody could tell which of the two counts."""
    if _CONFIG not in variables:
        return ()
    file = Path(variables[_CONFIG])
    problems += [
        f"{name}: expected not to be set beside {_CONFIG}, whose [[source]] blocks say it"
        for name in _SAID_BY_SOURCES
        if name in variables
    ]
    try:
        text = _text(file)
    except (OSError, ValueError) as error:
        # The value may be a key in the wrong line; the name of a file that can be read is none.
        problems.append(f"{_CONFIG}: {_unreadable(error)} (value not shown)")
        return ()
    return described.parse(f"{_CONFIG}: {file}", text, problems)


def _stray_loopback(website: Any, vendors: Mapping[str, Any]) -> Iterator[str]:
    """Complain of a development setting beside a vendor's real host: leads would get made-up companies."""
    if website is None or website.loopback is None:
        return
    for name, vendor in vendors.items():
        if vendor and vendor.key and not is_loopback(urlsplit(vendor.base_url).hostname or ""):
            yield (
                "ENRICHER_WEBSITE_LOOPBACK: is for development only, "
                f"and {name.upper()}_BASE_URL is not on this machine"
            )


def _missing_prices(cost: Any, vendors: Mapping[str, Any]) -> Iterator[str]:
    """Complain of a ceiling that would have to add money to credits, which are not the same thing."""
    if cost is None or cost.most_per_lead is None:
        return
    asked = {name: vendor for name, vendor in vendors.items() if vendor and vendor.key}
    unpriced = [name for name, vendor in asked.items() if vendor.credit_price is None]
    if 0 < len(unpriced) < len(asked):
        prices = ", ".join(f"{name.upper()}_CREDIT_PRICE" for name in unpriced)
        yield (
            "ENRICHER_MAX_CREDITS_PER_LEAD: counts money, because some credits have a price; "
            f"expected one for each vendor with a key, and there is no {prices}"
        )


def _half_a_webhook(events: Any) -> Iterator[str]:
    """Complain of an address without a secret, and of a secret that signs nothing."""
    if events is not None and (events.url is None) != (events.secrets is None):
        given, other = "ENRICHER_WEBHOOK_URL", "ENRICHER_WEBHOOK_SECRET"
        if events.url is None:
            given, other = other, given
        yield f"{other}: expected beside {given}"


def is_exposed(env_file: str | Path = ".env", others: ThirdParties = _NO_OTHERS) -> bool:
    """Return True when everybody on the machine may read or replace the secrets in that file."""
    vendors = (vendor_settings(name, host) for name, host in others.hosts.items())
    fields = _fields((*SECTIONS.values(), *VENDORS.values(), *vendors))
    secrets = {name for name, info in fields.items() if is_secret(info)}
    return exposes_one_of(secrets, Path(env_file))


def documented() -> list[tuple[str, str, str]]:
    """Return (variable, default as one would write it, sentence) of every built-in setting."""
    fields = _fields((*SECTIONS.values(), *VENDORS.values()))
    return [(name, _written(info.default), info.description or "") for name, info in fields.items()]


def _fields(kinds: Iterable[type[Section]]) -> dict[str, FieldInfo]:
    fields = [info for kind in kinds for info in kind.model_fields.values()]
    return {str(info.validation_alias): info for info in fields}


def _written(default: object) -> str:
    if default is None:
        return "none"
    return default if isinstance(default, str) else json.dumps(default)


def _given(variables: Mapping[str, str]) -> dict[str, str]:
    """Drop blank values: `HUNTER_API_KEY=` in the environment turns off what the file says."""
    return {name: value.strip() for name, value in variables.items() if value.strip()}


AnySection = TypeVar("AnySection", bound=Section)


def _section(
    kind: type[AnySection], variables: Mapping[str, str], problems: list[str]
) -> AnySection | None:
    """Build one section; `None` when a problem was noted. Only known names are offered to the source, which
    would otherwise also take `HOST` or `URI` for the fields of that name."""
    fields = _fields([kind])
    given = {name: variables[name] for name in fields.keys() & variables.keys()}
    try:
        return _read(kind, given) if given else _untouched(kind)
    except ValidationError as error:
        problems += [_problem(dict(detail), variables, fields) for detail in error.errors()]
        return None


def _read(kind: type[AnySection], given: Mapping[str, str]) -> AnySection:
    source = EnvSettingsSource(kind, case_sensitive=True)
    source.env_vars = given
    return kind(**source())


@functools.cache  # most sections are as they come, and to build one takes 2 ms
def _untouched(kind: type[AnySection]) -> AnySection:
    return kind()


def _problem(
    detail: Mapping[str, Any], variables: Mapping[str, str], fields: Mapping[str, FieldInfo]
) -> str:
    name = str(detail["loc"][0])
    info = fields[name]
    return f"{name}: {expected(detail, info)}{shown(variables[name])}"
