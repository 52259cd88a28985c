"""Providers that say what a test wants: the one-method seam, nothing of ours is replaced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TypeAlias, cast

from enricher.answer import Answer, FieldValues, Found, Kind, Query
from enricher.catalogue import Window
from enricher.identity.identify import identify, subject_of
from enricher.lead import Inputs, Subject
from enricher.mongo.secret import Keyring
from enricher.providers.base import Provider

Script: TypeAlias = Callable[[Query], Answer | Awaitable[Answer]]
Unfit: TypeAlias = Callable[[Query], str | None]


class Scripted(Provider):
    """Answers by its script, and remembers what it was asked, and when."""

    def __init__(self, script: Script, unfit: Unfit) -> None:
        self._script = script
        self._unfit = unfit
        self.asked: list[Query] = []
        self.asked_at: list[float] = []

    def unfit(self, query: Query) -> str | None:
        return self._unfit(query)

    async def ask(self, query: Query) -> Answer:
        self.asked.append(query)
        self.asked_at.append(time.monotonic())
        said = self._script(query)
        return await said if isawaitable(said) else said


def provider(
    name: str,
    script: Script | Answer,
    kind: Kind = Kind.COMPANY,
    *,
    windows: tuple[Window, ...] = (),
    required: Iterable[str] = (),
    is_free: bool = False,
    is_kept: bool = False,
    unfit: Unfit | str | None = None,
) -> Scripted:
    """One answer for all questions, or a script for more than that."""
    attributes = {
        "name": name,
        "vendor": name,
        "kind": kind,
        "windows": windows,
        "required": frozenset(required),
        "is_free": is_free,
        "is_kept": is_kept,
    }
    made = cast("type[Scripted]", type(name, (Scripted,), attributes))
    return made(
        script if callable(script) else lambda _: script,
        unfit if callable(unfit) else lambda _: unfit,
    )


def in_turn(*answers: Answer | Exception) -> Script:
    """Each once, and then the last for ever; an exception is raised."""
    left = list(answers)

    def script(_: Query) -> Answer:
        said = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(said, Exception):
            raise said
        return said

    return script


@dataclass
class Door:
    """A script that waits inside the call until the test opens the door."""

    answer: Answer
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _: Query) -> Answer:
        self.entered.set()
        await self.opened.wait()
        return self.answer


def company(**values: object) -> Found:
    return _found(Kind.COMPANY, values)


def person(**values: object) -> Found:
    return _found(Kind.PERSON, values)


def verdict(**values: object) -> Found:
    return _found(Kind.EMAIL, values)


def _found(kind: Kind, values: FieldValues) -> Found:
    return Found({kind.section: values})


KEYRING = Keyring(b"a secret of the tests, 32 bytes. ")


def subject(email: str | None, domain: str | None = None) -> Subject:
    """Whom a lead with this address and company domain is about, by `KEYRING`."""
    who = identify(Inputs(email=email, company_domain=domain))
    return subject_of(KEYRING.key, who.email_key, who.company_domain)


async def keep_nothing(_: object) -> None:
    """For work whose progress nobody wants."""
