"""PURE What an earlier run left on a lead and still counts: only what is about the same subject.

A writer may correct the address or the domain at any moment, replace the whole lead, or save a copy that
was read long ago. So nothing is trusted for standing there:

    company section, its profiles        count while the company is the same
    person and e-mail section, profiles  count while the mailbox is the same
    answers of company providers         count while the company is the same
    answers of e-mail providers          count while the mailbox is the same
    answers of person providers          count while both are the same: which job is the lead's depends on
                                         its company, so the kept answer is judged again, at no cost

Who found something is asked again when the data is gone, or somebody else's: a writer may have put a copy
from before in its place. What goes takes its provenance, alternatives and confidence along. What others put beside our data
stays. The attempts spent so far were spent on the other question. Ours is what has a provenance, and, where it is known to be about somebody else, every field of
the contract: a provenance may be lost in a writer's model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from enricher.answer import Kind
from enricher.enrichment.conclude import FOUND
from enricher.fields import FIELDS
from enricher.identity.identify import Identity
from enricher.identity.subject import older_mark, read_subject
from enricher.lead import SUBJECT, Document, Lead, Subject
from enricher.values.employer import MISMATCH, owners
from enricher.values.merge import BY_FIELD, FLAGS, METADATA, SOCIAL, flags_of
from enricher.values.profiles import NETWORKS
from enricher.values.storable import mapping


class _Proof(Enum):
    """What is known of whom the data of one kind is about."""

    SAME = auto()
    OTHER = auto()
    NONE = auto()


def carry_over(
    lead: Lead, identity: Identity, about: Subject, kinds: Mapping[str, Kind]
) -> tuple[Lead, bool]:
    """The lead with what counts, and whether any of its data does not. `about` is what the lead asks
    now (`identity`), `kinds` are those of the providers."""
    proofs = _proofs(lead.enriched_data, lead.subject, identity, about)
    answered = {
        name: said
        for name, said in _answered(lead, identity, about, kinds).items()
        if said != FOUND or _is_there(kinds.get(name), proofs)
    }
    if all(proof is _Proof.SAME for proof in proofs.values()):
        return replace(lead, answered=answered), False
    data = _without_others(lead.enriched_data, proofs)
    return replace(lead, answered=answered, enriched_data=data), data != lead.enriched_data


def begins_anew(lead: Lead, identity: Identity, about: Subject) -> bool:
    """True when the attempts so far were made on another question. Not for a lead whose process died:
    attempts are what brings one that kills its process to an end."""
    if lead.interruptions:
        return False
    if isinstance(lead.subject, str):
        return lead.subject != _older(identity)
    return read_subject(lead.subject) not in (None, about)


def is_of_data(data: object, noted: object, identity: Identity, about: Subject) -> bool:
    """False when something is known to be about another mailbox or company. `noted` is
    `enrichment.subject`."""
    return _Proof.OTHER not in _proofs(mapping(data), noted, identity, about).values()


# Who answered


def _is_there(kind: Kind | None, proofs: Mapping[Kind, _Proof]) -> bool:
    """Whether what a provider found still stands on the lead: who found something that is gone is asked
    again, or it would never come back."""
    return all(proofs[each] is _Proof.SAME for each in ([kind] if kind else Kind))


def _answered(
    lead: Lead, identity: Identity, about: Subject, kinds: Mapping[str, Kind]
) -> Mapping[str, str]:
    if not lead.answered:
        return {}
    if isinstance(lead.subject, str):
        return lead.answered if lead.subject == _older(identity) else {}
    noted = read_subject(lead.subject)
    if noted is None:
        return {}
    if noted == about:
        return lead.answered
    return {
        name: said
        for name, said in lead.answered.items()
        if _is_same_question(kinds.get(name), noted, about)
    }


def _is_same_question(kind: Kind | None, noted: Subject, about: Subject) -> bool:
    match kind:
        case Kind.COMPANY:
            return noted.company == about.company
        case Kind.EMAIL:
            return noted.mailbox == about.mailbox
    return noted == about


def _older(identity: Identity) -> str:
    return older_mark(identity.email_key, identity.company_domain)


# Whom the data is about


def _proofs(
    data: Mapping[str, Any], noted: object, identity: Identity, about: Subject
) -> dict[Kind, _Proof]:
    """What stands beside the data decides. Where nothing does, an older version's mark proves it; and
    what is beside the answers can tell that it is not the same, but not that it is: the data may be
    a copy of earlier than that. So can the company's domain among the data."""
    beside = read_subject(mapping(data.get(METADATA)).get(SUBJECT))
    if not data:
        return dict.fromkeys(Kind, _Proof.NONE)
    if beside is not None:
        return _halves(beside, about, _Proof.SAME)
    if isinstance(noted, str):
        is_same = noted == _older(identity)
        return dict.fromkeys(Kind, _Proof.SAME if is_same else _Proof.OTHER)
    if _lost_its_metadata(data) or _names_another(data, identity):
        return dict.fromkeys(Kind, _Proof.OTHER)
    return _halves(read_subject(noted) or about, about, _Proof.NONE)


def _lost_its_metadata(data: Mapping[str, Any]) -> bool:
    """All that a run writes and nothing of where it came from: a typed model dropped it, or a copy did. A
    part of it alone may be others' own."""
    sections = {*(kind.section for kind in Kind), SOCIAL}
    return METADATA not in data and sections <= data.keys()


def _names_another(data: Mapping[str, Any], identity: Identity) -> bool:
    """Whether data that lost its subject is of another company by its own word. One company may have two
    domains: what was found for it is found again at no cost."""
    named = owners([mapping(data.get(Kind.COMPANY.section)).get("domain")])
    return bool(named) and named.isdisjoint(owners(identity.query.domains))


def _halves(found_for: Subject, about: Subject, if_equal: _Proof) -> dict[Kind, _Proof]:
    company = if_equal if found_for.company == about.company else _Proof.OTHER
    person = if_equal if found_for.mailbox == about.mailbox else _Proof.OTHER
    return {Kind.COMPANY: company, Kind.PERSON: person, Kind.EMAIL: person}


# What stays of it


def _without_others(data: Mapping[str, Any], proofs: Mapping[Kind, _Proof]) -> Document:
    kept, known = dict(data), mapping(data.get(METADATA))
    profiles = mapping(data.get(SOCIAL))
    by_field = {key: mapping(known.get(key)) for key in BY_FIELD if key in known}
    for kind, proof in proofs.items():
        if proof is _Proof.SAME:
            continue
        ours = _ours(kind, proof, mapping(by_field.get("provenance", {}).get(kind.section)))
        _drop(kept, kind.section, ours)
        gone = [each for each in NETWORKS if proof is _Proof.OTHER or f"{each}_handle" in ours]
        _drop(profiles, kind.value, frozenset(gone))
        for sections in by_field.values():
            sections.pop(kind.section, None)
    if profiles:
        kept[SOCIAL] = profiles
    if known:
        flags = [flag for flag in flags_of(data) if flag != MISMATCH]
        kept[METADATA] = known | by_field | ({FLAGS: flags} if FLAGS in known else {})
    return kept


def _ours(kind: Kind, proof: _Proof, origins: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(origins) | (FIELDS[kind] if proof is _Proof.OTHER else frozenset())


def _drop(fields: Document, section: str, names: frozenset[str]) -> None:
    if values := mapping(fields.get(section)):
        fields[section] = {name: each for name, each in values.items() if name not in names} or None
