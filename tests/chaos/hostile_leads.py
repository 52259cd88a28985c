"""Leads that nobody means well with, drawn from all kinds that we know: the same dice, the same leads.

Each kind is a function of the dice and of a number of its own, so that no two leads share a question
unless they are meant to. An `echo` asks about the subject of an honest lead, in a spelling of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias

import bson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument

from enricher.lead import Document
from tests.chaos.hostile_vendors import WORDS

MEGABYTE = 1_000_000

Kind: TypeAlias = Callable[[Random, int], Any]

READ = (
    *("email", "company_domain", "website", "name", "company", "job_title", "source"),
    *("qualification_score", "temperature", "account_id", "plan"),
)
"""What writers own and the daemon reads."""
OURS = (
    *("enrichment_status", "enrichment", "enriched_data", "enriched_at", "enrichment_error"),
    *("updated_at", "qualification_status", "qualification_requested_at"),
)
"""What the daemon writes, and a hostile writer too."""
BOOK = (
    *("token", "claim_id", "holder", "due_at", "queued_at", "priority", "backfill", "attempts"),
    *("refresh_since", "refresh_mark", "backfilled_by", "held_by", "interruptions", "answered"),
    *("released", "waited_ms", "subject", "inputs"),
)
STATUSES: tuple[Any, ...] = (
    *("pending", "processing", "retrying", "completed", "failed", "skipped", "PENDING", "", "new"),
    *("Pending ", "pending\x00", None, 0, True, [], ["pending"], {"$eq": "pending"}, MaxKey()),
)


def odd_values() -> tuple[Any, ...]:
    """One of each sort that a field may hold and no reader wants."""
    return (
        *(None, True, 0, -1, 2**31, Int64(2**63 - 1), Int64(-(2**63)), 7.5, -0.0, 1e308),
        *(float("nan"), float("inf"), float("-inf"), Decimal128("NaN"), Decimal128("Infinity")),
        *(Decimal128("1E+6144"), Decimal128("-1E-6143"), Regex("a@b", "i"), Code("while(1);")),
        *(Code("x", {"x": 1}), MinKey(), MaxKey(), ObjectId(), Timestamp(1, 1), DBRef("a", 1)),
        *(Binary(b"\x00\xff"), Binary(bytes(16), 4), Binary(b"x", 128), b"", bytes(2000)),
        *(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), "", " \t\n", "N/A"),
        *("\x00", "a\x00b", "\u202eevil", "\u009b31m", "\u2028", "\ufeff", "é" * 3000, "$email"),
        *("$$ROOT", "{'$gt': ''}", "a.b", [], [[]], [None], {}, {"$gt": 1}, {"a.b": {"$set": 1}}),
        *({"": 1}, ["same"] * 500, {"$literal": {"$where": "1"}}, nested(40), [nested(3)] * 9),
    )


def nested(levels: int, bottom: Any = "bottom") -> Any:
    """Objects in objects."""
    value = bottom
    for _ in range(levels):
        value = {"deeper": value}
    return value


def place(word: str, number: int) -> str:
    """A company of its own; what its vendor answers stands in the word."""
    return f"quokka-{word}-{number}.com"


def person(word: str, number: int) -> str:
    return f"eve.mallory@{place(word, number)}"


def _date(dice: Random) -> datetime:
    """Long ago, about now, or never."""
    now = datetime.now(UTC)
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    near = (now - timedelta(days=400), now, now + timedelta(seconds=5))
    return dice.choice((first, datetime(1969, 1, 1, tzinfo=UTC), *near, last))


def _odd(dice: Random) -> Any:
    return dice.choice(odd_values())


# -- what its inputs are -----------------------------------------------------------------------

WRAPPINGS = (
    *("'{}", '"{}"', "<{}>", "({})", "mailto:{}", "SMTP:{}", "[x](mailto:{})", " {}\u200b", "{};;"),
    *('<a href="mailto:{}">x</a>', "“{}”", "{} ::: other@b.invalid", "Eve <{}>", "{}\r\nBcc: x@y.zz"),
    *("mailto:{}?subject=%00", "\u2039{}\u203a", "\u202e{}", "{}" + "," * 200, "=HYPERLINK({})", "{}%20", "\ufeff{}"),
)  # fmt: skip
SITES = (
    *("http://{}", "http:\\\\{}", "https://user:pw@{}:99999/", "//{}", "https://www.google.com/url?q={}"),
    *("https://l.facebook.com/l.php?u=https%3A%2F%2F{}", "javascript:alert('{}')", "http://[::1]/{}"),
    *("{}" + "/a" * 5000, "https://{}%00", "www.www.{}.", "ftp://{}/..%2f..", "xn--{}", "..{}..", "{}:80:80"),
    *("https://web.archive.org/web/2020/http://{}", "http://{}#" + "\u202e" * 50, "hxxps://{}", "{} or so"),
)  # fmt: skip


def wrapped(dice: Random, number: int) -> Document:
    """An address and a site as hands and exports write them."""
    lead = {"email": dice.choice(WRAPPINGS).format(person("hostile", number))}
    if dice.random() < 0.5:
        lead["website"] = dice.choice(SITES).format(place("hostile", number))
    return lead


ADDRESSES = (
    *("sac@{}", "noreply@{}", "postmaster@{}", "hr@{}", "naoresponda@{}", "eve+a+b@{}", "e.v.e@{}"),
    *("eve@gmial.com", "eve@gmail.com", "eve@mailinator.com", "eve@test1", "eve@example.com"),
    *("eve@[10.0.0.1]", '"e v e"@{}', "eve(x)@{}", "e@co.uk", "eve@com", "eve@sub.sub.{}", "@{}"),
    *("éve@{}", "eve@é{}", "eve_partner.com#EXT#@acme.onmicrosoft.com", "eve@x.github.io", "eve"),
    *("eve@" + "a" * 64 + ".com", "e" * 65 + "@{}", "eve..x@{}", "eve@{}, eve@{}; eve@{}", "@" * 999),
)  # fmt: skip


def ordinary(dice: Random, number: int) -> Document:
    """What stands in every collection: desks, free mail, typing errors."""
    lead = {"email": dice.choice(ADDRESSES).replace("{}", place("hostile", number))}
    return lead | ({"website": place("hostile", number)} if dice.random() < 0.3 else {})


def garbage_at_vendors(dice: Random, number: int) -> Document:
    """A plain lead, of which a vendor makes garbage."""
    return {"email": person(dice.choice(WORDS), number), "name": "Eve Mallory"}


def large(dice: Random, number: int) -> Document:
    """A text of megabytes where an address, a company or a name belongs."""
    field = dice.choice(READ)
    text = dice.choice(("x", "é", "a@b.", "\u202e", "<", "mailto:", "%41", "(", '"'))
    many = text * (dice.choice((2, 5, 10)) * MEGABYTE // len(text.encode()))
    return {"company_domain": place("hostile", number), field: many}


def almost_full(dice: Random, number: int) -> Document:
    """No room for a result, or hardly."""
    lead = {"_id": ObjectId(), "company_domain": place("hostile", number), "blob": b""}
    room = 16 * 1024 * 1024 - len(bson.encode(lead))
    return {**lead, "blob": bytes(room - dice.choice((0, 10, 1500, 60_000, 800_000)))}


def odd_field(dice: Random, number: int) -> Document:
    """Other types where texts, numbers and dates belong."""
    lead: Document = {"email": person("hostile", number)}
    for field in dice.sample((*READ, *OURS), dice.choice((1, 1, 2, 5))):
        lead[field] = _odd(dice)
    return lead


def everything_odd(dice: Random, number: int) -> Document:
    return {field: _odd(dice) for field in (*READ, *OURS)}


def arrays(dice: Random, number: int) -> Document:
    """Lists where one value belongs: a path reads them all."""
    email = [person("hostile", number)] * dice.choice((1, 2, 900))
    odd = [_odd(dice), {"email": email}]
    return {"email": email, "company_domain": odd, "website": [odd] * 5, "temperature": ["hot"]}


def urgent(dice: Random, number: int) -> Document:
    """Whoever shouts loudest."""
    loud = ("hot", 1e308, float("inf"), float("nan"), Int64(2**63 - 1), Decimal128("1E+6000"))
    return {"email": person("hostile", number), "temperature": dice.choice(loud)}


# -- what is the daemon's own ------------------------------------------------------------------


def forged_book(dice: Random, number: int) -> Document:
    """Book-keeping that looks like ours, or nearly."""
    fields = dice.sample(BOOK, dice.choice((1, 3, 8, len(BOOK))))
    book = {field: _forged(field, dice) for field in fields}
    lead = {"email": person("hostile", number), "enrichment": book}
    if dice.random() < 0.7:
        lead["enrichment_status"] = dice.choice(STATUSES)
    return lead


def _forged(field: str, dice: Random) -> Any:
    if dice.random() < 0.4:
        return _odd(dice)
    known: dict[str, Sequence[Any]] = {
        "token": (0, 5, Int64(2**63 - 1), -1, 1e300),
        "attempts": (0, 99, -5, 2**40),
        "interruptions": (0, 1, 2, 99),
        "priority": (1e308, -1e308, float("nan")),
        "answered": ({"clearbit": "not_found", "hunter": "found"}, {"clearbit": {"a": nested(9)}}),
        "held_by": (["clearbit"], ["clearbit"] * 400, [None, {}, ["hunter"]]),
        "subject": ({"mailbox": "x" * 64, "company": "y" * 64}, {"mailbox": ["x"]}, "x"),
        "inputs": ({"email": "$email"}, {"email": "x" * 2000}, {}),
    }
    if field.endswith(("_at", "_since")):
        return _date(dice)
    return dice.choice(known.get(field, ("x", "", 5, True, False, f"host:{dice.randrange(99999)}")))


def any_status(dice: Random, number: int) -> Document:
    return {"email": person("hostile", number), "enrichment_status": dice.choice(STATUSES)}


def forged_data(dice: Random, number: int) -> Document:
    """What was found, as nobody found it."""
    large_text = "x" * dice.choice((10, 10, 10_000, 4 * MEGABYTE))
    company: dict[str, Any] = {"name": large_text, "tags": [_odd(dice)] * 5, "a.b": 1, "$x": "$y"}
    data = {
        "company_data": dice.choice((company, [company], _odd(dice), nested(60))),
        "person_data": dice.choice((None, {"full_name": _odd(dice)}, [[[]]], nested(80))),
        "email_verification": _odd(dice),
        "social_profiles": _odd(dice),
        "enrichment_metadata": dice.choice(
            (_odd(dice), {"subject": _odd(dice), "sources_used": _odd(dice), "provenance": [1, 2]})
        ),
    }
    status = {"enrichment_status": dice.choice(STATUSES)} if dice.random() < 0.5 else {}
    return {"email": person("hostile", number), "enriched_data": data, **status}


# -- what a document is ------------------------------------------------------------------------


def odd_shape(dice: Random, number: int) -> Document:
    """Deep, wide, and with names that are paths and operators elsewhere."""
    shapes: tuple[Document, ...] = (
        {"deep": nested(dice.choice((50, 90)))},
        {"a.b": {"c.d": 1}, "e.": 2, ".f": 3, "$top": 1, "": 4},
        {f"field {one}": one for one in range(5000)},
        {"enrichment.due_at": _date(dice), "enriched_data.company_data": {"name": "no path"}},
        {"__proto__": {"email": "x"}, "constructor": 1, "email ": "x@y.zz", "Email": "x@y.zz"},
        {"list": [{"$ref": "x", "$id": 1}] * 300, "café": "☕", "\u200b": 1, "\u202e": 2},
    )
    return {"email": person("hostile", number), **dice.choice(shapes)}


def odd_id(dice: Random, number: int) -> Document:
    """An `_id` of a type that is unusual, or that says something about a person."""
    parts = ({"$numberLong": "x"}, nested(5, number), {"a": number, "b": [number]}, number + 0.5)
    ids: tuple[Any, ...] = (
        *(f"Eve Mallory, +49 170 {number}", person("hostile", number), "\u202e" + str(number)),
        *(Decimal128(f"{number}E-3"), Binary(number.to_bytes(16, "big"), 4), Timestamp(number, 1)),
        *(parts[1:]), Code(f"x{number}"), DBRef("leads", number), Int64(number), -number,
        *(f"$where{number}", f"{number}\x00", "é" * 400 + str(number), Code("x", {"n": number})),
    )  # fmt: skip
    return {"_id": dice.choice(ids), "email": person("hostile", number)}


def not_utf8(dice: Random, number: int) -> RawBSONDocument:
    """Texts that are none: in a value, in a name, in the `_id`."""
    lead = {"_id": f"????{number}", "email": person("hostile", number), "na????me": "????", "n": 1}
    raw = bson.encode(lead)
    where = [at for at in range(len(raw)) if raw.startswith(b"????", at)]
    for at in dice.sample(where, dice.choice((1, 2, 3))):
        bad = dice.choice(
            (b"\xff\xfe\xc3\x28", b"\xed\xa0\x80a", b"\xc0\xaf\xc0\xaf", b"\x80\x80\x80\x80")
        )
        raw = raw[:at] + bad + raw[at + 4 :]
    if dice.random() < 0.3:
        raw = raw.replace(b"mallory", dice.choice((b"\xff" * 7, b"\xed\xa0\x80\xed\xb0\x80x")))
    return RawBSONDocument(raw)


def doubled(dice: Random, number: int) -> RawBSONDocument:
    """One field twice, as drivers with ordered lists of fields can write it."""
    lead = {"_id": ObjectId(), "email": person("hostile", number)}
    field = dice.choice((*OURS, *READ))
    parts = [bson.encode({field: value})[4:-1] for value in (_odd(dice), dice.choice(STATUSES))]
    body = bson.encode(lead)[4:-1] + b"".join(parts)
    return RawBSONDocument((len(body) + 5).to_bytes(4, "little") + body + b"\x00")


def huge_id(dice: Random, number: int) -> Document:
    size = dice.choice((100_000, MEGABYTE, 5_400_000, 12 * MEGABYTE))
    return {"_id": f"{number}" + "x" * size, "email": person("hostile", number)}


# -- whom else it is about ---------------------------------------------------------------------

SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str.upper,
    lambda email: f"  {email}\u200b",
    lambda email: f"mailto:{email}",
    lambda email: f'"Ada" <{email}>',
    lambda email: f"'{email}",
    lambda email: email.replace("@", "+news@"),
    lambda email: email.replace(".com", "。com"),
)


def echo(dice: Random, email: str) -> Document:
    """The subject of an honest lead again, with what makes it be asked about anew."""
    forged: tuple[Document, ...] = (
        {},
        {"enrichment_status": "pending"},
        {"enrichment": {"refresh_since": datetime.now(UTC), "refresh_mark": "x" * 64}},
        {"enrichment": {"answered": {"clearbit": "not_found"}, "attempts": 0, "token": 1}},
        {"temperature": "hot", "enriched_data": {"company_data": {"name": "forged"}}},
    )
    about = email.partition("@")[2]
    return {"email": dice.choice(SPELLINGS)(email), "about": about, **dice.choice(forged)}


_WEIGHTS: Mapping[Kind, int] = {
    ordinary: 12,
    wrapped: 12,
    garbage_at_vendors: 20,
    odd_field: 20,
    everything_odd: 4,
    arrays: 5,
    urgent: 8,
    forged_book: 20,
    any_status: 10,
    forged_data: 8,
    odd_shape: 6,
    odd_id: 8,
    not_utf8: 6,
    large: 2,
    almost_full: 1,
    doubled: 4,
    huge_id: 3,
}


def draw(dice: Random, number: int) -> Any:
    """One lead of any kind."""
    (kind,) = dice.choices([*_WEIGHTS], [*_WEIGHTS.values()])
    return kind(dice, number)
