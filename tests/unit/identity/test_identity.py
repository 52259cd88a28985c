"""The edge cases of addresses and domains (E1 to E29), one test or more for each."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enricher.identity.identify import Identity, identify, own_words
from enricher.lead import Inputs, Reason


def of(email: str | None = None, **fields: str | None) -> Identity:
    return identify(Inputs(email=email, **fields))  # type: ignore[arg-type]  # `malformed` is never passed


def asked(email: str) -> str | None:
    return of(email).email


@pytest.mark.parametrize("blank", [None, "", "   ", "\t\n", "\u00a0", "\u200b\ufeff", "N/A", "-"])
def test_e1_a_blank_address_is_nothing_to_go_by_and_not_an_error(blank: str | None) -> None:
    identity = of(blank)
    assert identity.reason is Reason.NOTHING_TO_GO_BY
    assert identity.is_valid
    assert identity.email is None
    assert identity.no_company_domain


@pytest.mark.parametrize("field", ["company_domain", "website"])
def test_e1_without_an_address_the_domain_or_website_is_asked_about(field: str) -> None:
    identity = of(None, **{field: "acme.com"})
    assert (identity.company_domain, identity.reason) == ("acme.com", None)
    assert identity.no_company_domain == ""


def test_e2_an_address_of_a_wrong_type_is_invalid_input() -> None:
    identity = identify(Inputs(malformed={"email": "array"}))
    assert identity.reason is Reason.INVALID_INPUT
    assert not identity.is_valid


def test_e2_a_wrong_type_elsewhere_is_as_good_as_missing() -> None:
    assert identify(Inputs(malformed={"website": "int"})).reason is Reason.NOTHING_TO_GO_BY


def test_e2_a_company_is_looked_up_although_the_address_is_of_a_wrong_type() -> None:
    identity = identify(Inputs(company_domain="acme.com", malformed={"email": "int"}))
    assert (identity.company_domain, identity.reason) == ("acme.com", None)
    assert (identity.is_valid, identity.email) == (False, None)


def test_e2_an_endless_address_is_an_invalid_address() -> None:
    assert identify(Inputs(malformed={"email": "too long"})).reason is Reason.INVALID_EMAIL


@pytest.mark.parametrize(
    "text",
    [
        " jane@acme.com ",
        "\u00a0jane@acme.com\u00a0",
        "\u200bjane@acme.com\ufeff",
        "jane@ac\u200bme.com",
        "\u200djane@acme.com\u200c",
        "jane@acme.com\r\n",
        "\u2066jane@acme.com\u2069",
    ],
)
def test_e3_white_space_and_invisible_characters_are_taken_off(text: str) -> None:
    assert asked(text) == "jane@acme.com"


@pytest.mark.parametrize(
    "text",
    [
        "Jane <jane@acme.com>",
        '"Doe, Jane" <jane@acme.com>',
        "<jane@acme.com>",
        "mailto:jane@acme.com",
        "MAILTO:jane@acme.com?subject=Hello",
        "mailto:jane%40acme.com",
        "Jane <mailto:jane@acme.com>",
        "'jane@acme.com'",
        '"jane@acme.com"',
        "jane@acme.com.",
        "jane@acme.com,",
    ],
)
def test_e4_the_address_is_taken_out_of_its_wrapping(text: str) -> None:
    identity = of(text)
    assert identity.email == "jane@acme.com"
    assert "multiple_emails" not in identity.flags


@pytest.mark.parametrize(
    "text",
    [
        "a@acme.com; b@other.com",
        "a@acme.com,b@other.com",
        "a@acme.com b@other.com",
        "a@acme.com / b@other.com",
        "a@acme.com\nb@other.com",
        "A <a@acme.com>, B <b@other.com>",
        "broken@@acme.com; a@acme.com; b@other.com",
        "a@acme.com\r\nBcc: b@other.com",
    ],
)
def test_e4_of_several_addresses_the_first_valid_one_counts(text: str) -> None:
    identity = of(text)
    assert identity.email == "a@acme.com"
    assert "multiple_emails" in identity.flags


def test_e4_words_before_an_address_are_never_guessed_away() -> None:
    assert of("john doe@acme.com").reason is Reason.INVALID_EMAIL


def test_e5_the_domain_is_lower_case_and_the_local_part_keeps_its_case() -> None:
    identity = of("Jane.Doe@ACME.Com")
    assert identity.email == "Jane.Doe@acme.com"
    assert identity.email_key == "jane.doe@acme.com"
    assert identity.company_domain == "acme.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane@b\u00fccher.de", "jane@xn--bcher-kva.de"),
        ("jane@bu\u0308cher.de", "jane@xn--bcher-kva.de"),
        ("jane@B\u00dcCHER.de", "jane@xn--bcher-kva.de"),
        ("jane@XN--BCHER-KVA.de", "jane@xn--bcher-kva.de"),
        ("jane@\uff41\uff43\uff4d\uff45\uff0e\uff43\uff4f\uff4d", "jane@acme.com"),
        ("jane\uff20acme\u3002com", "jane@acme.com"),
        ("jane@\u4f8b\u5b50.\u4e2d\u56fd", "jane@xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_e6_international_domains_become_a_labels(text: str, expected: str) -> None:
    identity = of(text)
    assert identity.email == expected
    assert identity.company_domain == expected.partition("@")[2]


def test_e6_an_a_label_that_decodes_to_nothing_is_invalid() -> None:
    assert of("jane@xn--\u00fc.com").reason is Reason.INVALID_EMAIL


def test_e7_a_local_part_beyond_ascii_is_valid_and_kept() -> None:
    identity = of("j\u00fcrgen@acme.com")
    assert identity.email == "j\u00fcrgen@acme.com"
    assert identity.is_valid


@pytest.mark.parametrize("email", ["jane@[10.0.0.1]", "jane@[IPv6:2001:db8::1]"])
def test_e8_an_ip_literal_is_no_company_and_is_not_asked_about(email: str) -> None:
    identity = of(email)
    assert (identity.email, identity.company_domain) == (None, None)
    assert identity.reason is Reason.RESERVED_DOMAIN
    assert identity.is_valid


def test_e8_a_company_is_looked_up_although_the_address_is_at_an_ip_literal() -> None:
    identity = of("jane@[10.0.0.1]", company_domain="acme.com")
    assert (identity.company_domain, identity.reason) == ("acme.com", None)
    assert identity.email is None


@pytest.mark.parametrize(
    "email", ['"jane doe"@acme.com', '"jane@home"@acme.com', "jane(work)@acme.com", "jane@[x]"]
)
def test_e8_quoted_local_parts_and_comments_are_not_asked_about(email: str) -> None:
    identity = of(email)
    assert (identity.email, identity.company_domain) == (None, None)
    assert identity.reason is Reason.INVALID_EMAIL


MALFORMED = [
    f"{'a' * 65}@acme.com",
    f"jane@{'a.' * 124}acme.com",
    f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 20}.com",
    f"jane@{'a' * 64}.com",
    "jane..doe@acme.com",
    ".jane@acme.com",
    "jane.@acme.com",
    "jane@acme..com",
    "jane@.acme.com",
    "jane@-acme.com",
    "jane@ac_me.com",
    "jane@@acme.com",
    "jane@x@acme.com",
    "jane",
    "jane@",
    "@acme.com",
    "jane@acme.com\x00",
    "ja\x00ne@acme.com",
    "jane@ac me.com",
    "jane\ud800@acme.com",
    "jos\ufffd@acme.com",
    "jane@\ud800.com",
    "jane@10.0.0.1",
    "x" * 1000,
    "jane@" + "x" * 1000,
]


@pytest.mark.parametrize("email", MALFORMED)
def test_e9_a_malformed_address_is_invalid(email: str) -> None:
    identity = of(email)
    assert identity.reason is Reason.INVALID_EMAIL
    assert (identity.email, identity.email_key, identity.is_valid) == (None, None, False)


@pytest.mark.parametrize("email", MALFORMED)
def test_e9_a_company_is_looked_up_although_the_address_is_malformed(email: str) -> None:
    identity = of(email, website="https://acme.com")
    assert (identity.reason, identity.company_domain) == (None, "acme.com")
    assert (identity.email, identity.is_valid) == (None, False)


def test_e9_the_longest_legal_address_is_valid() -> None:
    assert asked(f"{'a' * 64}@{'b' * 61}.{'c' * 61}.{'d' * 61}.com") is not None


def test_e10_vendors_and_the_key_get_the_address_without_its_tag() -> None:
    identity = of("Jane+news+2024@acme.com")
    assert identity.email == "Jane@acme.com"
    assert identity.email_key == "jane@acme.com"


@pytest.mark.parametrize("email", ["+news@acme.com", "jane.+news@acme.com"])
def test_e10_a_tag_stays_when_nothing_valid_would_be_left(email: str) -> None:
    assert asked(email) == email


@pytest.mark.parametrize("email", ["j.a.n.e@gmail.com", "Jane+x@googlemail.com", "jane@gmail.com"])
def test_e11_google_spellings_share_one_key(email: str) -> None:
    assert of(email).email_key == "jane@gmail.com"


def test_e11_dots_are_folded_nowhere_else_and_never_in_the_question() -> None:
    assert asked("j.doe@gmail.com") == "j.doe@gmail.com"
    assert of("j.doe@acme.com").email_key == "j.doe@acme.com"


@pytest.mark.parametrize(
    "domain",
    """gmail.com googlemail.com yahoo.co.uk yahoo.com.pe hotmail.fr hotmail.be live.nl outlook.sa icloud.com gmx.fr
    proton.me web.de qq.com 163.com naver.com mail.ru yandex.kz comcast.net orange.fr t-online.de sfr.fr libero.it
    bigpond.com shaw.ca nc.rr.com pec.it hinet.net ms12.hinet.net 21cn.com fastmail.com tutanota.com
    chello.at a1.net""".split(),
)
def test_e12_free_mail_has_no_company_domain_and_stays_askable(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert identity.is_free_mail
    assert not identity.is_disposable
    assert (identity.company_domain, identity.no_company_domain) == (None, "free-mail domain")
    assert identity.email == f"jane@{domain}"
    assert identity.reason is None


def test_e12_the_domain_of_a_free_mail_lead_is_the_one_it_states() -> None:
    identity = of("jane@gmail.com", website="https://www.acme.com/about")
    assert identity.company_domain == "acme.com"
    assert identity.is_free_mail
    assert "domain_conflict" not in identity.flags


@pytest.mark.parametrize("field", ["company_domain", "website"])
def test_e12_a_stated_free_mail_domain_is_no_company(field: str) -> None:
    assert of("jane@gmail.com", **{field: "gmail.com"}).company_domain is None
    assert of("jane@acme.com", **{field: "hotmail.com"}).company_domain == "acme.com"
    assert of(None, **{field: "yahoo.com"}).reason is Reason.NOTHING_TO_GO_BY


@pytest.mark.parametrize("domain", ["nus.edu.sg", "telstra.com", "team.telstra.com"])
def test_e12_an_organisation_on_the_free_mail_list_by_mistake_is_looked_up(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert not identity.is_free_mail
    assert identity.company_domain


@pytest.mark.parametrize(
    "domain",
    [
        "gmial.com",
        "gmai.com",
        "gmail.con",
        "gmail",
        "gmail.co",
        "gmail.fr",
        "gmailcom",
        "hotmial.com",
        "hotmail.con",
        "yahoo.cm",
        "yaho.com",
        "outlok.com",
    ],
)
def test_e13_a_mistyped_free_mail_domain_is_free_mail_and_flagged(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert identity.is_free_mail
    assert identity.flags == {"typo_suspected"}
    assert (identity.company_domain, identity.reason) == (None, None)


def test_e13_a_top_level_domain_that_does_not_exist_is_no_company() -> None:
    identity = of("jane@acme.con")
    assert identity.company_domain is None
    assert identity.flags == {"typo_suspected"}


@pytest.mark.parametrize("domain", ["acme.co", "acme.cm", "acme.newtld"])
def test_e13_a_real_or_new_top_level_domain_is_no_typo(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert (identity.company_domain, identity.flags) == (domain, frozenset())


@pytest.mark.parametrize(
    "domain",
    [
        "privaterelay.appleid.com",
        "duck.com",
        "mozmail.com",
        "x.mozmail.com",
        "opayq.com",
        "simplelogin.com",
        "passmail.net",
        "anonaddy.me",
        "jane.anonaddy.com",
        "hey.com",
        "users.noreply.github.com",
    ],
)
def test_e14_relays_count_as_free_mail(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert (identity.is_free_mail, identity.is_disposable) == (True, False)
    assert identity.company_domain is None


def test_e14_the_vendor_of_a_relay_is_a_company_all_the_same() -> None:
    assert of("jane@apple.com").company_domain == "apple.com"
    assert of("jane@github.com").company_domain == "github.com"


@pytest.mark.parametrize(
    "domain", ["mailinator.com", "guerrillamail.com", "yopmail.com", "x.mailinator.com"]
)
def test_e15_nobody_is_paid_for_a_disposable_address_whatever_else_is_known(domain: str) -> None:
    identity = of(f"jane@{domain}", company_domain="acme.com")
    assert identity.reason is Reason.DISPOSABLE_ADDRESS
    assert identity.is_disposable
    assert not identity.is_free_mail
    assert identity.company_domain is None
    assert identity.query.is_disposable
    assert identity.query.email == f"jane@{domain}"


@pytest.mark.parametrize("domain", ["gmail.com", "sify.com", "21cn.com", "gmial.com", "yahoo.com"])
def test_e15_a_real_mail_service_is_never_disposable(domain: str) -> None:
    assert not of(f"jane@{domain}").is_disposable


@pytest.mark.parametrize(
    "local", ["info", "Sales", "support", "admin", "billing", "hr", "customer-service", "info+x"]
)
def test_e16_a_desk_is_a_role_and_its_company_is_looked_up(local: str) -> None:
    identity = of(f"{local}@acme.com")
    assert identity.is_role
    assert (identity.company_domain, identity.reason) == ("acme.com", None)


@pytest.mark.parametrize("local", ["jane", "i.t", "salesman", "h.r", "infante"])
def test_e16_a_person_is_no_role(local: str) -> None:
    assert not of(f"{local}@acme.com").is_role


@pytest.mark.parametrize(
    "local",
    [
        "noreply",
        "no-reply",
        "No_Reply",
        "do-not-reply",
        "donotreply",
        "noreply-orders",
        "mailer-daemon",
        "MAILER-DAEMON",
        "postmaster",
        "bounce",
        "bounces+jane=x.com",
        "bounce-123",
    ],
)
def test_e17_nobody_is_asked_about_a_machine(local: str) -> None:
    identity = of(f"{local}@acme.com", website="acme.com")
    assert identity.reason is Reason.SYSTEM_ADDRESS
    assert identity.company_domain is None


@pytest.mark.parametrize("local", ["bouncer", "noreplyson", "nobodysmith"])
def test_e17_a_name_that_begins_like_a_machine_is_a_person(local: str) -> None:
    assert of(f"{local}@acme.com").reason is None


@pytest.mark.parametrize(
    ("domain", "institution"),
    [
        ("cs.stanford.edu", "stanford.edu"),
        ("ox.ac.uk", "ox.ac.uk"),
        ("usyd.edu.au", "usyd.edu.au"),
        ("lincoln.k12.ca.us", "lincoln.k12.ca.us"),
    ],
)
def test_e18_a_school_is_its_own_company_and_flagged(domain: str, institution: str) -> None:
    identity = of(f"jane@{domain}")
    assert identity.company_domain == institution
    assert identity.flags == {"education"}


@pytest.mark.parametrize(
    ("domain", "registrable"),
    [
        ("lu.gt.com", "gt.com"),
        ("mail.eu.acme.co.uk", "acme.co.uk"),
        ("acme.com", "acme.com"),
        ("a.b.c.acme.io", "acme.io"),
    ],
)
def test_e19_the_company_domain_is_the_registrable_one(domain: str, registrable: str) -> None:
    identity = of(f"matt@{domain}")
    assert identity.company_domain == registrable
    assert identity.email == f"matt@{domain}"


def test_e20_an_office_below_a_government_suffix_is_its_own_entity() -> None:
    assert of("x@parks.sa.gov.au").company_domain == "parks.sa.gov.au"


@pytest.mark.parametrize(
    ("domain", "tenant"),
    [
        ("x.github.io", "x.github.io"),
        ("www.x.github.io", "x.github.io"),
        ("shop.myshopify.com", "shop.myshopify.com"),
        ("acme.onmicrosoft.com", "acme.onmicrosoft.com"),
        ("mail.acme.onmicrosoft.com", "acme.onmicrosoft.com"),
        ("acme.wordpress.com", "acme.wordpress.com"),
    ],
)
def test_e21_a_tenant_of_a_platform_is_never_the_platform(domain: str, tenant: str) -> None:
    assert of(f"jane@{domain}").company_domain == tenant
    assert of(None, website=f"https://{domain}/").company_domain == tenant


@pytest.mark.parametrize("domain", ["github.io", "myshopify.com", "onmicrosoft.com"])
def test_e21_the_bare_platform_is_no_company_and_may_have_mailboxes(domain: str) -> None:
    identity = of(f"jane@{domain}")
    assert (identity.company_domain, identity.reason) == (None, None)
    assert identity.no_company_domain == "shared platform domain"
    assert of(None, website=f"https://{domain}").reason is Reason.NOTHING_TO_GO_BY


@pytest.mark.parametrize("email", ["a@co.uk", "a@com", "a@\u4e2d\u56fd", "a@k12.ca.us", "a@gov"])
def test_e22_an_address_at_a_bare_public_suffix_is_invalid(email: str) -> None:
    assert of(email).reason is Reason.INVALID_EMAIL
    assert of(email, company_domain="acme.com").company_domain == "acme.com"


def test_e22_a_government_has_mailboxes_at_its_own_suffix() -> None:
    identity = of("jane@sa.gov.au")
    assert (identity.email, identity.company_domain) == ("jane@sa.gov.au", None)
    assert identity.reason is None


@pytest.mark.parametrize(
    "domain",
    [
        "localhost",
        "test1",
        "example.com",
        "mail.example.org",
        "example.co.uk",
        "acme.example",
        "acme.test",
        "acme.invalid",
        "printer.local",
        "host.localhost",
        "acme.internal",
        "acme.lan",
        "abc.onion",
        "localhost.localdomain",
    ],
)
def test_e23_reserved_domains_are_skipped(domain: str) -> None:
    identity = of(f"test@{domain}")
    assert identity.reason is Reason.RESERVED_DOMAIN
    assert identity.company_domain is None


def test_e23_a_stated_reserved_domain_alone_is_the_reason() -> None:
    assert of(None, website="http://intra.acme.local/").reason is Reason.RESERVED_DOMAIN
    assert of("jane@acme.com", website="http://intra.acme.local/").company_domain == "acme.com"


@pytest.mark.parametrize("word", ["Acme", "coming soon", "https://", "http://www.", "TBD", "www"])
@pytest.mark.parametrize("field", ["company_domain", "website"])
def test_a_word_in_a_domain_field_is_as_good_as_nothing(field: str, word: str) -> None:
    assert of(None, **{field: word}).reason is Reason.NOTHING_TO_GO_BY
    assert of("jane@acme.com", **{field: word}).company_domain == "acme.com"


@pytest.mark.parametrize("email", ["jane@our.com", "jane@mail.our.com", "JANE@OUR.COM"])
def test_e24_our_own_people_are_skipped_sub_domains_too(email: str) -> None:
    identity = identify(Inputs(email=email), own_words(["Our.com"]))
    assert identity.reason is Reason.INTERNAL_DOMAIN


def test_e24_a_domain_that_ends_alike_is_not_ours() -> None:
    internal = own_words(["our.com", "b\u00fccher.de"])
    assert identify(Inputs(email="jane@notour.com"), internal).reason is None
    assert identify(Inputs(email="jane@xn--bcher-kva.de"), internal).reason


def test_e24_our_own_domain_in_the_website_field_says_nothing_of_the_company() -> None:
    internal = own_words(["our.com"])
    lead = identify(Inputs(email="jane@acme.com", website="https://our.com/signup"), internal)
    assert lead.company_domain == "acme.com"
    assert identify(Inputs(website="our.com"), internal).reason is Reason.INTERNAL_DOMAIN


def test_e25_vendors_and_bulk_senders_are_companies_like_others() -> None:
    assert of("jane@stripe.com").company_domain == "stripe.com"


@pytest.mark.parametrize(
    "website",
    [
        "acme.com",
        "www.acme.com",
        "WWW.ACME.COM",
        "http://acme.com",
        "https://www.acme.com:8443/a/b?c=d#e",
        "HTTPS://Acme.com",
        "https:acme.com",
        "http//acme.com",
        "http://https://acme.com",
        "//acme.com/x",
        "acme.com:8080",
        "acme.com/path",
        "acme.com?x=1",
        "https://user:secret@acme.com/",
        "jane@acme.com",
        "@acme.com",
        "acme.com.",
        "  acme.com \n",
        "acme.com, acme.de",
        "https://blog.eu.acme.com\\x",
        "https://\uff41cme.com",
    ],
)
def test_e26_the_host_is_found_in_whatever_was_written(website: str) -> None:
    identity = of(None, website=website)
    assert (identity.company_domain, identity.reason) == ("acme.com", None)


@pytest.mark.parametrize(
    "website",
    [
        "http://10.0.0.1/",
        "http://192.168.1.1:8080",
        "8.8.8.8",
        "http://[::1]/",
        "http://0x7f000001/",
        "http://2130706433/",
        "javascript:alert(1)",
        "data:text/html,acme.com",
        "file:///etc/passwd",
        "ftp://acme.com",
        "co.uk",
        "http://",
        "Acme Inc",
        "none",
        "http://ac me.com",
        "\x00",
        "https://linkedin.com/company/acme",
        "https://www.facebook.com/acme",
        "https://sites.google.com/acme",
        "https://mail.google.com/mail/u/0",
        "https://outlook.office.com/mail/",
        "https://calendly.com/jane",
        "https://www.upwork.com/freelancers/jane",
        "https://apps.apple.com/app/acme",
    ],
)
def test_e26_ip_addresses_other_schemes_and_profile_pages_are_no_company(website: str) -> None:
    identity = of(None, website=website)
    assert identity.company_domain is None
    assert identity.reason in {Reason.NOTHING_TO_GO_BY, Reason.RESERVED_DOMAIN}
    assert of("jane@acme.org", company_domain=website).company_domain == "acme.org"


def test_e26_the_home_of_a_site_of_profiles_is_that_company() -> None:
    assert of(None, website="https://www.linkedin.com/").company_domain == "linkedin.com"


def test_e27_what_the_user_stated_wins_and_the_conflict_is_flagged() -> None:
    identity = of("jane@other.com", company_domain="acme.com", website="third.com")
    assert identity.company_domain == "acme.com"
    assert identity.flags == {"domain_conflict"}
    assert of("jane@other.com", website="third.com").company_domain == "third.com"


def test_e27_two_names_of_one_registrable_domain_are_no_conflict() -> None:
    assert of("jane@mail.acme.com", website="https://www.acme.com").flags == frozenset()


def test_e27_a_malformed_address_with_an_unusable_website_says_why_there_is_no_company() -> None:
    identity = of("jane@", website="http://10.0.0.1/")
    assert identity.no_company_domain == "invalid email"


def test_e28_another_domain_of_the_same_company_leaves_the_key_unchanged() -> None:
    assert of("jane@acme.de").company_domain == "acme.de"
    assert of("jane@acme.com").company_domain == "acme.com"


def test_e29_nothing_is_looked_up_in_the_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("identity is pure")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert of("jane@no-such-domain-anywhere.com").is_valid


def test_the_query_carries_what_providers_need() -> None:
    query = of("Info+x@ACME.com", name="  Jane\t Doe ", company="Acme\x00 Inc").query
    assert (query.email, query.company_domain) == ("Info@acme.com", "acme.com")
    assert (query.full_name, query.company) == ("Jane Doe", "Acme Inc")
    assert (query.is_role, query.is_valid, query.is_free_mail) == (True, True, False)


@pytest.mark.parametrize("name", [None, "", " ", "N/A", "unknown", "\u200b", "\ud800"])
def test_a_name_that_says_nothing_is_none(name: str | None) -> None:
    assert of("jane@acme.com", name=name).full_name is None


def test_nothing_about_a_person_is_in_a_repr() -> None:
    identity = of("jane@acme.com", name="Jane Doe")
    assert "jane" not in repr(identity).lower()
    assert "acme" not in repr((identity, identity.query)).lower()


WRITTEN = st.text(max_size=60) | st.text(
    alphabet="ab.@+-_ <>()[]\"',;:/\\%?#\x00\n\u00fc\u3002\uff20\u200b\u202e\ud800xn"
)
LABELS = st.text("ab1-\u00fc\u0130\u4f8b", min_size=1, max_size=9)
LOCALS = st.text("abI.+_'!\u00fc\u0130\u0301", min_size=1, max_size=9)
SHAPED = st.builds(
    "{}@{}.{}".format,
    WRITTEN | LOCALS,
    WRITTEN | LABELS,
    st.sampled_from(["com", "co.uk", "test", "github.io"]),
)
ANY_TEXT = st.none() | WRITTEN | SHAPED | WRITTEN.map("https://{}".format)


@settings(deadline=None)  # the first example parses the suffix list
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("\ud800@\ud800.com", "http://[", "xn--.com", "\ud800")
@example("a@" + "\u00fc" * 1000, "x" * 1000, "http://" + "." * 1000, "\x00" * 1000)
@example("@" * 1000, "<" * 1000, "mailto:%00@%00", "%")
@example("a@xn--a.com", "xn--0.com", "\u0130.com", "\u1e9e")
def test_no_text_raises_and_what_is_asked_about_is_always_clean(
    email: str | None, domain: str | None, website: str | None, name: str | None
) -> None:
    identity = identify(Inputs(email, domain, website, name, name))
    for value in (identity.email, identity.email_key, identity.company_domain):
        assert value is None or all(_is_visible(one) for one in value)
    assert identity.email is None or len(identity.email.encode()) <= 254
    assert (identity.company_domain is None) == bool(identity.no_company_domain)
    assert identity.reason is None or identity.company_domain is None
    assert identity.reason or identity.email or identity.company_domain
    for text in (identity.full_name, identity.company):
        assert text is None or text.encode()


def _is_visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in {"Cc", "Cs"}


@settings(deadline=None)
@given(SHAPED)
def test_what_is_asked_about_is_asked_about_again_unchanged(email: str) -> None:
    once = of(email).email
    if once is not None:
        assert of(once).email == once


def test_a_lead_of_a_known_domain_takes_well_under_a_millisecond() -> None:
    of("warm.up@acme.com", website="https://www.acme.com")
    started = time.process_time()
    for number in range(1000):
        of(f"Jane.Doe{number}@acme.com", website="https://www.acme.com", name="Jane Doe")
    assert time.process_time() - started < 0.5
