"""PURE When a thin lead is looked at again, who is asked then, and what follows.

A lead is thin while its completeness is below the threshold, or its company, person or e-mail verdict is unknown.
Mail servers recover within hours, sites within days, vendors learn of a new company within weeks: so a thin lead
comes back a few times before its refresh. A recheck is no run of its own:

* it asks only providers whose answer can have changed: those that knew nothing or failed, and verifiers while the
  verdict is unknown. Their answers from before count no more; those of others stand, and cost nothing
* it asks only where the price is known: the vendor charges nothing for knowing nothing, or the operator has
  named the price of its credits
* all rechecks together make only so many calls a day. One for which none is left waits, and keeps its place
* while it brings nothing new, nothing is written that readers see; a provider that fails or is held then is no
  failure of the lead

The lead's own book-keeping holds when the next one is due, how many there were, and what providers said.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from enricher.answer import Answer, Found, Held, Kind, NotFound, Preparing, Throttled
from enricher.calls.question import RECHECKED_ENOUGH
from enricher.enrichment.conclude import FOUND, Round, enriched, seconds_of
from enricher.lead import Completed, Lead, NextRecheck, Recheck, Rechecked
from enricher.mongo.outage import hold_delay
from enricher.providers.base import Provider
from enricher.settings.load import RecheckSettings
from enricher.settings.vendors import VendorSettings
from enricher.values.merge import METADATA, SOCIAL, completeness
from enricher.values.storable import is_blank, mapping
from enricher.values.types import UNKNOWN

_WHILE_ANSWERS_ARE_KEPT = timedelta(hours=12)
"""How long a recheck waits for some providers once others have told: what gave nothing is kept for a day, unless
`ENRICHER_NEGATIVE_CACHE_DAYS` says otherwise."""
_TELLS: Mapping[Kind, tuple[str, ...]] = {
    Kind.COMPANY: ("name",),
    Kind.PERSON: ("full_name", "first_name", "last_name", "job_title"),
    Kind.EMAIL: ("status",),
}
"""Kind -> the fields of which one has a value when it is known."""
_SPREAD = 0.1
"""Of the time until a recheck, either way: one day's import does not come back at once."""
_LONGEST_PUT_OFF = 86_400.0
_IN_ORDER_SECONDS = 1800.0
"""Within so much time, those come back that were put off to the same moment, the longest due first."""


@dataclass(slots=True)
class Enough:
    """Whether rechecks have made their calls of the day, as this process last heard."""

    _until: float = -math.inf

    def note(self, answers: Iterable[Answer]) -> None:
        """Learn it from what questions were answered with."""
        for answer in answers:
            if isinstance(answer, Held) and answer.reason == RECHECKED_ENOUGH:
                self._until = time.monotonic() + answer.seconds

    def seconds_left(self) -> float:
        """Return for how long no recheck need try; 0 if it may."""
        return max(0.0, self._until - time.monotonic())


@dataclass(frozen=True, slots=True)
class Rechecks:
    """The rules by which leads are looked at again. By default never."""

    after: tuple[timedelta, ...] = ()
    """The time to each recheck, from the look before it."""
    below: int = 50
    """The completeness below which a lead is thin."""
    priced: frozenset[str] = frozenset()
    """Providers of which it is known what another answer costs."""
    enough: Enough = field(default_factory=Enough)

    def again(
        self, data: Mapping[str, Any], answered: Mapping[str, str], kinds: Mapping[str, Kind]
    ) -> frozenset[str]:
        """Return the providers to ask again about a lead: `answered` by provider, `kinds` likewise."""
        if not self.after:
            return frozenset()
        is_thin = completeness(data)[0] < self.below
        return frozenset(
            name
            for name, said in answered.items()
            if name in self.priced
            and (kind := kinds.get(name)) is not None
            and (is_thin or is_unknown(data, kind))
            and (said != FOUND or (kind is Kind.EMAIL and is_unknown(data, kind)))
        )

    def plan(
        self,
        data: Mapping[str, Any],
        answered: Mapping[str, str],
        kinds: Mapping[str, Kind],
        made: int,
        random: Random,
    ) -> NextRecheck | None:
        """Return the recheck after so many; `None` after the last one, or when there is nobody to ask."""
        if made >= len(self.after) or not self.again(data, answered, kinds):
            return None
        return NextRecheck(self.after[made] * (1 + _SPREAD * (2 * random.random() - 1)))

    def put_off(self, seconds: float, recheck: Recheck, made: int, now: datetime) -> NextRecheck:
        """Return the same recheck again, `seconds` from now: those come first that have been due for longest."""
        back_at = now + timedelta(seconds=seconds)
        planned_at = (recheck.since or now) + self.after[min(made, len(self.after) - 1)]
        hours_late = max(0.0, (back_at - planned_at) / timedelta(hours=1))
        place = timedelta(seconds=_IN_ORDER_SECONDS / (1 + hours_late))
        return NextRecheck(back_at - now + place, recheck.since)

    def may_ask(self, name: str, kind: Kind, said: str, *, is_unknown_verdict: bool) -> bool:
        """Return whether a recheck asks a provider that said this, as far as can be told without the lead."""
        may_change = said != FOUND or (kind is Kind.EMAIL and is_unknown_verdict)
        return name in self.priced and may_change


