"""When the process began: as the kernel knows it, though not before a script that became us."""

from __future__ import annotations

import subprocess
import sys

import pytest


def age_after(seconds: float) -> float:
    """How old a process believes to be that loads our code after so long."""
    program = (
        f"import time; time.sleep({seconds}); from enricher.process.beginning import BEGAN;"
        " print(time.monotonic() - BEGAN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux")
def test_what_the_interpreter_took_to_start_belongs_to_the_process() -> None:
    assert age_after(0.4) >= 0.4


def test_what_a_script_did_before_it_became_us_is_not_ours() -> None:
    """A generous second for our import itself, on a busy machine."""
    assert age_after(4.0) < 3.0
