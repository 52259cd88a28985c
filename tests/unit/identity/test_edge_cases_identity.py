"""The edge cases of what a writer puts into a lead, E1 to E29: one line each, named in its id.

Their many spellings are in `test_identity.py`; what comes of all of them is in `EDGE_CASES.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from enricher.identity.identify import identify, own_words
from enricher.lead import Inputs, Reason

INTERNAL = own_words(["our-own.com"])

LINES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "E1-nothing-is-no-error",
        {"email": " \t"},
        {"reason": Reason.NOTHING_TO_GO_BY, "is_valid": True, "email": None},
    ),
    (
        "E1-the-website-stands-in",
        {"email": None, "website": "acme.com"},
        {"reason": None, "company_domain": "acme.com"},
    ),
    (
        "E2-no-text",
        {"malformed": {"email": "array"}},
        {"reason": Reason.INVALID_INPUT, "is_valid": False},
    ),
    ("E3-invisible", {"email": "\u00a0jane@ac\u200bme.com\r\n"}, {"email": "jane@acme.com"}),
    ("E4-wrapped", {"email": "Jane <jane@acme.com>"}, {"email": "jane@acme.com"}),
    (
        "E4-several",
        {"email": "x@; a@acme.com; b@other.com"},
        {"email": "a@acme.com", "flags": {"multiple_emails"}},
    ),
    (
        "E5-upper-case",
        {"email": "Jane@ACME.Com"},
        {"email": "Jane@acme.com", "email_key": "jane@acme.com"},
    ),
    (
        "E6-international-domain",
        {"email": "jane@B\u00fccher.de"},
        {"email": "jane@xn--bcher-kva.de", "company_domain": "xn--bcher-kva.de"},
    ),
    (
        "E7-local-part-beyond-ascii",
        {"email": "j\u00fcrgen@acme.com"},
        {"email": "j\u00fcrgen@acme.com", "reason": None},
    ),
    (
        "E8-ip-literal",
        {"email": "jane@[10.0.0.1]"},
        {"email": None, "company_domain": None, "reason": Reason.RESERVED_DOMAIN},
    ),
    (
        "E9-too-long",
        {"email": f"{'a' * 65}@acme.com"},
        {"reason": Reason.INVALID_EMAIL, "is_valid": False},
    ),
    ("E9-two-ats", {"email": "jane@@acme.com"}, {"reason": Reason.INVALID_EMAIL}),
    (
        "E10-tag",
        {"email": "Jane+news@acme.com"},
        {"email": "Jane@acme.com", "email_key": "jane@acme.com"},
    ),
    (
        "E11-googles-dots",
        {"email": "j.ane@googlemail.com"},
        {"email": "j.ane@googlemail.com", "email_key": "jane@gmail.com"},
    ),
    (
        "E12-free-mail",
        {"email": "jane@yahoo.co.uk"},
        {"is_free_mail": True, "company_domain": None, "email": "jane@yahoo.co.uk"},
    ),
    (
        "E13-typo",
        {"email": "jane@gmial.com"},
        {"is_free_mail": True, "flags": {"typo_suspected"}, "company_domain": None},
    ),
    (
        "E14-relay",
        {"email": "x@privaterelay.appleid.com"},
        {"is_free_mail": True, "company_domain": None},
    ),
    (
        "E15-disposable",
        {"email": "x@mailinator.com", "company_domain": "acme.com"},
        {"reason": Reason.DISPOSABLE_ADDRESS, "is_disposable": True, "company_domain": None},
    ),
    (
        "E16-role",
        {"email": "sales@acme.com"},
        {"is_role": True, "company_domain": "acme.com", "reason": None},
    ),
    ("E17-machine", {"email": "no-reply@acme.com"}, {"reason": Reason.SYSTEM_ADDRESS}),
    (
        "E18-school",
        {"email": "jane@cs.stanford.edu"},
        {"company_domain": "stanford.edu", "flags": {"education"}},
    ),
    ("E19-sub-domain", {"email": "matt@lu.gt.com"}, {"company_domain": "gt.com"}),
    ("E20-office", {"email": "x@parks.sa.gov.au"}, {"company_domain": "parks.sa.gov.au"}),
    ("E21-tenant", {"email": "x@shop.myshopify.com"}, {"company_domain": "shop.myshopify.com"}),
    ("E21-platform", {"email": "x@myshopify.com"}, {"company_domain": None, "reason": None}),
    ("E22-bare-suffix", {"email": "a@co.uk"}, {"reason": Reason.INVALID_EMAIL}),
    ("E23-reserved", {"email": "test@test1"}, {"reason": Reason.RESERVED_DOMAIN}),
    ("E24-our-own", {"email": "x@mail.our-own.com"}, {"reason": Reason.INTERNAL_DOMAIN}),
    ("E25-vendor", {"email": "jane@stripe.com"}, {"company_domain": "stripe.com"}),
    (
        "E26-address-of-a-page",
        {"website": "https://www.acme.com:8443/a?b=c"},
        {"company_domain": "acme.com"},
    ),
    ("E26-script", {"website": "javascript:alert(1)"}, {"company_domain": None}),
    ("E26-private-host", {"website": "http://10.0.0.1/"}, {"company_domain": None}),
    (
        "E27-conflict",
        {"email": "jane@other.com", "company_domain": "acme.com"},
        {"company_domain": "acme.com", "flags": {"domain_conflict"}},
    ),
    ("E28-other-domain", {"email": "jane@acme.de"}, {"company_domain": "acme.de"}),
    (
        "E29-no-such-domain",
        {"email": "jane@no-such-domain-anywhere.com"},
        {"is_valid": True, "company_domain": "no-such-domain-anywhere.com"},
    ),
]


@pytest.mark.parametrize(
    ("fields", "expected"), [pytest.param(*rest, id=line) for line, *rest in LINES]
)
def test_what_a_writer_put_there_is_read_as_it_should_be(
    fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    identity = identify(replace(Inputs(), **fields), INTERNAL)
    assert {name: getattr(identity, name) for name in expected} == expected
