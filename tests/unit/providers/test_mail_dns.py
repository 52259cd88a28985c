"""MX look-ups against a name server of the test's own: what is certain, what is not, and what is kept."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns.asyncresolver import Resolver

from enricher.answer import Found, Kind, Query
from enricher.calls.question import Gate, Retries
from enricher.enrichment.attempt import Enrichment, Subjects, Waterfall
from enricher.enrichment.conclude import AttemptPolicy
from enricher.identity.identify import identify
from enricher.lead import Inputs, Lead
from enricher.providers import mail_dns, registry
from enricher.providers.local import Local
from enricher.providers.mail_dns import (
    ADDRESS_ALONE,
    MOST_DOMAINS,
    MX,
    NO_DOMAIN,
    NO_MX,
    NULL_MX,
    MailDns,
    MailRecords,
)
from enricher.providers.transport import open_client
from enricher.settings.load import load
from tests.support.scripted import KEYRING, keep_nothing, provider, verdict
from tests.support.waiting import business

ZONE: Mapping[str, Mapping[str, str]] = {
    "quokka.com": {"MX": "10 mx.quokka.com."},
    "null-mx.com": {"MX": "0 ."},
    "address.com": {"A": "192.0.2.1"},
    "address-6.com": {"AAAA": "2001:db8::1"},
    "nothing.com": {"TXT": "x"},
}
"""Names that are not in it do not exist."""


class NameServer(asyncio.DatagramProtocol):
    """Answers from a zone; `broken` names fail, `silent` ones get no answer at all."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.is_broken = self.is_silent = False
        self.wait = asyncio.Event()
        self.wait.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # 3.11's is none by name

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        self.asked[name] += 1
        await self.wait.wait()
        if not self.is_silent:
            self.transport.sendto(self._reply(query, name).to_wire(), addr)

    def _reply(self, query: dns.message.Message, name: str) -> dns.message.Message:
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        if self.is_broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in ZONE:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif kind in ZONE[name]:
            reply.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", kind, ZONE[name][kind]))
        return reply


@asynccontextmanager
async def served() -> AsyncIterator[tuple[NameServer, Resolver]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    resolver.timeout = resolver.lifetime = 0.2 * business()
    try:
        yield server, resolver
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("quokka.com", MX),
        ("null-mx.com", NULL_MX),
        ("address.com", ADDRESS_ALONE),
        ("address-6.com", ADDRESS_ALONE),
        ("nothing.com", NO_MX),
        ("no-such-domain.com", NO_DOMAIN),
        (f"{'x' * 64}.com", None),
    ],
)
async def test_what_the_dns_says_of_a_domain(domain: str, expected: MailRecords | None) -> None:
    async with served() as (_, resolver):
        assert await MailDns(resolver).records(domain) == expected


@pytest.mark.parametrize("trouble", ["is_broken", "is_silent"])
async def test_trouble_with_the_dns_is_no_answer_and_soon_forgotten(trouble: str) -> None:
    now = [0.0]
    async with served() as (server, resolver):
        mail = MailDns(resolver, lambda: now[0])
        setattr(server, trouble, True)
        assert await mail.records("quokka.com") is None
        setattr(server, trouble, False)
        assert await mail.records("quokka.com") is None
        now[0] += mail_dns.FORGOTTEN_SECONDS + 1
        assert await mail.records("quokka.com") == MX


async def test_without_a_name_server_nothing_is_known() -> None:
    assert await MailDns(Resolver(configure=False)).records("quokka.com") is None


@pytest.mark.parametrize("domain", ["quokka.com", "no-such-domain.com"])
async def test_an_answer_is_kept_for_its_time_a_refusal_too(domain: str) -> None:
    now = [0.0]
    async with served() as (server, resolver):
        mail = MailDns(resolver, lambda: now[0])
        first = [await mail.records(domain) for _ in range(5)]
        assert server.asked[domain] == 1
        now[0] += mail_dns.REMEMBERED_SECONDS + 1
        assert await mail.records(domain) == first[0]
        assert server.asked[domain] == 2


