"""PURE How a vendor's value becomes one of the type that its field has (`enricher/fields.py`).

A type reads any object and gives the value as it is stored, or `None` when the object is no such value,
so no provider, whoever wrote it, can put a dict where text belongs, or a text of ten megabytes
anywhere. A type also says when two values mean the same: ranges
by their ends, profiles by their address, countries by their code, texts without capitals.

Fields that are not in the table are kept as they are, as far as MongoDB can hold them.

Countries go by ISO 3166 code: "USA", "us", "United States" and "États-Unis" are one. The names are Babel's,
which has them in over 200 languages. English is loaded with the first country, the others once a name is not
English: first the languages that most vendors and writers use (30 ms), then all the rest (some 300 ms, once
per process). A name that no language knows is not an error: the vendor's own wording stays as it is, and only
the code beside it is missing.
"""

from __future__ import annotations

import math
import pickle
import re
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, unquote, urlsplit

from enricher import fields
from enricher.answer import Kind
from enricher.fields import ValueType
from enricher.identity.identify import stated_host
from enricher.values.storable import (
    is_blank,
    line_of,
    many_lines,
    mapping,
    one_line,
    plain,
    safe_name,
    storable,
)

# Countries by ISO 3166 code.

_ALIASES = """\
GB Great Britain; GB Britain; GB England; GB Scotland; GB Wales; GB Northern Ireland; GB Inglaterra; GB Angleterre;
GB Inghilterra; GB Grossbritannien; GB Grande-Bretagne; GB Gran Bretaña; GB Grã-Bretanha; GB Gran Bretagna; GB Groot-Brittannië;
GB United Kingdom of Great Britain and Northern Ireland; US U S A; US U S; US America; US EUA; US EEUU; US EE UU;
US United States of America; US Estados Unidos da América; US Estados Unidos de América; US États-Unis d'Amérique;
US Vereinigte Staaten von Amerika; US Stati Uniti d'America; RU Russian Federation; RU Federação Russa; KR Korea;
KR Republic of Korea; KR Korea Republic of; KP Democratic People's Republic of Korea;
KP Korea Democratic People's Republic of; VN Viet Nam; CZ Czech Republic; CZ República Checa; TR Turkey; NL Holland;
NL Holanda; NL Hollande; NL Olanda; IE Republic of Ireland; AE UAE; AE EAU; CI Ivory Coast; HK Hong Kong SAR;
HK Hong Kong SAR China; MO Macau; MO Macao SAR China; IR Islamic Republic of Iran; IR Iran Islamic Republic of;
TW Taiwan Province of China; CN PRC; CN People's Republic of China; CN Mainland China; CD Democratic Republic of the Congo;
CD Congo Democratic Republic of the; CD Congo Kinshasa; CG Republic of the Congo; CG Congo Brazzaville; MK Macedonia;
MM Burma; SZ Swaziland; CV Cabo Verde; TL East Timor; PS Palestine; PS Palestinian Territory; PS State of Palestine;
SY Syrian Arab Republic; LA Lao People's Democratic Republic; MD Republic of Moldova; MD Moldova Republic of;
BO Plurinational State of Bolivia; BO Bolivia Plurinational State of; VE Bolivarian Republic of Venezuela;
VE Venezuela Bolivarian Republic of; TZ United Republic of Tanzania; TZ Tanzania United Republic of;
BN Brunei Darussalam; VA Holy See; DE BRD; DE Bundesrepublik Deutschland; CH Suisse; CH Svizzera; BE Belgique; BE België
"""
"""Further names that vendors and people use and Babel does not have."""

_COMMON = {"CD": "DR Congo", "CG": "Congo"}
"""Replacements for English names of Babel that hardly anybody uses."""
_SHORTER = re.compile(r" \(.*\)| SAR China")

_PRIVATE = re.compile(r"AA|Q[M-Z]|X[A-Z]|ZZ")
_NO_COUNTRIES = frozenset({"AC", "CP", "DG", "EU", "TA"})
"""Codes that ISO only reserves."""

_ENGLISH = "en"
_USUAL = tuple("pt es fr de it nl pl sv da nb fi cs tr ru uk ro hu el ja zh ko ar".split())

LONGEST_COUNTRY = 64
"""Characters of the longest name that is looked up."""


