"""A guard for the length of a lead's way: wrappers and layers that are added to it are to be seen.

The ceilings stand some per cent above what was seen last. Who makes the way shorter lowers them.
"""

from __future__ import annotations

from tests.benchmarks import passes

CEILINGS = {"modules": 40, "functions": 470, "call events": 1_620}
"""Seen: 39 modules, 456 functions, 1,552 call events. The goals are in `tests/benchmarks/passes.py`."""


async def test_a_lead_passes_no_more_code_than_it_did(mongodb_uri: str) -> None:
    """The shortest way counts: on a busy machine an answer comes late, and a lead is kept early."""
    shortest = (await passes.leads_passed(mongodb_uri))[0]
    found = passes.median([shortest])
    too_much = {name: value for name, value in found.items() if value > CEILINGS[name]}
    assert not too_much, "\n".join([str(too_much), *shortest.lines()])
