"""What a simulated vendor learns of later."""

from __future__ import annotations

from enricher.simulator.faults import Fault, Faults
from tests.support.waiting import eventually

SPELLED = frozenset({"unknown_record"})
ROUTE = ("hunter", "companies/find")


def is_known(faults: Faults, domain: str) -> bool:
    return faults.due(*ROUTE, domain, SPELLED) is None


def test_a_newborn_company_is_known_to_a_vendor_after_it_was_first_asked() -> None:
    faults = Faults()
    assert [is_known(faults, "newborn-a.com") for _ in range(3)] == [False, True, True]
    assert not is_known(faults, "newborn-b.com")


async def test_a_fault_may_last_for_a_time_from_the_first_call_that_it_meets() -> None:
    faults = Faults()
    faults.add(Fault("unknown_record", question="young.com", lasts=0.05))
    assert not is_known(faults, "young.com")
    await eventually(lambda: is_known(faults, "young.com"))