async def test_colleagues_who_come_together_ask_once_also_when_the_first_gives_up() -> None:
    async with served() as (server, resolver):
        resolver.timeout = resolver.lifetime = 30.0
        server.wait.clear()
        mail = MailDns(resolver)
        first, *others = (asyncio.create_task(mail.records("quokka.com")) for _ in range(20))
        await asyncio.sleep(0)
        first.cancel()
        server.wait.set()
        assert await asyncio.gather(*others) == [MX] * 19
        assert server.asked == {"quokka.com": 1}


@pytest.mark.slow
async def test_no_more_than_so_many_domains_are_kept() -> None:
    mail = MailDns(Resolver(configure=False))
    hosts = [f"host-{number}.com" for number in range(MOST_DOMAINS + 50)]
    for begin in range(0, len(hosts), 500):
        await asyncio.gather(*map(mail.records, hosts[begin : begin + 500]))
    assert list(mail._known) == hosts[50:]


# -- what follows for a lead ----------------------------------------------------------------


async def email_of(resolver: Resolver, email: str) -> tuple[dict[str, object], int]:
    """The verification of a lead, and how often the paid verifier was asked."""
    paid = provider("hunter", verdict(status="valid"), Kind.EMAIL, required=["status"])
    gates = [Gate(each, Retries(tries=1), Random(1)) for each in (Local(MailDns(resolver)), paid)]
    policy = AttemptPolicy(3, timedelta(seconds=60), 30)
    work = Enrichment(Waterfall(gates, {}), Subjects(KEYRING), policy)
    outcome, _ = await work.work_on(Lead(1, Inputs(email=email)), keep_nothing)
    found: dict[str, object] = outcome.data["email_verification"]
    return found, len(paid.asked)


@pytest.mark.parametrize("domain", ["no-such-domain.com", "null-mx.com"])
async def test_where_nobody_can_be_written_to_no_check_is_paid_for(domain: str) -> None:
    async with served() as (_, resolver):
        found, asked = await email_of(resolver, f"ada@{domain}")
    assert (found["status"], found["mx_records"], asked) == ("invalid", False, 0)


@pytest.mark.parametrize(("domain", "has_mx"), [("nothing.com", False), ("quokka.com", True)])
async def test_anything_else_is_left_to_the_verifier(domain: str, *, has_mx: bool) -> None:
    async with served() as (_, resolver):
        found, asked = await email_of(resolver, f"ada@{domain}")
    assert (found["status"], found["mx_records"], asked) == ("valid", has_mx, 1)


@pytest.mark.parametrize("trouble", ["is_broken", "is_silent"])
async def test_trouble_with_the_dns_fails_no_lead(trouble: str) -> None:
    async with served() as (server, resolver):
        setattr(server, trouble, True)
        found, asked = await email_of(resolver, "ada@quokka.com")
    assert (found["status"], "mx_records" in found, asked) == ("valid", False, 1)


@pytest.mark.parametrize("email", ["ada@gmail.com", "ada@mailinator.com", "no address", ""])
async def test_the_dns_is_not_asked_where_it_has_nothing_to_say(email: str) -> None:
    async with served() as (server, resolver):
        await Local(MailDns(resolver)).ask(identify(Inputs(email=email)).query)
        assert not server.asked


@pytest.mark.parametrize(("value", "is_asked"), [(None, False), ("true", True)])
async def test_it_is_off_unless_the_operator_turns_it_on(
    value: str | None, *, is_asked: bool
) -> None:
    settings = load({"ENRICHER_MX_LOOKUP": value} if value else {}, None)
    async with open_client() as http:
        mx_lookup = settings.identity.mx_lookup
        local = registry.build(http, {}, {}, others=(), mx_lookup=mx_lookup).providers[0]
    assert isinstance(local, Local)
    assert (local._mail is not None) is is_asked
    if not is_asked:
        answer = await local.ask(Query(email="ada@no-such-domain.com"))
        assert isinstance(answer, Found)
        assert "mx_records" not in answer.sections[Kind.EMAIL.section]


@pytest.mark.slow
def test_the_resolver_is_loaded_only_where_the_dns_is_asked() -> None:
    program = "import sys, enricher.app; sys.exit('dns.resolver' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
