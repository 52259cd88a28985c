"""A bare host and a bare address are read by a short way. It must say what the reader of wrappings says of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enricher.identity.address import Reading, parse, read
from enricher.identity.identify import Identity, OwnWords, identify, own_words, stated_host
from enricher.lead import Inputs

LABELS = st.sampled_from(
    """
    acme acme-inc www ww www2 wwwacme mail google blogspot linkedin facebook shopify gmail xn--bcher-kva xn-- bit example
    a -a a- a--b 1 0x1 co com net org br uk de io con localhost test n info
    """.split()
) | st.text("aw-1x", min_size=1, max_size=64)
HOSTS = st.lists(LABELS, min_size=1, max_size=5).map(".".join) | st.text("aw.-1n:@/ ", max_size=12)
LOCALS = st.sampled_from(
    "jane jane.doe Jane_Doe info no-reply sales-team j+tag +tag j+ .j j. j..d it ti fin suportetecnico 12".split()
) | st.text("aZ.+-_1#é", min_size=1, max_size=70)
BARE = re.compile(r"[\w+-]+(\.[\w+-]+)*@[A-Za-z0-9.-]+", re.ASCII)
WORDS = own_words(
    ["acme.de"], ["jane"], ["acme.com", "-google.com", "-shopify.com", "acme.co.uk", "wwwacme.com"]
)


@example("n.a")
@example("br")
@example("www.com.br")
@example("www.acme.com")
@example("1.1.1.1")
@example("xn--bcher-kva.de")
@example(f"{'a' * 64}.com")
@example(".".join(["a" * 62] * 4) + ".com")
@given(HOSTS)
def test_a_bare_host_means_what_it_means_between_blanks(host: str) -> None:
    """Brackets would make a tag of `br`."""
    for platforms in (own_words().platforms, WORDS.platforms):
        assert stated_host(host, platforms) == stated_host(f" {host} ", platforms)


@example("jane@acme.com.")
@example("jane@acme.com..")
@given(st.builds("{}@{}".format, LOCALS, HOSTS))
def test_a_bare_address_is_what_its_parts_say(text: str) -> None:
    if BARE.fullmatch(text):
        assert read(text) == Reading(parse(text))
        assert read(f" {text}\n") == read(text)


@given(st.builds("{}@{}".format, LOCALS, HOSTS))
def test_a_bare_address_identifies_whom_it_identifies_between_brackets(text: str) -> None:
    if (
        not BARE.fullmatch(text)
        or text.endswith((".", "-"))
        or (bare := read(text)).address is None
    ):
        return
    assert read(f"Jane Doe <{text}>") == bare
    for words in (own_words(), WORDS):
        assert _of(text, words) == _of(f"<{text}>", words)


@pytest.mark.parametrize("text", ["acme.com", "sub.acme.co.uk", "google.com", "blogspot.com"])
def test_a_known_host_is_read_the_same_every_time(text: str) -> None:
    assert stated_host(text) == stated_host(text) == stated_host(f"https://{text}")


def _of(text: str, words: OwnWords) -> Identity:
    return identify(Inputs(email=text, name="Jane Doe"), words)
