"""Keys that arrive as files: systemd's credentials, and secrets that a container has mounted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from enricher.errors import SettingsError
from enricher.settings.load import Settings, load


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)


def loaded(directory: Path, env_file: Path | None = None, **environ: str) -> Settings:
    return load({"CREDENTIALS_DIRECTORY": str(directory), **environ}, env_file)


def problems(directory: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(directory)
    return caught.value.problems


def key_of(settings: Settings, vendor: str) -> str | None:
    key = settings.vendors[vendor].key
    return key.get_secret_value() if key else None


def test_each_file_is_the_value_of_the_setting_that_it_is_named_after(tmp_path: Path) -> None:
    (tmp_path / "HUNTER_API_KEY").write_text("mounted\n")
    (tmp_path / "MONGODB_URI").write_text("mongodb://db1.internal/")
    settings = loaded(tmp_path)
    assert key_of(settings, "hunter") == "mounted"
    assert settings.mongo.uri is not None


def test_the_environment_wins_over_a_credential_and_that_over_the_file(tmp_path: Path) -> None:
    mounted, env_file = tmp_path / "mounted", tmp_path / ".env"
    mounted.mkdir()
    for vendor in ("HUNTER", "PDL"):
        (mounted / f"{vendor}_API_KEY").write_text("mounted")
    env_file.write_text("PDL_API_KEY=file\nAPOLLO_API_KEY=file\n")
    settings = loaded(mounted, env_file, HUNTER_API_KEY="environment")
    keys = [key_of(settings, vendor) for vendor in ("hunter", "pdl", "apollo")]
    assert keys == ["environment", "mounted", "file"]


def test_links_are_followed_and_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "HUNTER_API_KEY").write_text("linked")
    (tmp_path / "HUNTER_API_KEY").symlink_to("..data/HUNTER_API_KEY")
    (tmp_path / "ca.pem").write_bytes(b"\xff\xfe")
    assert key_of(loaded(tmp_path), "hunter") == "linked"


def test_a_mistyped_name_of_a_credential_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    (tmp_path / "HUNTER_APIKEY").write_text("half a secret")
    [line] = problems(tmp_path)
    assert line == "HUNTER_APIKEY: there is no such setting; did you mean HUNTER_API_KEY?"


def test_a_credential_that_cannot_be_read_is_one_line_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "HUNTER_API_KEY").write_bytes(b"secret\xff")
    (tmp_path / "PDL_API_KEY").mkdir()
    lines = problems(tmp_path)
    assert [line.split(":")[0] for line in lines] == [
        os.fspath(tmp_path / name) for name in ("HUNTER_API_KEY", "PDL_API_KEY")
    ]
    assert "secret" not in "".join(lines)


def test_a_directory_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    assert problems(tmp_path / "gone") == [
        "CREDENTIALS_DIRECTORY: cannot be read (FileNotFoundError)"
    ]
