"""What may be said of events and the webhook."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from enricher.errors import SettingsError
from enricher.settings.load import Settings, load

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://hooks.example.com/in/9f2c?key=1"
EXPECTED = "ENRICHER_WEBHOOK_SECRET: expected whsec_ and the base64 of 24 to 64 random bytes"


def loaded(**variables: str) -> Settings:
    return load(variables, env_file=None)


def complaint(**variables: str) -> str:
    with pytest.raises(SettingsError) as raised:
        loaded(**variables)
    return str(raised.value)


def webhook(url: str = URL, secret: str = SECRET) -> dict[str, str]:
    return {"ENRICHER_WEBHOOK_URL": url, "ENRICHER_WEBHOOK_SECRET": secret}


def test_events_are_off_until_somebody_wants_them_or_has_a_webhook() -> None:
    assert not loaded().events.are_on
    assert loaded(ENRICHER_EVENTS="true").events.are_on
    assert loaded(**webhook()).events.are_on


@pytest.mark.parametrize(
    "url", [URL, "http://127.0.0.1:8080/x", "http://crm.internal", "http://[::1]/"]
)
def test_an_address_is_public_over_tls_or_ones_own(url: str) -> None:
    events = loaded(**webhook(url)).events
    assert events.url is not None
    assert events.url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [(URL, "https://hooks.example.com"), ("http://[::1]:8080?key=1", "http://[::1]:8080")],
)
def test_of_an_address_only_the_host_is_shown(url: str, shown: str) -> None:
    assert loaded(**webhook(url)).events.shown_url == shown


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://hooks.example.com/in",
            "http://8.8.8.8/",
            "ftp://crm.internal/",
            "crm.internal/x",
        ),
        *("https://user:secret@hooks.example.com/", "https://hooks.example.com/#x", "https:///x"),
        *("https://hooks.example.com/a b", "https://hooks.example.com:no/"),
    ],
)
def test_any_other_is_refused_and_not_shown(url: str) -> None:
    said = complaint(**webhook(url))
    assert said.startswith("ENRICHER_WEBHOOK_URL: ")
    assert url not in said


def test_several_secrets_have_blanks_between_them() -> None:
    other = f"whsec_{base64.b64encode(bytes(64)).decode()}"
    events = loaded(**webhook(secret=f"{other}  {SECRET}")).events
    assert [len(key) for key in events.keys] == [64, 24]
    assert {each.get_secret_value() for each in events.never_shown} == {other, SECRET, URL}


@pytest.mark.parametrize(
    "secret",
    [
        *("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_abc", "whsec_MfKQ9r8GKYqrTwjUPD8I"),
        *(f"whsec_{base64.b64encode(bytes(65)).decode()}", f"{SECRET} x", f"{SECRET},{SECRET}"),
    ],
)
def test_what_is_no_secret_is_refused_and_not_shown(secret: str) -> None:
    said = complaint(**webhook(secret=secret))
    assert said.startswith(EXPECTED)
    assert secret not in said.removeprefix(EXPECTED) or len(secret) < 7


def test_neither_an_address_nor_a_secret_is_enough() -> None:
    whole = webhook()
    for name, other in (tuple(whole), tuple(reversed(whole))):
        assert complaint(**{name: whole[name]}) == f"{other}: expected beside {name}"


def test_both_may_come_from_files(tmp_path: Path) -> None:
    for name, value in webhook().items():
        (tmp_path / name).write_text(f"{value}\n")
    events = loaded(CREDENTIALS_DIRECTORY=str(tmp_path)).events
    assert events.url is not None
    assert events.url.get_secret_value() == URL
    assert len(events.keys) == 1
