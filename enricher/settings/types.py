"""The types, rules and error texts that the settings sections are made of."""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

from publicsuffixlist import PublicSuffixList
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

# Which names and addresses stay within one's own network. Pure: nothing is looked up.
#
# Two questions hang on it: may a key travel there in clear, and can a name in a browser's address bar have been
# made to lead to us by a stranger (DNS rebinding). Nobody but the owner of a network decides what a name
# without a dot, or below a suffix that no registry has, stands for in it: `simulator`, `enricher.crm.svc`,
# `db1.internal`, `printer.local`.

_HOME = "home.arpa"
"""From RFC 8375, for home networks; the rest of `arpa` is public."""
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""A last label that makes a resolver read the whole as an IPv4 address, in any of its old spellings."""


def address(host: str) -> IPv4Address | IPv6Address | None:
    """PURE Return the IP address written there, with or without an IPv6 address's brackets, if it is one."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def is_private(host: str) -> bool:
    """PURE Return True for this machine and private networks, by address or by name."""
    if ip := address(host):
        return not ip.is_global
    return is_private_name(host)


def is_loopback(host: str) -> bool:
    """PURE Return True for this machine itself, by address or by name."""
    ip = address(host)
    return ip.is_loopback if ip else host.lower().removesuffix(".") == "localhost"


def is_private_name(host: str) -> bool:
    """PURE Return True for a name that no stranger can own; False for an address in any spelling."""
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


DAY = 86_400
MOST_DAYS = 3650
MOST_CALLS = 1_000_000_000
MOST_LEADS = 100_000
"""Limit of a quota: the leads counted for an account are in one document, at some 20 bytes each."""
LEAST_HASH_KEY = 32
"""Characters. Shorter keys could be brute-forced by anyone who has the hashes."""
MAX_DATABASE_BYTES = 63
MAX_COLLECTION_BYTES = 190
"""With the longest database name and a dot, this stays within MongoDB's 255 for a namespace."""
_LONGEST_NUMBER = 12
"""Characters. Longer text is not a setting's number, and may be a secret made of digits."""
_LONGEST_USER_AGENT = 200
_WEBHOOK_PREFIX = "whsec_"
_HOSTS_AND_OPTIONS = "check its hosts, ports and options"
_ENCODE = "percent-encode the user name and the password"


def database_name(name: str) -> str:
    """Check MongoDB's rules for names, and refuse its own three, where no change stream can be opened."""
    if len(name.encode()) > MAX_DATABASE_BYTES or re.search(r'[/\\. "$\0]', name) or not name:
        raise ValueError('expected a database name: 1 to 63 bytes, none of / \\ . " $ and space')
    if name in ("admin", "local", "config"):
        raise ValueError("expected a database of your own: MongoDB keeps this one for itself")
    return name


_OURS = "enricher_"


def collection_name(name: str) -> str:
    if not 0 < len(name.encode()) <= MAX_COLLECTION_BYTES or re.search(
        r"[$\0]|^\.|\.$|\.\.|^system\.", name
    ):
        raise ValueError("expected a collection name: no $, no empty part, not system.*")
    if name.startswith(_OURS):
        raise ValueError(f"expected a collection of your own: {_OURS}... are the daemon's")
    return name


def field_path(path: str) -> str:
    if any(not part or part.startswith("$") or "\0" in part for part in path.split(".")):
        raise ValueError("expected the name of a field, or a path like details.temperature")
    return path


def mongodb_uri(uri: SecretStr | None) -> SecretStr | None:
    """Check a URI without the network: of an SRV address only what needs no look-up is parsed.

    The driver's own error texts are not repeated: they quote parts of it.
    """
    text = uri.get_secret_value() if uri else ""
    if uri and not text.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("expected a URI that begins with mongodb:// or mongodb+srv://")
    if re.search(r"://[^/?#]*[/?#].*@", text, re.DOTALL):
        # The driver would take the password up to its first "/" for a host, and print it as one.
        raise ValueError(f"expected a MongoDB URI that can be read: {_ENCODE}")
    if text:
        _readable(text)
    return uri


def _readable(uri: str) -> None:
    from pymongo.errors import PyMongoError  # noqa: PLC0415 - a quarter of a start that needs no MongoDB
    from pymongo.uri_parser import parse_uri  # noqa: PLC0415 - likewise

    try:
        with warnings.catch_warnings(action="ignore"):
            parse_uri(uri.replace("mongodb+srv://", "mongodb://", 1), warn=True)
    except OSError as error:  # from a certificate that the URI names
        raise ValueError(error.strerror or "a file that it names cannot be read") from None
    except (PyMongoError, ValueError):
        hint = _ENCODE if "@" in uri else _HOSTS_AND_OPTIONS
        raise ValueError(f"expected a MongoDB URI that can be read: {hint}") from None


