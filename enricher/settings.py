"""The settings: one frozen section per subject, read once from the environment and `.env`.

`load` is the only thing that reads them from outside. It answers with every section, or raises
`SettingsError` with one line per wrong setting, so an operator repairs a deployment in one go.
The environment wins over the file; a blank value means "not given" in both.

Two rules keep a mistake from passing in silence:

* a name that begins like ours but is none of ours is an error: a mistyped budget is no budget.
  Names that others use too (`MONGODB_...`) are one when they stand for a setting that is missing;
* the value is shown next to the complaint, except for keys and the database URI.

A section that is built directly reads nothing from outside: `WorkSettings(concurrency=4)` is the
defaults plus that one value. Each part of the daemon receives only its own section.
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    EnvSettingsSource,
)

from enricher.env_file import read_env_file
from enricher.errors import SettingsError
from enricher.setting_types import (
    Domains,
    Key,
    Level,
    Section,
    Strings,
    Url,
    collection_name,
    database_name,
    expected,
    field_path,
    harmless,
    is_secret,
    lower,
    mongodb_uri,
    seconds,
    setting,
    upper,
)

OUR_PREFIXES = ("ENRICHER_", "CLEARBIT_", "HUNTER_", "PDL_", "APOLLO_")
"""Whatever begins with one of these is meant for us, so an unknown one is a mistake."""

_ALMOST_OURS = ("MONGODB_", "MONGO_", "LEADS_", "LEAD_")
"""Others set such names too, images and charts among them (MONGODB_VERSION, MONGODB_USER), so only
one that is nearly a setting's is a mistake, and none while that setting is given."""
_ALMOST = 0.9
"""Of `difflib`: MONGODB_URL is 0.91 like MONGODB_URI, MONGODB_USER 0.87, MONGODB_VERSION 0.77."""
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
"""A name and its value: DATABASE_URL is of no concern to us when it leads to PostgreSQL."""

_LINK_VARIABLE = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$"
)
"""What Kubernetes sets in every pod for a Service that happens to be named like us."""


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


class VendorSettings(Section):
    """Access to one vendor, shared by all of its routes."""

    key: Key
    base_url: Url
    per_minute: int


def _vendor_key(vendor: str) -> Any:
    sentence = f"Key for {vendor}; without it {vendor} is not asked."
    return setting(f"{vendor.upper()}_API_KEY", None, sentence)


def _vendor_url(vendor: str, default: str) -> Any:
    sentence = f"Scheme and host of all {vendor} routes; change it for a proxy or the simulator."
    return setting(f"{vendor.upper()}_BASE_URL", default, sentence)


def _vendor_rate(vendor: str, default: int) -> Any:
    sentence = f"Calls to {vendor} in any minute, at most, by each process."
    return setting(f"{vendor.upper()}_RATE_LIMIT", default, sentence, ge=1, le=1_000_000)


class ClearbitSettings(VendorSettings):
    key: Key = _vendor_key("Clearbit")
    base_url: Url = _vendor_url("Clearbit", "https://company.clearbit.com")
    per_minute: int = _vendor_rate("Clearbit", 600)


class HunterSettings(VendorSettings):
    key: Key = _vendor_key("Hunter")
    base_url: Url = _vendor_url("Hunter", "https://api.hunter.io")
    per_minute: int = _vendor_rate("Hunter", 300)


class WorkSettings(Section):
    concurrency: int = setting(
        "ENRICHER_CONCURRENCY", 64, "Leads in work at a time, per process.", ge=1, le=10_000
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
        "ENRICHER_POLL_SECONDS", 1, "How often due leads are looked for when no change rings."
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
        "Values of that field, most urgent first; a number counts as itself, higher first.",
    )


class IdentitySettings(Section):
    internal_domains: Domains = setting(
        "ENRICHER_INTERNAL_DOMAINS", (), "Domains of our own, whose leads are skipped."
    )


