"""Providers of other packages: what is accepted, what stops the start, and what settings they get."""

# ruff: noqa: ARG002 - the providers here are never asked

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import SecretStr

import enricher
from enricher import Answer, HttpProvider, Kind, NotFound, Provider, Query, Reply, Request, Window
from enricher.catalogue import PROVIDERS
from enricher.demo import stage
from enricher.errors import SettingsError
from enricher.providers.base import Access
from enricher.providers.registry import GROUP, build, built_in, found, third_parties
from enricher.settings.load import load
from enricher.settings.vendors import ThirdParties, provider_settings
from tests.support.mock_client import mock_client

ROOT = Path(__file__).parent.parent.parent.parent


class Acme(HttpProvider):
    name, vendor, kind = "acme_company", "acme", Kind.COMPANY
    host = "https://api.acme.example"
    windows: tuple[Window, ...] = (Window(5, 1),)
    required = frozenset({"name"})

    def unfit(self, query: Query) -> str | None:
        return None

    def request(self, query: Query) -> Request:
        return Request("/", {})

    def interpret(self, reply: Reply) -> Answer:
        return NotFound()


class AcmePerson(Acme):
    name, kind = "acme_person", Kind.PERSON
    required = frozenset({"full_name"})


class OfHunter(Acme):
    name, vendor, host = "hunter_logo", "hunter", "https://api.hunter.io"


class Rules(Provider):
    name, vendor, kind = "own_rules", "own", Kind.COMPANY
    is_free = True

    def unfit(self, query: Query) -> str | None:
        return None

    async def ask(self, query: Query) -> Answer:
        return NotFound()


class Costly(Rules):
    is_free = False


class FreeOverHttp(Acme):
    is_free = True


class NoHost(Acme):
    host = "acme.example"


class OtherHost(OfHunter):
    host = "https://elsewhere.example"


class BadName(Acme):
    name = "Acme Company"


class BadVendor(Acme):
    vendor = "enricher"


class BadField(Acme):
    required = frozenset({"shoe_size"})


class NoWindow(Acme):
    windows = ()


class EndlessWindow(Acme):
    windows = (Window(1, float("inf")),)


class NotMade(Acme):
    def __init__(self) -> None:
        """Takes none of what it is given."""


class Abstract(HttpProvider):
    name, vendor, kind = "half", "half", Kind.COMPANY


NO_CLASS = "a text"


def entry(name: str, value: str | None = None) -> EntryPoint:
    return EntryPoint(name=name, value=value or f"{__name__}:{name}", group=GROUP)


def complaint(*entries: EntryPoint) -> str:
    with pytest.raises(SettingsError) as error:
        found(entries)
    (line,) = error.value.problems
    return line


