"""A key in the wrong line, a key in clear, a key that everybody can read."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import pytest

from enricher.errors import SettingsError
from enricher.settings.load import MOST_BYTES, documented, is_exposed, load

KEY = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
KEYS = (
    KEY,
    "0123456789abcdef0123456789abcdef01234567",
    "12345678901234567890",
    f"https://u:{KEY}@h",
)
DIGITS = "9" * 40


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)


def problems(environ: dict[str, str], env_file: Path | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, env_file)
    return caught.value.problems


# -- a value is never quoted ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("value", [*KEYS, DIGITS, f'["{KEY}"]', f'{{"company": ["{KEY}"]}}'])
@pytest.mark.parametrize("name", [name for name, _, _ in documented()])
def test_no_complaint_quotes_what_may_be_a_key(name: str, value: str) -> None:
    said: list[str] = []
    try:
        load({name: value}, None)
    except SettingsError as error:
        said = error.problems
    assert len(said) <= 1
    assert all(line.startswith(f"{name}: ") for line in said)
    assert not any(part in "".join(said) for part in (KEY, KEYS[1], KEYS[2], "9999999999"))


@pytest.mark.parametrize(
    "value",
    [f'{{"{KEY}": ["name"]}}', f'{{"company": "{KEY}"}}', f'["hunter", "{KEY}"]', f"[{KEY}"],
)
@pytest.mark.parametrize(
    "name",
    [
        "ENRICHER_REQUIRED_FIELDS",
        "ENRICHER_PROVIDER_ORDER",
        "ENRICHER_PROVIDERS_OFF",
        "ENRICHER_PLAN_QUOTAS",
    ],
)
def test_nor_a_part_of_a_value(name: str, value: str) -> None:
    assert KEY not in "".join(problems({name: value}))


@pytest.mark.parametrize(
    ("value", "shown"), [("-1", "got -1"), ("1e3", "got 1e3"), ("nan", "got nan")]
)
def test_a_number_is_shown(value: str, shown: str) -> None:
    assert shown in problems({"HUNTER_DAILY_BUDGET": value})[0]


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://{KEY}:{KEY}",
        f"mongodb://h/?authMechanism={KEY}",
        f"mongodb://h:{KEY}/",
        f"{KEY}",
    ],
)
def test_nor_does_an_address_of_mongodb_that_cannot_be_read(uri: str) -> None:
    said: list[str] = []
    try:
        load({"MONGODB_URI": uri}, None)
    except SettingsError as error:
        said = error.problems
    assert KEY not in "".join(said)


# -- a key in clear ---------------------------------------------------------------------------

CLEAR = (
    *("http://api.hunter.io", "HTTP://api.hunter.io", "http://8.8.8.8", "http://[2606:4700::1]"),
    *(
        "http://134744072",
        "http://0x08.8.8.8",
        "http://proxy.acme.com:8080/hunter",
        "http://127.0.0.1.nip.io",
    ),
)
FINE = (
    *(
        "https://api.hunter.io",
        "https://8.8.8.8",
        "http://127.0.0.1:9500/hunter",
        "http://localhost",
    ),
    *(
        "http://simulator:9500/hunter",
        "http://10.1.2.3",
        "http://[::1]:9500",
        "http://vendors.internal",
    ),
    *(
        "http://simulator.crm.svc.cluster.local:9500",
        "http://host.docker.internal:9500",
        "http://nas.local",
    ),
)


@pytest.mark.parametrize("vendor", ["HUNTER", "CLEARBIT", "PDL", "APOLLO"])
@pytest.mark.parametrize("url", CLEAR)
def test_a_key_does_not_travel_the_internet_in_clear(vendor: str, url: str) -> None:
    assert problems({f"{vendor}_BASE_URL": url}) == [
        (
            f"{vendor}_BASE_URL: expected https://, or the key would travel in clear; "
            "http:// is for this machine and private networks (value not shown)"
        )
    ]


@pytest.mark.parametrize("url", FINE)
def test_within_ones_own_network_it_may(url: str) -> None:
    assert load({"HUNTER_BASE_URL": url}, None).vendors["hunter"].base_url == url


# -- files --------------------------------------------------------------------------------------


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


def _somewhat_too_large(path: Path) -> None:
    path.write_text("#" * (MOST_BYTES + 1))


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _endless(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


UNFIT = {
    _fifo: "a FIFO",
    _directory: "a directory",
    _device: "a device",
    _huge: "more than 256 KiB",
    _somewhat_too_large: "more than 256 KiB",
    _dangling: "FileNotFoundError",
    _loop: "OSError",
    _endless: "OSError",
    _socket: "a socket",
}


@pytest.mark.parametrize(("make", "what"), UNFIT.items(), ids=[each.__name__ for each in UNFIT])
@pytest.mark.parametrize("name", [".env", "HUNTER_API_KEY"])
def test_what_is_no_file_is_one_clear_line_and_nobody_waits(
    make: object, what: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    file = tmp_path / name
    make(file if make is not _socket else Path(name))  # type: ignore[operator]
    if name == ".env":
        found = problems({}, file)
    else:
        found = problems({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    if make is _endless and sys.platform != "linux":
        pytest.skip("there is no /proc")
    assert found == [f"{file}: expected a readable UTF-8 file ({what})"]


@pytest.mark.parametrize(
    ("mode", "text", "is_told"),
    [
        (0o644, "HUNTER_API_KEY=abc\n", True),
        (0o604, "# mine\nexport HUNTER_API_KEY='abc'\n", True),
        (0o602, "MONGODB_URI=mongodb://u:p@h/\n", True),
        (0o600, "HUNTER_API_KEY=abc\n", False),
        (0o640, "HUNTER_API_KEY=abc\n", False),
        (0o644, "ENRICHER_CONCURRENCY=5\n", False),
        (0o644, "HUNTER_API_KEY=\n", False),
        (0o644, "OTHER_API_KEY=abc\n", False),
    ],
)
def test_a_file_with_keys_that_everybody_can_read_is_known_as_such(
    mode: int, text: str, is_told: bool, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(text)
    file.chmod(mode)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert is_exposed(file) is is_told


def test_no_file_is_not_exposed(tmp_path: Path) -> None:
    assert not is_exposed(tmp_path / ".env")
