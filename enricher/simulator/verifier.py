"""What the simulated verifiers share besides Hunter: one question a call, a balance, and keys of a sandbox.

A verdict is charged each time that it is asked for, `unknown` at some vendors never; refusals and the balance
cost nothing, and neither does anything that a sandbox's key asks. Each vendor is in a file of its own: its
spelling of a mailbox (`facts.py`), and its code book.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from enricher.answer import Reply
from enricher.catalogue import PROVIDERS
from enricher.simulator import facts
from enricher.simulator.facts import Mailbox
from enricher.simulator.faults import Faults
from enricher.simulator.journal import Journal
from enricher.simulator.records import Record, encode
from enricher.simulator.vendor import (
    ADDRESS,
    JSON_TYPE,
    Answer,
    Call,
    Route,
    Terms,
    Vendor,
    asked_by,
)

OK = 200
WORDS = {
    "valid": ("deliverable", "accepted_email"),
    "invalid": ("undeliverable", "rejected_email"),
    "accept_all": ("risky", "low_deliverability"),
    "disposable": ("risky", "low_quality"),
    "unknown": ("unknown", "timeout"),
}
"""Verdict -> result and reason, in the words that Kickbox, Bouncer and Emailable share."""
CREDITS_AT_LEAST = 1_000_000
"""Balance of an account without a quota."""


class SimulatedVerifier(Vendor):
    """A vendor with one route that checks an address, and one that tells the balance."""

    charges_again = True
    balance_route: ClassVar[str]
    sandbox: ClassVar[str] = ""
    """How a key of the sandbox begins; empty for a vendor without one."""
    free_verdicts: ClassVar[frozenset[str]] = frozenset()
    """Verdicts that cost nothing."""
    book: ClassVar[Mapping[str, Answer]]

    def __init__(self, terms: Terms, journal: Journal, faults: Faults) -> None:
        super().__init__(terms, journal, faults)
        self.routes = {
            **asked_by(self.name, self._verification, "email"),
            self.balance_route: Route("balance", self._balance),
        }
        self.answers = self.book
        self._checked = PROVIDERS[self.name].route

    @abstractmethod
    def key_of(self, call: Call) -> str | None:
        """Return the key that the call brings."""

    @abstractmethod
    def spell(self, mailbox: Mailbox) -> Record:
        """Return the vendor's record of a mailbox."""

    @abstractmethod
    def balance(self, credits_left: int) -> Record:
        """Return the vendor's balance."""

    def unknown_route(self, call: Call) -> Reply:
        return self.answers["unknown_route"](call)

    def refuse_key(self, call: Call) -> Reply | None:
        key = self.key_of(call)
        is_sandbox = bool(self.sandbox) and (key or "").startswith(self.sandbox)
        call.entry.key = "test" if is_sandbox else self.key_state(key)
        return None if call.entry.key in ("ok", "test") else self.answers["unauthorized"](call)

    def refuse_parameters(self, call: Call) -> Reply | None:
        is_fine = call.entry.route != self._checked or ADDRESS.fullmatch(call.entry.question)
        return None if is_fine else self.answers["wrong_params"](call)

    def is_billable(self, call: Call, reply: Reply) -> bool:
        entry = call.entry
        is_asked = reply.status == OK and entry.route == self._checked and entry.key == "ok"
        is_complaint = b'"error":"' in reply.body or b'"success":false' in reply.body
        return (
            is_asked
            and not is_complaint
            and self.mailbox_of(call).verdict not in self.free_verdicts
        )

    def mailbox_of(self, call: Call) -> Mailbox:
        """Return what this vendor finds out about the address."""
        return facts.mailbox(self.terms.seed, call.entry.question, self.name)

    def headers(self) -> dict[str, str]:
        """Return the headers of every record."""
        return {}

    @property
    def credits_left(self) -> int:
        """What is left of the quota."""
        quota = self.terms.quotas.get(self.name, CREDITS_AT_LEAST)
        return max(0, quota - self.journal.billing[self.name].spent)

    def _verification(self, call: Call) -> Reply:
        return say(OK, self.spell(self.mailbox_of(call)), **self.headers())

    def _balance(self, _call: Call) -> Reply:
        return say(OK, self.balance(self.credits_left))


def say(status: int, record: Any, **headers: str) -> Reply:
    """Return a reply in JSON. Underscores in names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"Content-Type": JSON_TYPE, **named}, encode(record))


def always(status: int, record: Any, **headers: str) -> Answer:
    """Return an answer that is always the same."""
    reply = say(status, record, **headers)
    return lambda _call: reply
