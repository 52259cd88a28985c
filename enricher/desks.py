"""PURE Whether a desk reads a mailbox, or a machine writes from it, by its local part alone.

A desk costs the lead its person call and no more, so it need not be certain; yet nobody's own name
may make a desk of them. Hence three kinds of words:

    whole    a desk when nothing else stands there: personal@, legal@; legal.anna@ is Anna
    first    also in front of one more word: vendas.sp@, info-berlin@
    beside   no desk by themselves, but no name either: sales-team@, central.de.atendimento@

Words of the first two kinds may stand together in any order, with or without a sign between them.
Accents and numbers do not count; German umlauts count in both of their spellings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_EN_FIRST = """
    abuse accounting accounts accountspayable accountsreceivable admin administration
    administrator advertising billing booking bookings businessdevelopment compliance contact
    contacts contactus customercare customerrelations customers customerservice customerservices
    customersuccess customersupport dataprotection development dispatch enquiries enquiry
    feedback finance frontdesk helpdesk hostmaster humanresources info information inquiries
    inquiry inquiries investorrelations investors invoice invoices invoicing itsupport logistics
    mailbox maintenance management marketing membership newsletter office operations order orders
    partnerships payments payroll pressoffice privacy procurement purchase purchases purchasing
    quotes reception receptionist recruiting recruitment reservation reservations sales
    salesteam secretariat secretary servicedesk servicing shipping subscribe subscriptions support
    sysadmin techsupport tickets unsubscribe warehouse webmaster welcome
"""
_EN_WHOLE = """
    business careers commercial communications data desk dev developer developers devops dpo
    editor editorial email events gdpr general hello help hr infos it jobs legal mail media
    member noc ops partner partners personal press returns root security service services shop
    social staff store team tech technical test training trade usenet web www
    apply bids board claims concierge deals design engineering estimating fleet hi hire hiring
    hey inbox leads news newsroom projects quality rfq safety talent tenders trust vendors
"""
_PT_FIRST = """
    administracao administrativo administradora almoxarifado agendamento agendamentos assessoria
    assistencia atendimento atendimentoaocliente bilheteria boleto boletos cadastro captacao
    centraldeatendimento cobranca cobrancas comercial compras comunicacao comunicados contabil
    contabilidade contasapagar contasareceber contato contatos controladoria coordenacao curriculo
    curriculos departamentopessoal desenvolvimento diretoria emissao encomendas engenharia
    entregas escritorio eventos expedicao exportacao faleconosco faturamento faturas financeiro
    fornecedores gerencia gestao importacao imprensa informatica inscricoes juridico licitacao
    licitacoes logistica loja lojas manutencao marketing matricula matriculas notafiscal
    notasfiscais obras operacional operacoes orcamento orcamentos ouvidoria parcerias pedido
    pedidos portaria posvenda posvendas prefeitura prevendas privacidade producao projetos qualidade
    recepcao recrutamento recursoshumanos relacionamento reservas secretaria selecao seguranca
    suporte suprimentos tesouraria televendas trabalheconosco transporte transportes vagas venda
    vendas
"""
_PT_WHOLE = """
    adm ajuda atacado central cliente clientes consultas consultoria contador copa cpd depto direcao
    encarregado faturas fiscal financas frota lgpd nf nfe nfse pcp rh sac seguros sindico
    tecnico treinamento turismo varejo xml
"""
_ES_FIRST = """
    administracion almacen almacenes archivo asesoria asistencia atencion atencionalcliente
    atencioncliente atencionclientes ayuda ayuntamiento calidad cobranza cobranzas cobros
    comunicacion comunicaciones contabilidad contacto contactos contactenos contrataciones
    contratacion cotizaciones despacho direccion distribucion empleo empleos expediciones
    exportacion exportaciones facturacion facturas finanzas formacion gerencia informacion
    informes inscripciones licitaciones logistica mantenimiento matriculas mercadeo oficina
    operaciones pagos pedidos prensa presupuestos privacidad produccion protecciondedatos
    proveedores proyectos quejas recepcion reclamaciones reclamos recursoshumanos rrhh
    reservaciones secretaria seguridad seleccion servicioalcliente servicioscliente soporte
    sugerencias taller talentohumano tesoreria tienda turnos ventas
"""
_ES_WHOLE = """
    alumnos caja citas compra consulta hola hotel informatica legal obra pago reserva servicio
    servicios sistemas sac tecnica transporte turno venta
"""
_FR_FIRST = """
    abonnement abonnements accueil achat achats adhesion adhesions administratif agence assistance
    atelier bonjour boutique candidature candidatures commande commandes commercial commerciale
    commerciaux comptabilite compta comptable communication contactez contentieux courrier
    demande devis direction directiongenerale editions emploi evenements expedition expeditions
    facturation facture factures formation formations fournisseurs gestion informatique
    inscription inscriptions juridique livraison livraisons logistique mairie magasin
    maintenance qualite reception reclamation reclamations recrutement redaction rendezvous
    renseignement renseignements reservation reservations ressourceshumaines secretariat
    serviceclient serviceclients technique travaux vente ventes
