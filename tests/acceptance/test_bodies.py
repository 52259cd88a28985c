"""Random bodies the whole way: from the vendor's socket through the daemon onto the lead in MongoDB.

Each lead meets a body of each provider. `make chaos` plays ten times as many.
"""

from __future__ import annotations

from random import Random

from enricher.lead import Document
from enricher.providers.registry import built_in
from tests.support.bodies import body_of, route_of
from tests.support.rig import Rig
from tests.support.soundness import faults_in
from tests.support.within import open_world

LEADS = 20
AT_ONCE = 4
"""Each is charged for two useless answers at most, and ten of them in a row would stop the provider."""
PLACES = ("sources_used", "sources_not_found", "sources_failed", "sources_skipped")


async def test_leads_of_vendors_that_say_anything_end_well(mongodb_uri: str) -> None:
    await play(mongodb_uri, LEADS)


async def play(uri: str, count: int, first: int = 0) -> None:
    """So many leads; each comes to an end, with nothing on it that does not belong there."""
    found = []
    for seed in range(first, first + count, AT_ONCE):
        found += await _play_some(uri, range(seed, seed + AT_ONCE))
    assert {lead["_id"]: wrong for lead in found if (wrong := _wrong_with(lead))} == {}
    assert sum(bool(lead["enriched_data"].get("company_data")) for lead in found) > count / 4


async def _play_some(uri: str, seeds: range) -> list[Document]:
    """A few at once, as a daemon of their own leaves them."""
    async with open_world(uri) as rig:
        for seed in seeds:
            _say_anything(rig, seed)
        leads = [_lead(seed) for seed in seeds]
        await rig.leads.insert_many(leads)
        await rig.witness.all_ended([lead["_id"] for lead in leads], within=100)
        return [await rig.lead(lead["_id"]) for lead in leads]


def _lead(seed: int) -> Document:
    return {"_id": f"lead-{seed}", "email": f"ada.lovelace@quokka-{seed}.com"}


def _say_anything(rig: Rig, seed: int) -> None:
    for kind in built_in():
        body = body_of(kind, Random(f"{kind.name} {seed}"), seed)
        rig.simulator.inject(
            "status",
            vendor=kind.vendor,
            route=route_of(kind).name,
            question=f"*quokka-{seed}.com",
            status=200,
            body=body.decode("utf-8", "surrogateescape"),
        )


def _wrong_with(lead: Document) -> list[str]:
    data = lead["enriched_data"]
    metadata = data["enrichment_metadata"]
    error = lead["enrichment_error"] or ""
    placed = [name for place in PLACES for name in metadata[place]]
    return [
        *faults_in(data),
        *(["an internal error"] if "internal error" in error or "not be written" in error else []),
        *([f"places: {placed}"] if len(placed) != len(set(placed)) else []),
        *({kind.name for kind in built_in()} - set(placed)),
        *([lead["enrichment_status"]] if lead["enrichment_status"] == "retrying" else []),
    ]
