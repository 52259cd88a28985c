"""PURE A lead whose result stands beside it, as the contract says that both must stand.

The document of the model is the result: what is said of a lead in `model.py` is true of it here. The lead is its
writers' alone, so whatever anybody does it stays as they left it.

    no lead      its result goes with the next claim, settle, or daemon that hears of it
    no result    nobody has entered the lead yet: it is no work
    changed      is compared with what was read at the claim, before the write and after it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from enricher.lead import Document, Inputs, Lease, Outcome, Subject
from enricher.queue.beside import NO_LEAD
from enricher.queue.settle import Settled
from tests.chaos.model import ASKED_ABOUT, ModelLead
from tests.chaos.model_values import rank, usable


@dataclass(slots=True)
class ModelBeside(ModelLead):
    """An empty document stands for no result."""

    lead: Document | None = None
    """As its writers have it; `None` once it is deleted."""

    @property
    def of_writers(self) -> Document:
        return self.lead or {}

    @property
    def is_there(self) -> bool:
        """Whether there is anything left of it."""
        return self.lead is not None or bool(self.document)

    def dropped(self) -> None:
        """Somebody found that the lead is gone."""
        self.document, self.owner, self.ended_by = {}, None, None

    # -- what users and writers do ---------------------------------------------------------

    def asked_again(self) -> None:
        if self.document:
            ModelLead.asked_again(self)

    def changed(self, fields: Document) -> None:
        if self.lead is not None:
            self.lead = {**self.lead, **fields}

    # -- what a daemon does ----------------------------------------------------------------

    def admitted(self) -> bool:
        if self.lead is not None:
            self._entered(self.lead)
        return bool(self.document) and ModelLead.admitted(self)

    def _entered(self, lead: Document) -> None:
        self.document = self.document or {"_id": lead["_id"]}
        self._note(rank=rank(lead.get("temperature")))

    def settled(
        self, lease: Lease, outcome: Outcome, subject: Subject | None, refusal: str | None
    ) -> Settled:
        return self.settled_after_reading(self.lead, lease, outcome, subject, refusal)

    def settled_after_reading(
        self,
        read: Document | None,
        lease: Lease,
        outcome: Outcome,
        subject: Subject | None,
        refusal: str | None,
    ) -> Settled:
        """`read` is the lead as it stood before the write, and this is how it stands at the write."""
        if read is None:
            return self._found_gone(lease)
        if not _is_about_the_same(read, lease):
            return self._begun_anew(lease)
        now, self.lead = self.lead, read  # what the write says of the lead was read before it
        settled = ModelLead.settled(self, lease, outcome, subject, refusal)
        self.lead = now
        return self._looked_at_again(lease, settled) if self.document else Settled.DELETED

    def _looked_at_again(self, lease: Lease, settled: Settled) -> Settled:
        if settled not in (Settled.WRITTEN, Settled.REFUSED):
            return settled
        if self.lead is None:
            self.dropped()
            return Settled.DELETED
        return settled if _is_about_the_same(self.lead, lease) else self._begun_anew(lease)

    def _found_gone(self, lease: Lease) -> Settled:
        if self.lead is None:
            self.dropped()
            return Settled.DELETED
        if self._is_claimed_by(lease) and self.status == "processing":
            self._shows("skipped", NO_LEAD)
            self._note(left=self.book["token"])
            self._given_up(attempts=0, released=False)
            self._forget("held_by")
        return Settled.WITHDRAWN

    def _begun_anew(self, lease: Lease) -> Settled:
        if not self._is_claimed_by(lease) or self.status == "pending":
            return Settled.LEASE_LOST
        self._given_up(attempts=0, released=False)
        return Settled.INPUTS_CHANGED

    def _is_claimed_by(self, lease: Lease) -> bool:
        """By what stands there: a result that has ended names who ended it."""
        of_lease = {"claim_id": lease.claim_id, "token": lease.token}
        return all(self.book.get(name) == value for name, value in of_lease.items())

    # -- where what is said stands -----------------------------------------------------------

    @property
    def _place(self) -> Any:
        return self.book.get("rank", 0)

    @property
    def _noted(self) -> Document:
        return {}

    @property
    def _inputs_at_claim(self) -> Document:
        return self._inputs

    @property
    def _is_about_another(self) -> bool:
        """No write compares."""
        return False


def _is_about_the_same(lead: Document, lease: Lease) -> bool:
    """Whether it would be asked about as it was when it was claimed."""
    return all(_read(lease.lead.inputs, name) == usable(lead.get(name)) for name in ASKED_ABOUT)


def _read(inputs: Inputs, name: str) -> Any:
    """An input as it would be noted."""
    why = inputs.malformed.get(name)
    return getattr(inputs, name) if why is None else {"malformed": why}
