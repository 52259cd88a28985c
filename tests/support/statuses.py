"""Every answer that a vendor is known to give, and what becomes of a lead that gets it: a table.

One line is one answer of one provider: what the simulated vendor does (`fault`, as it is injected),
how the lead ends (`Ends`), and what the vendor has counted (`calls`, `charged`). A failing provider
is tried four times within an attempt, and no attempt follows.

`test_statuses.py` plays it, and compares it with the simulator: what that learns must be named here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from enricher import catalogue
from enricher.answer import Kind
from enricher.catalogue import FINDERS
from enricher.lead import Document
from enricher.providers.cnpj import NO_RECORD, Cnpj
from enricher.providers.http import HttpProvider
from enricher.providers.registry import built_in, finders
from enricher.providers.verifier import NO_VERIFICATION, WRONG_ROUTE
from enricher.simulator import facts, hunter
from enricher.simulator.server import VENDORS
from enricher.simulator.vendor import Vendor
from tests.support.bodies import cnpj_of

TRIES = 4
USELESS = 2
"""Of an answer that is paid for and cannot be read."""
LARGE = 2_200_000
NO_TIME_FOR_A_CALL: Document = {"ENRICHER_PROVIDER_TIMEOUT_SECONDS": 1}
NO_TIME_FOR_A_LEAD: Document = {"ENRICHER_LEAD_TIMEOUT_SECONDS": 8}

_AGAIN = frozenset(vendor.name for vendor in VENDORS if vendor.charges_again)
"""They charge each 200; the others charge a question once in a month."""
_VERIFY = tuple(each.vendor for each in catalogue.PROVIDERS.values() if each.kind is Kind.EMAIL)
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Ends:
    """What is to be seen on the lead."""

    status: str
    error: str | None
    """Begins so, and goes on with the moment of the next try where there is one."""
    place: str
    """Which of the lists of `enrichment_metadata` names the provider."""


@dataclass(frozen=True, slots=True)
class Case:
    """One answer of one provider."""

    provider: str
    name: str
    fault: Document
    ends: Ends
    calls: int = 1
    charged: int = 0
    then: Document = field(default_factory=dict)
    """What the vendor does once the fault has had its times."""
    stops: bool = False
    """Nobody else is asked for a while, so it needs a daemon of its own."""
    apart: str = ""
    """Those with the same word come together, and not beside others."""
    pauses: bool = False
    """The same for a second or two: it has the daemon to itself for so long."""
    local_part: str = "ada.lovelace"
    settings: Document = field(default_factory=dict)
    world: Mapping[str, Any] = field(default_factory=dict)
    """What the simulated vendors are told."""
    looks: int = 0
    """Looks at the account, which are free."""
    key: str = "ok"
    """What the vendor thinks of the key."""
    verdict: str | None = None
    """The status of the address on the lead."""

    @property
    def id(self) -> str:
        return f"{self.provider}-{self.name}"

    @property
    def spelling(self) -> str:
        """What the simulator calls it."""
        kind, dialect = self.fault.get("kind", "ordinary"), self.fault.get("dialect")
        return f"{kind}:{dialect}" if dialect else kind


_ASKED: tuple[type[HttpProvider], ...] = (*built_in(), *finders(), Cnpj)
PROVIDERS: Mapping[str, type[HttpProvider]] = {each.name: each for each in _ASKED}
_FIND: Document = {"ENRICHER_FIND_DOMAIN": "true"}
ALWAYS: Mapping[str, Document] = {
    "pdl_finder": {**_FIND, "HUNTER_API_KEY": "", "APOLLO_API_KEY": ""},
    "hunter_finder": {**_FIND, "PDL_API_KEY": "", "APOLLO_API_KEY": ""},
    "apollo_finder": {**_FIND, "PDL_API_KEY": "", "HUNTER_API_KEY": ""},
    "cnpj": {"ENRICHER_CNPJ": "true", "CNPJ_RATE_LIMIT": "100000"},
}
"""Settings without which a provider is not asked, or not alone."""
SIMULATED: Mapping[str, type[Vendor]] = {each.name: each for each in VENDORS}

FOUND = Ends("completed", None, "sources_used")
MISSING = Ends("completed", None, "sources_not_found")
OBJECTED = Ends("skipped", "The person asked not to be processed.", "sources_skipped")
KEY, USED_UP = "the key is refused", "the quota is used up"


def failed(provider: str, reason: str) -> Ends:
    """The lead fails, unless the provider costs nothing: then it has what else there is."""
    if PROVIDERS[provider].is_free:
        return Ends("completed", None, "sources_failed")
    said = f"Nothing could be had after 1 attempt: {provider} did not answer ({reason})."
    return Ends("failed", said, "sources_failed")


def preparing(provider: str) -> Ends:
    said = f"Nothing could be had after 1 attempt: {provider} is still preparing its answer."
    return Ends("failed", said, "sources_failed")


def held(provider: str, reason: str) -> Ends:
    said = f"{provider} is held back ({reason}). The next try is due at "
    return Ends("retrying", said, "sources_failed")


def throttled(provider: str) -> Ends:
    said = f"{provider} is not asked for now (rate limit). The next try is due at "
    return Ends("retrying", said, "sources_failed")


def question(local_part: str) -> str:
    """A company that no other case asks about, which every vendor knows well, and this person there too."""
    while True:
        made = f"quokka-lantern-{next(_numbers)}.com"
        address = f"{local_part}@{made}"
        is_known = all(facts.likelihood(1, each) >= 6 for each in (made, address))
        if is_known and len({facts.mailbox(1, address, each).verdict for each in _VERIFY}) == 1:
            return made


def subject(case: Case) -> tuple[Document, str]:
    """The lead, and what the provider is asked because of it."""
    if case.provider == "cnpj":
        number = cnpj_of(f"{next(_numbers):07}50001")
        return {"cnpj": number, "email": f"ada.{number}@gmail.com"}, number
    if case.provider in FINDERS:
        name = _company_name()
        return {"company": name, "email": f"ada.{next(_numbers)}@gmail.com"}, name.lower()
    company = question(case.local_part)
    return {"email": f"{case.local_part}@{company}"}, company


def _company_name() -> str:
    """A name of its own, whose domain has a role address: so it is charged by who charges for addresses."""
    while True:
        own = "".join("abcdefghij"[int(digit)] for digit in f"{next(_numbers):04}")
        name = f"Quokka{own} Lantern Ltda"
        found = facts.named("hunter", name.lower())
        if found and hunter.search(1, found)["data"]["emails"]:
            return name


_NO_RECORD = {
    "clearbit": "the body is not a company record",
    "hunter_company": "the body is not a company record",
    "pdl_company": "the body is not a company record",
    "apollo_company": "the body holds no organization",
    "clearbit_person": "the body is not a person record",
    "hunter_person": "the body is not a person record",
    "pdl_person": "the body is not a person record",
    "apollo_person": "the body holds no person",
    "hunter_finder": "the body is not a company record",
    "pdl_finder": "the body is not a company record",
    "apollo_finder": "the body holds no organization",
    "cnpj": NO_RECORD,
    **dict.fromkeys(("hunter", "zerobounce", "kickbox", "bouncer", "emailable"), NO_VERIFICATION),
}
"""How each says that a body is no answer."""


def cases() -> list[Case]:
    """The whole table. Answers that a new provider has, and that are not here, fail a test."""
    return [case for name in PROVIDERS for case in (*_of_all(name), *_of_vendor(name))]


def _paid(provider: str, calls: int) -> int:
    if provider == "cnpj":
        return 0
    return calls if PROVIDERS[provider].vendor in _AGAIN else 1


def literal(status: int, body: object = None, **headers: str) -> Document:
    """A reply word for word, for what no simulated vendor says by itself."""
    written = "" if body is None else json.dumps(body)
    return {"kind": "status", "status": status, "body": written, "headers": headers}


# -- what happens at every vendor --------------------------------------------------------------


def _of_all(name: str) -> Iterator[Case]:
    once = _paid(name, 1)
    yield Case(name, "200", {}, FOUND, charged=once)
    yield Case(name, "200-late", {"kind": "latency", "seconds": 0.3}, FOUND, charged=once)
    yield Case(name, "200-numbers-as-text", {"kind": "wrong_types"}, FOUND, charged=once)
    if PROVIDERS[name].is_free:  # it is no record without its number
        nobodys = failed(name, _NO_RECORD[name])
        yield Case(name, "200-all-null", {"kind": "all_nulls"}, nobodys, TRIES)
    else:
        yield Case(name, "200-all-null", {"kind": "all_nulls"}, MISSING, charged=once)
    yield from _of_no_answer(name)
    yield from _of_the_wire(name)
    for status in (204, 302, 405, 409, 410, 500, 502, 504):
        tries = 1 if status in _FINAL.get(name, ()) else TRIES
        yield Case(name, f"{status}", literal(status), failed(name, str(status)), calls=tries)
    yield Case(name, "503-html", {"kind": "server_error"}, failed(name, "503"), calls=TRIES)
    twice = {"kind": "server_error", "times": 2}
    yield Case(name, "503-twice", twice, FOUND, calls=3, charged=once)


_FINAL: Mapping[str, tuple[int, ...]] = {"cnpj": (405,)}
"""Refusals that are not tried again."""


def _useless(name: str) -> int:
    """How often it is tried when it gives an answer that cannot be read: what costs nothing, as often as any."""
    return TRIES if PROVIDERS[name].is_free else USELESS


def _of_no_answer(name: str) -> Iterator[Case]:
    """A 200 with something else than a record: paid for, and worth one more try. Ten in a row would be
    too many, so somebody else is answered in between."""
    useless = _useless(name)
    paid, no_record = _paid(name, useless), failed(name, _NO_RECORD[name])
    for kind in ("html", "empty_list", "truncated", "wrong_charset"):
        yield Case(name, f"200-{kind}", {"kind": kind}, no_record, useless, paid, apart="one")
    empty = MISSING if name.startswith("apollo") else no_record
    tries = 1 if empty is MISSING else useless
    costs = 0 if name == "apollo_person" else _paid(name, tries)
    yield Case(name, "200-empty", {"kind": "empty"}, empty, tries, costs, apart="two")
    for kind in ("huge", "gzip_bomb"):
        too_large = failed(name, "the body is too large")
        fault = {"kind": kind, "size": LARGE}
        yield Case(name, f"200-{kind}", fault, too_large, useless, paid, apart="two")
    cut_off = failed(name, "the body was cut off")
    yield Case(name, "cut_off", {"kind": "cut_off"}, cut_off, useless, paid, apart="two")


def _of_the_wire(name: str) -> Iterator[Case]:
    """Whoever gets no answer may have paid for it all the same."""
    paid, lost = _paid(name, TRIES), failed(name, "the connection failed (reset)")
    yield Case(name, "reset", {"kind": "reset"}, lost, TRIES, paid)
    late, short = failed(name, "timed out"), NO_TIME_FOR_A_CALL
    yield Case(name, "hang", {"kind": "hang"}, late, TRIES, paid, settings=short)
    useless = _useless(name)
    paid = _paid(name, useless)
    yield Case(name, "drip", {"kind": "drip"}, late, useless, paid, settings=short)


# -- what only one vendor says -----------------------------------------------------------------


def _of_vendor(name: str) -> Iterator[Case]:
    of_vendor = {
        "clearbit": _of_clearbit,
        "hunter": _of_hunter,
        "pdl": _of_people_data_labs,
        "apollo": _of_apollo,
        "zerobounce": _of_zerobounce,
        "kickbox": _of_kickbox,
        "bouncer": _of_bouncer,
        "emailable": _of_emailable,
        "cnpj": _of_the_register,
    }
    yield from of_vendor[PROVIDERS[name].vendor](name)


def _never_ready(name: str, charged: int = 0) -> Case:
    """Asked again, it names a time that no lead in work waits for: nothing here depends on how much of the
    lead's time is left."""
    once, much_later = {"kind": "pending", "times": 1}, literal(202, **{"Retry-After": "3600"})
    return Case(name, "202-for-ever", once, preparing(name), 2, charged, then=much_later)