"""
_FR_WHOLE = """
    aide bureau cabinet client clients ecole infos paie presse rdv rgpd rh sav stage stages standard syndic
"""
_DE_FIRST = """
    abrechnung administration anfrage anfragen angebot angebote anmeldung annahme arbeitsschutz
    auftrag auftraege auskunft bestellung bestellungen bewerbung bewerbungen buchhaltung buchung
    buchungen buero chefsekretariat datenschutz dienstleistung disposition einkauf empfang
    entwicklung fakturierung finanzbuchhaltung geschaeftsfuehrung geschaeftsleitung geschaeftsstelle
    gutscheine haustechnik hausverwaltung immobilien infopost karriere kasse kundenbetreuung
    kundencenter kundendienst kundenservice kundensupport kontakt konstruktion leitung logistik
    lohnbuchhaltung mahnung mahnungen mahnwesen marketing mitglieder nachricht notdienst
    oeffentlichkeitsarbeit personalabteilung personalwesen poststelle produktion
    qualitaetsmanagement rechnung rechnungen rechnungseingang rechnungswesen redaktion reklamation
    reklamationen reservierung reservierungen rezeption sekretariat sekretaerin service
    stellenangebote steuerberatung technik telefonzentrale termine terminvereinbarung
    verkauf versand vertrieb vertriebsinnendienst verwaltung werbung werkstatt zentrale
"""
_DE_WHOLE = """
    ausbildung fibu gemeinde hallo hilfe kanzlei labor lager lohn personal post praxis presse rathaus
    team termin verein vorstand
"""
_IT_FIRST = """
    acquisti amministrazione assistenza assistenzaclienti candidature clienti commerciale
    comunicazione condominio contabilita contatti contatto direzione fatturazione fatture fornitori
    formazione informazioni iscrizioni lavoraconnoi logistica magazzino manutenzione negozio
    ordine ordini pagamenti preventivi preventivo prenotazione prenotazioni produzione
    progettazione protocollo reclami redazione risorseumane segreteria servizioclienti spedizioni
    tecnico ufficio ufficioacquisti ufficiocommerciale ufficiogare ufficiopersonale ufficiostampa
    ufficiotecnico ufficiovendite vendite
"""
_IT_WHOLE = "comune curriculum gare hotel legale officina pec personale qualita reception sindaco stampa studio"
_NL_FIRST = """
    administratie afspraak afspraken bestelling bestellingen boekhouding boekingen communicatie
    debiteuren directie facturatie facturen factuur inkoop inschrijven klacht klachten
    klantenservice klantenservices klantcontact ledenadministratie magazijn offerte offertes
    personeelszaken receptie reserveren reserveringen secretariaat servicedesk vacature vacatures
    verhuur verkoop verzending werkplaats
"""
_NL_WHOLE = "directeur pers planning sollicitatie solliciteren winkel"
_PL_FIRST = """
    administracja biuro dokumenty faktura faktury gabinet handlowy hurtownia infolinia kadry
    kadryplace kancelaria kontakt ksiegowosc logistyka magazyn marketing obslugaklienta obsluga
    oferta oferty produkcja recepcja reklamacje rekrutacja rezerwacja rezerwacje sekretariat
    serwis sklep sprzedaz szkolenia transport wysylka zakupy zamowienia zamowienie zapytania
    zarzad
"""
_PL_WHOLE = "finanse handel iod praca rodo szkola"

_BESIDE = """
    ap ar br center central centre cliente clientes client clients commerciale da dal das de del
    della departamento department dept depto des di do dos du equipe equipo et group global hq
    humanas humanos humaines interno la main national online pessoal service servico servicio
    setor sector team tecnico und umane uk us
"""
"""No single letters: e.sales@ is somebody."""

_BELOW = {
    "ti": "br pt es mx ar cl co pe",
    "dp": "br",
    "gf": "de at ch",
    "qm": "de at ch",
    "bok": "pl",
    "ced": "it",
}
"""Initials anywhere but at companies of these countries."""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(" ".join(texts).split())


@dataclass(frozen=True, slots=True, eq=False)
class Desks:
    """The words by the part they play. `whole` has those of `first` too, `known` has all."""

    first: frozenset[str]
    whole: frozenset[str]
    known: frozenset[str]
    countries: Mapping[str, frozenset[str]]
    """Words that are a desk's only below these top-level domains."""

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Desks:
        """With words more, which a place or a number may follow, and without others."""
        more, less = frozenset(added), frozenset(removed)
        return Desks(
            (self.first | more) - less,
            (self.whole | more) - less,
            (self.known | more) - less,
            {word: tlds for word, tlds in self.countries.items() if word not in less},
        )


