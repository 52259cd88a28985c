"""Why a lead is as it is: what was asked, what each provider said, who won, what comes next.

Everything here is read off the lead as it stands, the providers of the settings and what is kept of
their answers; only the last part speaks to MongoDB. It repeats decisions that were made and makes none: what `merge`, `conclude` and
`identity` decided stands on the lead already. What a lead does not say is `None`, not a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from enricher.answer import Kind, Query
from enricher.calls import flights
from enricher.calls.ceiling import MILLION, Ceiling
from enricher.calls.order import Order
from enricher.catalogue import FINDERS
from enricher.enrichment.attempt import explored_by
from enricher.enrichment.conclude import FAILED, FOUND, NOT_FOUND
from enricher.enrichment.finding import found_domain
from enricher.enrichment.rechecks import NEVER, Rechecks, why_thin
from enricher.fields import NAMES, SECTIONS, Names
from enricher.identity.identify import NO_WORDS, NOT_SOUGHT, Identity, OwnWords, identify
from enricher.intake.history import History
from enricher.lead import Document, Inputs, LeadId, Reason, Status
from enricher.queue import book, lanes
from enricher.queue.beside import Beside
from enricher.queue.copying import COPIED, NOT_COPIED
from enricher.queue.inputs import CONTRACT, LeadMapping, read_inputs
from enricher.queue.unmoved import new
from enricher.values.merge import (
    CAPPED,
    LEAST_CONFIDENCE,
    METADATA,
    MISMATCH,
    OF_THE_JOB,
    TABLE,
    completeness,
    flags_of,
    knows_best,
    rank_of,
)
from enricher.values.storable import mapping

# Which provider won each field of a lead, and why, according to `enrichment_metadata`.

_ELSEWHERE = "the person works for another company by now"


@dataclass(frozen=True, slots=True, repr=False)
class FieldOrigin:
    """Which provider won a field, and which lost it."""

    section: str
    name: str
    value: Any
    provider: str | None
    confidence: float | None
    why: str
    alternatives: Mapping[str, Any]


def origins(data: Mapping[str, Any], order: Sequence[str]) -> Iterator[FieldOrigin]:
    """Yield every field that has a value or an alternative; `order` is the providers', best first."""
    known = mapping(data.get(METADATA))
    for section in SECTIONS:
        values = mapping(data.get(section))
        winners, sure, lost = (
            mapping(mapping(known.get(key)).get(section))
            for key in ("provenance", "confidence", "alternatives")
        )
        is_about_a_job = section == Kind.PERSON.section and MISMATCH in flags_of(data)
        for name in (*values, *(name for name in lost if name not in values)):
            winner, others = _provider_name(winners.get(name)), mapping(lost.get(name))
            value = values.get(name)
            is_held = is_about_a_job and value is None and name in OF_THE_JOB
            why = _ELSEWHERE if is_held else _why(name, value, winner, others, order)
            yield FieldOrigin(section, name, value, winner, _number(sure.get(name)), why, others)


def _why(
    name: str, value: object, winner: str | None, lost: Mapping[str, Any], order: Sequence[str]
) -> str:
    if value is None:
        return f"nobody was sure enough (below {LEAST_CONFIDENCE:g})"
    if winner is None:
        return "of unknown origin: the next answer replaces it"
    rivals = [each for each in lost if each in order]
    if not rivals:
        return "no other provider said anything else"
    own = rank_of(winner, name, order)
    better = [each for each in rivals if rank_of(each, name, order) < own]
    if better:
        return f"{', '.join(better)} would come first, but was too unsure or said less"
    if knows_best(winner, name):
        return f"knows this field better than {', '.join(rivals)}"
    return f"comes before {', '.join(rivals)} in the order"


