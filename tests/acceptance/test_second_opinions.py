"""Five verifiers, one verdict: who is asked when, what it costs, and where the key of a URL never shows up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from enricher.lead import Document
from enricher.simulator.facts import FIRST_TO_TELL
from tests.support.processes import Daemon
from tests.support.rig import KEYS, Rig, address, open_rig

VERIFIERS = ("hunter", *FIRST_TO_TELL.values())
OURS = {name: f"{name}-key-of-the-tests" for name in FIRST_TO_TELL.values()}
WINDOWS: dict[str, Sequence[Sequence[float]]] = dict.fromkeys((*KEYS, *OURS), ())
SETTINGS: dict[str, object] = {f"{name.upper()}_API_KEY": key for name, key in OURS.items()}


def verdict(lead: Document) -> tuple[object, object]:
    """The status, and who gave it."""
    data = lead["enriched_data"]
    origins = data["enrichment_metadata"]["provenance"]["email_verification"]
    return data["email_verification"]["status"], origins["status"]


def asked(rig: Rig, email: str) -> list[str]:
    """Who was asked about it, in order, once for each call."""
    return [entry.vendor for entry in rig.simulator.journal if entry.question == email]


@pytest.mark.timeout(180)
async def test_the_next_verifier_is_asked_until_there_is_a_verdict(mongodb_uri: str) -> None:
    words = {word: address(word) for word in (*FIRST_TO_TELL, "ordinary", "unknown", "shaky")}
    slow, greylisted = (f"ada.{name}@{address('hazy').partition('@')[2]}" for name in ("s", "g"))
    leads = {**words, "slow": slow, "greylisted": greylisted.replace("hazy", "misty")}
    async with open_rig(mongodb_uri, windows=WINDOWS, keys=KEYS | OURS) as rig:
        rig.simulator.inject("pending", vendor="emailable", question=leads["slow"], times=2)
        rig.simulator.inject("pending", vendor="bouncer", question=leads["greylisted"], times=1)
        async with rig.daemon("hunter", **SETTINGS) as daemon:
            await daemon.wait_for_event("stream.opened")
            await rig.leads.insert_many([{"_id": key, "email": one} for key, one in leads.items()])
            await rig.witness.all_ended(leads, within=60)
            seen = f"{(await daemon.get('/metrics')).text} {daemon.lines}"
            explained = await explain(rig, "murky")
        found = {key: await rig.lead(key) for key in leads}
        for place, (word, vendor) in enumerate(FIRST_TO_TELL.items(), start=2):
            assert verdict(found[word]) == ("valid", vendor)
            assert asked(rig, leads[word]) == list(VERIFIERS[:place])
        assert asked(rig, leads["ordinary"]) == ["hunter"]
        assert verdict(found["slow"]) == ("valid", "emailable")
        assert asked(rig, leads["slow"]) == [*VERIFIERS, "emailable", "emailable"]
        assert verdict(found["greylisted"]) == ("valid", "bouncer")
        assert verdict(found["shaky"])[1] == "zerobounce"
        status, _ = verdict(found["unknown"])
        assert (status, asked(rig, leads["unknown"])) == ("unknown", list(VERIFIERS))
        charged = [
            entry.vendor
            for entry in rig.simulator.journal.calls(question=leads["unknown"])
            if entry.charged
        ]
        assert charged == ["hunter", "bouncer", "emailable"]
        assert not [entry for entry in rig.simulator.journal if entry.key_in_url]
        for key in OURS.values():
            assert key not in seen + explained + str(found)


async def explain(rig: Rig, lead: str) -> str:
    """What the command says of it."""
    env = rig.environment("hunter") | {name: str(value) for name, value in SETTINGS.items()}
    async with Daemon("explain", lead, env=env) as command:
        assert await command.wait() == 0
    assert "zerobounce" in command.stdout
    return command.stdout


async def test_check_tries_each_key_for_nothing(mongodb_uri: str) -> None:
    async with open_rig(mongodb_uri, keys=KEYS | OURS, quotas={"bouncer": 0}) as rig:
        env = rig.environment("hunter") | {name: str(value) for name, value in SETTINGS.items()}
        env["ZEROBOUNCE_API_KEY"] = "wrong-key"
        async with Daemon("check", env=env) as check:
            assert await check.wait() == 4
        lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in check.stdout.splitlines()}
        assert lines["zerobounce"].startswith("FAILED   the key is refused")
        assert lines["bouncer"].startswith("FAILED   the quota is used up")
        assert lines["kickbox"].split()[0] == lines["emailable"].split()[0] == "ok"
        assert not any(account.charged for account in rig.simulator.journal.billing.values())