def _stopping(name: str, fault: Document, label: str, ends: Ends) -> Case:
    return Case(name, label, fault, ends, stops=True, settings=NO_TIME_FOR_A_LEAD)


def _throttled_once(name: str, label: str, **how: Any) -> Case:
    """It names when to come back, and is asked again then."""
    fault = {"kind": "throttled", "times": 1, "seconds": 1, **how}
    return Case(name, label, fault, FOUND, calls=2, charged=1, pauses=True)


def _refused(name: str, label: str, charged: int = 0, **how: Any) -> Case:
    """An answer that says: nothing known, or not to be asked."""
    return Case(name, label, how, MISSING, charged=charged)


def _of_clearbit(name: str) -> Iterator[Case]:
    wrong_way = failed(name, "unknown route (404)")
    once = {"kind": "pending", "times": 1}
    for dialect in ("empty", "body"):
        yield Case(name, f"202-{dialect}", {**once, "dialect": dialect}, FOUND, 2, 1)
    yield Case(name, "202-in-turns", {"kind": "pending", "times": 2}, FOUND, 3, 1)
    yield _never_ready(name, charged=1)
    yield _refused(name, "400", kind="wrong_params", dialect="400")
    yield _refused(name, "422", kind="wrong_params")
    yield _refused(name, "404", charged=1, kind="unknown_record")
    yield Case(name, "404-route", {"kind": "unknown_route"}, wrong_way, TRIES)
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    yield _throttled_once(name, "429-moment")
    yield _throttled_once(name, "429-seconds", dialect="relative")
    yield Case(name, "429-without-a-word", literal(429) | {"times": 1}, FOUND, 2, 1)
    yield _stopping(name, {"kind": "unauthorized"}, "401", held(name, KEY))
    yield _stopping(name, {"kind": "quota_spent"}, "402", held(name, USED_UP))