def _provider_name(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class CopyNote:
    """What the last settle says of one copy into a field of the user's."""

    value: str
    """Section and field of the data."""
    to: str
    why_not: str | None = None
    """`None` for one that stands there."""


def copy_notes(data: Mapping[str, Any]) -> Iterator[CopyNote]:
    """Yield what was copied, and then what was not."""
    known = mapping(data.get(METADATA))
    for key in (COPIED, NOT_COPIED):
        listed = known.get(key)
        for each in map(mapping, listed if isinstance(listed, list) else []):
            why = str(each.get("why")) if key == NOT_COPIED else None
            yield CopyNote(str(each.get("field")), str(each.get("to")), why)


USED, HELD, SKIPPED, NOT_ASKED = "used", "held", "skipped", "not asked"
_UNNAMED = "not among the providers of these settings"
_BY_LIST = {"sources_used": USED, "sources_not_found": NOT_FOUND, "sources_failed": FAILED}
_SAID = {FOUND: USED, NOT_FOUND: NOT_FOUND, FAILED: FAILED}
_GIVEN_UP = {
    FAILED: "no answer; see the lead's error",
    HELD: "nobody may ask it for now; see the lead's error",
}

_EXCLUDED = "`only` excludes the lead"
_UNTIL_IT_IS_A_LEAD = "nothing while `only` excludes it: no call, and not a field is written"
_WRITTEN_OFF = (
    "nothing: nobody writes it any more, since {at:%Y-%m-%d %H:%M} UTC, because each write ended the"
    " server; mend the lead, then delete its entry in enricher_fatal"
)


@dataclass(frozen=True, slots=True, repr=False)
class Standing:
    """A lead as it stands, with fields of whatever type writers gave them."""

    id: LeadId
    now: datetime
    """By the server's clock."""
    inputs: Inputs = field(default_factory=Inputs)
    status: object = None
    error: object = None
    enriched_at: object = None
    updated_at: object = None
    data: object = None
    book: Mapping[str, Any] = field(default_factory=dict)
    priority: float = 0.0
    is_behind: bool = False
    """Nobody waits for it: it is a backfill or a refresh."""
    is_history: bool = False
    """It is from before the first start."""
    written_off_at: datetime | None = None
    """Since when it is written no more, because each write killed the server."""
    unwritable: str = ""
    """Why the daemons cannot write this document; empty where they can."""
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept answer. It may have been bought for another lead with the same question."""

    at: datetime
    until: datetime | None
    credits: float
    """What the vendor charged for it, in its own unit."""
    reason: str = ""
    """Why the answer gives nothing; empty when it gives something."""


@dataclass(frozen=True, slots=True)
class KnownProvider:
    """One configured provider, with regard to one lead."""

    name: str
    kind: str
    credits: float = 0.0
    """What one charged call costs, in the vendor's own unit; 0 when free."""
    off: str | None = None
    """Why it is not asked about any lead: "no key"."""
    unfit: str | None = None
    """Why it cannot be asked about this lead."""
    kept: Kept | None = None
    is_under_way: bool = False
    """A daemon is asking this very question now."""


@dataclass(frozen=True, slots=True, repr=False)
class Who:
    """How the lead was identified."""

    email: str | None
    """The address that vendors are asked about."""
    company_domain: str | None
    from_field: str | None
    """The lead's field that the company domain comes from."""
    no_company_domain: str
    traits: tuple[str, ...]
    """What else was noticed: free_mail, role, typo_suspected, ..."""
    malformed: Mapping[str, str]
    reason: Reason | None
    """Why no paid call is worth making, or none is allowed."""
    is_of_data: bool = True
    """False when what is stored was found for another address or domain."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about one provider."""

    provider: str
    kind: str | None
    decision: str
    why: str
    credits: float
    kept: Kept | None = None
    is_kept_too_old: bool = False
    """The lead asked for newer answers than this one."""


@dataclass(frozen=True, slots=True)
class Next:
    """What happens next without a user's action, and when."""

    what: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """Every decision on one lead."""

    id: LeadId
    status: str | None
    since: datetime | None
    error: str | None
    attempts: int
    interruptions: int
    priority: float
    lane: str
    holder: str | None
    who: Who
    providers: tuple[Decision, ...]
    fields: tuple[FieldOrigin, ...]
    copies: tuple[CopyNote, ...]
    score: int
    missing: Mapping[str, int]
    """Lines of the score that gave no points -> the points they are worth."""
    next: Next
    collection: str = ""
    """The collection that the lead is in."""
    excluded_by: tuple[str, ...] = ()
    """The parts of the source's `only` that the document does not meet, as extended JSON."""
    capped: tuple[str, ...] = ()
    """Providers that were not asked because of the most that a lead may cost."""
    spent: float | None = None
    """What its latest enrichment may have cost; `None` where that is not counted."""
    ceiling: float | None = None
    """The most that an enrichment of it may cost."""
    unit: str = ""
    """Of both: credits, or money in the operator's currency."""
    order: tuple[str, ...] = ()
    """In which order each kind is asked about it, and why, where the fleet finds the order by itself."""


def explain(
    lead: Standing,
    providers: Sequence[KnownProvider],
    words: OwnWords = NO_WORDS,
    *,
    is_suppressed: bool = False,
    is_of_data: bool = True,
    excluded_by: Sequence[str] = (),
    rechecks: Rechecks = NEVER,
    ceiling: Ceiling | None = None,
    order: Order | None = None,
) -> Explanation:
    """Return the explanation. Never raises, whatever writers put into the lead. `providers`: best first.

    `is_suppressed`: the person asked not to be processed; `is_of_data`: as in `Who`; `excluded_by`: as in `Explanation`;
    `order`: the fleet's own, `None` where the operator sets it.
    """
    if excluded_by:
        providers = [replace(each, off=each.off or _EXCLUDED, credits=0.0) for each in providers]
    identity = identify(lead.inputs, words)
    who = _who(lead, identity, words, is_suppressed=is_suppressed)
    score, missing = completeness(mapping(lead.data))
    return Explanation(
        id=lead.id,
        status=None if lead.status is None else str(lead.status),
        since=_since(lead),
        error=_text(lead.error),
        attempts=_count(lead.book.get("attempts")),
        interruptions=_count(lead.book.get("interruptions")),
        priority=lead.priority,
        lane=_lane(lead),
        holder=_text(lead.book.get("holder")),
        who=replace(who, is_of_data=is_of_data),
        providers=_decisions(lead, who, providers),
        fields=tuple(origins(mapping(lead.data), [provider.name for provider in providers])),
        copies=tuple(copy_notes(mapping(lead.data))),
        score=score,
        missing={name: TABLE[name][1] for name in missing},
        next=Next(_UNTIL_IT_IS_A_LEAD)
        if excluded_by
        else _written_off(lead) or _recheck(lead, providers, rechecks) or _next(lead),
        collection=lead.collection,
        excluded_by=tuple(excluded_by),
        capped=tuple(_names(mapping(mapping(lead.data).get(METADATA)).get(CAPPED))),
        **_costs(lead, ceiling),
        order=tuple(_order(order, providers, identity.query)) if order else (),
    )


def _costs(lead: Standing, ceiling: Ceiling | None) -> dict[str, Any]:
    if ceiling is None:
        return {}
    unit = "money" if ceiling.is_money else "credits"
    spent = _count(lead.book.get("spent")) / MILLION
    return {"spent": spent, "ceiling": ceiling.amount, "unit": unit}


def _order(order: Order, providers: Sequence[KnownProvider], query: Query) -> Iterator[str]:
    for kind in Kind:
        of_kind = [each for each in providers if each.kind == kind and each.name not in FINDERS]
        known = [each for each in of_kind if each.credits and not each.off]
        names = order.arrange([each.name for each in known])
        if len(names) > 1:
            yield f"{kind.value}: {', '.join(names)}{_first(order, known, kind, query)}"
            own = (each for each in order.changes if each.ahead in names)
            yield from (f"{kind.value}: {each.sentence}" for each in own)


def _first(order: Order, known: Sequence[KnownProvider], kind: Kind, query: Query) -> str:
    able = [each.name for each in known if each.unfit is None]
    first = order.explore(able, explored_by(kind, query))
    return f"; about this one {first} first, to learn what it knows" if first else ""


# The lead

_BY_ITS_NAME = "the company's name"


def _who(lead: Standing, identity: Identity, words: OwnWords, *, is_suppressed: bool) -> Who:
    traits = {
        "free_mail": identity.is_free_mail,
        "disposable": identity.is_disposable,
        "role": identity.is_role,
        "invalid": not identity.is_valid,
        **dict.fromkeys(sorted({*identity.flags, *flags_of(lead.data)}), True),
    }
    by_name = found_domain(mapping(lead.data), FINDERS) if identity.sought else None
    return Who(
        email=identity.email,
        company_domain=identity.company_domain or by_name,
        from_field=_from_field(lead.inputs, identity, words) or (by_name and _BY_ITS_NAME),
        no_company_domain="" if by_name else _no_domain(identity),
        traits=tuple(name for name, is_so in traits.items() if is_so),
        malformed=lead.inputs.malformed,
        reason=identity.reason or (Reason.SUPPRESSED if is_suppressed else None),
    )


def _no_domain(identity: Identity) -> str:
    """Say why there is no domain; where it is looked for by the company's name, also what stands in the way of that."""
    if identity.company_domain or identity.sought or identity.why_not_sought == NOT_SOUGHT:
        return identity.no_company_domain
    return "; ".join(filter(None, (identity.no_company_domain, identity.why_not_sought)))


def _from_field(inputs: Inputs, identity: Identity, words: OwnWords) -> str | None:
    """Return the field that alone gives this domain, trying fields in the order in which they count."""
    if identity.company_domain is None:
        return None
    alone = {
        "company_domain": Inputs(company_domain=inputs.company_domain),
        "website": Inputs(website=inputs.website),
    }
    for name, each in alone.items():
        if identify(each, words).company_domain == identity.company_domain:
            return name
    return "email"


def _since(lead: Standing) -> datetime | None:
    """Return when the lead got this status, where the lead says so."""
    match lead.status:
        case Status.PENDING:
            return _date(lead.book.get("queued_at"))
        case Status.COMPLETED:
            return _date(lead.enriched_at)
        case Status.FAILED | Status.SKIPPED:
            return _date(lead.updated_at)
    return None


def _lane(lead: Standing) -> str:
    """One that was found in a gap, and never enriched, stands with those of a backfill."""
    is_refresh = lead.enriched_at is not None and lead.book.get("backfill") is not True
    behind = "refresh" if is_refresh else "backfill"
    return behind if lead.is_behind else "fresh"


def _written_off(lead: Standing) -> Next | None:
    if lead.written_off_at:
        return Next(_WRITTEN_OFF.format(at=lead.written_off_at))
    is_work = lead.status in (None, Status.PENDING) and not lead.is_history
    if lead.unwritable and is_work:
        return Next(f"nothing, until it is mended. {lead.unwritable}")
    return None


def _recheck(lead: Standing, providers: Sequence[KnownProvider], rules: Rechecks) -> Next | None:
    """Say when a thin lead is looked at again, why, and who is asked then; `None` where none is planned."""
    due_at, since = (_date(lead.book.get(name)) for name in ("due_at", "recheck_since"))
    if lead.status != Status.COMPLETED or due_at is None or since is None:
        return None
    kinds = {each.name: Kind(each.kind) for each in providers if each.kind}
    answered = {str(name): str(said) for name, said in mapping(lead.book.get("answered")).items()}
    again = rules.again(mapping(lead.data), answered, kinds)
    number = _count(lead.book.get("rechecks")) + 1
    if not again or number > len(rules.after):
        return Next("a recheck that asks nobody, then a refresh", due_at)
    why = why_thin(mapping(lead.data), rules, [kinds[name] for name in again])
    names = ", ".join(each.name for each in providers if each.name in again)
    is_due = ", due now" if due_at <= lead.now else ""
    which = f"a recheck{is_due} ({number} of {len(rules.after)}): {why}; asks {names}"
    return Next(which, due_at)


def _next(lead: Standing) -> Next:
    due_at = _date(lead.book.get("due_at"))
    is_due = due_at is not None and due_at <= lead.now
    match lead.status:
        case None if lead.is_history:
            return Next("nothing until it is pending: it is history, or its status was taken")
        case None:
            return Next("a running daemon makes it pending")
        case Status.PENDING:
            return Next("it is work now; a daemon claims it")
        case Status.PROCESSING | Status.RETRYING if due_at is None:
            return Next("a daemon that searches makes it pending: it was saved without a due time")
        case Status.PROCESSING if is_due:
            return Next("its lease ran out; another daemon takes it over", due_at)
        case Status.PROCESSING:
            return Next("its holder finishes it; else the lease runs out", due_at)
        case Status.RETRYING:
            return Next("the next try is due now" if is_due else "the next try", due_at)
        case Status.COMPLETED if due_at is not None:
            return Next("a refresh is due now" if is_due else "a refresh", due_at)
        case Status.COMPLETED | Status.FAILED | Status.SKIPPED:
            return Next("nothing, until somebody sets it to pending")
    return Next("nothing: daemons leave a status alone that they do not know")


# The providers


def _decisions(
    lead: Standing, who: Who, providers: Sequence[KnownProvider]
) -> tuple[Decision, ...]:
    noted = _noted(lead)
    known = {provider.name for provider in providers}
    strangers = [KnownProvider(name, "", off=_UNNAMED) for name in noted if name not in known]
    return tuple(_decision(lead, who, provider, noted) for provider in (*providers, *strangers))


def _noted(lead: Standing) -> dict[str, tuple[str, str]]:
    """Return provider -> decision and reason, as noted on the lead; the current run takes precedence."""
    known = mapping(mapping(lead.data).get(METADATA))
    noted = {
        str(name): (SKIPPED, str(why))
        for name, why in mapping(known.get("sources_skipped")).items()
    }
    for key, decision in _BY_LIST.items():
        noted |= dict.fromkeys(_names(known.get(key)), (decision, ""))
    for name, said in mapping(lead.book.get("answered")).items():
        noted |= {name: (_SAID[said], "")} if said in (FOUND, NOT_FOUND, FAILED) else {}
    if lead.status == Status.RETRYING:
        noted |= dict.fromkeys(_names(lead.book.get("held_by")), (HELD, ""))
    return noted


def _decision(
    lead: Standing, who: Who, provider: KnownProvider, noted: Mapping[str, tuple[str, str]]
) -> Decision:
    decision, why = noted.get(provider.name, (NOT_ASKED, _why_not_asked(who, provider)))
    if decision == NOT_FOUND and provider.kept:
        why = provider.kept.reason
    since = _date(lead.book.get("refresh_since"))
    return Decision(
        provider=provider.name,
        kind=provider.kind or None,
        decision=decision,
        why=why or _GIVEN_UP.get(decision, _UNNAMED if provider.off == _UNNAMED else ""),
        credits=provider.credits,
        kept=provider.kept,
        is_kept_too_old=bool(since and provider.kept and provider.kept.at <= since),
    )


def _why_not_asked(who: Who, provider: KnownProvider) -> str:
    if provider.off is not None:
        return provider.off
    if who.reason is not None and provider.credits:
        return who.reason.sentence
    if provider.unfit is not None:
        return provider.unfit
    return "the question is under way" if provider.is_under_way else "not yet"


# What other writers may have stored


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str) else None