def _key(key: object) -> object:
    """Strip, and refuse what no vendor issues: a pasted line break or the quotes of an env file."""
    text = key.get_secret_value() if isinstance(key, SecretStr) else key
    if not isinstance(text, str):
        return text
    text = text.strip()
    if any(not "!" <= sign <= "~" or sign in "\"'" for sign in text):
        raise ValueError("expected a key of visible ASCII characters, without spaces or quotes")
    return SecretStr(text) if text else None


def _long_enough(key: SecretStr | None) -> SecretStr | None:
    if key is not None and len(key.get_secret_value()) < LEAST_HASH_KEY:
        raise ValueError(f"expected at least {LEAST_HASH_KEY} characters")
    return key


def _has_a_port(parts: SplitResult) -> None:
    try:
        _ = parts.port
    except ValueError:  # whose text quotes what may be a password
        raise ValueError("expected a port from 1 to 65535") from None


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s@?#]", url):
        raise ValueError("expected http:// or https:// and a host, without credentials or query")
    _has_a_port(parts)
    if parts.scheme == "http" and not is_private(parts.hostname):
        raise ValueError(
            "expected https://, or the key would travel in clear; "
            "http:// is for this machine and private networks"
        )
    return url.rstrip("/")


def _webhook_url(url: SecretStr | None) -> SecretStr | None:
    """Check the address; it is a secret, since whoever knows some of them may post there."""
    if url is None:
        return None
    text = url.get_secret_value()
    parts = urlsplit(text)
    is_web = parts.scheme in ("http", "https") and parts.hostname
    if not is_web or re.search(r"[^!-~]|#", text) or "@" in parts.netloc:
        raise ValueError("expected https:// and a host, without credentials, blanks or #")
    _has_a_port(parts)
    if parts.scheme == "http" and not is_private(parts.hostname or ""):
        raise ValueError("expected https://; http:// is for this machine and private networks")
    return url


def webhook_keys(secrets: SecretStr | None) -> tuple[bytes, ...]:
    """PURE Return the keys of secrets like `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`, separated by blanks. Raises
    ValueError."""
    words = secrets.get_secret_value().split() if secrets else []
    return tuple(map(_webhook_key, words))


def _webhook_key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_WEBHOOK_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(_WEBHOOK_PREFIX) or not 24 <= len(key) <= 64:  # noqa: PLR2004 - the specification's
        raise ValueError(
            "expected whsec_ and the base64 of 24 to 64 random bytes, or several of these with blanks between them"
        )
    return key


def _webhook_secrets(secrets: SecretStr | None) -> SecretStr | None:
    webhook_keys(secrets)
    return secrets


def _json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        listed = json.loads(value)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError('expected a JSON list of strings, like ["one","two"]')
    return tuple(listed)


def _domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(domain.strip().strip(".").lower() for domain in domains)
    if any(not re.fullmatch(r"[^\s@/:.*]+(\.[^\s@/:.*]+)*", domain) for domain in cleaned):
        raise ValueError('expected domains without @, * and path, like ["example.com"]')
    return cleaned


def _platforms(domains: tuple[str, ...]) -> tuple[str, ...]:
    """Clean domains, each with an optional "-" in front, which no domain begins with."""
    stripped = [domain.strip() for domain in domains]
    signs = ["-" if domain.startswith("-") else "" for domain in stripped]
    cleaned = _domains(tuple(domain.removeprefix("-") for domain in stripped))
    if any(domain.startswith("-") for domain in cleaned):
        raise ValueError('expected domains, one "-" in front at most, like ["-example.com"]')
    return tuple(map("".join, zip(signs, cleaned, strict=True)))


