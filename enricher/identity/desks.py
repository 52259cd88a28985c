"""PURE Whether a desk reads a mailbox, or a machine writes from it, by its local part alone.

A desk costs the lead its person call and no more, so it need not be certain; yet nobody's own name
may make a desk of them. Hence three kinds of words:

    whole     a desk when nothing else stands there: personal@, legal@; legal.anna@ is Anna
    first     also in front of one more word: vendas.sp@, info-berlin@
    beside    no desk by themselves, but no name either: sales-team@, central.de.atendimento@

Words of the first two kinds may stand together in any order, with or without a sign between them.
Some openings and endings (atendimento…, …abteilung) make a desk of any word. Accents and numbers do not
count; German umlauts count in both of their spellings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from enricher.identity.desk_words import BELOW, FIRST, KNOWN, WHOLE


@dataclass(frozen=True, slots=True, eq=False)
class Desks:
    """The words by the part they play. `whole` has those of `first` too, `known` has all."""

    first: frozenset[str]
    whole: frozenset[str]
    known: frozenset[str]
    countries: Mapping[str, frozenset[str]]
    """Words that are a desk's only below these top-level domains."""

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Desks:
        """With words more, which a place or a number may follow, and without others."""
        more, less = frozenset(added), frozenset(removed)
        return Desks(
            (self.first | more) - less,
            (self.whole | more) - less,
            (self.known | more) - less,
            {word: tlds for word, tlds in self.countries.items() if word not in less},
        )


DESKS = Desks(FIRST, WHOLE, KNOWN, BELOW)

_LONGEST_INITIALS = 3
"""i.t@ and h.r@ are people, it@ and hr@ are not."""
_MOST_WORDS = 2
"""info-berlin@ is a desk; who knows what a.long.row.of.words is."""
_LEAST_LETTERS = 4
"""Of a word that stands against another without a sign."""

_LEAST_COMPOUND = 9
_OPENINGS = tuple(
    """
    accounts administracion amministrazione assistenza atencion atendimento bewerbung buchhaltung
    cobranca comercial commercial comptabilite contabilidad contato contabilita customer einkauf
    facturacion facturation faturamento financeiro helpdesk invoice klanten kunden marketing
    newsletter rechnung recrutamento segreteria servicecli soporte suporte ufficio vertrieb
    """.split()
)
_ENDINGS = tuple(
    """
    abteilung buchhaltung buero department einkauf kundenservice marketing office sekretariat
    service services support team verwaltung vertrieb zentrale
    """.split()
)
"""No name of a person begins or ends like this, whatever stands on the other side."""
_AND = re.compile(r"\A(?:de|da|do|dos|das|del|di|des|du|al)")
_DESK = "desk"
"""Stands in for initials that are a desk's."""
_DIGITS = "0123456789"
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ł": "l", "ø": "o"})
_BARE = str.maketrans({"ß": "ss", "ł": "l", "ø": "o"})

_SYSTEM = re.compile(
    r"""(?: (?:no|dont|do[-._]?not)[-._]?reply
            | n(?:ao|o)[-._]?(?:respond(?:a|e|er|as|am|emos)|contest(?:ar|e|a|en))
            | (?:ne[-._]?)?pas[-._]?(?:repondre|de[-._]?reponse) | sans[-._]?reponse
            | (?:bitte[-._]?)?nicht[-._]?(?:be)?antworten | keine[-._]?antwort(?:en)?
            | non[-._]?rispond(?:ere|i|ete)
            | nie[-._]?odpowiada(?:c|j|my)
            | niet[-._]?(?:be)?antwoorden | geen[-._]?antwoord | niet[-._]?reageren
            | (?:mailer|mail)[-._]?daemon | postmaster | bounces?
            | auto[-._]?(?:reply|responder) | nobody | null | devnull )
        (?: [-._=0-9] .* )? \Z""",
    re.VERBOSE | re.DOTALL,
)
_NO_REPLY_AT_THE_END = re.compile(r".+[-._]no[-._]?reply\d*\Z", re.DOTALL)


def is_system(local: str) -> bool:
    """A machine writes from it and nobody reads it."""
    return any(map(_is_system, _spellings(local)))


def is_desk(local: str, host: str, desks: Desks = DESKS) -> bool:
    """A desk reads it, not a person. `host` only matters for two-letter words."""
    return any(_is_desk(each, host, desks) for each in _spellings(local))


def desk_key(local: str) -> str:
    """As an operator's own names for desks are compared: no case, accents, signs or numbers."""
    return _without_number("".join(_words_of(_spellings(local)[0])))


def _spellings(local: str) -> list[str]:
    """In small letters without accents: as they are left out, and as German writes them out."""
    text = local.lower()
    if text.isascii():
        return [text]
    text = unicodedata.normalize("NFC", text)
    return [_without_accents(text.translate(each)) for each in (_BARE, _WRITTEN_OUT)]


def _without_accents(text: str) -> str:
    return "".join(
        each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each)
    )


def _is_system(local: str) -> bool:
    if _SYSTEM.match(local):
        return True
    return "reply" in local and _NO_REPLY_AT_THE_END.match(local) is not None


def _is_desk(local: str, host: str, desks: Desks) -> bool:
    name = _without_number(local)
    if name in desks.whole:
        return True
    words = _words_of(name)
    if len(words) > 1:
        words = [_without_number(word) for word in words if word]
        return _are_a_desks(
            [_DESK if _is_initials_of_a_desk(word, host, desks) else word for word in words], desks
        )
    return _is_initials_of_a_desk(name, host, desks) or _is_compound(name, desks)


def _words_of(local: str) -> list[str]:
    return local.replace("-", ".").replace("_", ".").split(".")


def _without_number(word: str) -> str:
    """A number alone stays."""
    return word.strip(_DIGITS) or word


def _is_initials_of_a_desk(name: str, host: str, desks: Desks) -> bool:
    return name in desks.countries and host.rpartition(".")[2] in desks.countries[name]


def _are_a_desks(words: list[str], desks: Desks) -> bool:
    if not words:
        return False
    if len(words) <= _MOST_WORDS and words[0] in desks.first:
        return True
    joined = "".join(words)
    if joined in desks.whole:
        return len(joined) > _LONGEST_INITIALS
    return desks.known.issuperset(words) and not desks.whole.isdisjoint(words)


def _is_compound(word: str, desks: Desks) -> bool:
    """suportetecnico@, kundenservice@: two words that are each known."""
    if word.startswith(_OPENINGS) or (word.endswith(_ENDINGS) and len(word) > _LEAST_COMPOUND):
        return True
    cuts = range(_LEAST_LETTERS - 1, len(word) - _LEAST_LETTERS + 1)
    return any(
        word[:cut] in desks.whole
        and (word[cut:] in desks.known or _AND.sub("", word[cut:]) in desks.known)
        for cut in cuts
    )
