"""PURE The nouns: a lead as we read it, the lease on it, and the outcome of working on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeAlias

LeadId: TypeAlias = Any
"""`_id` of a lead: any BSON type."""

Document: TypeAlias = dict[str, Any]
"""A BSON document as the driver reads and writes it."""


class Status(StrEnum):
    """Values of `enrichment_status`."""

    PENDING = "pending"
    PROCESSING = "processing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_settled(self) -> bool:
        """True for the states in which no work is left to do on the lead."""
        return self in (Status.COMPLETED, Status.FAILED, Status.SKIPPED)


class Reason(StrEnum):
    """Why a lead ends without any paid call. The value is a metric label, `sentence` is for readers."""

    NOTHING_TO_GO_BY = "nothing_to_go_by"
    DISPOSABLE_ADDRESS = "disposable_address"
    RESERVED_DOMAIN = "reserved_domain"
    INTERNAL_DOMAIN = "internal_domain"
    SYSTEM_ADDRESS = "system_address"
    SUPPRESSED = "suppressed"
    OVER_QUOTA = "over_quota"
    INVALID_EMAIL = "invalid_email"
    INVALID_INPUT = "invalid_input"

    @property
    def sentence(self) -> str:
        """One readable sentence for `enrichment_error`, free of personal data."""
        return _SENTENCES[self]

    @property
    def is_invalid_input(self) -> bool:
        """Invalid input ends as `failed`, everything else as `skipped` (the product's contract)."""
        return self in (Reason.INVALID_EMAIL, Reason.INVALID_INPUT)


_SENTENCES = {
    Reason.NOTHING_TO_GO_BY: "There is nothing to go by: no e-mail address, company domain or website.",
    Reason.DISPOSABLE_ADDRESS: "The e-mail address belongs to a disposable mail service.",
    Reason.RESERVED_DOMAIN: "The domain is reserved and can belong to no company.",
    Reason.INTERNAL_DOMAIN: "The domain is one of our own (ENRICHER_INTERNAL_DOMAINS).",
    Reason.SYSTEM_ADDRESS: "The e-mail address belongs to a machine, not to a person.",
    Reason.SUPPRESSED: "The person asked not to be processed.",
    Reason.OVER_QUOTA: "The plan's leads for this calendar month are used up.",
    Reason.INVALID_EMAIL: "The e-mail address is not valid.",
    Reason.INVALID_INPUT: "The e-mail address is not text.",
}


@dataclass(frozen=True, slots=True, repr=False)
class Inputs:
    """The fields of a lead that its identity is made from, as stored, not yet normalised.

    `malformed` names the fields whose value was not usable text, and why: `{"email": "array"}` for
    a wrong BSON type, `{"email": "too long"}` for a string beyond 1,024 bytes. Their value here is
    `None`: such a value never leaves the database.
    """

    email: str | None = None
    company_domain: str | None = None
    website: str | None = None
    name: str | None = None
    company: str | None = None
    linkedin: str | None = None
    cnpj: str | None = None
    other_emails: tuple[str, ...] = ()
    """More addresses of the same lead, which only a mapping reads."""
    malformed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recheck:
    """What a recheck goes by: one more look at a lead that was thin when it completed."""

    since: datetime | None = None
    """Answers older than this that gave nothing do not count; `None` where it is not known for sure, so that
    nobody may be asked."""


@dataclass(frozen=True, slots=True)
class NextRecheck:
    """The recheck that a completed lead comes back for, unless its refresh comes first."""

    due_in: timedelta
    since: datetime | None = None
    """As in `Recheck`, where a look is put off; `None` for the next one, which goes by the moment of the settle."""


@dataclass(frozen=True, slots=True, repr=False)
class Lead:
    """A claimed lead: what identity needs and what earlier attempts already found."""

    id: LeadId
    inputs: Inputs
    enriched_data: Mapping[str, Any] = field(default_factory=dict)
    answered: Mapping[str, str] = field(default_factory=dict)
    """Provider -> "found" or "not_found", from earlier attempts of the same run."""
    subject: object = None
    """The subject of `answered`, as stored on the lead: a subject, an older version's mark, or garbage."""
    attempt: int = 1
    """Number of this attempt, counted at the claim; 1 for the first."""
    waited_seconds: float | None = None
    """Time from becoming work to the claim, by the server's clock."""
    interruptions: int = 0
    """Consecutive claims before this one whose process ended without a report."""
    priority: float = 0.0
    """Its place in every queue, including that for a provider's limit: higher first, NaN counts as lowest."""
    account: object = None
    """The account that the lead belongs to: a value of any type."""
    plan: str | None = None
    newer_than: datetime | None = None
    """Kept answers older than this do not count."""
    data_bytes: int = 0
    """The size of `enriched_data` in the database."""
    is_untold: bool = False
    """Part of `enriched_data` was stored before a settle, and no event names it yet."""
    is_doubled: bool = False
    """`enriched_data` holds a field twice: writing over it would kill the server."""
    job_title: str | None = None
    """As the lead's writer set it: kept beside the vendors' values, never in their place."""
    recheck: Recheck | None = None
    """Set while this claim is a recheck, and not a run of its own."""
    rechecks: int = 0
    """Rechecks made since somebody last asked for the lead."""
    spent: int = 0
    """What this enrichment may have cost so far, in millionths; counted only where there is a ceiling."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right to write one lead, until another worker claims it.

    `token` is the fencing token: it rises with every claim, and every later write names it.
    `claim_id` is unique to the claim: it distinguishes this claim from one on a document that was
    replaced meanwhile, so that its tokens began again.
    """

    lead: Lead = field(repr=False)
    token: int
    claim_id: str
    deadline: float
    """The `time.monotonic()` from which we must assume that the lease has expired; renewals move it."""

    @property
    def lead_id(self) -> LeadId:
        return self.lead.id


@dataclass(frozen=True, slots=True, repr=False)
class Completed:
    """Every provider that applies has answered, or used up its attempts with at least one success."""

    data: Document
    answered: Mapping[str, str]
    error: str | None = None
    rechecks: int = 0
    """Rechecks made so far, this one included where it is one."""
    next_recheck: NextRecheck | None = None
    spent: int | None = None
    """What the enrichment cost, in millionths; `None` where it is not counted. So for every outcome."""


@dataclass(frozen=True, slots=True, repr=False)
class Rechecked:
    """A recheck that brought nothing new: the lead stays as it stands, completed."""

    answered: Mapping[str, str]
    rechecks: int
    next_recheck: NextRecheck | None
    why: str
    """What came of it, as a metric label."""
    age: timedelta = timedelta(0)
    """How long ago it was enriched, so that its refresh comes when it would have come."""
    data: Document = field(default_factory=dict, init=False)
    """Always empty."""
    error: str | None = field(default=None, init=False)
    spent: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Retrying:
    """Something is still to come; `data` holds what has been found so far.

    With `attempt_spent=False` this is a snooze: the attempt is given back.
    """

    data: Document
    answered: Mapping[str, str]
    error: str
    due_in: timedelta
    attempt_spent: bool = True
    held_by: tuple[str, ...] = ()
    """The providers that were not asked because they may not be asked for now."""
    begins_anew: bool = False
    """The attempts before this one were about another question, and do not count."""
    spent: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Failed:
    """Nothing was found after all attempts, or the input is invalid."""

    data: Document
    error: str
    spent: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Skipped:
    """No paid call is worth making, or none is allowed."""

    data: Document
    reason: Reason
    spent: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Progress:
    """What was found while other providers have yet to answer: worth keeping before the claim ends."""

    data: Document
    answered: Mapping[str, str]
    subject: Subject


Outcome: TypeAlias = Completed | Rechecked | Retrying | Failed | Skipped

STATUS_OF: Mapping[type[Outcome], Status] = {
    Completed: Status.COMPLETED,
    Rechecked: Status.COMPLETED,
    Retrying: Status.RETRYING,
    Failed: Status.FAILED,
    Skipped: Status.SKIPPED,
}
"""The status that a settle writes."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The lead no longer meets its source's condition, or is gone: nothing more is asked, and nothing written."""

    data: Document = field(default_factory=dict, init=False)
    """Always empty."""


End: TypeAlias = Outcome | Withdrawn


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether a lead meets the conditions of its source at this moment."""

    is_lead: bool = True
    """It is there, and `only` lets it be a lead."""
    is_open: bool = True
    """`person_only` lets it be asked about as a person."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """The leads in work that wait for a provider's limit. By default none waits."""

    waiting: int = 0
    seconds: float = 0.0
    """How long a new lead, less urgent than all of them, would wait."""
    urgency: float = -math.inf
    """The highest priority among them."""

    @property
    def is_high(self) -> bool:
        """True when more leads wait than the limits serve soon: a new one would only wait with them."""
        return self.waiting > 0 and self.seconds > SOON_SECONDS


SOON_SECONDS = 1.0
"""Long enough that no limit goes unused while the next leads are claimed."""


SUBJECT = "subject"
"""Key of the metadata, and of the book-keeping."""

Key: TypeAlias = Callable[[str, str], str]
"""`Keyring.key`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom data is about, as keyed hashes (`identity/identify.py`).

    `None` for a half that there is not: a lead without an address, or without a company."""

    mailbox: str | None = None
    company: str | None = None

    @property
    def document(self) -> dict[str, str | None]:
        """The subject as it is stored on the lead."""
        return {"mailbox": self.mailbox, "company": self.company}

    @property
    def without_mailbox(self) -> Subject:
        """The subject of data from which everything about the person was removed."""
        return replace(self, mailbox=None)
