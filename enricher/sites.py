"""PURE Whose site a field for a domain or a web site names: one host, or nobody's.

A link inside a link counts for where it leads (`redirects`). A page on a site that is full of other
people's pages stands for nobody: a profile, a listing, a shop, a form, a short link. What is a
tenant's name below a platform is for `domains` to say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

from enricher.domains import (
    BY_THE_LISTS,
    Kind,
    Platforms,
    ascii_host,
    classify,
    is_brand_of,
    is_under,
    parents,
)
from enricher.redirects import target_of
from enricher.wordlists import PLATFORMS, PROFILE_BRANDS, PROFILE_HOSTS, SHORT_LINKS
from enricher.wrappings import bare, links, plain, said

_KEPT_HOSTS = 2048
_LONGEST_URL = 2048
_MOST_HOPS = 3
"""Links inside links; nobody wraps more than two mail filters around one."""

_ORDINARY = re.compile(r"(?:https?://)?[A-Za-z0-9/._-]*[A-Za-z0-9/_-]")
_HTTP = re.compile(r"\A(?:h*t{1,3}p{1,2}s?(?::[:/]*|/{2,}[:/]*))+", re.IGNORECASE)
_ENCODED_HTTP = re.compile(r"https?(?:%3a|:)(?:%2f|%5c)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?!\d)", re.IGNORECASE)
_PORT = re.compile(r":\d*\Z")
_WWW = re.compile(r"\A(?:w{2,4}\d?\.)+(?=[^.]+\.)")
_IN_ANGLES = re.compile(r"<([^<>\s]+\.[^<>\s]+)>")
_APART = re.compile(r"[\s,;|]+")

_SHORT_HOST = re.compile(r"[a-z0-9-]{1,6}\.[a-z]{2}")
_SHORT_PATH = re.compile(r"(?=.*[A-Za-z])(?=.*\d|.+[A-Z].*)(?=.*[a-z\d])[A-Za-z0-9_]{4,12}")
"""What a machine made up: figures or capitals within one word of some letters."""


def stated_host(value: str | None, platforms: Platforms = BY_THE_LISTS) -> str | None:
    """The host in a domain, a URL or an address that somebody wrote into a domain field.

    `None` for IP addresses, schemes other than http, pages on sites full of others', and texts longer
    than any URL: a vendor's record may hold megabytes, and what was read lately stays in memory.
    """
    if value is not None and len(value) > _LONGEST_URL:
        return None
    return _stated_host(value, platforms)


@lru_cache(_KEPT_HOSTS)
def _stated_host(value: str | None, platforms: Platforms) -> str | None:
    return _owner(_unwrapped(said(value)), platforms, 0)


def _unwrapped(text: str) -> str:
    """The first of the links or words in it, with nothing around."""
    if _ORDINARY.fullmatch(text):
        return text
    text = plain(text)
    held = links(text) or _IN_ANGLES.findall(text)
    text = bare(_APART.split(bare(held[0] if held else text), maxsplit=1)[0])
    return unquote(text) if _ENCODED_HTTP.match(text) else text


def _owner(text: str, platforms: Platforms, hops: int) -> str | None:
    """The host that a link stands for, however many links it is wrapped into."""
    text, is_url = _HTTP.subn("", text.replace("\\", "/").lstrip("/"), count=1)
    if not is_url and _SCHEME.match(text):
        return None
    host, rest = _host_and_rest(text)
    if host is None:
        return None
    is_others = _is_site_of_others(host, platforms)
    if hops < _MOST_HOPS and rest and (target := target_of(host, rest, is_wrapper=is_others)):
        return _owner(target, platforms, hops + 1)
    if is_under(host, platforms.removed):
        return host
    is_page = _is_page_of_others(host, rest, hops, is_others)
    return None if is_page or host in platforms.added else host


def _host_and_rest(text: str) -> tuple[str | None, str]:
    authority, *rest = re.split(r"[/?#]", text, maxsplit=1)
    if "%" in authority:
        authority = re.split(r"[/?#\s]", unquote(authority), maxsplit=1)[0]
    name = _PORT.sub("", authority.rpartition("@")[2]).removesuffix(".")
    host = ascii_host(name)
    mark = "?" if text[len(authority) : len(authority) + 1] == "?" else ""
    return _without_www(host) if host else None, (mark + "".join(rest)).strip("/")


def _without_www(host: str) -> str:
    """Unless nothing that can be owned is left: www.com.br is somebody's."""
    short = _WWW.sub("", host)
    return host if short != host and classify(short).kind is Kind.SUFFIX else short


def _is_site_of_others(host: str, platforms: Platforms) -> bool:
    if is_under(host, platforms.removed):
        return False
    return is_under(host, PROFILE_HOSTS) or any(
        is_brand_of(each, PROFILE_BRANDS) for each in parents(host)
    )


def _is_page_of_others(host: str, rest: str, hops: int, is_others: bool) -> bool:
    if is_others:
        is_home = not rest and not hops
        return not (is_home and classify(host).registrable == host)
    if not rest:
        return False
    return host in PLATFORMS or host in SHORT_LINKS or _is_short_link(host, rest)


def _is_short_link(host: str, rest: str) -> bool:
    return bool(_SHORT_HOST.fullmatch(host) and _SHORT_PATH.fullmatch(rest))
