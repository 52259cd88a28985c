"""Prometheus' own tool, as the tests of the rules have it."""

from __future__ import annotations

from tests.deploy.conftest import promtool

__all__ = ["promtool"]