@lru_cache(1024)
def country_code_of(text: str) -> str | None:
    """Return the two-letter code of a country, given its name or any of its codes."""
    if len(text) > LONGEST_COUNTRY or not (name := _letters(text)):
        return None
    return (
        _codes().get(name) or _foreign(_USUAL).get(name) or _foreign(_other_languages()).get(name)
    )


def country_name_of(text: str) -> str:
    """Return the common name for a code or a lower-case name; anything else as it is."""
    code = country_code_of(text)
    is_raw = text == text.lower() or len(text) <= len("USA")
    return country_names()[code] if code and is_raw else text


@lru_cache(1)
def country_names() -> Mapping[str, str]:
    """Return two-letter code -> common English name."""
    english = _territories(_ENGLISH)
    return {code: _COMMON.get(code) or _plainly(english[code]) for code in _three_letters()}


def _plainly(name: str) -> str:
    """Write a name as forms and vendors do, without Babel's typography."""
    name = name.replace("&", "and").replace("\u2019", "'").replace("U.S.", "US")
    return _SHORTER.sub("", name.replace("St. ", "Saint "))


@lru_cache(1)
def _codes() -> Mapping[str, str]:
    """Return folded name or code -> two-letter code, for all that needs no other language than English."""
    aliases = (entry.split(maxsplit=1) for entry in _ALIASES.replace("\n", " ").split(";"))
    return {
        **{
            _letters(name): code
            for code, name in _territories(_ENGLISH).items()
            if code in country_names()
        },
        **{_letters(name): code for code, name in country_names().items()},
        **{_letters(name): code for code, name in aliases},
        **{three.casefold(): code for code, threes in _three_letters().items() for three in threes},
        **{code.casefold(): code for code in country_names()},
        "uk": "GB",
    }


@lru_cache(1)
def _three_letters() -> Mapping[str, list[str]]:
    """Return two-letter code -> its three-letter codes, withdrawn ones included."""
    from babel.core import get_global  # noqa: PLC0415  # 20 ms, and most commands need no country

    found: dict[str, list[str]] = {}
    for three, codes in get_global("territory_aliases").items():
        if len(three) == len("USA") and three.isalpha() and len(codes) == 1:
            found.setdefault(codes[0], []).append(three)
    return {code: threes for code, threes in found.items() if _is_country(code)}


def _is_country(code: str) -> bool:
    return not _PRIVATE.fullmatch(code) and code not in _NO_COUNTRIES


@lru_cache(2)
def _foreign(languages: tuple[str, ...]) -> Mapping[str, str]:
    """Return folded name -> code in these languages, without names that mean two countries among them."""
    said: dict[str, set[str]] = {}
    for name, code in _said_in(languages):
        said.setdefault(name, set()).add(code)
    return {name: next(iter(codes)) for name, codes in said.items() if len(codes) == 1}


def _said_in(languages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for language in languages:
        for code, name in _territories(language).items():
            if code in country_names() and (folded := _letters(name)):
                yield folded, code


@lru_cache(1)
def _other_languages() -> tuple[str, ...]:
    from babel.localedata import locale_identifiers  # noqa: PLC0415  # as above

    known = {_ENGLISH, *_USUAL}
    return tuple(one for one in locale_identifiers() if "_" not in one and one not in known)


def _territories(language: str) -> Mapping[str, str]:
    """Read past Babel's own loader, which would keep everything about each language in memory for good."""
    from babel.localedata import resolve_locale_filename  # noqa: PLC0415  # as above

    data = Path(resolve_locale_filename(language)).read_bytes()
    territories: Mapping[str, str] = pickle.loads(data).get("territories", {})  # noqa: S301  # the package's own
    return territories


def _letters(text: str) -> str:
    """Remove case, accents, punctuation and a leading article."""
    letters = unicodedata.normalize("NFKD", text.replace("&", " and ").replace("\u2019", "'"))
    bare = "".join([each for each in letters if not unicodedata.combining(each)]).casefold()
    words = re.sub(r"[^\w']+", " ", bare).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)


# Profiles on social networks: the handle in whatever a vendor wrote, and its full address.


class _Network(NamedTuple):
    host: re.Pattern[str]
    """How an address on the network begins."""
    url: str
    parts: int
    """Number of path segments in a handle."""


