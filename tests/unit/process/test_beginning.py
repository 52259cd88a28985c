"""When the process began: as the kernel knows it, though not before a script that became us."""

from __future__ import annotations

import json
import statistics
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


@pytest.mark.slow
def test_what_a_script_did_before_it_became_us_is_not_ours() -> None:
    """A generous second for our import itself, on a busy machine."""
    assert age_after(4.0) < 3.0


FORKS = """
import json, os, sys, time
for _ in range(15):
    before = time.monotonic()
    if not os.fork():
        first = time.monotonic()
        while time.monotonic() < first + 0.02:
            pass
        from enricher.process.beginning import BEGAN
        print(json.dumps([BEGAN - before, BEGAN - first]))
        sys.exit()
    os.wait()
"""
"""Busy until a tick of the kernel's clock has passed, as an interpreter that starts is."""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux")
def test_the_beginning_is_known_better_than_by_ticks_of_ten_milliseconds() -> None:
    """Else a lead inserted right after the start would count as one from before it."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(since_before >= 0 for since_before, _ in found)
    # Most of them: what a hypervisor takes away, no counter of the guest tells.
    assert statistics.median(since_first for _, since_first in found) < 0.002