def _date(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


def _count(value: object) -> int:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _names(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


# Leads and what belongs to them, read as they stand, for `enricher explain`. Changes no lead.


def _view(names: Names, mapped: LeadMapping) -> Document:
    return {
        "inputs": mapped.inputs,
        "status": f"${names.enrichment_status}",
        "error": book.value_at(names.enrichment_error),
        "enriched_at": book.value_at(names.enriched_at),
        "updated_at": book.value_at(names.updated_at),
        "data": f"${names.enriched_data}",
        "book": book.book(names),
        "priority": book.priority_noted(names),
        "is_behind": {"$lte": [book.priority_noted(names), book.BEHIND]},
        "unwritable": lanes.refusal(names),
        "now": "$$NOW",
    }


_NO_RESULT: Document = {"priority": {"$literal": 0.0}, "is_behind": {"$literal": False}}
"""What is said of a lead that has no result beside it."""


class StandingReader:
    """The leads of one collection, as shown to people."""

    def __init__(
        self,
        leads: AsyncCollection[Document],
        history: History,
        names: Names = NAMES,
        mapped: LeadMapping = CONTRACT,
        beside: Beside | None = None,
    ) -> None:
        """`leads` is the collection of the results, where these stand beside the leads."""
        self._leads = leads
        self._history = history
        self._names = names
        self._mapped = mapped
        self._beside = beside

    async def standing(self, lead: LeadId) -> Standing | None:
        """Read one lead; `None` when it does not exist (any more). Raises DatabaseTrouble."""
        stages = [
            {"$match": {"_id": {"$eq": lead}}},
            {"$project": _view(self._names, self._mapped)},
        ]
        found = await (await self._leads.aggregate(stages)).to_list()
        if self._beside is not None:
            found = await self._with_inputs(self._beside, lead, found)
        if not found:
            return None
        [seen] = found
        is_new = seen.get("status") is None
        return Standing(
            id=seen["_id"],
            now=seen["now"],
            inputs=read_inputs(seen["inputs"]),
            status=seen.get("status"),
            error=seen.get("error"),
            enriched_at=seen.get("enriched_at"),
            updated_at=seen.get("updated_at"),
            data=seen.get("data"),
            book=mapping(seen.get("book")),
            priority=seen["priority"],
            is_behind=seen["is_behind"],
            unwritable=seen.get("unwritable", ""),
            is_history=is_new and await self._is_history(lead),
            collection=self._leads.name,
        )

    async def _with_inputs(
        self, beside: Beside, lead: LeadId, results: list[Document]
    ) -> list[Document]:
        """Return the lead with what stands beside it; nothing when there is no such lead."""
        fields = {"inputs": self._mapped.inputs, "now": "$$NOW", **_NO_RESULT}
        stages = [{"$match": {"_id": {"$eq": lead}}}, {"$project": fields}]
        found = await (await beside.leads.aggregate(stages)).to_list()
        result = results[0] if results else {}
        return [{**each, **result, "inputs": each["inputs"]} for each in found]

    async def _is_history(self, lead: LeadId) -> bool:
        """Return whether a lead without a status is on record, or was ours before."""
        if self._beside is not None:
            return not await self._history.without([lead])
        still_new = {"_id": {"$eq": lead}, **new(self._names)}
        found = await self._leads.find_one(still_new, {"_id": 1})
        return found is None or not await self._history.without([lead])

    async def kept(self, keys: Sequence[str]) -> Mapping[str, flights.QuestionState]:
        """Return the cache's standing of these questions; those that were never asked are missing."""
        kept = self._leads.database[flights.COLLECTION]
        return await flights.read(kept, keys) if keys else {}
