"""What of a vendor's text is stored, whatever it wrote."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.values import storable as rules
from enricher.values.storable import many_lines, one_line, storable
from enricher.values.types import typed

ONE_LINE = [
    ("Acme Inc.", "Acme Inc."),
    ("  Acme \n", "Acme"),
    ("Acme\x9b31m Inc", "Acme31m Inc"),
    ("Acme\x1b[2J Inc", "Acme[2J Inc"),
    ("Acme\x07\x00\x7f\x80\x9f", "Acme"),
    ("\u202eemcA\u202c", "emcA"),
    ("\u2066Acme\u2069 \u202aInc\u202c", "Acme Inc"),
    ("Acme\u2028Inc", "Acme Inc"),
    ("Acme\u2029\u2029Inc", "Acme Inc"),
    ("Acme\x85Inc\x0bGroup\x0cLtd", "Acme Inc Group Ltd"),
    ("Acme\r\nInc", "Acme Inc"),
    ("Acme\t Inc", "Acme Inc"),
    ("Ac\u200bme\ufeff In\u00adc\u2060", "Acme Inc"),
    ("Ac\u200dme\u200c", "Acme"),
    ("\u200d\u200cAcme", "Acme"),
    ("\U000e0041Acme\U000e007f", "Acme"),
    ("Jos\u00e9 \u00c5str\u00f6m", "Jos\u00e9 \u00c5str\u00f6m"),
    (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ),
    ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u200d\u0937"),
    ("\U0001f469\u200d\U0001f4bb dev", "\U0001f469\u200d\U0001f4bb dev"),
    ("\u2764\ufe0f", "\u2764\ufe0f"),
    ("\u05d0\u05d1\u200f!", "\u05d0\u05d1\u200f!"),
    ("Caf\u00e9 \u4e2d\u6587", "Caf\u00e9 \u4e2d\u6587"),
    ("Acme\ud83d", "Acme"),
]
MANY_LINES = [
    ("First.\nSecond.", "First.\nSecond."),
    ("First.\r\nSecond.\rThird.", "First.\nSecond.\nThird."),
    ("First.\u2028Second.\u2029Third.\x85Fourth.", "First.\nSecond.\nThird.\nFourth."),
    ("\tIndented\n\n- \u202eone\u202c\n- two\x9b0m", "Indented\n\n- one\n- two0m"),
    ("a\u200bb\x00c", "abc"),
]


@pytest.mark.parametrize(("given_", "wanted"), ONE_LINE)
def test_a_name_is_one_line_of_what_can_be_read(given_: str, wanted: str) -> None:
    assert one_line(given_) == wanted
    assert typed("company_data", {"name": given_}) == {"name": wanted}
    assert typed("person_data", {"job_title": given_}) == {"job_title": wanted}


@pytest.mark.parametrize(("given_", "wanted"), MANY_LINES)
def test_a_description_keeps_its_lines(given_: str, wanted: str) -> None:
    assert many_lines(given_) == wanted
    assert typed("company_data", {"description": given_}) == {"description": wanted}
    assert typed("person_data", {"bio": given_}) == {"bio": wanted}


def test_lists_of_words_are_cleaned_one_by_one() -> None:
    tags = ["b2b\u2028", "\u202esaas", "b2b", "\u200b"]
    assert typed("company_data", {"tags": tags}) == {"tags": ["b2b", "saas"]}


def test_so_is_what_we_have_no_type_for_at_any_depth() -> None:
    value = {"slo\u202egan": ["To\x9b2Jday\nand\u2066 ever"]}
    assert storable(value)["slogan"] == ["To2Jday\nand ever"]
    assert typed("company_data", {"slogan": "To\u202eday"}) == {"slogan": "Today"}


def test_no_printable_character_is_removed_or_counts_as_a_break() -> None:
    """So a text of nothing else is clean, and is not searched."""
    printable = "".join(filter(str.isprintable, map(chr, range(sys.maxunicode + 1))))
    for pattern in (rules._UNREADABLE, rules._STRAY_JOINER, rules._LINE_BREAK, rules._GAP):
        assert not pattern.search(printable)


@given(st.text(max_size=60))
def test_nothing_that_is_obeyed_is_left_and_cleaning_twice_changes_nothing(text: str) -> None:
    for clean in (one_line(text), many_lines(text)):
        assert one_line(one_line(text)) == one_line(text)
        assert many_lines(many_lines(text)) == many_lines(text)
        left = {
            letter for letter in clean if unicodedata.category(letter) in {"Cc", "Zl", "Zp", "Cs"}
        }
        assert left <= {"\n", "\t"}
        assert not any(
            "\u202a" <= letter <= "\u202e" or "\u2066" <= letter <= "\u2069" for letter in clean
        )
    assert "\n" not in one_line(text)