NEVER = Rechecks()


def rules_of(
    wanted: RecheckSettings, vendors: Mapping[str, VendorSettings], providers: Iterable[Provider]
) -> Rechecks:
    """Return the rules that the settings describe."""
    priced = (each.name for each in providers if _is_priced(each, vendors.get(each.vendor)))
    after = tuple(timedelta(seconds=each) for each in wanted.after)
    return Rechecks(after, wanted.below, frozenset(priced))


def _is_priced(provider: Provider, vendor: VendorSettings | None) -> bool:
    """Return whether it is known what another answer costs. A rule of ours would only say the same again, and who
    looks for a company by its name is asked about each name but once."""
    if provider.finds_domain:
        return False
    if provider.is_free:
        return not provider.is_rule
    return not provider.charges_misses or (vendor is not None and vendor.credit_price is not None)


def is_unknown(data: Mapping[str, Any], kind: Kind) -> bool:
    """Return whether nothing is known of this kind."""
    section = mapping(data.get(kind.section))
    values = (section.get(name) for name in _TELLS[kind])
    return all(is_blank(value) or value == UNKNOWN for value in values)


def left_to_refresh(lead: Lead, why: str) -> Rechecked:
    """Return the outcome of a recheck that is the last: nobody may be asked, or need be."""
    return Rechecked(lead.answered, lead.rechecks + 1, None, why, age_of(lead.enriched_data))


def age_of(data: Mapping[str, Any]) -> timedelta:
    """Return how long ago the lead was enriched, by its metadata; no time at all if that does not say."""
    said = mapping(data.get(METADATA)).get("enriched_at")
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(str(said))
    except (TypeError, ValueError, OverflowError):
        return timedelta(0)
    return max(timedelta(0), age)


def conclude_recheck(
    this: Round, recheck: Recheck, rules: Rechecks, kinds: Mapping[str, Kind], random: Random
) -> Completed | Rechecked:
    """Return the outcome of a recheck in which providers were asked. One that has to wait for some of them comes
    back for these; one that fails has had its turn."""
    told: dict[str, Answer] = {
        name: said
        for name, said in this.findings.answers.items()
        if isinstance(said, Found | NotFound)
    }
    lead, wait = this.case.lead, _wait(this.findings.answers.values(), random)
    is_promised = any(isinstance(each, Preparing) for each in this.findings.answers.values())
    if told and wait is not None and recheck.since is not None:
        planned_at = recheck.since + rules.after[min(lead.rechecks, len(rules.after) - 1)]
        if this.now + timedelta(seconds=wait) - planned_at > _WHILE_ANSWERS_ARE_KEPT:
            wait = None  # this was the look: coming back later, it would pay those who told something again
    this = replace(this, findings=replace(this.findings, answers=told))
    data = enriched(this)
    is_news = bool(this.found) and _is_other(data, lead.enriched_data)
    after = data if is_news else lead.enriched_data
    made = lead.rechecks if wait is not None else lead.rechecks + 1
    if wait is not None:
        coming: NextRecheck | None = rules.put_off(wait, recheck, made, this.now)
    else:
        coming = rules.plan(after, this.answered, kinds, made, random)
        if coming is not None and is_promised:  # what was charged for is still to be fetched
            coming = replace(coming, since=recheck.since)
    if is_news:
        return Completed(data, this.answered, rechecks=made, next_recheck=coming)
    why = "put_off" if wait is not None else "nothing" if told else "failed"
    return Rechecked(this.answered, made, coming, why, age_of(lead.enriched_data))


def _wait(answers: Iterable[Answer], random: Random) -> float | None:
    """Return how long the soonest of those that may not be asked now keeps the lead waiting."""
    waits = [seconds_of(each) for each in answers if isinstance(each, Throttled | Held)]
    if not waits:
        return None
    return min(hold_delay(min(waits), random).total_seconds(), _LONGEST_PUT_OFF)


def _is_other(data: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether readers would see a difference besides the metadata. What comes with a verdict that is still
    unknown is none."""
    kinds = [kind for kind in Kind if kind is not Kind.EMAIL or not is_unknown(data, kind)]
    sections = (*(kind.section for kind in kinds), SOCIAL)
    return any((data.get(each) or None) != (before.get(each) or None) for each in sections)


# What people are told


def why_thin(data: Mapping[str, Any], rules: Rechecks, kinds: Sequence[Kind]) -> str:
    """Say why a lead is looked at again. `kinds`: of the providers to be asked."""
    score, _ = completeness(data)
    names = {Kind.COMPANY: "company", Kind.PERSON: "person", Kind.EMAIL: "e-mail verdict"}
    unknown = [name for kind, name in names.items() if kind in kinds and is_unknown(data, kind)]
    said = [f"its {' and '.join(unknown)} {_verb(unknown)} unknown"] if unknown else []
    said += [f"its score is below {rules.below}"] if score < rules.below else []
    return ", ".join(said)


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
