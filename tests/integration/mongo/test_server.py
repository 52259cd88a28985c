"""What a user's connection string may change, and what it may not."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import pytest
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP
from pymongo.read_preferences import ReadPreference

from enricher.errors import DatabaseRefused, ExitCode, SettingsError
from enricher.lead import Document
from enricher.mongo import server
from tests.support.cable import cable_to

DECIDED = {
    "appname": "theirs",
    "connect": "false",
    "datetime_conversion": "datetime",
    "driver": "theirs",
    "fsync": "true",
    "journal": "true",
    "maxpoolsize": "1",
    "maxstalenessseconds": "90",
    "minpoolsize": "5",
    "readconcernlevel": "local",
    "readpreference": "secondary",
    "readpreferencetags": "dc:ny,rack:1",
    "retryreads": "false",
    "retrywrites": "false",
    "server_api": "1",
    "serverselectiontimeoutms": "1",
    "sockettimeoutms": "1",
    "timeoutms": "1",
    "tz_aware": "false",
    "unicode_decode_error_handler": "strict",
    "uuidrepresentation": "standard",
    "w": "0",
    "waitqueuemultiple": "1",
    "waitqueuetimeoutms": "1",
    "wtimeoutms": "1",
}
"""Options that are ours, each with a value that would do harm."""
HONOURED = {
    "authmechanism": ("SCRAM-SHA-256", "MAGIC"),
    "authmechanismproperties": ("SERVICE_NAME:other", "NONE"),
    "authsource": ("users", None),
    "compressors": ("zlib", None),
    "connecttimeoutms": ("700", "soon"),
    "directconnection": ("true", "perhaps"),
    "enableoverloadretargeting": ("true", "perhaps"),
    "heartbeatfrequencyms": ("900", "0"),
    "loadbalanced": ("false", "perhaps"),
    "localthresholdms": ("5", "-1"),
    "maxadaptiveretries": ("1", "-1"),
    "maxconnecting": ("3", "0"),
    "maxidletimems": ("60000", "-1"),
    "replicaset": ("rs7", None),
    "servermonitoringmode": ("poll", "push"),
    "srvallowedhostssuffix": (None, None),
    "srvmaxhosts": (None, "-1"),
    "srvservicename": (None, None),
    "ssl": ("true", "perhaps"),
    "tls": ("true", "perhaps"),
    "tlsallowinvalidcertificates": ("true&tls=true", "perhaps"),
    "tlsallowinvalidhostnames": ("true&tls=true", "perhaps"),
    "tlscafile": ("{file}&tls=true", "/not/there"),
    "tlscertificatekeyfile": (None, "/not/there"),
    "tlscertificatekeyfilepassword": ("of-the-file&tls=true", None),
    "tlscrlfile": (None, "/not/there"),
    "tlsdisableocspendpointcheck": ("true&tls=true", "perhaps"),
    "tlsinsecure": ("true&tls=true", "perhaps"),
    "zlibcompressionlevel": ("3&compressors=zlib", "12"),
}
"""Options of the operator's: one value that is honoured and one that is none; `None` where every text is
one, or where it takes an address with a DNS record or a file of its own to be used."""


def test_every_option_of_the_driver_is_either_ours_or_the_operators() -> None:
    assert set(DECIDED) == server.DECIDED_BY_US
    assert set(HONOURED) == server.THE_OPERATORS
    assert set(DECIDED) | set(HONOURED) == set(URI_OPTIONS_VALIDATOR_MAP)
    assert not set(DECIDED) & set(HONOURED)


@pytest.mark.parametrize(("name", "value"), DECIDED.items(), ids=DECIDED)
async def test_what_we_rely_on_is_the_same_whatever_the_address_says(
    name: str, value: str, recwarn: pytest.WarningsRecorder
) -> None:
    options = await _options_of("mongodb://h/")
    for spelt in (name, name.upper()):
        assert await _options_of(f"mongodb://h/?{spelt}={value}") == options
        assert await _options_of(f"mongodb://h/?tls=false&{spelt}={value}&{spelt}={value}") == (
            await _options_of("mongodb://h/?tls=false")
        )
        assert await _options_of(f"mongodb://h/?{spelt}={value};tls=false") == (
            await _options_of("mongodb://h/?tls=false")
        )
    assert not recwarn.list
    assert (options["w"], options["uuidrepresentation"], options["tz_aware"]) == (
        "majority",
        0,
        True,
    )


GOOD = {name: good for name, (good, _) in HONOURED.items() if good is not None}
BAD = {name: bad for name, (_, bad) in HONOURED.items() if bad is not None}


@pytest.mark.parametrize(("name", "value"), GOOD.items(), ids=GOOD)
async def test_what_is_about_the_way_to_the_server_is_honoured(
    name: str, value: str, tmp_path: Path
) -> None:
    import certifi

    given = f"{name}={value.format(file=certifi.where())}"
    user = "u:p@" if name.startswith("auth") else ""
    plain, found = (
        await _options_of(f"mongodb://{user}h/"),
        await _options_of(f"mongodb://{user}h/?{given}"),
    )
    assert found.items() > plain.items()


@pytest.mark.parametrize(("name", "value"), BAD.items(), ids=BAD)
async def test_a_value_that_the_driver_would_ignore_is_refused_in_one_line(
    name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        await _options_of(f"mongodb://h/?{name}={value}")
    [line] = raised.value.problems
    assert line == f"MONGODB_URI: expected a value of {name} that MongoDB's driver understands"
    assert raised.value.exit_code == ExitCode.SETTINGS


async def test_an_option_of_another_driver_is_without_effect() -> None:
    with warnings.catch_warnings(action="ignore"):
        assert await _options_of("mongodb://h/?zzz=1") == await _options_of("mongodb://h/")


async def _options_of(address: str) -> dict[str, object]:
    async with server.connect(address, pool=2) as client:
        return dict(client.options._options.items())


async def test_a_claim_is_read_back_from_the_primary_whatever_the_address_prefers(
    mongodb_uri: str,
) -> None:
    """A secondary that lags would deny claims that were won."""
    joint = "&" if "?" in mongodb_uri else "/?"
    uri = f"{mongodb_uri}{joint}readPreference=secondaryPreferred"
    async with server.connect(uri, pool=2) as client:
        assert client["crm"]["leads"].read_preference == ReadPreference.PRIMARY
        assert (await server.inspect(client, "crm", "leads")).version


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("a view", {"viewOn": "real", "pipeline": []}),
        ("a time-series collection", {"timeseries": {"timeField": "at"}}),
    ],
)
async def test_leads_that_can_never_be_updated_are_refused_in_words(
    leads: AsyncCollection[Document], kind: str, options: Document
) -> None:
    database = leads.database
    await database.drop_collection(leads.name)
    await database.create_collection(leads.name, **options)
    try:
        with pytest.raises(DatabaseRefused, match=f"{leads.name} is {kind}"):
            await server.inspect(database.client, database.name, leads.name)
        of_results = database.name, leads.name, "enricher_results_leads"
        assert (await server.inspect(database.client, *of_results)).version
    finally:
        await database.drop_collection(leads.name)


async def test_a_server_that_hangs_is_not_waited_for_at_the_end(mongodb_uri: str) -> None:
    async with cable_to(mongodb_uri) as cable:
        async with server.connect(cable.uri, pool=2) as client:
            assert (await server.inspect(client, "crm", "leads")).version
            cable.freeze()
            began = time.monotonic()
        assert time.monotonic() - began < 20, "30 s were what the driver took"
        cable.mend()
