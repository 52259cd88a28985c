"""What a killed test run leaves behind is removed by the next (`tests/support/processes.py`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.support.processes import server_directory


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where such directories are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_data_of_a_run_that_was_killed_is_removed(place: Path) -> None:
    with server_directory() as one:
        name = one.name
    left_behind = place / name
    left_behind.mkdir()
    (left_behind / "journal").touch()
    with server_directory():
        assert not left_behind.exists()


def test_the_data_of_a_run_at_work_stays(place: Path) -> None:
    with server_directory() as at_work:
        (at_work / "journal").touch()
        with server_directory() as another:
            assert another != at_work
            assert {*place.iterdir()} == {at_work, another}
        assert (at_work / "journal").exists()
    assert [*place.iterdir()] == []


def test_what_is_somebody_elses_stays(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data" / "journal").touch()
    with server_directory():
        assert (place / "data" / "journal").exists()
