"""What stands around an address or a web site when it was typed, pasted or exported.

The rows were written before the reader was. `None` means: no mailbox, so no person is asked about.
"""

from __future__ import annotations

import pytest

from enricher.identity.identify import identify
from enricher.lead import Inputs

JANE = "jane@acme.com"

E_MAILS = (
    ("'jane@acme.com", JANE),
    ("\u2018jane@acme.com\u2019", JANE),
    ("\u201cjane@acme.com\u201d", JANE),
    ("\u201ejane@acme.com\u201c", JANE),
    ("\u00abjane@acme.com\u00bb", JANE),
    ("\u2039jane@acme.com\u203a", JANE),
    ('"jane@acme.com"', JANE),
    ("`jane@acme.com`", JANE),
    ("(jane@acme.com)", JANE),
    ("[jane@acme.com]", JANE),
    ("{jane@acme.com}", JANE),
    ("<jane@acme.com>", JANE),
    ("<<jane@acme.com>>", JANE),
    ("\uff1cjane@acme.com\uff1e", JANE),
    ("Jane Doe <jane@acme.com>", JANE),
    ("Jane Doe (jane@acme.com)", JANE),
    ("Jane Doe [mailto:jane@acme.com]", JANE),
    ("SMTP:jane@acme.com", JANE),
    ("smtp:jane@acme.com", JANE),
    ("mailto:jane@acme.com?subject=Hi", JANE),
    ("MAILTO:%6Aane%40acme%2Ecom", JANE),
    ("mailto://jane@acme.com", JANE),
    ("[jane](mailto:jane@acme.com)", JANE),
    ("[jane@acme.com](mailto:jane@acme.com)", JANE),
    ('<a href="mailto:jane@acme.com">jane@acme.com</a>', JANE),
    ("<a href='mailto:jane@acme.com'>Jane</a>", JANE),
    ("&lt;jane@acme.com&gt;", JANE),
    ("jane&#64;acme.com", JANE),
    ("jane%40acme.com", JANE),
    ("jane@acme.com%20", JANE),
    ("jane@acme\u3002com", JANE),
    ("jane@ACME\uff0ecom", JANE),
    ("jane@\uff41cme.com", JANE),
    ("\uff4a\uff41\uff4e\uff45\uff20\uff41\uff43\uff4d\uff45\uff0e\uff43\uff4f\uff4d", JANE),
    ("jane@acme.com.", JANE),
    ("jane@acme.com ::: bob@acme.com", JANE),
    ("jane@acme.com && bob@acme.com", JANE),
    ("jane@acme.com \u2022 bob@acme.com", JANE),
    ("jane@acme.com and bob@acme.com", JANE),
    ("jane@acme.com\uff1bbob@acme.com", JANE),
    ("jane@acme.com\u3001bob@acme.com", JANE),
    ("E-mail: jane@acme.com", JANE),
    ("email=jane@acme.com", JANE),
    ("jane@acme.com\\", JANE),
    ("='jane@acme.com'", JANE),
    ("o\u2019neil@acme.com", "o'neil@acme.com"),
    ("o'neil@acme.com", "o'neil@acme.com"),
    ("'o\u2019neil@acme.com'", "o'neil@acme.com"),
    ("jane_partner.com#EXT#@acme.onmicrosoft.com", None),
    ("jane_partner.com#ext#@acme.com", None),
    ("john doe@acme.com", None),
    ("jane@acme", None),
    ("jane at acme.com", None),
    ("jane@acme.com@other.org", None),
    ("(jane@acme.com", JANE),
    ("jane@acme.com)", JANE),
    ("jane@acme.com,", JANE),
    ("\u2026jane@acme.com", None),
)

WEB_SITES = (
    ('"acme.com"', "acme.com"),
    ("'acme.com", "acme.com"),
    ("\u201chttps://acme.com\u201d", "acme.com"),
    ("\u00abacme.com\u00bb", "acme.com"),
    ("\u2039acme.com\u203a", "acme.com"),
    ("<https://acme.com>", "acme.com"),
    ("(https://acme.com/)", "acme.com"),
    ("[Acme](https://acme.com)", "acme.com"),
    ("[https://acme.com](https://acme.com/)", "acme.com"),
    ("[acme.com]", "acme.com"),
    ('<a href="https://acme.com/about">Acme</a>', "acme.com"),
    ("<a target=_blank href=https://acme.com>Acme</a>", "acme.com"),
    ("http:\\\\acme.com", "acme.com"),
    ("https:\\\\www.acme.com\\about", "acme.com"),
    ("https://acme.com%20", "acme.com"),
    ("https%3A%2F%2Facme.com%2Fabout", "acme.com"),
    ("acme%2Ecom", "acme.com"),
    ("&lt;https://acme.com&gt;", "acme.com"),
    ("acme\u3002com", "acme.com"),
    ("ACME\uff0ecom", "acme.com"),
    ("\uff41cme.com", "acme.com"),
    ("https\uff1a\uff0f\uff0facme.com", "acme.com"),
    ("URL:https://acme.com", "acme.com"),
    ("Website: acme.com", "acme.com"),
    ("https://acme.com.", "acme.com"),
    ("https://acme.com,", "acme.com"),
    ("acme.com; other.org", "acme.com"),
    ("acme.com | other.org", "acme.com"),
    ("acme.com / other.org", "acme.com"),
    ("jane@acme.com", "acme.com"),
    ("mailto:jane@acme.com", "acme.com"),
    ("@acme.com", "acme.com"),
    ('=HYPERLINK("https://acme.com","Acme")', "acme.com"),
    ("http//acme.com", "acme.com"),
    ("https:/acme.com", "acme.com"),
    ("https//:acme.com", "acme.com"),
    ("htpp://acme.com", "acme.com"),
    ("http://https://acme.com", "acme.com"),
    ("view-source:https://acme.com", "acme.com"),
    ("acme .com", None),
    ("C:\\acme.com\\file.txt", None),
    ("ftp://acme.com", None),
    ("javascript:alert(1)", None),
)

WORTH = 0.95


def _email(text: str) -> str | None:
    identity = identify(Inputs(email=text, company_domain="lead.org"))
    return None if identity.reason else identity.email


def _company(text: str) -> str | None:
    return identify(Inputs(email="pat.acme@gmail.com", website=text)).company_domain


def test_nearly_every_wrapped_address_in_the_wild_is_read_right() -> None:
    wrong = [(text, _email(text)) for text, right in E_MAILS if _email(text) != right]
    assert len(wrong) <= len(E_MAILS) * (1 - WORTH), wrong


def test_nearly_every_wrapped_web_site_in_the_wild_is_read_right() -> None:
    wrong = [(text, _company(text)) for text, right in WEB_SITES if _company(text) != right]
    assert len(wrong) <= len(WEB_SITES) * (1 - WORTH), wrong


@pytest.mark.parametrize("text", [text for text, right in E_MAILS if right is None], ids=ascii)
def test_what_is_no_mailbox_is_asked_about_by_nobody(text: str) -> None:
    assert _email(text) is None
