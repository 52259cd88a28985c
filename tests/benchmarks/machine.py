"""What the machine is, and what its processes use: read from /proc, so it costs them nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM, _PARENT = 11, 12, 1
"""Fields of /proc/PID/stat, counted from the one after the name."""


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """User and system time of each process with all its living descendants; 0 when it is gone."""
    stats = {
        int(path.name): fields
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and (fields := _stat(path))
    }
    return {
        name: sum(_own(stats[each]) for each in _family(pid, stats) if each in stats)
        for name, pid in pids.items()
    }


def resident_mb(pid: int, peak: bool = False) -> float:
    """Resident memory of one process now, or the most it ever had."""
    wanted = "VmHWM" if peak else "VmRSS"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == wanted:
            return int(value.split()[0]) / 1024
    raise LookupError(wanted)


def description() -> dict[str, str]:
    """For the report: a figure says nothing without the machine it was seen on."""
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "machine": f"{os.cpu_count()} cores ({_cpu_model()}), {_memory_gb():.0f} GB of memory",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "load before the run": load,
    }


def _stat(process: Path) -> list[str]:
    """The fields after the name, which may itself hold spaces and parentheses."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _own(fields: Sequence[str]) -> float:
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS


def _family(pid: int, stats: Mapping[int, Sequence[str]]) -> set[int]:
    found = {pid}
    while more := {each for each, fields in stats.items() if int(fields[_PARENT]) in found} - found:
        found |= more
    return found


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "unknown")


def _memory_gb() -> float:
    first = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(first.split()[1]) / 1024**2
