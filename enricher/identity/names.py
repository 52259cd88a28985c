"""PURE Whether names, a handle and a domain are of one company, by their letters.

    Müller & Söhne GmbH    mueller-soehne.de       the same letters
    Padaria São João Ltda  padariasaojoao.com.br   the same letters
    Associated Brick Co    abc-brick.com           the initials, and a word
    Acme                   buyacme.com             one within the other
    Acme                   bosch.de                nothing in common

Legal forms and words that every company's name may hold are no evidence.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LEGAL = frozenset(
    "ltda lda me epp mei eireli sa s a limitada cia gmbh mbh ag kg ohg gbr ug ek co kgaa se inc llc ltd limited plc llp"
    " corp corporation company incorporated sarl sas sasu eurl srl spa snc sl slu bv nv ab as oy aps sro zoo"
    " und and e y et i the der die das o os do da de dos das of du la le les".split()
)
COMMON = frozenset(
    "group grupo gruppe holding international internacional global brasil brazil deutschland germany services servicos"
    " solutions solucoes loesungen consulting consultoria tecnologia technology technologies digital online shop store"
    " loja web site home studio media team official oficial company empresa firma praxis kanzlei clinic clinica".split()
)
"""Words that any company's name may hold beside its own."""
_LEAST = 4
"""Letters in common that are no accident."""


def name_key(name: str) -> str:
    """Return a name that is the same for all its spellings. A legal form is part of it: Acme AG is not Acme Inc."""
    return " ".join(re.findall(r"\w+", folded(name, is_german=False)))


def telling_words(name: str) -> tuple[str, ...]:
    """Return the words of a name that are no legal form, without accents; none if it is nothing else."""
    words = re.findall(r"\w+", re.sub(r"['\u2019]", "", folded(name, is_german=False)))
    return tuple(word for word in words if word not in _LEGAL)


def is_same_name(one: str, other: str) -> bool:
    """Tell whether two names are one company's: the same letters, whatever the legal form."""
    return not _letters(one).isdisjoint(_letters(other))


def is_spelt_in(name: str, label: str) -> bool:
    """Tell whether a domain's label is this name, letter by letter."""
    return _joined(label) in _letters(name)


def _letters(name: str) -> set[str]:
    return {"".join(_words(name, is_german=german)) for german in (False, True)} - {""}


def agree(name: str, label: str) -> bool:
    """Tell whether a company of this name would have this label in its domain, or as its handle."""
    spellings = (_words(name, is_german=german) for german in (False, True))
    return any(_agree(each, _joined(label)) for each in spellings)


def are_initials(name: str, label: str) -> bool:
    """Tell whether a domain's label begins with the initials of a name of three words or more."""
    return _are_initials(telling_words(name), _joined(label))


@lru_cache(1024)
def _agree(words: tuple[str, ...], label: str) -> bool:
    joined = "".join(words)
    if not joined or not label:
        return False
    if joined == label or _is_within(joined, label) or _is_within(label, joined):
        return True
    telling = [word for word in words if word not in COMMON and len(word) >= _LEAST]
    if any(label.startswith(word) or label.endswith(word) for word in telling):
        return True
    return _are_initials(words, label)


def _is_within(short: str, long: str) -> bool:
    return len(short) >= _LEAST and short in long and short not in COMMON


def _are_initials(words: tuple[str, ...], label: str) -> bool:
    """Recognise abc, and what begins with it: abc-brick, abcadvogados."""
    initials = "".join(word[0] for word in words)
    return len(words) > 2 and label.startswith(initials)  # noqa: PLR2004 - two letters are an accident


def _words(name: str, *, is_german: bool) -> tuple[str, ...]:
    words = re.findall(r"\w+", re.sub(r"['\u2019]", "", folded(name, is_german=is_german)))
    telling = tuple(word for word in words if word not in _LEGAL)
    return telling or tuple(words)


def _joined(label: str) -> str:
    return "".join(sign for sign in folded(label, is_german=False) if sign.isalnum())


def folded(text: str, *, is_german: bool = True) -> str:
    """Return the text in lower case without accents; in German, an umlaut is two letters."""
    lower = text.casefold()
    if is_german:
        lower = lower.replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    return "".join(
        sign for sign in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(sign)
    )


def label_of(domain: str) -> str:
    """Return the part of a registrable domain that its owner chose, as people read it."""
    label = domain.partition(".")[0]
    if label.startswith("xn--"):
        try:
            return label.encode("ascii").decode("idna")
        except UnicodeError:
            return label
    return label
