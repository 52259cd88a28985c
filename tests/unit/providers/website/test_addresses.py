"""Where a request may go: every spelling of an address that is not public is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from enricher.providers.website.addresses import admit, is_public, name_of

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 169.254.170.2 172.16.0.1
172.31.255.255 192.0.0.8 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255 168.63.129.16
:: ::1 ::7f00:1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:100.64.0.1
64:ff9b::a9fe:a9fe 64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1:: 2002:a00:1::
3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
2606:4700::1111%1 1.1.1 1 0x7f.0.0.1 017700000001 localhost acme.com
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 192.0.78.12 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 198.17.0.1 223.255.255.254 169.253.0.1
2606:4700:4700::1111 2a00:1450:4001::200e ::ffff:1.1.1.1 64:ff9b::101:101
""".split()
REFUSED = r"""
http://127.0.0.1/ http://127.0.0.1./ http://127.1/ http://2130706433/ http://0x7f.1/ http://0x7f000001/ http://0177.0.0.1/
http://017700000001/ http://0/ http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/
http://[64:ff9b::7f00:1]/ http://[fe80::1%25eth0]/ http://1.1.1.1/ http://①②⑦.⓪.⓪.①/ http://127。0。0。1/
http://localhost/ http://LOCALHOST./ http://localhost.localdomain/ http://intranet/
http://metadata.google.internal/ http://db.local/ http://router.lan/ http://home.arpa/ http://printer.home.arpa/
http://x.svc.cluster.local/ http://acme.test/ http://acme.example/ http://example.com/ http://acme.onion/ http://com.br/
http://user@acme.com/ http://user:pw@acme.com/ http://127.0.0.1@acme.com/ http://:@acme.com/ http://acme.com@127.0.0.1/
http://acme.com:8080/ http://acme.com:22/ https://acme.com:8443/ http://acme.com:0/ http://acme.com:99999/
ftp://acme.com/ file:///etc/passwd gopher://acme.com/ javascript:alert(1) data:text/html,x ws://acme.com/ unix:///run/x
http:\\127.0.0.1\ http://acme.com\@127.0.0.1/ http:/127.0.0.1/ http:///127.0.0.1/ //127.0.0.1/ ///127.0.0.1/ http:// http://[ http://acme..com/
http://-acme.com/ http://acme_x.com/ http://a%2ecom/ http://127.0.0.1%2f@acme.com/ http://acme.com%00.evil.com/
http://gmail.com/ http://mailinator.com/
""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("url", [*REFUSED, "http://\uff11\uff12\uff17.0.0.1/"])
def test_a_url_that_leads_to_no_owners_machine_is_not_asked_for(url: str) -> None:
    assert admit(url) is None
    assert admit(url, URL("http://acme.com/")) is None or "acme.com" in str(
        admit(url, URL("http://acme.com/"))
    )


@pytest.mark.parametrize("sign", ["\n", "\r", "\t", " ", "\x00", "\\", "\x7f"])
def test_a_url_with_a_sign_that_no_url_has_is_not_asked_for(sign: str) -> None:
    assert admit(f"http://acme.com/{sign}x") is None


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("http://ACME.com", "http://acme.com"),
        ("https://acme.com.:443/a?b=1#c", "https://acme.com/a?b=1"),
        ("https://acme.com:80/", "https://acme.com:80/"),
        ("https://büro-acme.de/", "https://xn--bro-acme-65a.de/"),
        ("/sobre", "https://www.acme.com/sobre"),
        ("?x=1", "https://www.acme.com/a?x=1"),
        ("//acme.net/x", "https://acme.net/x"),
    ],
)
def test_a_url_is_asked_for_as_it_was_judged(url: str, admitted: str) -> None:
    assert str(admit(url, URL("https://www.acme.com/a"))) == admitted


@given(st.text(max_size=60))
@settings(deadline=None)
def test_whatever_is_admitted_has_a_public_name_and_a_usual_port(text: str) -> None:
    for each in (text, f"http://{text}", f"http://{text}/", f"http://acme.com{text}"):
        for base in (None, URL("https://www.acme.com/a")):
            url = admit(each, base)
            assert url is None or (url.scheme in ("http", "https") and url.port in (80, 443))
            assert url is None or (url.user is None and name_of(url.host or "") == url.host)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_no_number_is_a_name(number: int) -> None:
    dotted = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    spellings = [
        str(number),
        hex(number),
        f"0{number:o}",
        dotted,
        f"{dotted}.",
        f"[::ffff:{dotted}]",
    ]
    assert not any(admit(f"http://{each}/") for each in spellings)