def _role_names(names: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = tuple(name.strip().lower() for name in names)
    if any(not re.fullmatch(r"-?[^\s@-][^\s@]*", name) for name in cleaned):
        raise ValueError('expected names without @ and spaces, like ["frota","-sales"]')
    return cleaned


def plan_key(plan: str) -> str:
    """Normalise a plan's name: another spelling must not be a way around a quota."""
    return plan.strip().casefold()


def _json_quotas(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        pairs = json.loads(value, object_pairs_hook=list)
    except (ValueError, RecursionError):
        pairs = None
    is_object = isinstance(pairs, list) and value.lstrip().startswith("{")
    if not is_object or not all(type(most) is int and 0 <= most <= MOST_LEADS for _, most in pairs):
        raise ValueError(
            f'expected a JSON object of plans and whole numbers up to {MOST_LEADS}, like {{"free": 10}}'
        )
    plans = [plan_key(plan) for plan, _ in pairs]
    if len(set(plans)) < len(plans) or "" in plans:
        raise ValueError("expected a name for each plan, and each plan once (case does not count)")
    return dict(pairs)


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
USUAL_SPANS = (4 * 3600.0, 3 * 86_400.0, 30 * 86_400.0)
"""When a thin lead is looked at again, for those who name no times: a mail server has recovered, a site is back
up, a vendor has had its monthly crawl."""
_MOST_SPANS = 10


def seconds_of(text: str) -> float | None:
    """Read a time like 90s, 30m, 2h or 1.5d; `None` where it is none."""
    found = _SPAN.fullmatch(text.strip().lower())
    return float(found[1]) * _UNITS[found[2]] if found else None


def in_words(seconds: float) -> str:
    """Write a time as `seconds_of` reads it, in its largest unit."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds >= _UNITS[unit] or unit == "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"


def _spans(value: object) -> object:
    """Read `true`, `false`, or a JSON list of times, as seconds."""
    if not isinstance(value, str):
        return value
    if (word := value.strip().lower()) in ("true", "false"):
        return USUAL_SPANS if word == "true" else ()
    listed = _json_list(value)
    found = [seconds_of(each) for each in listed] if isinstance(listed, tuple) else []
    spans = tuple(each for each in found if each and each <= MOST_DAYS * DAY)
    if len(spans) < len(found) or len(found) > _MOST_SPANS:
        raise ValueError(
            f'expected true, false, or up to {_MOST_SPANS} times, like ["4h","3d","30d"]'
        )
    return spans


def _user_agent(text: str | None) -> str | None:
    """Check that it says who asks: a product's name, and no browser's."""
    if text is None:
        return None
    if (
        not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?( [!-~]+)*", text)
        or len(text) > _LONGEST_USER_AGENT
    ):
        raise ValueError("expected a product's name, like acme-leads/1.0 (+https://acme.com/bot)")
    if text.lower().startswith("mozilla"):
        raise ValueError("expected the name of your own product, not a browser's")
    return text


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Url: TypeAlias = Annotated[str, AfterValidator(_base_url)]
Key: TypeAlias = Annotated[SecretStr | None, BeforeValidator(_key)]
WebhookUrl: TypeAlias = Annotated[SecretStr | None, AfterValidator(_webhook_url)]
WebhookSecrets: TypeAlias = Annotated[SecretStr | None, AfterValidator(_webhook_secrets)]
HashKey: TypeAlias = Annotated[Key, AfterValidator(_long_enough)]
Strings: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_json_list)]
Domains: TypeAlias = Annotated[Strings, AfterValidator(_domains)]
PlatformDomains: TypeAlias = Annotated[Strings, AfterValidator(_platforms)]
RoleNames: TypeAlias = Annotated[Strings, AfterValidator(_role_names)]
Spans: TypeAlias = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_spans)]
"""Times in seconds, in the order in which they pass."""
UserAgent: TypeAlias = Annotated[str | None, AfterValidator(_user_agent)]
Quotas: TypeAlias = Annotated[Mapping[str, int], NoDecode, BeforeValidator(_json_quotas)]
Level: TypeAlias = Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL"]


def setting(name: str, default: object, sentence: str, **limits: Any) -> Any:
    """Define a field that is read from the variable `name` and documented by one sentence."""
    return Field(default, validation_alias=name, description=sentence, **limits)


def seconds(name: str, default: float, sentence: str, **limits: float) -> Any:
    """Define a time span of at most a day, so that no arithmetic with it can overflow."""
    return setting(name, default, sentence, **(limits or {"gt": 0}), le=DAY, allow_inf_nan=False)


def in_days(name: str, default: float, sentence: str) -> Any:
    """Define a span in days, fractions allowed; 0 turns the feature off."""
    return setting(name, default, sentence, ge=0, le=MOST_DAYS, allow_inf_nan=False)


class Section(BaseSettings):
    """Settings of one subject. Reads nothing by itself; `load` passes the values in."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the names are pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


# Error texts


def is_secret(info: FieldInfo) -> bool:
    return "SecretStr" in str(info.annotation)


def shown(value: str) -> str:
    """Return what an error says of the value. Anything but a number is hidden: it may be a key that was pasted
    into the wrong line, whatever the line is called."""
    try:
        is_number = len(value) <= _LONGEST_NUMBER and float(value) is not None
    except ValueError:
        is_number = False
    return f", got {value}" if is_number else " (value not shown)"


def expected(detail: Mapping[str, Any], info: FieldInfo) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] == "literal_error":
        return f"expected {detail['ctx']['expected']}"
    if info.annotation is bool:
        return "expected true or false"
    is_whole = info.annotation in (int, int | None)
    if not is_whole and info.annotation not in (float, float | None):
        return "expected text in UTF-8"
    limits = (("gt", "more than"), ("ge", "at least"), ("le", "at most"))
    words = [
        f"{word} {getattr(rule, sign)}"
        for rule in info.metadata
        for sign, word in limits
        if getattr(rule, sign, None) is not None
    ]
    return ", ".join([f"expected {'a whole' if is_whole else 'a'} number", *words])


def either(words: Sequence[str]) -> str:
    """PURE Return the words as a choice: `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def first_line(error: Exception) -> str:
    """PURE Return the first line of what a library says of a mistake, or the name of the error if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