def _on(host: str) -> re.Pattern[str]:
    return re.compile(rf"(?i)(?:https?:)?(?://)?(?:[a-z]+\.)?{host}(?=[/?#]|$)")


_NETWORKS: Mapping[str, _Network] = {
    "linkedin": _Network(_on(r"linkedin\.com"), "https://www.linkedin.com/", 2),
    "twitter": _Network(_on(r"(?:twitter|x)\.com"), "https://twitter.com/", 1),
    "facebook": _Network(_on(r"(?:facebook|fb)\.com"), "https://www.facebook.com/", 1),
    "crunchbase": _Network(_on(r"crunchbase\.com"), "https://www.crunchbase.com/", 2),
    "github": _Network(_on(r"github\.com"), "https://github.com/", 1),
}
NETWORKS = tuple(_NETWORKS)

_FOLDERS = {
    ("company", "linkedin"): "company/",
    ("person", "linkedin"): "in/",
    ("company", "crunchbase"): "organization/",
    ("person", "crunchbase"): "person/",
}
"""Path of a bare handle: "acme" is linkedin.com/company/acme."""

_NO_HANDLE = frozenset({"profile.php", "people", "groups", "intent", "i", "hashtag"})
"""First path segments that name no account."""
_NO_PROFILES = frozenset({"company", "in", "pub", "organization", "person", "pages"})
"""Segments that are no profile by themselves: the one that named it came after them, and is lost."""
_WHOLE = frozenset({"pub", "pages"})
"""In paths that begin with these, the last segment names the profile."""
_LONGEST = 256
_IN_NO_HANDLE = re.compile(r"[\s:\\<>\[\]\x00-\x1f\x7f]")


def handle_of(network: str, value: object) -> str | None:
    """Return "company/acme" or "acme" from a handle, "@acme" or an address with or without scheme.

    Returns `None` for an address on another host: it would become a link that only looks right.
    """
    if (text := line_of(value)) is None:
        return None
    host, _, parts = _NETWORKS[network]
    found = host.match(text)
    text = text[found.end() :] if found else text
    if len(text) > _LONGEST or _IN_NO_HANDLE.search(text):
        return None
    names = [name for name in _path(text).split("/") if name]
    if len(names) < (parts if found else 1):
        return None
    if not found and len(names) > 1 and "." in names[0]:  # it begins with another host
        return None
    kept = names if names[0].lower() in _WHOLE else names[:parts]
    return None if _is_nobodys(kept) else "/".join(kept)


def _is_nobodys(names: Sequence[str]) -> bool:
    """Tell whether it names no account. So does "company" of "company/acme" where handles have one segment."""
    first = names[0].lower()
    is_elsewhere = "" in [unquote(name).strip(".") for name in names]  # browsers follow ".."
    return is_elsewhere or first in _NO_HANDLE or (len(names) == 1 and first in _NO_PROFILES)


def _path(text: str) -> str:
    try:
        path = urlsplit(plain(text).strip("/")).path
    except ValueError:  # "//[" looks like the start of an IPv6 address
        return ""
    return path.strip("/").lstrip("@")


def url_of(kind: str, network: str, handle: object) -> str | None:
    """Return the full address of a profile; `kind` says whether a bare handle is a company or a person."""
    path = handle_of(network, handle)
    if path is None:
        return None
    folder = "" if "/" in path else _FOLDERS.get((kind, network), "")
    return _NETWORKS[network].url + folder + quote(path, safe="/-_.~%", errors="replace")


def same_profile(kind: str, network: str, handle: object) -> str:
    """Return a key that is equal for all spellings of one profile; networks ignore case."""
    return unquote(url_of(kind, network, handle) or "").casefold()


def social_profiles(before: object, merged: Mapping[str, Any]) -> dict[str, Any]:
    """Return the addresses for all handles in `merged`, beside what others put there. Empty, and never null,
    when nothing is known: readers look inside."""
    profiles = mapping(before)
    for kind, section in (("company", COMPANY), ("person", PERSON)):
        values = mapping(merged[section])
        handles = {network: values.get(f"{network}_handle") for network in NETWORKS}
        urls = {each: url_of(kind, each, handle) for each, handle in handles.items() if handle}
        found = {network: url for network, url in urls.items() if url}
        profiles[kind] = mapping(profiles.get(kind)) | found
    return profiles if any(profiles.values()) else {}


