"""The tools of Prometheus and Alertmanager: without them a test is skipped on a laptop, and fails in CI."""

from __future__ import annotations

import os
import shutil

import pytest


def _tool(name: str, package: str = "prometheus") -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: it comes with Debian's package {package}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return _tool("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return _tool("prometheus")


@pytest.fixture(scope="session")
def amtool() -> str:
    return _tool("amtool", "prometheus-alertmanager")


@pytest.fixture(scope="session")
def alertmanager() -> str:
    return _tool("prometheus-alertmanager", "prometheus-alertmanager")