def _of_hunter(name: str) -> Iterator[Case]:
    missing = literal(451, {"errors": [{"id": "claimed_email", "code": 451}]})
    yield _refused(name, "404", kind="unknown_record")
    yield _refused(name, "404-route", kind="unknown_route")
    yield _refused(name, "400", kind="wrong_params")
    yield _refused(name, "422", kind="wrong_params", dialect="422")
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    yield from _of_hunters_limits(name)
    if name == "hunter":
        yield from _of_the_verifier(name)
    if PROVIDERS[name].kind is Kind.COMPANY:
        yield _refused(name, "451", **missing)
    else:
        yield Case(name, "451", {"kind": "claimed_email"}, OBJECTED)
        yield _refused(name, "400-email", kind="invalid_email")
    if name != "hunter_person":
        yield _refused(name, "400-domain", kind="invalid_domain")


def _of_hunters_limits(name: str) -> Iterator[Case]:
    """403, 429 and 402, in the vendor's two dialects. A 429 that does not explain itself is looked up."""
    spent, room = {"kind": "quota_spent", "dialect": "429"}, throttled(name)
    nothing_left, no_quota = held(name, USED_UP), {"quotas": {"hunter": 0}}
    yield _throttled_once(name, "429-retry-after", dialect="429")
    refused = {"kind": "throttled", "dialect": "403"}
    yield _stopping(name, refused, "403-rate-limit", throttled(name))
    yield _stopping(name, {"kind": "forbidden"}, "403-forbidden", held(name, KEY))
    yield _stopping(name, {"kind": "unauthorized"}, "401", held(name, KEY))
    by_402 = {"kind": "quota_spent", "dialect": "402"}
    yield _stopping(name, by_402, "402", held(name, USED_UP))
    yield Case(name, "429-with-credits-left", spent, room, stops=True, looks=1)
    yield Case(name, "429-used-up", {}, nothing_left, stops=True, looks=1, world=no_quota)