# Numbers and ranges as vendors write them: "51-250", "10K-50K", "$10M", "1,200", "10001+".
#
# The vendors' vocabularies do not align (one says "51-250" where another says "51-200"), so ranges
# are compared as intervals and never as labels.

Interval: TypeAlias = tuple[float, float]
"""Both ends included; the upper one may be infinite."""

LONGEST = 64
"""Characters. Anything longer is not an amount and is not parsed."""

_UNITS = {
    "": 1,
    **dict.fromkeys(("k", "thousand"), 10**3),
    **dict.fromkeys(("m", "mm", "mn", "mio", "million"), 10**6),
    **dict.fromkeys(("b", "bn", "billion"), 10**9),
    **dict.fromkeys(("t", "tn", "trillion"), 10**12),
}
_UNIT = "|".join(sorted((re.escape(unit) for unit in _UNITS), key=len, reverse=True))
_ONE = rf"(\d{{1,3}}(?:,\d{{3}})+|\d{{1,18}})(\.\d{{1,6}})?({_UNIT})"
_EXACT = re.compile(_ONE, re.ASCII)
_RANGE = re.compile(rf"{_ONE}(?:-|to|\.\.)+{_ONE}", re.ASCII)
_AT_LEAST = re.compile(rf"(?:(?:>=?|over|morethan|atleast){_ONE}\+?|{_ONE}(?:\+|ormore))", re.ASCII)
_AT_MOST = re.compile(rf"(?:<=?|under|lessthan|upto|below){_ONE}", re.ASCII)
_NOISE = re.compile(r"[\s$\u20ac\u00a3\u00a5]+|\b(?:us\$?|usd|eur|gbp)\b|employees|people|staff")
_DASHES = str.maketrans("\u2010\u2011\u2012\u2013\u2014\u2212", "------")


def interval(value: object) -> Interval | None:
    """Read an interval from "51-250", 120 or "$10M+"; `None` if no amount is named."""
    match value:
        case str():
            return _read(value) if len(value) <= LONGEST else None
        case bool():
            return None
        case int() | float():
            return _point(value)
    return None


def _point(value: float) -> Interval | None:
    is_usable = abs(value) < 10**18 and value >= 0  # false for NaN as well
    return (float(value), float(value)) if is_usable else None


def exact(value: object) -> int | None:
    """Return the amount if exactly one whole number is named: 1200, "1,200", "$10M"; never a range."""
    match value:
        case bool():
            return None
        case int():
            return int(value) if 0 <= value < 2**63 else None
    ends = interval(value)
    return int(ends[0]) if ends and ends[0] == ends[1] and ends[0].is_integer() else None


def is_range(value: object) -> bool:
    """Tell whether the value names more than one amount."""
    ends = interval(value)
    return ends is not None and ends[0] != ends[1]


@lru_cache(1024)
def _read(text: str) -> Interval | None:
    bare = _NOISE.sub("", text.lower().translate(_DASHES))
    if found := _EXACT.fullmatch(bare):
        return _amount(found.groups()), _amount(found.groups())
    if found := _RANGE.fullmatch(bare):
        low, high = _amount(found.groups()[:3]), _amount(found.groups()[3:])
        return (low, high) if low <= high else None
    if found := _AT_LEAST.fullmatch(bare):
        said = found.groups()[:3] if found.group(1) else found.groups()[3:]
        return _amount(said), math.inf
    found = _AT_MOST.fullmatch(bare)
    return (0.0, _amount(found.groups())) if found else None


def _amount(parts: tuple[str | None, ...]) -> float:
    whole, fraction, unit = parts
    return float(
        round(float(f"{(whole or '').replace(',', '')}{fraction or ''}") * _UNITS[unit or ""], 6)
    )


COMPANY, PERSON, EMAIL = Kind.COMPANY.section, Kind.PERSON.section, Kind.EMAIL.section

LONGEST_TEXT = 2_048
"""Characters. No real name, handle or address is longer, and a truncated one would be wrong."""
LONGEST_PROSE = 5_000
"""Characters of a description; longer ones are truncated, at no loss to a reader."""
LONGEST_ITEM = 200
LONGEST_WORD = 64
MOST_ITEMS = 200
MOST_FIELDS = 200
"""Limit on the fields of one section that one provider can fill."""
DEAD_LOGO_HOSTS = frozenset({"logo.clearbit.com"})
"""Shut down in December 2025. Other vendors still hand out links to it."""

