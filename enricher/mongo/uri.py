"""What a MONGODB_URI may decide about our connections, and what it may not.

The same address often serves a whole company, with options that suit other programs. Ours read their own
writes, compare ids byte by byte, and wait for nothing without end: what we rely on is set by `server.py`,
whatever the address says, and what is about the way to the server is the operator's.

    DECIDED_BY_US       left out of the address, in silence: it would break our work, or slow it
    THE_OPERATORS       honoured; a value that the driver could only ignore is refused
    any other           another driver's option: without effect
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from pymongo.errors import PyMongoError
from pymongo.uri_parser import split_options

from enricher.errors import SettingsError

DECIDED_BY_US = frozenset(
    {
        "appname",
        "connect",
        "datetime_conversion",
        "driver",
        "fsync",
        "journal",
        "maxpoolsize",
        "maxstalenessseconds",
        "minpoolsize",
        "readconcernlevel",
        "readpreference",
        "readpreferencetags",
        "retryreads",
        "retrywrites",
        "server_api",
        "serverselectiontimeoutms",
        "sockettimeoutms",
        "timeoutms",
        "tz_aware",
        "unicode_decode_error_handler",
        "uuidrepresentation",
        "w",
        "waitqueuemultiple",
        "waitqueuetimeoutms",
        "wtimeoutms",
    }
)
THE_OPERATORS = frozenset(
    {
        "authmechanism",
        "authmechanismproperties",
        "authsource",
        "compressors",
        "connecttimeoutms",
        "directconnection",
        "enableoverloadretargeting",
        "heartbeatfrequencyms",
        "loadbalanced",
        "localthresholdms",
        "maxadaptiveretries",
        "maxconnecting",
        "maxidletimems",
        "replicaset",
        "servermonitoringmode",
        "srvallowedhostssuffix",
        "srvmaxhosts",
        "srvservicename",
        "ssl",
        "tls",
        "tlsallowinvalidcertificates",
        "tlsallowinvalidhostnames",
        "tlscafile",
        "tlscertificatekeyfile",
        "tlscertificatekeyfilepassword",
        "tlscrlfile",
        "tlsdisableocspendpointcheck",
        "tlsinsecure",
        "zlibcompressionlevel",
    }
)
"""Names as the driver compares them; `tests/integration/test_server.py` knows when it has a new one."""


def ours(uri: str) -> str:
    """The address with the operator's options alone. Raises SettingsError for one that has no effect."""
    address, mark, query = uri.partition("?")
    separator = "&" if "&" in query or ";" not in query else ";"
    given = query.split(separator) if query else []
    options = [each for each in given if _name(each) not in DECIDED_BY_US]
    if problems := list(_complaints(options)):
        raise SettingsError(problems)
    return f"{address}{mark if options else ''}{separator.join(options)}"


def _name(option: str) -> str:
    return option.partition("=")[0].lower()


def _complaints(options: list[str]) -> Iterator[str]:
    """Without the values: a password may be among them."""
    for option in options:
        if _name(option) in THE_OPERATORS and not _is_understood(option):
            spelt = option.partition("=")[0]
            yield f"MONGODB_URI: expected a value of {spelt} that MongoDB's driver understands"


def _is_understood(option: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # a compressor that is not installed
            split_options(option, warn=False)
    except (PyMongoError, ValueError, TypeError, OSError):
        return False
    return True
