"""PURE Countries by ISO 3166 code: "USA", "us", "United States" and "États-Unis" are one.

The names are Babel's, which has them in over 200 languages. English is loaded with the first country,
the others once a name is not English: first the languages that most vendors and writers use (30 ms),
then all the rest (some 300 ms, once per process). A name that no language knows is not an error: the
vendor's own wording stays as it is, and only the code beside it is missing.
"""

from __future__ import annotations

import pickle
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

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

LONGEST = 64
"""Characters of the longest name that is looked up."""


def code_of(text: str) -> str | None:
    """Return the two-letter code of a country, given its name or any of its codes."""
    if len(text) > LONGEST or not (name := _folded(text)):
        return None
    return (
        _codes().get(name) or _foreign(_USUAL).get(name) or _foreign(_other_languages()).get(name)
    )


def name_of(text: str) -> str:
    """Return the common name for a code or a lower-case name; anything else as it is."""
    code = code_of(text)
    is_raw = text == text.lower() or len(text) <= len("USA")
    return names()[code] if code and is_raw else text


@lru_cache(1)
def names() -> Mapping[str, str]:
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
        **{_folded(name): code for code, name in _territories(_ENGLISH).items() if code in names()},
        **{_folded(name): code for code, name in names().items()},
        **{_folded(name): code for code, name in aliases},
        **{three.casefold(): code for code, threes in _three_letters().items() for three in threes},
        **{code.casefold(): code for code in names()},
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
            if code in names() and (folded := _folded(name)):
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


def _folded(text: str) -> str:
    """Remove case, accents, punctuation and a leading article."""
    letters = unicodedata.normalize("NFKD", text.replace("&", " and ").replace("\u2019", "'"))
    bare = "".join([each for each in letters if not unicodedata.combining(each)]).casefold()
    words = re.sub(r"[^\w']+", " ", bare).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)
