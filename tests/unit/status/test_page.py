"""The status page is one file that needs nothing from elsewhere, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from enricher.status import page

HTML = page.html()
POLICY = dict(each.split(" ", 1) for each in page.headers()["Content-Security-Policy"].split("; "))


def _only(tag: str) -> str:
    [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", HTML, re.DOTALL)
    return str(content)


def test_it_asks_nobody_but_its_own_server() -> None:
    addresses = set(re.findall(r"""(?:https?:)?//[a-z][^\s"'`)]*""", _without_comments(HTML)))
    assert addresses == {"http://www.w3.org/2000/svg"}, "the name of a format, which is not fetched"
    linked = set(re.findall(r"""(?:src|href)="([^"]*)\"""", HTML))
    assert linked == {"data:,", "status.json", "report.json"}


def _without_comments(text: str) -> str:
    return re.sub(r"^\s*// .*$|  // .*$", "", text, flags=re.MULTILINE)


def test_the_policy_names_its_script_and_style_by_their_hashes_and_allows_no_other() -> None:
    for directive, tag in (("script-src", "script"), ("style-src", "style")):
        digest = base64.b64encode(hashlib.sha256(_only(tag).encode()).digest()).decode()
        assert POLICY[directive] == f"'sha256-{digest}'"
    assert POLICY["default-src"] == "'none'"
    assert POLICY["connect-src"] == "'self'"
    assert "unsafe" not in page.headers()["Content-Security-Policy"]


def test_nothing_from_the_data_can_become_markup() -> None:
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", HTML)
    assert POLICY["require-trusted-types-for"] == "'script'"


def test_it_has_no_inline_handlers_and_no_inline_styles_which_the_policy_refuses() -> None:
    assert not re.findall(r"""<[^>]+\s(?:on\w+|style)=""", HTML.split("<script>")[0])
    assert "<form" not in HTML


STYLE = _only("style")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    for block in re.findall(r":root {(.*?)}", STYLE, re.DOTALL)[:2]
)
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3 (AA), for text of the usual size."""


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_word_can_be_read_on_its_ground(colours: dict[str, str]) -> None:
    pairs = [(word, "card") for word in ("text", "soft", "good", "warn", "bad", "calm")]
    pairs += [("soft", "ground"), ("text", "ground")]
    pairs += [(tone, f"{tone}-soft") for tone in ("good", "warn", "bad", "calm")]
    pairs += [("text", f"{tone}-soft") for tone in ("good", "warn", "bad", "calm")]
    weak = {
        pair: round(contrast, 2)
        for pair in pairs
        if (contrast := _contrast(*(colours[name] for name in pair))) < LEAST_CONTRAST
    }
    assert not weak
