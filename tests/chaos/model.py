"""PURE A lead as the contract says it must stand, after anything that anybody did to it.

The model holds the *whole* document. What the daemon may not touch is therefore checked as closely
as what it must write: a field too many, one too few or a writer's field that changed is a mismatch.
Dates come from the server's clock; the model says `FromNow` and accepts what stands there if it is
about right and was not there before.

Besides the document there are two facts that the document need not show: whose lease may write the
lead (one at most: nobody's as soon as somebody claimed it again, asked for it or wrote over it), and
whose lease ended its last claim, because the same settle may arrive twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from enricher.fields import SECTIONS
from enricher.lead import (
    Completed,
    Document,
    Failed,
    Inputs,
    Lead,
    Lease,
    Outcome,
    Progress,
    Retrying,
    Skipped,
    Subject,
)
from enricher.queue.book import BEHIND, EPOCH
from enricher.queue.settle import Settled
from enricher.values.merge import completeness, metadata
from tests.chaos.model_values import (
    NOW,
    FromNow,
    MillisecondsSince,
    WrittenNow,
    behind,
    count,
    filled_in,
    flat,
    number,
    rank,
    usable,
)

LEASE = timedelta(hours=10)
REFRESH = timedelta(days=90)

_STATUSES = ("pending", "processing", "retrying", "completed", "failed", "skipped")
_INPUTS = ("email", "company_domain", "website", "name", "company")
ASKED_ABOUT = ("email", "company_domain", "website")


def _is_date(value: object) -> bool:
    return isinstance(value, FromNow) or (isinstance(value, datetime) and value > EPOCH)


def _is_believable(since: object) -> TypeGuard[datetime]:
    """No lead has been work for longer than a year."""
    return isinstance(since, datetime) and since > datetime.now(UTC) - timedelta(days=366)


@dataclass(slots=True)
class ModelLead:
    """One lead; every method is something that happens to it."""

    document: Document
    owner: str | None = None
    """Claim id of the one lease that may write it."""
    ended_by: str | None = None
    """Claim id of the lease whose settle ended the last claim."""
    _seen: Document = field(default_factory=dict)

    # -- what can be said of it ------------------------------------------------------------

    @property
    def of_writers(self) -> Document:
        """The lead as its writers have it."""
        return self.document

    @property
    def status(self) -> Any:
        return self.document.get("enrichment_status")

    @property
    def book(self) -> Document:
        book = self.document.get("enrichment")
        return dict(book) if isinstance(book, dict) else {}

    @property
    def due_at(self) -> datetime | None:
        due_at = self.book.get("due_at")
        return due_at if isinstance(due_at, datetime) else None

    @property
    def is_work(self) -> bool:
        """The one rule: `pending`, or its time has come."""
        is_due = self.due_at is not None and self.due_at <= datetime.now(UTC)
        return self.status == "pending" or (self.status in _STATUSES and is_due)

    @property
    def is_stray(self) -> bool:
        """Said to be in work, but no clock will ever bring it back, or nobody holds it."""
        if self.status not in ("processing", "retrying"):
            return False
        if self.due_at is None or self.due_at <= EPOCH:
            return True
        is_held = all(self.book.get(name) is not None for name in ("holder", "claim_id"))
        return self.status == "processing" and not is_held

    @property
    def was_ours(self) -> bool:
        """Something on it shows that a daemon has had it: without a status it is left alone."""
        data, enriched_at = self.document.get("enriched_data"), self.document.get("enriched_at")
        metadata = data.get("enrichment_metadata") if isinstance(data, dict) else None
        token, claim_id = count(self.book.get("token")), self.book.get("claim_id")
        queued_at, priority = self.book.get("queued_at"), self.book.get("priority")
        is_number = isinstance(priority, int | float) and not isinstance(priority, bool)
        return (
            isinstance(metadata, dict)
            or _is_date(enriched_at)
            or (bool(token) and isinstance(claim_id, str) and claim_id > "")
            or (_is_date(queued_at) and is_number)
        )

    @property
    def as_leased(self) -> Lead:
        """What the worker who claimed it is told, as far as the model knows."""
        book, data = self.book, self.document.get("enriched_data")
        inputs = self._inputs_at_claim
        malformed = {name: v["malformed"] for name, v in inputs.items() if isinstance(v, dict)}
        texts: dict[str, Any] = {n: v for n, v in inputs.items() if isinstance(v, str)}
        return Lead(
            id=self.document["_id"],
            inputs=Inputs(**texts, malformed=malformed),
            enriched_data=data if isinstance(data, dict) else {},
            answered=book["answered"],
            subject=book.get("subject"),
            attempt=book["attempts"],
            interruptions=book["interruptions"],
            priority=number(book.get("priority")),
        )

    def differences_from(self, actual: Document) -> Document:
        """Field -> (what it should be, what it is). The server's dates are taken over if they are good."""
        expected = filled_in(self.document, actual, self._seen)
        self.document, self._seen = expected, actual
        should, does = flat(expected), flat(actual)
        return {
            name: (should.get(name, "no such field"), does.get(name, "no such field"))
            for name in should.keys() | does.keys()
            if name not in should or name not in does or should[name] != does[name]
        }

    # -- what users and writers do, and what time does -------------------------------------

    def asked_again(self) -> None:
        self.document["enrichment_status"] = "pending"
        self.owner = self.ended_by = None

    def changed(self, fields: Document) -> None:
        self.document |= fields

    def became_due(self, due_at: datetime) -> None:
        self._note(due_at=due_at)

    # -- what a daemon does ----------------------------------------------------------------

    def admitted(self) -> bool:
        """Answers whether anything changed."""
        is_new = self.status is None and not self.was_ours
        if not (is_new or self.status == "pending" or self.is_stray):
            return False
        before, place = dict(self.document), self._place
        is_backfilled = self.book.get("backfill") is True
        self._queued(priority=behind(place) if is_backfilled else place)
        return self.document != before

    def claimed(self, lease: Lease, holder: str) -> None:
        book = self.book
        is_pending = self.status == "pending"
        is_fresh = is_pending and book.get("released") is not True
        place = self._place
        is_behind = self.status == "completed" or number(book.get("priority")) <= BEHIND
        self._note(priority=behind(place) if is_behind else place)
        since = book.get("queued_at" if is_pending else "due_at")
        answered = book.get("answered")
        self._note(
            token=(count(book.get("token")) or 0) + 1,
            claim_id=lease.claim_id,
            holder=holder,
            due_at=FromNow(LEASE),
            waited_ms=MillisecondsSince(since) if _is_believable(since) else None,
            attempts=1 if is_fresh else self._attempts + 1,
            interruptions=self._interruptions + 1 if self.status == "processing" else 0,
            answered={} if is_fresh or not isinstance(answered, dict) else answered,
            released=False,
            inputs=self._noted,
        )
        self.document["enrichment_status"] = "processing"
        self.owner, self.ended_by = lease.claim_id, None

    def renewed(self, lease: Lease) -> bool:
        """Answers whether the lease is still its own."""
        if self.owner != lease.claim_id:
            return False
        self._note(due_at=FromNow(LEASE))
        return True

    def kept(self, lease: Lease, progress: Progress, *, is_writable: bool) -> None:
        if self.owner != lease.claim_id or self._is_about_another or not is_writable:
            return
        self._note(answered=dict(progress.answered), subject=progress.subject.document)
        self._found(progress.data)

    def released(self, lease: Lease) -> bool:
        """Answers whether there was anything to give back."""
        if self.owner != lease.claim_id:
            return False
        self._given_up(attempts=max(0, self._attempts - 1), released=True)
        return True

    def settled(
        self, lease: Lease, outcome: Outcome, subject: Subject | None, refusal: str | None
    ) -> Settled:
        """`refusal` is why the database will never take this outcome, if it will not."""
        if self.owner != lease.claim_id:
            return Settled.WRITTEN if self.ended_by == lease.claim_id else Settled.LEASE_LOST
        if self._is_about_another:
            self._given_up(attempts=0, released=False)
            return Settled.INPUTS_CHANGED
        if refusal is not None:
            self._ended(Failed({}, refusal), subject)
            return Settled.REFUSED
        self._ended(outcome, subject)
        return Settled.WRITTEN

    # -- how the document shows it ---------------------------------------------------------

    @property
    def _interruptions(self) -> int:
        return count(self.book.get("interruptions")) or 0

    @property
    def _attempts(self) -> int:
        return count(self.book.get("attempts")) or 0

    @property
    def _place(self) -> Any:
        """How urgent it is."""
        return rank(self.of_writers.get("temperature"))

    @property
    def _inputs(self) -> Document:
        return {name: usable(self.of_writers.get(name)) for name in _INPUTS}

    @property
    def _noted(self) -> Document:
        """What a claim notes of its inputs."""
        return self._inputs

    @property
    def _inputs_at_claim(self) -> Document:
        inputs: Document = self.book["inputs"]
        return inputs

    @property
    def _is_about_another(self) -> bool:
        """The question that was asked is no longer the one that the lead would ask."""
        asked, now = self.book["inputs"], self._inputs
        return any(asked[name] != now[name] for name in ASKED_ABOUT)

    def _note(self, **values: Any) -> None:
        self.document["enrichment"] = self.book | values

    def _forget(self, *names: str) -> None:
        self.document["enrichment"] = {k: v for k, v in self.book.items() if k not in names}

    def _found(self, data: Document) -> None:
        if data:
            self.document |= {"enriched_data": data, "updated_at": NOW}

    def _keeps_nothing_of_others(self, subject: Subject) -> None:
        data = self.document.get("enriched_data")
        if not isinstance(data, dict):
            return
        beside = data.get("enrichment_metadata")
        places = (
            beside.get("subject") if isinstance(beside, dict) else None,
            self.book.get("subject"),
        )
        known = next((each for each in places if isinstance(each, dict)), subject.document)
        if all(known.get(half) == ours for half, ours in subject.document.items()):
            return
        nothing = metadata(
            {}, now=datetime.now(UTC), order=(), completeness=completeness({}), subject=subject
        )
        self.document["enriched_data"] = {
            **data,
            **dict.fromkeys(SECTIONS),
            "social_profiles": {},
            "enrichment_metadata": nothing | {"enriched_at": WrittenNow()},
        }

    def _queued(self, **values: Any) -> None:
        since = self.book.get("queued_at")
        self._note(queued_at=since if _is_believable(since) else NOW, **values)
        self.document["enrichment_status"] = "pending"

    def _given_up(self, **values: Any) -> None:
        """No longer anybody's, and work again."""
        self._queued(holder=None, **values)
        self._forget("due_at", "inputs")
        self.owner = None

    def _ended(self, outcome: Outcome, subject: Subject | None) -> None:
        attempts = self._attempts
        self._forget("queued_at", "inputs", "due_at")
        self._note(holder=None, attempts=0, answered={})
        if not isinstance(outcome, Retrying):
            self._forget("backfill", "refresh_since", "refresh_mark")
        self._forget("held_by")
        self._found(outcome.data)
        if not outcome.data and subject is not None:
            self._keeps_nothing_of_others(subject)
        if subject is not None:
            self._note(subject=subject.document)
        match outcome:
            case Completed(error=error):
                self._shows("completed", error)
                self._refreshed_later()
            case Failed(error=error):
                self._shows("failed", error)
            case Skipped(reason=reason):
                self._shows("skipped", reason.sentence)
            case Retrying():
                self._retried_later(outcome, attempts)
        self.owner, self.ended_by = None, self.owner

    def _shows(self, status: str, error: str | None) -> None:
        self.document |= {
            "enrichment_status": status,
            "enrichment_error": error,
            "updated_at": NOW,
        }

    def _refreshed_later(self) -> None:
        self.document["enriched_at"] = NOW
        self._note(due_at=FromNow(REFRESH))
        if self.of_writers.get("qualification_score") is not None:
            asked = {"qualification_status": "pending", "qualification_requested_at": NOW}
            self.document |= asked

    def _retried_later(self, outcome: Retrying, attempts: int) -> None:
        self._note(
            due_at=FromNow(outcome.due_in),
            answered=dict(outcome.answered),
            attempts=attempts if outcome.attempt_spent else max(0, attempts - 1),
        )
        if outcome.held_by:
            self._note(held_by=list(outcome.held_by))
        self.document |= {"enrichment_status": "retrying", "enrichment_error": outcome.error}
