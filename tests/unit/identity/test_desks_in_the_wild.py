"""Local parts as they stand before an "@": desks, people and machines, in eight languages.

The rows were written before any list was. Domains matter for two-letter words: `ti@` is an IT desk
in Brazil and somebody's initials elsewhere.
"""

from __future__ import annotations

import pytest

from enricher.identity.identify import identify
from enricher.lead import Inputs, Reason

DESKS = {
    "com.br": """
        contato atendimento faleconosco fale-conosco sac sac2 suporte suporte.tecnico financeiro
        financeiro01 faturamento cobranca cobrança vendas vendas2 vendas.sp comercial comercial-rj
        orcamento orçamentos compras licitacao licitações ouvidoria secretaria secretaria.escolar
        diretoria gerencia administrativo adm rh rh.curriculos vagas nfe boletos juridico
        pos-venda posvendas loja loja.centro marketing ti dp almoxarifado assessoria
        central.de.atendimento departamento.pessoal
    """,
    "es": """
        ventas ventas1 facturacion facturación atencionalcliente atencion.cliente pedidos
        presupuestos administracion contabilidad rrhh recepcion reservas tienda soporte.tecnico
        informacion proveedores direccion almacen clientes
    """,
    "fr": """
        accueil comptabilite comptabilité compta devis commandes serviceclient service.client
        service-commercial secretariat direction recrutement factures reservation sav mairie
        renseignements boutique agence.lyon ressources.humaines
    """,
    "de": """
        kontakt buchhaltung einkauf vertrieb verkauf bestellung bestellungen rechnungen
        kundenservice bewerbung personalabteilung geschäftsführung geschaeftsfuehrung buero büro
        verwaltung zentrale empfang werkstatt praxis gf kunden-service
    """,
    "it": """
        amministrazione segreteria commerciale ufficio.acquisti ufficioacquisti acquisti
        contabilità contabilita fatturazione assistenza ordini preventivi prenotazioni direzione
        magazzino risorse.umane
    """,
    "nl": "verkoop klantenservice administratie boekhouding inkoop receptie facturen planning",
    "pl": "biuro sekretariat sprzedaz sprzedaż ksiegowosc księgowość zamowienia kadry rekrutacja",
    "com": """
        info info2 sales sales-team hello support customer.service accounts.payable
        accounts_receivable office enquiries bookings careers helpdesk ap-invoices newsletter
        front.desk
    """,
}
"""A desk reads it. The key is the top-level domain of the company."""

PEOPLE = {
    "com.br": """
        sandra.lopes joao.sales sergio.compras ines.silva rosario vera gloria dora.vendas.lima
        pedro.legal fiscal.joao.maria.x marina.lojas tiago adma rhaissa sacha comba vagner
        diretor.silva.neto orlando juri
    """,
    "es": "carmen.tienda ines soledad consuelo dolores jose.ventas mercedes turnos.x.perez.gomez",
    "fr": "aide.martinez pierre.bureau marc.cabinet client.eastwood florence agathe devise",
    "de": "max.weber lager.thomas anna.lager winkel.jan thomas.buchhalter frank.werk max gerlinde",
    "it": "clara.bella studio.rossi.mario andrea.ufficio mario.prada italo legale.anna",
    "nl": "winkel.jan jan.verkoop planning.p jan personne",
    "pl": "handel.g praca.maria jan.biurowski bok.anna maria.kadra",
    "com": """
        john.sales steve.jobs will mark grant bill page dean summer.hall max.mustermann ti dp gf qm
        i.t h.r jane.press peter.post alexa paris berlin ny bob.marketing art infante supporta
        salesh helper officer
    """,
}
"""Somebody's own mailbox, however much it looks like a desk."""

MACHINES = """
    noreply no-reply no.reply noreply2 donotreply do-not-reply naoresponda nao-responda
    nao.responda não-responda naoresponder nao_responder no-responder noresponder no-responda
    noresponda no-contestar ne-pas-repondre nepasrepondre ne_pas_répondre nicht-antworten
    nichtantworten keine-antwort keineantwort bitte-nicht-antworten non-rispondere nonrispondere
    nie-odpowiadac nieodpowiadaj niet-beantwoorden nietantwoorden geen-antwoord mailer-daemon
    postmaster bounces no-reply-orders noreply+abc reply-not nao-responda-nfe
"""
"""A machine writes from it. (The last but one is no known way of saying so, and a test of the rest.)"""

WRITERS = "noreen norah.reply nao.tanaka nonna nicholas.antwort nepomuk noresh niet.jan nao".split()
"""People whose names begin like a machine's."""

WORTH = 0.95


def _is_desk(local: str, tld: str) -> bool:
    return identify(Inputs(email=f"{local}@acme.{tld}")).is_role


def _is_machine(local: str) -> bool:
    return identify(Inputs(email=f"{local}@acme.com")).reason is Reason.SYSTEM_ADDRESS


def _rows(table: dict[str, str]) -> list[tuple[str, str]]:
    return [(local, tld) for tld, names in table.items() for local in names.split()]


def test_nearly_every_desk_in_the_wild_is_known() -> None:
    strange = [f"{local}@.{tld}" for local, tld in _rows(DESKS) if not _is_desk(local, tld)]
    assert len(strange) <= len(_rows(DESKS)) * (1 - WORTH), strange


def test_hardly_any_person_is_taken_for_a_desk() -> None:
    taken = [f"{local}@.{tld}" for local, tld in _rows(PEOPLE) if _is_desk(local, tld)]
    assert len(taken) <= len(_rows(PEOPLE)) * (1 - WORTH), taken


def test_nearly_every_machine_in_the_wild_is_skipped() -> None:
    missed = [local for local in MACHINES.split() if not _is_machine(local)]
    assert len(missed) <= len(MACHINES.split()) * (1 - WORTH), missed


@pytest.mark.parametrize("local", WRITERS)
def test_a_name_that_begins_like_a_machines_is_a_persons(local: str) -> None:
    assert not _is_machine(local)
