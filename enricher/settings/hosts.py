"""Which names and addresses stay within one's own network. Pure: nothing is looked up.

Two questions hang on it: may a key travel there in clear, and can a name in a browser's address bar have been
made to lead to us by a stranger (DNS rebinding). Nobody but the owner of a network decides what a name
without a dot, or below a suffix that no registry has, stands for in it: `simulator`, `enricher.crm.svc`,
`db1.internal`, `printer.local`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from publicsuffixlist import PublicSuffixList

_HOME = "home.arpa"
"""Of RFC 8375, for networks at home; the rest of `arpa` is public."""
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""A last label that makes a resolver read the whole as an IPv4 address, in whichever of its old spellings."""


def address(host: str) -> IPv4Address | IPv6Address | None:
    """PURE The IP address that is written there, with or without an IPv6 address's brackets."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_private(host: str) -> bool:
    """PURE True for this machine and private networks, by address or by name."""
    if ip := address(host):
        return not ip.is_global
    return is_private_name(host)


def is_private_name(host: str) -> bool:
    """PURE True for a name that no stranger can have; False for an address in any spelling."""
    name = host.lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", name):
        return False
    top = name.rpartition(".")[2]
    if _NUMBER.fullmatch(top):
        return False
    is_at_home = name == _HOME or name.endswith(f".{_HOME}")
    return "." not in name or is_at_home or _suffixes().publicsuffix(top) is None


@lru_cache(1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)