_CATCH_ALL = frozenset({"catch-all", "catch_all", "catchall", "accept-all", "acceptall"})
_OLDEST_COMPANY, _FAR_FUTURE = 500, 2100
_BEST_SCORE = 100


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a value is read, and a key that is equal for values that mean the same."""

    read: Callable[[object], Any]
    same: Callable[[Any], Hashable] = lambda value: value
    may_say_nothing: bool = False
    """What it reads may be a placeholder still: a host or a handle of that name, a word, a value of any type."""


# Readers: each returns the value of the right type, or None. None of them raises.


_text = partial(line_of, longest=LONGEST_TEXT)


def _prose(value: object) -> str | None:
    clean = many_lines(value[:LONGEST_PROSE]) if isinstance(value, str) else None
    return None if is_blank(clean) else clean


def _texts(value: object) -> list[str] | None:
    """Read a list of texts without duplicates, in the vendor's order."""
    if isinstance(value, set | frozenset):
        value = sorted(value, key=repr)
    if not isinstance(value, list | tuple):
        return None
    items = [line_of(item, LONGEST_ITEM) for item in value[: MOST_ITEMS * 10]]
    return list(dict.fromkeys([item for item in items if item]))[:MOST_ITEMS] or None


def _word(value: object) -> str | None:
    """Read one of a vendor's own words, such as "accept_all"; "unknown" is such a word too."""
    if not isinstance(value, str) or len(value) > LONGEST_WORD:
        return None
    word = one_line(value).lower()
    if word in _CATCH_ALL:
        return "accept_all"
    return word if word == "unknown" or not is_blank(word) else None


def _count(value: object) -> int | None:
    """Read a count. Vendors write zero for "unknown", so zero is no value."""
    return exact(value) or None


def _year(value: object) -> int | None:
    year = exact(value)
    return year if year and _OLDEST_COMPANY <= year <= _FAR_FUTURE else None


def _range(value: object) -> str | None:
    """Read a range as the vendor wrote it; a single number is not a range."""
    text = line_of(value, LONGEST)
    return None if text is None or exact(text) is not None else text


def _estimate(value: object) -> str | None:
    count = _count(value) if not isinstance(value, str) else None
    return str(count) if count else line_of(value, LONGEST)


def _flag(value: object) -> bool | None:
    return value if value is True or value is False else None