def _of_the_verifier(name: str) -> Iterator[Case]:
    unclear = failed(name, "the mailbox's server gave no clear answer (222)")
    for word in ("bounce", "catchall", "unknown"):
        yield Case(name, f"200-{word}", {}, FOUND, charged=1, local_part=f"ada.{word}")
    yield Case(name, "202", {"kind": "pending", "times": 1}, FOUND, 2, 1)
    yield _never_ready(name)
    yield Case(name, "222", {"kind": "smtp_failed"}, unclear, TRIES)
    yield Case(name, "222-empty", literal(222), unclear, TRIES)
    yield Case(name, "222-once", {"kind": "smtp_failed", "times": 1}, FOUND, 2, 1)


def _of_people_data_labs(name: str) -> Iterator[Case]:
    unlikely = {"id": "x", "name": "Quokka", "likelihood": 3}
    body = {**unlikely, "data": {"id": "x", "full_name": "Ada"}}
    yield _refused(name, "200-unlikely", charged=1, **literal(200, body))
    yield _refused(name, "400", kind="wrong_params")
    yield _refused(name, "404", kind="unknown_record")
    wrong_way = failed(name, "unknown route (404)")
    yield Case(name, "404-route", {"kind": "unknown_route"}, wrong_way, TRIES)
    yield Case(name, "405-method", {"kind": "wrong_method"}, failed(name, "405"), TRIES)
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    yield _throttled_once(name, "429-moment")
    yield _stopping(name, literal(429), "429-without-a-word", throttled(name))
    yield _stopping(name, {"kind": "unauthorized"}, "401", held(name, KEY))
    yield _stopping(name, {"kind": "quota_spent"}, "402", held(name, USED_UP))
    if name == "pdl_person":
        yield from _of_others(name)


