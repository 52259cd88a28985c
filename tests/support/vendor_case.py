"""What tests of several vendors' routes share: a provider without a network, and odd JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TypeVar

import httpx
from hypothesis import strategies as st
from pydantic import SecretStr

from enricher.answer import Answer, Reply
from enricher.providers.base import Access
from enricher.providers.http import HttpProvider
from tests.support.mock_client import mock_client

KEY = "top-secret"
NOW = datetime(2026, 10, 7, 12, 0, 0, tzinfo=UTC)
DATE = {"date": format_datetime(NOW, usegmt=True)}
UNREADABLE: list[bytes] = [
    b"<html>All is well</html>",
    b'{"id": "1", "name": "Ac',
    b"\xff\xfe\xfa\xfb",
    b"[" * 99_999,
    *(b"[]", b"true", b'"Acme"', b"7", b'[{"name": "Acme"}]', b'{"message": "hello"}'),
]
ANYTHING: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**25), max_value=10**25)
    | st.floats()
    | st.text(alphabet=st.characters(exclude_categories=()))
    | st.sampled_from(["http://[", "linkedin.com/in/", "//@", "a@b@c", "$10M-$25M", "51-200"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
AnyProvider = TypeVar("AnyProvider", bound=HttpProvider)


def provider(
    kind: type[AnyProvider],
    handler: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(500),
    per_minute: int | None = None,
) -> AnyProvider:
    http = mock_client(handler)
    return kind(http, Access(SecretStr(KEY), kind.host), per_minute)


def reply(status: int, body: object = b"", headers: dict[str, str] | None = None) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, {**DATE, **(headers or {})}, raw)


def interpret(
    kind: type[HttpProvider], status: int, body: object = b"", headers: dict[str, str] | None = None
) -> Answer:
    return provider(kind).interpret(reply(status, body, headers))


def like(example: object) -> st.SearchStrategy[object]:
    """A record of the vendor's shape in which any part may be anything at all."""
    if isinstance(example, dict):
        return (
            st.fixed_dictionaries({key: like(value) for key, value in example.items()}) | ANYTHING
        )
    return st.just(example) | ANYTHING
