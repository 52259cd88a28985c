"""What can be set for a vendor: the same five things for each, shared by all of its routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from enricher.settings.types import MOST_CALLS, Key, Section, Url, setting


class VendorSettings(Section):
    """Access to one vendor, shared by all of its routes."""

    key: Key
    base_url: Url
    per_minute: int | None
    """`None`: as each of its providers says."""
    daily_budget: int | None
    monthly_budget: int | None


def _vendor_key(vendor: str) -> Any:
    sentence = f"Key for {vendor}; without it {vendor} is not asked."
    return setting(f"{vendor.upper()}_API_KEY", None, sentence)


def _vendor_url(vendor: str, default: str) -> Any:
    sentence = f"Scheme and host of all {vendor} routes; change it for a proxy or the simulator."
    return setting(f"{vendor.upper()}_BASE_URL", default, sentence)


def _vendor_rate(vendor: str, default: int | None, more: str = "") -> Any:
    sentence = f"Calls to {vendor} in any minute, at most, by all processes together{more}."
    return setting(f"{vendor.upper()}_RATE_LIMIT", default, sentence, ge=1, le=1_000_000)


def _vendor_budget(vendor: str, period: str) -> Any:
    """`period` is day or month; in UTC, by the server's clock."""
    adverb = {"day": "DAILY", "month": "MONTHLY"}[period]
    sentence = f"Calls that {vendor} may charge in a {period} (UTC), all processes together."
    return setting(f"{vendor.upper()}_{adverb}_BUDGET", None, sentence, ge=0, le=MOST_CALLS)


class ClearbitSettings(VendorSettings):
    key: Key = _vendor_key("Clearbit")
    base_url: Url = _vendor_url("Clearbit", "https://company.clearbit.com")
    per_minute: int | None = _vendor_rate("Clearbit", 600, ", for each of its hosts")
    daily_budget: int | None = _vendor_budget("Clearbit", "day")
    monthly_budget: int | None = _vendor_budget("Clearbit", "month")


class HunterSettings(VendorSettings):
    key: Key = _vendor_key("Hunter")
    base_url: Url = _vendor_url("Hunter", "https://api.hunter.io")
    per_minute: int | None = _vendor_rate(
        "Hunter", 300, ", of the verifier; its company and person routes have 5/3 of it"
    )
    daily_budget: int | None = _vendor_budget("Hunter", "day")
    monthly_budget: int | None = _vendor_budget("Hunter", "month")


class PdlSettings(VendorSettings):
    key: Key = _vendor_key("PDL")
    base_url: Url = _vendor_url("PDL", "https://api.peopledatalabs.com")
    per_minute: int | None = _vendor_rate("PDL", 10, ", on each route")
    daily_budget: int | None = _vendor_budget("PDL", "day")
    monthly_budget: int | None = _vendor_budget("PDL", "month")


class ApolloSettings(VendorSettings):
    key: Key = _vendor_key("Apollo")
    base_url: Url = _vendor_url("Apollo", "https://api.apollo.io")
    per_minute: int | None = _vendor_rate("Apollo", 50, ", on each route")
    daily_budget: int | None = _vendor_budget("Apollo", "day")
    monthly_budget: int | None = _vendor_budget("Apollo", "month")


VENDORS: Mapping[str, type[VendorSettings]] = {
    "clearbit": ClearbitSettings,
    "hunter": HunterSettings,
    "pdl": PdlSettings,
    "apollo": ApolloSettings,
}


def vendor_settings(vendor: str, host: str) -> type[VendorSettings]:
    """The same five for the vendor of another package, under its own name."""
    return create_model(
        f"{vendor.title()}Settings",
        __base__=VendorSettings,
        key=(Key, _vendor_key(vendor)),
        base_url=(Url, _vendor_url(vendor, host)),
        per_minute=(int | None, _vendor_rate(vendor, None, ", on each route")),
        daily_budget=(int | None, _vendor_budget(vendor, "day")),
        monthly_budget=(int | None, _vendor_budget(vendor, "month")),
    )
