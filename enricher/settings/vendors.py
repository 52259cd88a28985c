"""What can be set for a vendor: the same six settings for each, shared by all of its routes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, create_model
from pydantic_settings import NoDecode

from enricher import catalogue
from enricher.answer import Kind
from enricher.fields import FIELDS
from enricher.settings.types import MOST_CALLS, Key, Section, Strings, Url, setting


class VendorSettings(Section):
    """Access to one vendor, shared by all of its routes."""

    key: Key
    base_url: Url
    per_minute: int | None
    """`None`: each of its providers uses its own default."""
    daily_budget: int | None
    monthly_budget: int | None
    credit_price: float | None
    """What a credit costs, in the operator's own currency."""


def _vendor_key(vendor: str, title: str) -> Any:
    sentence = f"Key for {title}; without it {title} is not asked."
    return setting(f"{vendor.upper()}_API_KEY", None, sentence)


def _vendor_url(vendor: str, title: str, default: str) -> Any:
    sentence = f"Scheme and host of all {title} routes; change it for a proxy or the simulator."
    return setting(f"{vendor.upper()}_BASE_URL", default, sentence)


def _vendor_rate(vendor: str, title: str, default: int | None, counts: str) -> Any:
    sentence = f"Calls to {title} in any minute, at most, by all processes together{counts}."
    return setting(f"{vendor.upper()}_RATE_LIMIT", default, sentence, ge=1, le=1_000_000)


def _vendor_budget(vendor: str, title: str, period: str) -> Any:
    """Define a budget. `period` is "day" or "month", in UTC, by the server's clock."""
    adverb = {"day": "DAILY", "month": "MONTHLY"}[period]
    sentence = f"Calls that {title} may charge in a {period} (UTC), all processes together."
    return setting(f"{vendor.upper()}_{adverb}_BUDGET", None, sentence, ge=0, le=MOST_CALLS)


def _vendor_price(vendor: str, title: str) -> Any:
    sentence = (
        f"Price of one {title} credit in your currency, for `enricher report` and"
        " `ENRICHER_MAX_CREDITS_PER_LEAD`; where knowing nothing is charged, rechecks need it."
    )
    limits = {"ge": 0, "le": 1_000_000, "allow_inf_nan": False}
    return setting(f"{vendor.upper()}_CREDIT_PRICE", None, sentence, **limits)


def vendor_settings(
    vendor: str, host: str, title: str = "", per_minute: int | None = None, counts: str = ""
) -> type[VendorSettings]:
    """Build the section with the six settings of one vendor. `counts` says what its limit counts."""
    title = title or vendor
    return create_model(
        f"{vendor.title()}Settings",
        __base__=VendorSettings,
        key=(Key, _vendor_key(vendor, title)),
        base_url=(Url, _vendor_url(vendor, title, host)),
        per_minute=(
            int | None,
            _vendor_rate(vendor, title, per_minute, counts or ", on each route"),
        ),
        daily_budget=(int | None, _vendor_budget(vendor, title, "day")),
        monthly_budget=(int | None, _vendor_budget(vendor, title, "month")),
        credit_price=(float | None, _vendor_price(vendor, title)),
    )


VENDORS: Mapping[str, type[VendorSettings]] = {
    each.name: vendor_settings(
        each.name, each.host, each.title, each.per_minute, each.per_minute_of
    )
    for each in catalogue.VENDORS.values()
}


# What can be set about the providers together: which are asked, in which order, and for what.

PROVIDERS = tuple(catalogue.PROVIDERS)
"""Names of all providers that need a key, in their default order."""
_FREE = (catalogue.WEBSITE.name, catalogue.CNPJ.name)
"""Those that have a switch of their own, and a place in the order."""
_OFF = tuple(each.name for each in catalogue.PROVIDERS.values() if not each.is_on)
AUTO = "auto"
"""In place of an order: the fleet finds it by itself."""
_EXAMPLE = '{"company": ["name", "industry"]}'


