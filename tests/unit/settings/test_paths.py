"""The language of mappings: what a path means, and what is said of one that cannot be read."""

from __future__ import annotations

import pytest

from enricher.settings.paths import (
    Hop,
    Number,
    Operand,
    Other,
    Part,
    Path,
    PathError,
    Pick,
    Template,
    candidate,
    candidates,
    fields_of,
)


def path(*names: str) -> Path:
    return Path(tuple(Hop(name) for name in names))


def test_a_path_is_names_one_below_another() -> None:
    assert candidate("visitorContactInfo.email") == path("visitorContactInfo", "email")
    assert candidate(" user:1 . first name ") == path("user:1", "first name")


def test_a_bare_number_is_a_place_and_a_quoted_one_a_name() -> None:
    assert candidate("emails.0.address") == Path(
        (Hop("emails"), Hop("0", is_place=True), Hop("address"))
    )
    assert candidate("emails.`0`") == path("emails", "0")


def test_a_quoted_name_may_hold_any_sign() -> None:
    assert candidate("`a.b`.`$c`.`[{``}]`") == path("a.b", "$c", "[{`}]")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("email", "email"),
        ("work-email", "work-email"),
        ("two words", "two words"),
        ("true", True),
        ("false", False),
        ("null", None),
        ('"null"', "null"),
        ('"a]b"', "a]b"),
        ('"say ""yes"""', 'say "yes"'),
        ("`x`", "x"),
        ("'it''s'", "it's"),
        ('""', ""),
        ("12", Number("12")),
        ("-1.50", Number("-1.50")),
        ("1e5", "1e5"),
        ("$primary", Other(("primary",))),
        ("$a.`b.c`", Other(("a", "b.c"))),
    ],
)
def test_a_pick_compares_with_what_is_written(written: str, value: Operand) -> None:
    picked = Path((Hop("list", (Pick(("field",), value),)), Hop("value")))
    assert candidate(f"list[field={written}].value") == picked


def test_picks_are_negated_combined_and_look_below() -> None:
    assert candidate("list[a.`b.c`!=1][d = x ]") == Path(
        (Hop("list", (Pick(("a", "b.c"), Number("1"), True), Pick(("d",), "x"))),)
    )


def test_a_template_is_parts_and_the_text_between_them() -> None:
    assert candidate("Dr. {last}, {names.first} (x)") == Template(
        (Part("", path("last")), Part(", ", path("names", "first"))), "Dr. ", " (x)"
    )


def test_a_brace_in_quotes_makes_no_template() -> None:
    assert candidate("`{a}`") == path("{a}")
    named = candidate("{first} o'{last}, '{x}'")
    assert isinstance(named, Template)
    assert named.parts[1].before == " o'"
    assert candidate('list[a="{"]') == Path((Hop("list", (Pick(("a",), "{"),)),))


def test_every_field_that_is_read_is_known() -> None:
    read = candidates(["a.b[c=$d.e].f", "{g} {h.i}"])
    assert fields_of(read) == (("a", "b", "f"), ("g",), ("h", "i"), ("d", "e"))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "expected the name of a field at its end"),
        (".a", "expected the name of a field at character 1"),
        ("a.", "expected the name of a field at its end"),
        ("a..b", "expected the name of a field at character 3"),
        ("$a", "expected a name that begins with $ in backticks at its end"),
        ("a]", "expected a dot or the end at character 2"),
        ("a[b]", "expected a pick like [verified=true] or [confirmedAt!=null] at character 4"),
        ("a[b=c", "expected ] at its end"),
        ("a[b=]", 'expected a value; the empty text is "" at character 5'),
        ("a[b==c]", "expected one = only at character 5"),
        ("a[=b]", "expected the name of a field at character 3"),
        ("a[b>5]", "expected a pick like [verified=true] or [confirmedAt!=null] at character 6"),
        ('a[b="c]', 'expected a closing " at character 5'),
        ("`a", "expected a closing ` at character 1"),
        ("``", "expected a name between the backticks at its end"),
        ("a\0b", "expected a dot or the end at character 2"),
        ("{a", "expected } at its end"),
        ("{a}}", "expected { at character 4"),
        ("{}", "expected the name of a field at character 2"),
        ("a" * 501, "expected at most 500 characters"),
        (".".join("a" * 13), "expected at most 12 names, one below another"),
        ("a" + "[b=c]" * 5, "expected at most 4 picks in a path"),
        ("{a}" * 13, "expected a template of 1 to 12 parts like {firstName}"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where(text: str, mistake: str) -> None:
    with pytest.raises(PathError) as caught:
        candidate(text)
    assert str(caught.value) == mistake


@pytest.mark.parametrize("value", [None, 5, [], ["a", 5], {"a": "b"}, ["a"] * 21])
def test_candidates_are_texts(value: object) -> None:
    with pytest.raises(PathError, match="expected a path"):
        candidates(value)