def _of_apollo(name: str) -> Iterator[Case]:
    costs = 1 if PROVIDERS[name].kind is Kind.COMPANY else 0
    yield _refused(name, "200-in-turns", charged=costs, kind="unknown_record")
    for shape in ("missing", "null", "nothing"):
        fault = {"kind": "unknown_record", "dialect": shape}
        yield _refused(name, f"200-{shape}", charged=costs, **fault)
    if name == "apollo_person":
        yield _refused(name, "200-stub", kind="unknown_record", dialect="stub")
    yield _refused(name, "422", kind="wrong_params")
    yield Case(name, "404-route", {"kind": "unknown_route"}, failed(name, "404"), TRIES)
    yield _throttled_once(name, "429-retry-after")
    yield _stopping(name, literal(429), "429-without-a-word", throttled(name))
    yield _stopping(name, {"kind": "unauthorized"}, "401", held(name, KEY))
    yield _stopping(name, literal(402, {"error": "Payment required."}), "402", held(name, USED_UP))
    out_of_scope = held(name, "the key may not use this route")
    yield _stopping(name, {"kind": "forbidden"}, "403", out_of_scope)
    yield _stopping(name, {"kind": "quota_spent"}, "422-credits", held(name, USED_UP))
    if name == "apollo_person":
        yield from _of_others(name)


def _of_others(name: str) -> Iterator[Case]:
    yield Case(name, "200-stranger", {}, MISSING, charged=1, local_part="stranger")
    yield Case(name, "200-moved", {}, FOUND, charged=1, local_part="moved")


# -- what the verifiers after Hunter say -------------------------------------------------------


def _verdicts(name: str) -> Iterator[Case]:
    """A verdict for each word in the address; `unknown` costs nothing at some."""
    for word in ("bounce", "catchall", "unknown"):
        costs = 0 if word == "unknown" and not PROVIDERS[name].charges_misses else 1
        verdict = {"bounce": "invalid", "catchall": "accept_all"}.get(word, "unknown")
        local_part = f"ada.{word}"
        yield Case(name, f"200-{word}", {}, FOUND, 1, costs, local_part=local_part, verdict=verdict)


def _of_any_verifier(name: str, refused: str) -> Iterator[Case]:
    yield from _verdicts(name)
    yield _refused(name, refused, kind="wrong_params")
    yield Case(name, "404-route", {"kind": "unknown_route"}, failed(name, WRONG_ROUTE), TRIES)


def _of_zerobounce(name: str) -> Iterator[Case]:
    """One text for a refused key and for used-up credits: the balance tells which."""
    yield from _of_any_verifier(name, "200-wrong")
    for word, verdict in _KINDS.items():
        costs = 0 if word == "grey" else 1
        local_part = f"ada.{word}"
        yield Case(name, f"200-{word}", {}, FOUND, 1, costs, local_part=local_part, verdict=verdict)
    yield _refused(name, "400", kind="wrong_params", dialect="400")
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    for status in (520, 524):
        yield Case(name, f"{status}", literal(status), failed(name, f"{status}"), TRIES)
    room, spent = throttled(name), {"quotas": {name: 0}}
    yield _stopping(name, {"kind": "throttled"}, "429", room)
    yield _stopping(name, {"kind": "forbidden"}, "403-shield", room)
    for label, fault in (
        ("200-credits-left", {"kind": "quota_spent"}),
        ("400-credits-left", {"kind": "quota_spent", "dialect": "400"}),
        ("200-key-is-good", {"kind": "unauthorized"}),
    ):
        yield replace(_stopping(name, fault, label, room), looks=1)
    yield Case(name, "200-used-up", {}, held(name, USED_UP), stops=True, looks=1, world=spent)
    other = {"ZEROBOUNCE_API_KEY": "another-key"}
    refused = held(name, KEY)
    yield Case(name, "200-key", {}, refused, stops=True, looks=1, settings=other, key="wrong")


