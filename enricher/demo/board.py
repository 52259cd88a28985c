"""What has become of the demo's leads: read from MongoDB, as anybody could, and put into words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from enricher.lead import Document, LeadId, Status
from enricher.values.employer import MISMATCH
from enricher.values.merge import METADATA, flags_of

NEW = "new"
"""Inserted, and not yet seen by the daemon: there is no `enrichment_status`."""
STATUSES = (NEW, *(status.value for status in Status))
_PROJECTION = {"enrichment_status": 1, "enriched_data": 1, "enrichment_error": 1, "updated_at": 1}
_KEPT = 500
"""Rows of settled leads that are kept; the totals go on."""
_RATE_SECONDS = 10.0


@dataclass(slots=True)
class Row:
    """One lead, as the demo knows it."""

    id: LeadId
    lead: Document
    inserted_at: datetime
    status: str = NEW
    document: Document = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        return self.status in tuple(Status) and Status(self.status).is_settled

    @property
    def short_id(self) -> str:
        return str(self.id)

    @property
    def story(self) -> str:
        """What there is to see in it."""
        return str(self.lead.get("story", ""))

    @property
    def temperature(self) -> str:
        return str(self.lead.get("temperature", ""))

    @property
    def domain(self) -> str:
        """What stands after the @, or the domain or website that the lead came with."""
        email = str(self.lead.get("email") or "").strip().lower()
        given = self.lead.get("company_domain") or self.lead.get("website") or "-"
        return email.rpartition("@")[2] if email else str(given).lower()

    @property
    def score(self) -> int | None:
        """Completeness of what was found so far."""
        metadata = (self.document.get("enriched_data") or {}).get("enrichment_metadata") or {}
        score: int | None = metadata.get("completeness_score")
        return score

    @property
    def seconds(self) -> float:
        """From the insert to the end status, or until now; one machine, so one clock."""
        until = self.document["updated_at"] if self.is_settled else datetime.now(UTC)
        return max(0.0, (until - self.inserted_at).total_seconds())

    @property
    def result(self) -> str:
        """What was found, or why nothing was (yet)."""
        found = describe(self.document.get("enriched_data") or {})
        return "; ".join(filter(None, (self.document.get("enrichment_error"), found)))


def describe(data: Mapping[str, Any]) -> str:
    """PURE The most telling values, in one line."""
    company, verdict = data.get("company_data") or {}, data.get("email_verification") or {}
    about = [company.get("industry") or company.get("name")]
    if employees := company.get("employee_count"):
        about.append(f"{employees:,} people")
    parts = [", ".join(filter(None, about)) + _by(data, "company_data")]
    if not company and (name := (data.get("person_data") or {}).get("full_name")):
        parts.append(name + _by(data, "person_data"))
    if status := verdict.get("status"):
        score = verdict.get("score")
        parts.append(f"e-mail {status}" + (f" {score}" if score is not None else ""))
    if MISMATCH in flags_of(data):
        parts.append("works elsewhere by now")
    return "; ".join(filter(None, parts))


def _by(data: Mapping[str, Any], section: str) -> str:
    """Who knew it."""
    provenance = (data.get(METADATA) or {}).get("provenance") or {}
    names = sorted(set((provenance.get(section) or {}).values()))
    return f" (by {' + '.join(names)})" if names else ""


@dataclass(slots=True)
class Board:
    """All rows, the newest last, and what they add up to."""

    leads: AsyncCollection[Document]
    rows: dict[LeadId, Row] = field(default_factory=dict)
    inserted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """End statuses, also of rows that are no longer kept."""
    times: list[float] = field(default_factory=list)
    examples: dict[str, Row] = field(default_factory=dict)
    """Story -> the first lead that tells it."""
    _settled_at: list[float] = field(default_factory=list)

    async def insert(self, leads: Iterable[Document]) -> None:
        """The way any writer does it: whole batches, and no word of enrichment in them."""
        first = self.inserted + 1
        documents = [{"_id": first + number, **lead} for number, lead in enumerate(leads)]
        now = datetime.now(UTC)
        originals = [dict(document) for document in documents]
        result = await self.leads.insert_many(documents)
        for id_, lead in zip(result.inserted_ids, originals, strict=True):
            row = self.rows[id_] = Row(id_, lead, now)
            self.examples.setdefault(row.story, row)
        self.inserted += len(documents)

    async def refresh(self) -> list[Row]:
        """Read the leads that are not settled; returns the rows on which a result was written."""
        open_ids = [row.id for row in self.unsettled]
        found = await self.leads.find({"_id": {"$in": open_ids}}, _PROJECTION).to_list()
        changed = [row for document in found if (row := self._update(document))]
        self._forget_the_oldest()
        return changed

    def _update(self, document: Document) -> Row | None:
        row = self.rows[document["_id"]]
        before = row.document.get("updated_at")
        row.status = document.get("enrichment_status") or NEW
        row.document = document
        if row.is_settled:
            self.ended[row.status] += 1
            self.times.append(row.seconds)
            self._settled_at.append(time.monotonic())
        return row if document.get("updated_at") != before else None

    def _forget_the_oldest(self) -> None:
        for row in [row for row in self.rows.values() if row.is_settled][:-_KEPT]:
            del self.rows[row.id]

    @property
    def unsettled(self) -> list[Row]:
        return [row for row in self.rows.values() if not row.is_settled]

    @property
    def settled(self) -> int:
        return self.ended.total()

    @property
    def totals(self) -> Counter[str]:
        """Status -> leads."""
        return self.ended + Counter(row.status for row in self.unsettled)

    @property
    def per_second(self) -> float:
        """Leads settled in a second, over the last ten."""
        since = time.monotonic() - _RATE_SECONDS
        self._settled_at = [at for at in self._settled_at if at >= since]
        return len(self._settled_at) / _RATE_SECONDS

    @property
    def median_seconds(self) -> float:
        """From the insert to the end status."""
        return median(self.times) if self.times else 0.0

    def newest(self, count: int) -> list[Row]:
        """The newest first; up to half of the places go to older leads that are still open."""
        rows = list(self.rows.values())
        split = max(0, len(rows) - count)
        late = [row for row in rows[:split] if not row.is_settled][-(count // 2) :]
        return [*reversed(rows[split + len(late) :]), *reversed(late)]
