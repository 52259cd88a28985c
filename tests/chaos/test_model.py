"""Whatever writers, users, time and three daemons do to six leads, every document stands as it must.

Each rule is one thing that happens; the machine does it to the database and to the model, and after
each compares all documents with what the model says (`model.py`). A lease is never forgotten, so old
ones come back to write: those are the zombies.
"""

from __future__ import annotations

import copy
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeAlias, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from enricher.lead import Document, Lease, Progress, Subject
from enricher.mongo.expressions import id_key
from enricher.queue.settle import Settled
from tests.chaos import model_cases as cases
from tests.chaos.model import ModelLead
from tests.chaos.model_beside import ModelBeside
from tests.chaos.model_cases import IDS, Finding
from tests.chaos.model_daemons import (
    SimulatedDaemon,
    Store,
    open_store,
    together,
)
from tests.support.queueing import InterruptedBeside, once
from tests.support.rig import WRITES, Write

LeasePick: TypeAlias = tuple[int, int]

_EVENTS = ["a user asks again", "a delete", "a replace", "another's claim"]
_CHANGES = ["a correction", "a delete", "a replace"]
_ASKED_AGAIN = {"$set": {"enrichment_status": "pending"}}


class StoreMachine(RuleBasedStateMachine):
    """The database, the daemons that work on it, and the model of what must stand there."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store, self.collection, self.of_writers = store, store.collection, store.leads
        self.daemons = [store.daemon(number) for number in range(3)]
        self.leads: dict[bytes, ModelLead] = {}
        self.copies: dict[bytes, ModelLead] = {}
        self.leases: dict[bytes, list[tuple[SimulatedDaemon, Lease]]] = defaultdict(list)
        self.numbers = iter(range(10**9))
        store.do(store.empty())

    # -- what must be true after every step ------------------------------------------------

    @invariant()
    def every_document_stands_as_the_model_says(self) -> None:
        self._compare()

    def _compare(self) -> None:
        found = {id_key(document["_id"]): document for document in self.store.do(self.store.all())}
        assert found.keys() == self.leads.keys(), "a lead was lost, or one came back"
        for key, document in found.items():
            assert self.leads[key].differences_from(document) == {}

    @initialize(documents=st.tuples(*[cases.documents] * len(IDS)))
    def leads_stand_there_and_work_has_begun(self, documents: tuple[Document, ...]) -> None:
        for lead, document in enumerate(documents):
            self.a_writer_inserts_or_replaces_a_lead(lead, document)
        self.a_daemon_admits_leads_and_does_so_twice(0, set(range(len(IDS))))
        self.every_document_stands_as_the_model_says()
        for daemon in range(len(self.daemons)):
            self.a_daemon_claims(daemon, 2)

    # -- writers and users -----------------------------------------------------------------

    @rule(lead=cases.ids, document=cases.documents)
    def a_writer_inserts_or_replaces_a_lead(self, lead: int, document: Document) -> None:
        self.store.do(self._replace(lead, ModelLead({"_id": IDS[lead], **document})))

    @rule(lead=cases.ids, correction=cases.corrections)
    def a_writer_corrects_a_lead(self, lead: int, correction: Document) -> None:
        self.store.do(self._correct(lead, correction))

    @rule(lead=cases.ids)
    def a_writer_saves_the_lead_as_it_was_read_long_ago(self, lead: int) -> None:
        if self._known(lead) and (read := self.copies.get(id_key(IDS[lead]))):
            self.store.do(self._replace(lead, copy.deepcopy(read)))

    @rule(lead=cases.ids)
    def a_writer_deletes_a_lead(self, lead: int) -> None:
        self.store.do(self._delete(lead))

    @rule(lead=cases.ids)
    def a_user_asks_for_a_lead_again(self, lead: int) -> None:
        self.store.do(self._ask_again(lead))

    @rule(leads=st.sets(cases.ids, min_size=1), hours=st.sampled_from([-1, 3]))
    def time_passes(self, leads: set[int], hours: int) -> None:
        """Leases run out, retries and refreshes fall due; or almost."""
        for lead in leads:
            self.store.do(self._become_due(lead, hours))

    # -- daemons: from the insert to the lease ---------------------------------------------

    @rule(daemon=cases.daemons, leads=st.sets(cases.ids, min_size=1))
    def a_daemon_admits_leads_and_does_so_twice(self, daemon: int, leads: set[int]) -> None:
        ids = [IDS[lead] for lead in sorted(leads)]
        known = [lead for lead in map(self._known, sorted(leads)) if lead]
        changed = sum(lead.admitted() for lead in known)
        assert self.store.do(self.daemons[daemon].leads.admit(ids)) == changed
        assert self.store.do(self.daemons[daemon].leads.admit(ids)) == 0

    @rule(daemon=cases.daemons, slots=cases.slots)
    def a_daemon_claims(self, daemon: int, slots: int) -> None:
        self._claim(self.daemons[daemon], slots)

    @rule(slots=st.lists(cases.slots, min_size=3, max_size=3))
    def all_daemons_claim_at_once(self, slots: list[int]) -> None:
        work = self._work()
        claims = [each.leads.claim(n) for each, n in zip(self.daemons, slots, strict=True)]
        won = [claimed.leases for claimed in self.store.do(together(claims))]
        taken = sum(map(len, won)) + self._dropped()
        assert taken >= min(*slots, len(work)), "somebody wins each contested lead"
        for daemon, leases in zip(self.daemons, won, strict=True):
            self._won(daemon, leases)

    @rule(daemon=cases.daemons, slots=cases.slots, lead=cases.ids, event=st.sampled_from(_EVENTS))
    def something_happens_in_the_middle_of_a_claim(
        self, daemon: int, slots: int, lead: int, event: str
    ) -> None:
        """The candidates are read, one of them changes, and then they are taken."""
        self.store.do(self._become_due(lead, -1))
        claimer, another = self.daemons[daemon], self.daemons[daemon - 1]
        claimer.leads.meanwhile = partial(self._happen, event, lead, another)
        self._won(claimer, self.store.do(claimer.leads.claim(slots)).leases)
        claimer.leads.meanwhile = None

    @rule(daemon=cases.daemons, lead=cases.ids, event=st.sampled_from(_EVENTS))
    def a_daemon_takes_over(self, daemon: int, lead: int, event: str) -> None:
        """And whoever had the lead does not know it."""
        self.store.do(self._become_due(lead, -1))
        self.store.do(self._happen(event, lead, self.daemons[daemon - 1]))
        self.every_document_stands_as_the_model_says()
        self.a_daemon_admits_leads_and_does_so_twice(daemon, {lead})
        self.every_document_stands_as_the_model_says()
        self._claim(self.daemons[daemon], len(IDS))

    # -- daemons: with a lease, or with one that was lost long ago -------------------------

    @rule(pick=cases.leases, finding=cases.findings)
    def a_worker_keeps_what_it_has(self, pick: LeasePick, finding: Finding) -> None:
        for daemon, lease in self._held([pick]):
            outcome = finding.outcome(next(self.numbers))
            progress = Progress(
                outcome.data, {"clearbit": "found"}, Subject("a mailbox", "a company")
            )
            self.store.do(daemon.keeper.keep(lease, progress))
            if known := self._known_by(lease):
                known.kept(lease, progress, is_writable=finding.refusal is None)

    @rule(picks=cases.several_leases)
    def heartbeats_renew_leases(self, picks: list[LeasePick]) -> None:
        for daemon, leases in self._by_daemon(picks):
            lost = self.store.do(daemon.leads.renew(leases))
            known = [(self._known_by(lease), lease) for lease in leases]
            assert lost == [each for lead, each in known if not (lead and lead.renewed(each))]

    @rule(picks=cases.several_leases)
    def workers_release_leads(self, picks: list[LeasePick]) -> None:
        for daemon, leases in self._by_daemon(picks):
            given_back = self.store.do(daemon.leads.release(leases))
            known = [(self._known_by(lease), lease) for lease in leases]
            assert given_back == sum(bool(lead and lead.released(lease)) for lead, lease in known)

    @rule(
        picks=cases.several_leases,
        findings=st.lists(cases.findings, min_size=4, max_size=4),
        subject=cases.subjects,
    )
    def workers_settle_leads(
        self, picks: list[LeasePick], findings: list[Finding], subject: Subject | None
    ) -> None:
        settles, expected = [], []
        for (daemon, lease), finding in zip(self._held(picks), findings, strict=False):
            outcome = finding.outcome(next(self.numbers))
            settles.append(daemon.settler.settle(lease, outcome, subject))
            known = self._known_by(lease)
            answer = known and known.settled(lease, outcome, subject, finding.refusal)
            expected.append(answer or Settled.DELETED)
        assert self.store.do(together(settles)) == expected

    @rule(pick=cases.leases, email=cases.emails, finding=cases.findings, subject=cases.subjects)
    def the_address_changes_while_a_worker_asks(
        self, pick: LeasePick, email: object, finding: Finding, subject: Subject | None
    ) -> None:
        self.a_writer_corrects_a_lead(pick[0], {"email": email})
        self.a_worker_keeps_what_it_has(pick, finding)
        self.every_document_stands_as_the_model_says()
        self.workers_settle_leads([pick], [finding], subject)

    # -- what the rules are made of --------------------------------------------------------

    def _known(self, lead: int) -> ModelLead | None:
        return self.leads.get(id_key(IDS[lead]))

    def _known_by(self, lease: Lease) -> ModelLead | None:
        return self.leads.get(id_key(lease.lead_id))

    def _work(self) -> set[bytes]:
        return {key for key, lead in self.leads.items() if lead.is_work}

    def _held(self, picks: Iterable[LeasePick]) -> list[tuple[SimulatedDaemon, Lease]]:
        """The leases that were meant, without those that never were."""
        held = [(self.leases[id_key(IDS[lead])], age) for lead, age in picks]
        return [leases[-1 - age] for leases, age in held if age < len(leases)]

    def _by_daemon(
        self, picks: Iterable[LeasePick]
    ) -> Iterator[tuple[SimulatedDaemon, list[Lease]]]:
        held = self._held(picks)
        for daemon in self.daemons:
            if leases := [lease for holder, lease in held if holder is daemon]:
                yield daemon, leases

    def _claim(self, daemon: SimulatedDaemon, slots: int) -> None:
        work = self._work()
        leases = self.store.do(daemon.leads.claim(slots)).leases
        taken = len(leases) + self._dropped()
        assert taken == min(slots, len(work)), "nothing that is work is overlooked"
        self._won(daemon, leases)

    def _dropped(self) -> int:
        """How many results of deleted leads are gone since this was asked last."""
        return 0

    def _won(self, daemon: SimulatedDaemon, leases: list[Lease]) -> None:
        for lease in leases:
            known = self._known_by(lease)
            assert known, "a lead that is gone was claimed"
            assert known.is_work, f"lead {lease.lead_id!r} was claimed and was no work"
            key = id_key(lease.lead_id)
            self.copies[key] = copy.deepcopy(known)
            known.claimed(lease, daemon.holder)
            assert replace(lease.lead, waited_seconds=None, data_bytes=0) == known.as_leased
            self.leases[key].append((daemon, lease))

    async def _correct(self, lead: int, correction: Document) -> None:
        if correction and (known := self._known(lead)):
            await self.of_writers.update_one({"_id": IDS[lead]}, {"$set": correction})
            known.changed(correction)

    async def _replace(self, lead: int, new: ModelLead) -> None:
        written = {name: value for name, value in new.of_writers.items() if name != "_id"}
        await self.of_writers.replace_one({"_id": IDS[lead]}, written, upsert=True)
        self._stands(id_key(IDS[lead]), new)

    def _stands(self, key: bytes, new: ModelLead) -> None:
        self.leads[key] = new

    async def _delete(self, lead: int) -> None:
        await self.of_writers.delete_one({"_id": IDS[lead]})
        self._is_gone(id_key(IDS[lead]))

    def _is_gone(self, key: bytes) -> None:
        self.leads.pop(key, None)

    async def _become_due(self, lead: int, hours: int) -> None:
        known = self._known(lead)
        if known and known.due_at:
            due_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
            due = {"$set": {"enrichment.due_at": due_at}}
            await self.collection.update_one({"_id": IDS[lead]}, due)
            known.became_due(due_at)

    async def _ask_again(self, lead: int) -> None:
        await self.collection.update_one({"_id": IDS[lead]}, _ASKED_AGAIN)
        if known := self._known(lead):
            known.asked_again()

    async def _happen(self, event: str, lead: int, another: SimulatedDaemon) -> None:
        match event:
            case "a user asks again":
                await self._ask_again(lead)
            case "a delete":
                await self._delete(lead)
            case "a replace":
                await self._replace(lead, ModelLead({"_id": IDS[lead], "email": "new@quokka.com"}))
            case _:
                self._won(another, (await another.leads.claim(2)).leases)


class BesideMachine(StoreMachine):
    """The same where results stand beside the leads, which stay as their writers left them."""

    leads: dict[bytes, ModelBeside]  # type: ignore[assignment]  # by the way in which this one makes them

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.deleted: set[bytes] = set()

    @rule(daemon=cases.daemons, leads=st.sets(cases.ids, min_size=1))
    def a_daemon_hears_that_leads_were_deleted(self, daemon: int, leads: set[int]) -> None:
        """However late: others under the same ids may stand there by now, and have results."""
        for lead in leads:
            if (key := id_key(IDS[lead])) in self.deleted:
                self.store.do(self.daemons[daemon].leads.forget_deleted([IDS[lead]]))
                if known := self.leads.get(key):
                    known.dropped()

    @rule(
        daemon=cases.daemons,
        slots=cases.slots,
        lead=cases.ids,
        change=st.sampled_from(_CHANGES),
        correction=cases.corrections,
    )
    def a_lead_changes_while_its_result_is_claimed(
        self, daemon: int, slots: int, lead: int, change: str, correction: Document
    ) -> None:
        """The result is taken, and then its lead is read."""
        self.store.do(self._become_due(lead, -1))
        claimer = self.daemons[daemon]
        changing = partial(self._change, change, lead, correction)
        with once(_beside(claimer).before, changing):
            won = self.store.do(claimer.leads.claim(slots)).leases
        self._dropped()
        self._won(claimer, won)

    @rule(
        pick=cases.leases,
        change=st.sampled_from([*_CHANGES, "a user asks again"]),
        correction=cases.corrections,
        finding=cases.findings,
        subject=cases.subjects,
    )
    def a_lead_changes_while_its_result_is_settled(
        self,
        pick: LeasePick,
        change: str,
        correction: Document,
        finding: Finding,
        subject: Subject | None,
    ) -> None:
        """The lead is read, and then its result is written."""
        for daemon, lease in self._held([pick]):
            outcome = finding.outcome(next(self.numbers))
            known = self.leads.get(id_key(lease.lead_id))
            read = copy.deepcopy(known.lead) if known else None
            changing = partial(self._change, change, pick[0], correction)
            with once(_beside(daemon).after, changing):
                settled = self.store.do(daemon.settler.settle(lease, outcome, subject))
            known = self.leads.get(id_key(lease.lead_id), ModelBeside({}))
            written = (lease, outcome, subject, finding.refusal)
            assert settled == known.settled_after_reading(read, *written)

    # -- what the rules are made of --------------------------------------------------------

    async def _change(self, change: str, lead: int, correction: Document) -> None:
        if change == "a correction":
            await self._correct(lead, correction)
        else:
            await self._happen(change, lead, self.daemons[0])

    def _compare(self) -> None:
        leads = {id_key(lead["_id"]): lead for lead in self.store.do(self.store.of_writers())}
        assert leads == {key: known.lead for key, known in self.leads.items() if known.lead}
        self._dropped()
        results = {id_key(each["_id"]): each for each in self.store.do(self.store.all())}
        entered = {key: known for key, known in self.leads.items() if known.document}
        assert results.keys() == entered.keys(), "a result was lost, or one came back"
        for key, result in results.items():
            assert entered[key].differences_from(result) == {}

    def _dropped(self) -> int:
        results = {id_key(each["_id"]) for each in self.store.do(self.store.all())}
        gone = [
            known
            for key, known in self.leads.items()
            if known.lead is None and known.document and key not in results
        ]
        for known in gone:
            known.dropped()
        self.leads = {key: known for key, known in self.leads.items() if known.is_there}
        return len(gone)

    def _stands(self, key: bytes, new: ModelLead) -> None:
        self.leads.setdefault(key, ModelBeside({})).lead = copy.deepcopy(new.of_writers)

    def _is_gone(self, key: bytes) -> None:
        if known := self.leads.get(key):
            self.deleted.add(key)
            known.lead = None


def _beside(daemon: SimulatedDaemon) -> InterruptedBeside:
    assert daemon.beside
    return daemon.beside


_MACHINES: dict[Write, type[StoreMachine]] = {"lead": StoreMachine, "beside": BesideMachine}


def _explore(uri: str, write: Write, how: settings) -> None:
    with open_store(uri, f"test_{uuid.uuid4().hex}", write) as store:
        made = partial(_MACHINES[write], store)
        machine = cast("type[StoreMachine]", made)  # any factory will do
        run_state_machine_as_test(machine, settings=how)


_HOW = settings(
    database=None,
    deadline=None,  # a step waits for a database
    suppress_health_check=list(HealthCheck),  # they count seconds, and a real database takes some
    print_blob=True,
)


@pytest.mark.timeout(600)  # a failure is made small before it is shown
@pytest.mark.parametrize(("write", "examples"), [("lead", 60), ("beside", 30)])
def test_every_lead_stands_as_the_contract_says_after_any_interleaving(
    mongodb_uri: str, write: Write, examples: int
) -> None:
    """The same steps in each run."""
    how = settings(_HOW, derandomize=True, max_examples=examples, stateful_step_count=50)
    _explore(mongodb_uri, write, how)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("write", WRITES)
def test_and_after_many_more_interleavings(mongodb_uri: str, write: Write) -> None:
    """Others in each run; a failure prints how to repeat it."""
    _explore(mongodb_uri, write, settings(_HOW, max_examples=250, stateful_step_count=60))