@dataclass(frozen=True, slots=True)
class ThirdParties:
    """What other packages bring that settings can name (`providers/registry.py`)."""

    names: tuple[str, ...] = ()
    """Names of their providers."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Vendor -> scheme and host, for vendors that are not built in."""


def _names(known: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    stray = [name for name in names if name not in known]
    if stray:
        raise ValueError(f"{_not_one(names, stray[0])} of these: {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ValueError("expected each provider once")
    return names


def _not_one(listed: Sequence[object], stray: object) -> str:
    """Name a stray entry by its place, not by its text, which may be anything."""
    return f"number {listed.index(stray) + 1} of the list is none"


def _json_fields(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        message = f"expected a JSON object of kinds and their fields, like {_EXAMPLE}"
        raise ValueError(message)  # noqa: TRY004 - pydantic takes no other
    return {kind: _fields(kind, fields) for kind, fields in parsed.items()}


def _fields(kind: str, fields: object) -> frozenset[str]:
    """Check the fields of one kind. Empty is refused: no provider would be worth asking."""
    kinds = [each.value for each in Kind]
    if kind not in kinds:
        raise ValueError(f"expected kinds out of these: {', '.join(kinds)}")
    if not isinstance(fields, list) or not fields:
        raise ValueError(f"expected at least one field of {kind}, like {_EXAMPLE}")
    known = FIELDS[Kind(kind)]
    stray = [field for field in fields if not isinstance(field, str) or field not in known]
    if stray:
        raise ValueError(
            f"{_not_one(fields, stray[0])} of the fields of {kind}: {', '.join(sorted(known))}"
        )
    return frozenset(fields)


def _auto(value: object) -> object:
    return (AUTO,) if isinstance(value, str) and value.strip().lower() == AUTO else value


def _order(known: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return names if names == (AUTO,) else _names(known, names)


Providers: TypeAlias = Annotated[Strings, AfterValidator(partial(_names, PROVIDERS))]
Ordered: TypeAlias = Annotated[
    Strings, AfterValidator(partial(_order, (*PROVIDERS, *_FREE))), BeforeValidator(_auto)
]
Required: TypeAlias = Annotated[
    Mapping[str, frozenset[str]], NoDecode, BeforeValidator(_json_fields)
]


class ProviderSettings(Section):
    order: Ordered = setting(
        "ENRICHER_PROVIDER_ORDER",
        (),
        "Providers, best first, of each kind; those left out follow in their usual order. `auto`: as their answers and prices propose.",
    )
    order_hours: float = setting(
        "ENRICHER_PROVIDER_ORDER_HOURS",
        24,
        "With `ENRICHER_PROVIDER_ORDER=auto`, the order changes by one step in this time at most.",
        ge=0.001,
        le=8760,
    )
    off: Providers = setting(
        "ENRICHER_PROVIDERS_OFF",
        _OFF,
        "Providers that are not asked although there is a key for them.",
    )
    required: Required = setting(
        "ENRICHER_REQUIRED_FIELDS",
        {},
        "Fields, by kind, that make the next provider worth asking while they are missing.",
    )

    @property
    def is_auto(self) -> bool:
        """The fleet finds the order by itself."""
        return self.order == (AUTO,)


def provider_settings(others: tuple[str, ...]) -> type[ProviderSettings]:
    """Return the section with the names of other packages' providers allowed as well."""
    if not others:
        return ProviderSettings
    known = (*PROVIDERS, *others)
    types = {
        "order": Annotated[
            Strings, AfterValidator(partial(_order, (*known, *_FREE))), BeforeValidator(_auto)
        ],
        "off": Annotated[Strings, AfterValidator(partial(_names, known))],
    }
    fields = {name: ProviderSettings.model_fields[name] for name in types}
    return create_model(  # type: ignore[call-overload,no-any-return]  # the fields are a mapping
        "ProviderSettings",
        __base__=ProviderSettings,
        **{
            name: (
                types[name],
                setting(str(info.validation_alias), info.default, str(info.description)),
            )
            for name, info in fields.items()
        },
    )
