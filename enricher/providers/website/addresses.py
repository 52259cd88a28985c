"""PURE Where a request may go: which addresses are public, and which URLs may be asked for at all.

A lead's writer, and every site, chooses the names that are asked for here, so each may be an attempt to reach
what only this machine can reach: a metadata service, a database, a router. A name says nothing about that; the
address that it leads to does. So every address is judged (`is_public`), and every URL before that (`admit`):

    http and https, on ports 80 and 443, without user and password
    a name below a public suffix; never an IP address, in none of its spellings: `127.1`, `0x7f.0.0.1`,
    `2130706433`, `[::ffff:127.0.0.1]`

`ipaddress.is_global` is not enough: it is true for multicast, for Azure's host service, and for the NAT64 and
6to4 forms of private addresses; and it differs between patch releases of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from yarl import URL

from enricher.identity.domains import DomainKind, ascii_host, classify, is_suffix

PORTS = frozenset({80, 443})
_LONGEST_URL = 2_000
_NAT64 = ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "168.63.129.16/32"),
            *("::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
            *("5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        ),
    )
)  # fmt: skip
"""What `is_global` may leave out, and what it should know anyway. Not 192.0.0.0/16: WordPress.com lives there."""
_OF_OWNERS = frozenset({DomainKind.BUSINESS, DomainKind.PLATFORM})


def is_public(text: str) -> bool:
    """Tell whether the address is one that anybody on the internet could connect to."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.scope_id:
        return False
    inner = _embedded(address)
    return inner.is_global and not any(
        inner.version == each.version and inner in each for each in _NOT_PUBLIC
    )


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that is meant, where the network makes one out of an IPv6 address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def admit(text: str, base: URL | None = None) -> URL | None:
    """Return the URL as it may be asked for, relative to `base`; `None` if it may not be."""
    if len(text) > _LONGEST_URL or any(sign <= " " or sign in "\\\x7f" for sign in text):
        return None
    try:
        url = URL(text) if base is None else base.join(URL(text))
        if url.scheme not in ("http", "https") or url.port not in PORTS:
            return None
        if url.user is not None or url.password is not None:
            return None
        host = name_of(url.host or "")
        return url.with_host(host).with_fragment(None) if host else None
    except (ValueError, UnicodeError):
        return None


def name_of(host: str) -> str | None:
    """Return the host in A-labels if it is the name of an owner's machine on the internet; no address is."""
    name = ascii_host(host.removesuffix("."))
    if name is None or not is_suffix(name.rpartition(".")[2]):
        return None
    domain = classify(name)
    return name if domain.kind in _OF_OWNERS and domain.registrable else None