def _by_the_lists() -> Desks:
    first = _words(
        _EN_FIRST, _PT_FIRST, _ES_FIRST, _FR_FIRST, _DE_FIRST, _IT_FIRST, _NL_FIRST, _PL_FIRST
    )
    whole = first | _words(
        _EN_WHOLE, _PT_WHOLE, _ES_WHOLE, _FR_WHOLE, _DE_WHOLE, _IT_WHOLE, _NL_WHOLE, _PL_WHOLE
    )
    countries = {word: frozenset(tlds.split()) for word, tlds in _BELOW.items()}
    return Desks(first, whole, whole | _words(_BESIDE), countries)


DESKS = _by_the_lists()

_LONGEST_INITIALS = 3
"""i.t@ and h.r@ are people, it@ and hr@ are not."""
_MOST_WORDS = 2
"""info-berlin@ is a desk; who knows what a.long.row.of.words is."""
_LEAST_LETTERS = 4
"""Of a word that stands against another without a sign."""

_DIGITS = "0123456789"
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ł": "l", "ø": "o"})
_BARE = str.maketrans({"ß": "ss", "ł": "l", "ø": "o"})

_SYSTEM = re.compile(
    r"""(?: (?:no|dont|do[-._]?not)[-._]?reply
            | n(?:ao|o)[-._]?(?:respond(?:a|e|er|as|am|emos)|contest(?:ar|e|a))
            | (?:ne[-._]?)?pas[-._]?(?:repondre|de[-._]?reponse) | sans[-._]?reponse
            | (?:bitte[-._]?)?nicht[-._]?(?:be)?antworten | keine[-._]?antwort(?:en)?
            | non[-._]?rispond(?:ere|i|ete)
            | nie[-._]?odpowiada(?:c|j|my)
            | niet[-._]?(?:be)?antwoorden | geen[-._]?antwoord | niet[-._]?reageren
            | (?:mailer|mail)[-._]?daemon | postmaster | bounces?
            | auto[-._]?(?:reply|responder) | nobody | null | devnull )
        (?: [-._=0-9] .* )? \Z""",
    re.VERBOSE | re.DOTALL,
)
_NO_REPLY_AT_THE_END = re.compile(r".+[-._]no[-._]?reply\d*\Z", re.DOTALL)


def is_system(local: str) -> bool:
    """A machine writes from it and nobody reads it."""
    return any(map(_is_system, _spellings(local)))


def is_desk(local: str, host: str, desks: Desks = DESKS) -> bool:
    """A desk reads it, not a person. `host` only matters for two-letter words."""
    return any(_is_desk(each, host, desks) for each in _spellings(local))


def desk_key(local: str) -> str:
    """As an operator's own names for desks are compared: no case, accents, signs or numbers."""
    return _without_number("".join(_words_of(_spellings(local)[0])))


def _spellings(local: str) -> list[str]:
    """In small letters without accents: as they are left out, and as German writes them out."""
    text = local.lower()
    if text.isascii():
        return [text]
    text = unicodedata.normalize("NFC", text)
    return [_without_accents(text.translate(each)) for each in (_BARE, _WRITTEN_OUT)]


def _without_accents(text: str) -> str:
    return "".join(
        each for each in unicodedata.normalize("NFD", text) if not unicodedata.combining(each)
    )


def _is_system(local: str) -> bool:
    if _SYSTEM.match(local):
        return True
    return "reply" in local and _NO_REPLY_AT_THE_END.match(local) is not None


def _is_desk(local: str, host: str, desks: Desks) -> bool:
    name = _without_number(local)
    if name in desks.whole:
        return True
    words = _words_of(name)
    if len(words) > 1:
        return _are_a_desks([_without_number(word) for word in words if word], desks)
    return _is_initials_of_a_desk(name, host, desks) or _is_compound(name, desks)


def _words_of(local: str) -> list[str]:
    return local.replace("-", ".").replace("_", ".").split(".")


def _without_number(word: str) -> str:
    """A number alone stays."""
    return word.strip(_DIGITS) or word


def _is_initials_of_a_desk(name: str, host: str, desks: Desks) -> bool:
    return name in desks.countries and host.rpartition(".")[2] in desks.countries[name]


def _are_a_desks(words: list[str], desks: Desks) -> bool:
    if not words:
        return False
    if len(words) <= _MOST_WORDS and words[0] in desks.first:
        return True
    joined = "".join(words)
    if joined in desks.whole:
        return len(joined) > _LONGEST_INITIALS
    return desks.known.issuperset(words) and not desks.whole.isdisjoint(words)


def _is_compound(word: str, desks: Desks) -> bool:
    """suportetecnico@, kundenservice@: two words that are each known."""
    cuts = range(_LEAST_LETTERS, len(word) - _LEAST_LETTERS + 1)
    return any(word[:cut] in desks.whole and word[cut:] in desks.known for cut in cuts)
