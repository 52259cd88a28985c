"""The journal: one entry for every call that reached a simulated vendor, and what it cost.

The test-suite relies on it: what a client claims about limits, repeats and money is checked here, from the
vendors' side. Entries hold no bodies and no keys (a key is only "ok", "wrong", "none" or "test") and take 370
bytes each with their part of the bill; beyond `keep` the oldest are dropped and counted, while the counters in
`billing` stay exact.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any


@dataclass(slots=True)
class Entry:
    """One call. `status` is what the vendor decided, or 0 when it sent no answer at all."""

    number: int
    arrived: float
    """Monotonic seconds, for windows; comparable only within one run of the simulator."""
    arrived_at: float
    """The same moment as seconds since the epoch."""
    vendor: str
    route: str
    question: str
    """The domain or address asked about, in lower case; empty for routes without a question."""
    key: str = "none"
    key_in_url: bool = False
    status: int | None = None
    charged: bool = False
    over_limit: bool = False
    fault: str | None = None
    duration: float | None = None
    """Seconds in flight; `None` while still in flight."""
    abandoned: bool = False
    """The client hung up before the answer; the vendor may have charged anyway."""

    @property
    def matter(self) -> tuple[str, str]:
        """What is paid for once. A verification and a look-up of the same address are two matters."""
        return self.route, self.question


@dataclass(slots=True)
class Account:
    """The vendor's side of the bill."""

    calls: int = 0
    charged: int = 0
    spent: int = 0
    """What the charged calls cost, in the vendor's smallest unit; see `vendor.Route.price`."""
    over_limit: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    paid_for: set[tuple[str, str]] = field(default_factory=set)
    """(route, question) already charged in this billing month: asking again is free."""

    def as_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "charged": self.charged,
            "over_limit": self.over_limit,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


class Journal:
    """An append-only log in order of arrival, read by tests directly or over HTTP."""

    def __init__(self, keep: int = 1_000_000) -> None:
        self._keep = keep
        self._watched: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.clear()

    def clear(self) -> None:
        """Forget everything; calls still in flight end in entries that are no longer listed."""
        self._entries: deque[Entry] = deque(maxlen=self._keep)
        self._written = 0
        self.billing: defaultdict[str, Account] = defaultdict(Account)

    def open(self, vendor: str, route: str, question: str) -> Entry:
        """Record an arrival, before anything is decided about it."""
        self._written += 1
        entry = Entry(self._written, time.monotonic(), time.time(), vendor, route, question)
        self._entries.append(entry)
        self.billing[vendor].calls += 1
        self._changed()
        return entry

    def decide(
        self, entry: Entry, status: int, *, billable: bool, price: int = 1, again: bool = False
    ) -> None:
        """Record the decision. A question is charged once a month, however often it is asked, unless the vendor
        charges it `again` each time."""
        account = self.billing[entry.vendor]
        entry.status = status
        entry.charged = billable and (again or entry.matter not in account.paid_for)
        if entry.charged:
            account.paid_for.add(entry.matter)
            account.charged += 1
            account.spent += price
        account.over_limit += entry.over_limit
        account.statuses[status] += 1
        self._changed()

    def close(self, entry: Entry) -> None:
        """Record that the vendor is done with the call."""
        entry.duration = time.monotonic() - entry.arrived
        self._changed()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds`: `await journal.until(lambda: len(journal) >= 3)`. There is no time limit."""
        if holds():
            return
        watch = (holds, asyncio.get_running_loop().create_future())
        self._watched.append(watch)
        try:
            await watch[1]
        finally:
            self._watched.remove(watch)

    def _changed(self) -> None:
        for holds, future in self._watched:
            if not future.done() and holds():
                future.set_result(None)

    def new_month(self) -> None:
        """Begin a new billing month: every question costs again, and the counts start at zero."""
        for vendor in self.billing:
            self.billing[vendor] = Account()

    @property
    def dropped(self) -> int:
        """Entries lost to the memory bound; anything but 0 makes the counts below incomplete."""
        return self._written - len(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def since(self, number: int, limit: int) -> list[Entry]:
        """Return the entries after `number`, oldest first."""
        start = max(0, number - self.dropped)
        return list(islice(self._entries, start, start + limit))

    def calls(self, **wanted: Any) -> list[Entry]:
        """Return entries whose attributes equal `wanted`: `calls(vendor="hunter", question="a@b.io")`."""
        return [entry for entry in self._entries if _has(entry, wanted)]

    def answered_twice(self, vendor: str, status: int = 200) -> dict[str, int]:
        """Return questions answered more than once with `status`: a cache should have prevented these."""
        counts = Counter(entry.matter for entry in self.calls(vendor=vendor, status=status))
        return {question: count for (_, question), count in counts.items() if count > 1}

    def busiest_window(self, where: str, seconds: float) -> int:
        """Return the most arrivals in any sliding window; `where` is "hunter" or "hunter/email-verifier"."""
        window: deque[float] = deque()
        busiest = 0
        for entry in self._at(where):
            window.append(entry.arrived)
            while window[0] <= entry.arrived - seconds:
                window.popleft()
            busiest = max(busiest, len(window))
        return busiest

    def most_in_flight(self, where: str) -> int:
        """Return the most calls open at one moment; calls that are still open count to the end."""
        changes: list[tuple[float, int]] = []
        for entry in self._at(where):
            changes.append((entry.arrived, 1))
            if entry.duration is not None:
                changes.append((entry.arrived + entry.duration, -1))
        level = most = 0
        for _, change in sorted(changes):
            level += change
            most = max(most, level)
        return most

    def _at(self, where: str) -> Iterator[Entry]:
        vendor, _, route = where.partition("/")
        for entry in self._entries:
            if entry.vendor == vendor and (not route or entry.route == route):
                yield entry

    def as_json(self, since: int, limit: int) -> dict[str, Any]:
        """Return a page of entries, and the number to continue from."""
        entries = self.since(since, limit)
        return {
            "entries": [asdict(entry) for entry in entries],
            "next": entries[-1].number if entries else since,
            "written": self._written,
            "dropped": self.dropped,
        }

    def billing_as_json(self) -> dict[str, Any]:
        return {vendor: account.as_json() for vendor, account in sorted(self.billing.items())}


def _has(entry: Entry, wanted: dict[str, Any]) -> bool:
    return all(getattr(entry, name) == value for name, value in wanted.items())
