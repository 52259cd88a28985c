"""The catalogue of providers is whole, agrees with the fields, and is the only place that lists them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from enricher.catalogue import (
    CNPJ,
    LOCAL,
    PROVIDERS,
    VENDORS,
    WEBSITE,
    ProviderListing,
    Window,
    of_vendor,
)
from enricher.fields import FIELDS, TYPES
from enricher.providers.cnpj import Cnpj
from enricher.providers.local import Local
from enricher.providers.registry import built_in
from enricher.providers.website.provider import Website
from enricher.settings.load import documented
from enricher.simulator.server import Simulator

CODE = Path(__file__).parent.parent.parent.parent / "enricher"
OWN_FILES = {CODE / "catalogue.py"} | {
    CODE / room / f"{vendor}.py" for room in ("providers", "simulator") for vendor in VENDORS
}
each_provider = pytest.mark.parametrize("listing", PROVIDERS.values(), ids=lambda each: each.name)


@each_provider
def test_a_listing_names_fields_of_its_kind_and_wants_none_that_it_lacks(
    listing: ProviderListing,
) -> None:
    assert listing.required
    assert listing.required | listing.lacks <= FIELDS[listing.kind]
    assert not listing.required & listing.lacks


@each_provider
def test_a_listing_has_a_vendor_a_limit_a_price_and_what_is_charged(
    listing: ProviderListing,
) -> None:
    assert listing.vendor in VENDORS
    assert listing.windows
    assert all(each.calls > 0 and each.seconds > 0 for each in listing.windows)
    assert listing.credits > 0
    assert listing.charges
    assert listing.costs


def test_the_classes_say_what_the_catalogue_says() -> None:
    for kind in built_in():
        listing = PROVIDERS[kind.name]
        said = (kind.vendor, kind.kind, kind.path, kind.windows, kind.charges, kind.credits)
        assert said == (
            *(listing.vendor, listing.kind, listing.path),
            *(listing.windows, listing.charges, listing.credits),
        )
        assert (kind.required, kind.lacks) == (listing.required, listing.lacks)
    for free, listing in ((Local, LOCAL), (Website, WEBSITE), (Cnpj, CNPJ)):
        assert (free.name, free.vendor, free.kind) == (listing.name, listing.vendor, listing.kind)
        assert listing.code == f"{free.__module__}:{free.__name__}"


def test_a_provider_knows_best_what_its_kind_has_and_it_does_not_lack() -> None:
    for each in (*PROVIDERS.values(), LOCAL, WEBSITE):
        assert each.knows_best <= TYPES[each.kind].keys() - each.lacks
        assert not each.required & each.lacks


def test_those_who_share_windows_have_the_same() -> None:
    windows: dict[str, set[tuple[Window, ...]]] = {}
    for each in PROVIDERS.values():
        windows.setdefault(each.bucket or each.name, set()).add(each.windows)
    assert {len(found) for found in windows.values()} == {1}


def test_each_vendor_has_its_five_settings_with_the_catalogues_defaults() -> None:
    defaults = {name: default for name, default, _ in documented()}
    for vendor in VENDORS.values():
        prefix = vendor.name.upper()
        assert defaults[f"{prefix}_BASE_URL"] == vendor.host
        assert defaults[f"{prefix}_RATE_LIMIT"] == str(vendor.per_minute)
        none = {defaults[f"{prefix}_{each}"] for each in ("API_KEY", "DAILY_BUDGET")}
        assert none | {defaults[f"{prefix}_MONTHLY_BUDGET"]} == {"none"}


def test_the_simulator_serves_every_route_below_its_vendor() -> None:
    simulated = Simulator()._vendors
    assert simulated.keys() == VENDORS.keys() | {CNPJ.vendor}
    for name, vendor in simulated.items():
        assert {each.path for each in of_vendor(name)} <= vendor.routes.keys()


def test_no_other_file_lists_providers() -> None:
    """One may name a single one; who needs several asks the catalogue."""
    for path in sorted(set(CODE.rglob("*.py")) - OWN_FILES):
        tree = ast.parse(path.read_text("utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        named = [name for name in PROVIDERS if name in texts and name not in VENDORS]
        assert len(named) < 3, f"{path.name} lists {named}"