class HttpSettings(Section):
    host: str = setting("ENRICHER_HTTP_HOST", "127.0.0.1", "Address that metrics are served on.")
    port: int = setting(
        "ENRICHER_HTTP_PORT", 9464, "Port of metrics and probes; 0 = any free one.", ge=0, le=65_535
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


VENDORS: Mapping[str, type[VendorSettings]] = {
    "clearbit": ClearbitSettings,
    "hunter": HunterSettings,
}
SECTIONS: Mapping[str, type[Section]] = {
    "mongo": MongoSettings,
    "work": WorkSettings,
    "priority": PrioritySettings,
    "identity": IdentitySettings,
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
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load(
    environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env"
) -> Settings:
    """Every section, from the environment and the file; `SettingsError` lists all that is wrong."""
    problems: list[str] = []
    from_file = read_env_file(Path(env_file), _is_ours, problems) if env_file else {}
    variables = _given(from_file | dict(os.environ if environ is None else environ))
    problems += _unknown(variables)
    if "ENRICHER_LOG_FORMAT" not in variables and sys.stderr.isatty():
        variables["ENRICHER_LOG_FORMAT"] = "console"
    sections = {name: _section(kind, variables, problems) for name, kind in SECTIONS.items()}
    vendors = {name: _section(kind, variables, problems) for name, kind in VENDORS.items()}
    if problems:
        raise SettingsError(problems)
    return Settings(**sections, vendors=vendors)  # type: ignore[arg-type]  # kinds follow SECTIONS


def documented() -> list[tuple[str, str, str]]:
    """(variable, default as one would write it, sentence) of every setting."""
    return [
        (name, _written(info.default), info.description or "") for name, info in _fields().items()
    ]


@functools.cache
def _fields() -> dict[str, FieldInfo]:
    kinds = (*SECTIONS.values(), *VENDORS.values())
    fields = [info for kind in kinds for info in kind.model_fields.values()]
    return {str(info.validation_alias): info for info in fields}


def _written(default: object) -> str:
    if default is None:
        return "none"
    return default if isinstance(default, str) else json.dumps(default)


def _given(variables: Mapping[str, str]) -> dict[str, str]:
    """Without blank ones: `HUNTER_API_KEY=` in the environment turns off what the file says."""
    return {name: value.strip() for name, value in variables.items() if value.strip()}


def _is_ours(name: str) -> bool:
    return name.upper().startswith(OUR_PREFIXES) or name in _fields()


def _is_link(name: str, value: str) -> bool:
    return bool(_LINK_VARIABLE.search(name)) or re.match(r"(tcp|udp|sctp)://", value) is not None


def _unknown(variables: Mapping[str, str]) -> Iterator[str]:
    for name, value in sorted(variables.items()):
        if name in _fields() or _is_link(name, value):
            continue
        meant = _meant(name, value)
        if _is_ours(name) or (meant and meant not in variables):
            hint = f"; did you mean {meant}?" if meant else ""
            yield f"{name}: there is no such setting{hint}"


def _meant(name: str, value: str) -> str | None:
    """The setting that a name which is none of ours seems to stand for."""
    name, known = name.upper(), list(_fields())
    if name in _OTHERS_SAY:
        return _OTHERS_SAY[name]
    if _is_ours(name) or name.startswith(_ALMOST_OURS):
        close = difflib.get_close_matches(name, known, 1, 0.75 if _is_ours(name) else _ALMOST)
        if close:
            return close[0]
    return "MONGODB_URI" if _ADDRESS_OF_MONGODB.match(f"{name}={value}") else None


AnySection = TypeVar("AnySection", bound=Section)


def _section(
    kind: type[AnySection], variables: Mapping[str, str], problems: list[str]
) -> AnySection | None:
    """One section; `None` when a problem was noted. Only known names are offered to the source,
    which would otherwise also take `HOST` or `URI` for the fields of that name."""
    source = EnvSettingsSource(kind, case_sensitive=True)
    source.env_vars = {name: variables[name] for name in _fields().keys() & variables.keys()}
    try:
        return kind(**source())
    except ValidationError as error:
        problems += [_problem(dict(detail), variables) for detail in error.errors()]
        return None


def _problem(detail: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    info = _fields()[name]
    shown = " (value not shown)" if is_secret(info) else f", got {harmless(variables[name])!r}"
    return f"{name}: {expected(detail, info)}{shown}"