_KINDS = {
    "alias": "valid",
    "allbox": "accept_all",
    "fullbox": "unknown",
    "nodns": "invalid",
    "desk": "accept_all",
    **dict.fromkeys(("toxic", "trap", "abuse", "grey"), "unknown"),
}
"""Word in an address -> what becomes of ZeroBounce's rarer verdicts."""


def _of_kickbox(name: str) -> Iterator[Case]:
    yield from _of_any_verifier(name, "400")
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    yield Case(name, "415", literal(415), failed(name, "415"), TRIES)
    yield _throttled_once(name, "429")
    nothing_left = held(name, USED_UP)
    yield _stopping(name, {"kind": "quota_spent"}, "403-depleted", nothing_left)
    for dialect in ("insufficient", "200"):
        fault = {"kind": "quota_spent", "dialect": dialect}
        yield _stopping(name, fault, f"403-{dialect}", nothing_left)
    yield _stopping(name, {"kind": "unauthorized"}, "403-key", held(name, KEY))
    yield _stopping(name, {"kind": "forbidden"}, "403-forbidden", held(name, KEY))


def _of_bouncer(name: str) -> Iterator[Case]:
    yield from _of_any_verifier(name, "400")
    yield Case(name, "503-api_error", {"kind": "api_error"}, failed(name, "503"), TRIES)
    for dialect in ({}, {"dialect": "seconds"}):
        once = {"kind": "pending", "times": 1, **dialect}
        label = f"200-greylisted{'-seconds' if dialect else ''}"
        yield Case(name, label, once, FOUND, 2, 2)
    much_later = literal(200, {"status": "unknown", "reason": "timeout", "retryAfter": 3600})
    once = {"kind": "pending", "times": 1}
    yield Case(name, "200-for-ever", once, preparing(name), 2, 2, then=much_later)
    yield _throttled_once(name, "429-retry-after")
    yield _stopping(name, {"kind": "throttled", "dialect": "silent"}, "429", throttled(name))
    yield from _of_plain_refusals(name)


def _of_emailable(name: str) -> Iterator[Case]:
    yield from _of_any_verifier(name, "400")
    yield Case(name, "503-api_error", {"kind": "api_error"}, failed(name, "503"), TRIES)
    yield Case(name, "249-twice", {"kind": "pending", "times": 2}, FOUND, 3, 1)
    once, much_later = {"kind": "pending", "times": 1}, literal(249, **{"Retry-After": "3600"})
    yield Case(name, "249-for-ever", once, preparing(name), 2, then=much_later)
    yield _throttled_once(name, "429-reset")
    yield Case(name, "429-without-a-word", literal(429) | {"times": 1}, FOUND, 2, 1, pauses=True)
    yield from _of_plain_refusals(name)


def _of_plain_refusals(name: str) -> Iterator[Case]:
    yield _stopping(name, {"kind": "quota_spent"}, "402", held(name, USED_UP))
    yield _stopping(name, {"kind": "unauthorized"}, "401", held(name, KEY))
    yield _stopping(name, {"kind": "forbidden"}, "403", held(name, KEY))


# -- what the Brazilian register says ----------------------------------------------------------


def _of_the_register(name: str) -> Iterator[Case]:
    """It costs nothing, and whoever it refuses is refused for longer."""
    yield _refused(name, "404", kind="unknown_record")
    yield _refused(name, "400", kind="wrong_params")
    yield Case(name, "404-route", {"kind": "unknown_route"}, failed(name, WRONG_ROUTE))
    yield Case(name, "500-api_error", {"kind": "api_error"}, failed(name, "500"), TRIES)
    yield Case(name, "401", {"kind": "unauthorized"}, failed(name, "401"))
    yield Case(name, "403-page", {"kind": "forbidden"}, failed(name, "403"))
    yield Case(name, "418", literal(418, {"message": "no"}), failed(name, "418"))
    yield _stopping(name, {"kind": "throttled"}, "429-text", throttled(name))