def test_what_authors_need_is_offered_under_the_packages_own_name() -> None:
    assert all(getattr(enricher, name) is not None for name in enricher.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = enricher.nothing


def test_the_package_itself_loads_nothing_until_it_is_asked() -> None:
    program = "import sys, enricher; sys.exit('httpx' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_entry_points_in_the_project_are_the_providers_that_are_built_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = project["entry-points"][GROUP]
    classes = {each.name: f"{each.__module__}:{each.__name__}" for each in built_in()}
    listed = {each.name: each.code for each in PROVIDERS.values()}
    assert list(declared.items()) == list(classes.items()) == list(listed.items())
    assert found(entry(name, value) for name, value in declared.items()) == ()


def test_the_order_of_the_metadata_does_not_matter() -> None:
    one, other = entry("Acme"), entry("AcmePerson")
    assert found([one, other]) == found([other, one])


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("NO_CLASS", "no subclass of enricher.Provider"),
        ("Query", "no subclass of enricher.Provider"),
        ("Abstract", "it lacks interpret, request, unfit"),
        ("Nobody", "cannot be imported: AttributeError"),
        ("Costly", "must be an HttpProvider"),
        ("FreeOverHttp", "cannot be is_free"),
        ("NoHost", "its host is no http"),
        ("OtherHost", "its host is not https://api.hunter.io"),
        ("BadName", "its name is no word"),
        ("BadVendor", "no vendor can be called 'enricher'"),
        ("BadField", "required: company has no field 'shoe_size'"),
        ("NoWindow", "at least one enricher.Window"),
        ("EndlessWindow", "a window has inf seconds"),
        ("NotMade", "cannot be made: TypeError"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said_in_one_line(name: str, part: str) -> None:
    line = complaint(entry(name))
    assert line.startswith(f"provider {name} of the package ")
    assert part in line


def test_two_packages_cannot_bring_the_same_name() -> None:
    again = EntryPoint(name="Again", value=f"{__name__}:Acme", group=GROUP)
    assert "the name acme_company is taken" in complaint(entry("Acme"), again)


def test_a_vendor_gets_its_settings_unless_it_is_built_in() -> None:
    plugins = found(map(entry, ("Acme", "AcmePerson", "OfHunter", "Rules")))
    assert third_parties(plugins) == ThirdParties(
        names=("acme_company", "acme_person", "hunter_logo", "own_rules"),
        hosts={"acme": "https://api.acme.example"},
    )


ACME = ThirdParties(("acme_company",), {"acme": "https://api.acme.example"})


def test_the_five_settings_of_its_vendor_are_read() -> None:
    environ = {
        "ACME_API_KEY": "a-key",
        "ACME_RATE_LIMIT": "30",
        "ACME_DAILY_BUDGET": "0",
        "ACME_MONTHLY_BUDGET": "9",
    }
    vendor = load(environ, None, ACME).vendors["acme"]
    assert vendor.key == SecretStr("a-key")
    assert vendor.base_url == "https://api.acme.example"
    assert (vendor.per_minute, vendor.daily_budget, vendor.monthly_budget) == (30, 0, 9)
    assert load({}, None, ACME).vendors["acme"].per_minute is None
    assert "acme" not in load(environ, None).vendors


def test_its_mistaken_settings_are_refused_like_our_own() -> None:
    environ = {"ACME_RATE_LIMIT": "0", "ACME_TOKEN": "x", "ENRICHER_PROVIDER_ORDER": '["acme"]'}
    with pytest.raises(SettingsError) as error:
        load(environ, None, ACME)
    text = "\n".join(error.value.problems)
    assert len(error.value.problems) == 3
    assert "ACME_TOKEN: there is no such setting" in text
    assert "ACME_RATE_LIMIT: expected a whole number, at least 1" in text
    assert "ENRICHER_PROVIDER_ORDER: number 1 of the list is none of these: clearbit, " in text
    assert "emailable, acme_company, website, cnpj (value not shown)" in text


def test_its_providers_can_be_named_in_the_order() -> None:
    environ = {"ENRICHER_PROVIDER_ORDER": '["acme_company", "hunter"]'}
    assert load(environ, None, ACME).providers.order == ("acme_company", "hunter")
    with pytest.raises(SettingsError):
        load(environ, None)


async def _built(**wishes: object) -> list[Provider]:
    access = Access(SecretStr("key"), "https://api.acme.example")
    told = provider_settings((Acme.name, Rules.name)).model_validate({"off": (), **wishes})
    http = mock_client()
    accesses = {"acme": access, "clearbit": access}
    return list(build(http, accesses, {"acme": 60}, told, [Acme, Rules]).providers)


async def test_it_comes_after_the_built_in_ones_and_free_rules_before_them() -> None:
    names = [each.name for each in await _built() if each.kind is Kind.COMPANY]
    assert names == ["own_rules", "clearbit", "acme_company"]


async def test_the_operators_order_and_switch_hold_for_it_too() -> None:
    named = await _built(order=("acme_company", "own_rules"), off=("clearbit",))
    assert [each.name for each in named if each.kind is Kind.COMPANY] == [
        "acme_company",
        "own_rules",
    ]


async def test_a_limit_per_minute_holds_also_where_the_vendor_counts_no_minutes() -> None:
    (acme,) = (each for each in await _built() if each.name == "acme_company")
    assert acme.windows == (Window(5, 1), Window(60, 60))


def test_a_demo_is_given_no_key_of_a_vendor_that_nobody_simulates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "a-real-one")
    assert "ACME_API_KEY" not in stage._environment()