def _score(value: object) -> int | float | None:
    if isinstance(value, str):
        value = exact(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= _BEST_SCORE else None


def _url(value: object) -> str | None:
    """Read an http(s) URL with a host: people click it, so `javascript:` and the like are refused."""
    text = _text(value)
    return text if text and host_of(text) else None


def _logo(value: object) -> str | None:
    url = _url(value)
    return None if url is None or host_of(url) in DEAD_LOGO_HOSTS else url


def host_of(url: str) -> str | None:
    """Return the lower-case host of an http(s) URL; `None` if it is not one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


def _domain(value: object) -> str | None:
    return stated_host(_text(value))


def _country(value: object) -> str | None:
    text = line_of(value, LONGEST_ITEM)
    return country_name_of(text) if text else None


def _country_code(value: object) -> str | None:
    """Read a code. A name is not a code, even if it leads to one."""
    text = line_of(value, len("U.S.A."))
    return country_code_of(text) if text and len(re.sub(r"\W", "", text)) <= len("USA") else None


# Keys: equal for two values of a type that mean the same


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _ends(value: str) -> Hashable:
    return interval(value) or _folded(value)


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value).lstrip("0") or _folded(value)


def _place(url: str) -> str:
    return url.partition("//")[2].removeprefix("www.").rstrip("/").casefold()


def _members(value: list[str]) -> Hashable:
    return frozenset(map(_folded, value))


def _nation(value: str) -> str:
    return country_code_of(value) or _folded(value)


ANYTHING = FieldType(storable, repr, may_say_nothing=True)

_TYPES: Mapping[ValueType, FieldType] = {
    ValueType.TEXT: FieldType(_text, _folded),
    ValueType.PROSE: FieldType(_prose, _folded),
    ValueType.TEXTS: FieldType(_texts, _members),
    ValueType.WORD: FieldType(_word, may_say_nothing=True),
    ValueType.COUNT: FieldType(_count),
    ValueType.YEAR: FieldType(_year),
    ValueType.RANGE: FieldType(_range, _ends),
    ValueType.ESTIMATE: FieldType(_estimate, _ends),
    ValueType.FLAG: FieldType(_flag),
    ValueType.SCORE: FieldType(_score),
    ValueType.URL: FieldType(_url, _place),
    ValueType.LOGO: FieldType(_logo, _place),
    ValueType.DOMAIN: FieldType(_domain, may_say_nothing=True),
    ValueType.PHONE: FieldType(_text, _digits),
    ValueType.COUNTRY: FieldType(_country, _nation),
    ValueType.COUNTRY_CODE: FieldType(_country_code),
}


def _field(kind: Kind, name: str, each: ValueType) -> FieldType:
    if each is not ValueType.HANDLE:
        return _TYPES[each]
    network = name.removesuffix("_handle")
    return FieldType(
        partial(handle_of, network),
        partial(same_profile, kind.value, network),
        may_say_nothing=True,
    )


TYPES: Mapping[str, Mapping[str, FieldType]] = {
    kind.section: {name: _field(kind, name, each) for name, each in types.items()}
    for kind, types in fields.TYPES.items()
}
"""Section -> field -> how it is read."""

EXACT_AND_RANGE = (
    ("employee_count", "employee_range"),
    ("annual_revenue", "estimated_annual_revenue"),
)
UNKNOWN = "unknown"
VERDICTS = frozenset({(EMAIL, "status"), (EMAIL, "result")})
"""Fields in which "unknown" is the vendor's own word, not a placeholder."""


def type_of(section: str, name: str) -> FieldType:
    """Return the type of a field; `ANYTHING` for one that is not in the table."""
    return TYPES[section].get(name, ANYTHING)


def typed(section: str, values: object) -> dict[str, Any]:
    """Return the usable values of one provider's section, each of its field's type, under safe names."""
    known = TYPES[section]
    given = {
        safe: value
        for name, value in islice(mapping(values).items(), MOST_FIELDS)
        if (safe := name if name in known else safe_name(name))
    }
    if not given:
        return {}
    if section == COMPANY:
        _put_where_it_belongs(given)
    read: dict[str, Any] = {}
    for name, value in given.items():
        each = known.get(name, ANYTHING)
        good = each.read(value)
        if good is not None and (not each.may_say_nothing or says(section, name, good)):
            read[name] = good
    _complete_country(read)
    return read


def says(section: str, name: str, value: object) -> bool:
    """Tell whether the value says something. A 0 does not, except about an address: a score of 0 is a verdict."""
    if (section, name) in VERDICTS and value == UNKNOWN:
        return True
    is_zero = value == 0 and not isinstance(value, bool)
    return not (is_blank(value) or (is_zero and section != EMAIL))


def is_same(section: str, name: str, one: Any, other: Any) -> bool:
    """Tell whether two values of a field's type mean the same, however each is written."""
    same = type_of(section, name).same
    return same(one) == same(other)


def _put_where_it_belongs(given: dict[str, Any]) -> None:
    """Move "11-50" from the count to the range, and copy "120" from the range to the count."""
    for exact, estimate in EXACT_AND_RANGE:
        if is_range(given.get(exact)):
            if is_blank(given.get(estimate)):
                given[estimate] = given[exact]
            del given[exact]
    count = _count(given.get("employee_range"))
    if count and not _count(given.get("employee_count")):
        given["employee_count"] = count


def _complete_country(read: dict[str, Any]) -> None:
    """Derive country name and code from each other within one provider, so that they agree."""
    name, code = read.get("country"), read.get("country_code")
    if isinstance(name, str) and not code and (known := country_code_of(name)):
        read["country_code"] = known
    elif isinstance(code, str) and not name:
        read["country"] = country_name_of(code)


def confidence_of(value: object) -> float | None:
    """Return a confidence from 0 to 1; `None` if there is none or it is not a number."""
    match value:
        case None | bool():
            return None
        case int() | float() if not is_blank(value):
            # in this order: the largest integers do not fit a float
            return float(min(1, max(0, value)))
    return None
