"""PURE One e-mail address out of what people type, paste and import, and whether a person stands behind it.

`read` takes a display name, a list of addresses and whatever is wrapped around them for what they are. It
never guesses: "john doe@acme.com" is no address, because asking about
doe@acme.com could mean asking about somebody else.

The address that vendors are asked about has no +tag (a tag is the person's own note, and vendors
know the mailbox without it); its local part keeps its case, which only its own server may fold.

`is_desk` and `is_system` recognise role addresses and machines by the local part alone. A role address costs
the lead its person call and no more, so the verdict need not be certain; yet no person's own name may count as
one. Hence three kinds of words:

    whole     a role if nothing else is there: personal@, legal@; legal.anna@ is Anna
    first     also in front of one more word: vendas.sp@, info-berlin@
    beside    no role by themselves, but no name either: sales-team@, central.de.atendimento@

Words of the first two kinds may be combined in any order, with or without a separator. Some beginnings and
endings (atendimento…, …abteilung) make any word a role. Accents and numbers are ignored; German umlauts match
in both of their spellings.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from email_validator import validate_email

from enricher.identity.domains import Domain, DomainKind, ascii_host, classify
from enricher.identity.wordlists import SAYS_NOTHING

# What stands around an address or a web site when it was typed, pasted or exported.
#
# One reader for both fields, and so for whoever is asked to be forgotten: quotes of all kinds,
# brackets, `mailto:` and other labels, HTML and Markdown links, spreadsheets' apostrophes and
# formulas, percent and HTML encoding, and the letters and dots of East Asian keyboards.
#
# It takes off what cannot belong to what is inside, and guesses nothing away: what is left over is
# judged by whoever reads an address or a host.

_INVISIBLE = re.compile(
    "[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
_JOINERS = "\u200c\u200d"
"""Legal within Persian and Indic names, so they are only stripped at the ends."""

_FULL_WIDTH = {chr(0xFF01 + index): chr(0x21 + index) for index in range(94)}
_SPELLED: dict[str, str] = _FULL_WIDTH | {
    **dict.fromkeys("\u3002\uff61", "."),
    **dict.fromkeys("\u3001\uff64", ","),
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u2033\u300c\u300d", '"'),
    **dict.fromkeys("\u3010\u3014", "["),
    **dict.fromkeys("\u3011\u3015", "]"),
    **dict.fromkeys("\u3008\u300a\u27e8", "<"),
    **dict.fromkeys("\u3009\u300b\u27e9", ">"),
    **dict.fromkeys("\u2022\u00b7\u2219\u30fb", ";"),
    **dict.fromkeys("\u00a0\u3000", " "),
    "\u2026": "...",
}
_PLAIN = str.maketrans(_SPELLED)
"""What Asian keyboards, word processors and other alphabets write for ASCII signs."""

_LINK = re.compile(
    r"""href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))"""  # HTML
    r"""|\]\(\s*<?([^\s()<>]+)[^()]*\)"""  # Markdown
    r"""|\A=hyperlink\(\s*"([^"]*)\"""",  # a spreadsheet's formula
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:mailto|smtp|e-?mail|mail|ur[li]|link|web ?(?:site|page)?|site|home ?page|view-source)\s*[:=]\s*(?://)?",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9a-f]{1,5}|[a-z]{2,8}\d?);", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:p|br|div|span|b|i|u|em|strong|font|li|ul|ol|td|tr|small|h[1-6])(?:\s[^<>]*|/)?>",
    re.IGNORECASE,
)
_COMMA = re.compile(
    r"(?<=[a-z0-9]),(?=(?:(?:com|net|org)\b|[a-z]{2}\b)(?:[,.][a-z]{2})?(?:[\s/>)]|\Z))"
)
"""Typed instead of the full stop: acme,com and acme.com,br. In capitals it may be a column for a country."""
_PERCENT = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(?=[_.@*+~-])")
"""Markdown's escapes."""

_BRACKETS = {"<": ">", "(": ")", "[": "]", "{": "}"}
_QUOTES = "\"'`*"
_FORMULAS = ('="', "='")
_AFTER = ",;:!.\\/"
"""Left behind by a sentence or a list; no host and no address ends in these."""


def visible(text: str) -> str:
    """Strip surrounding white space, and characters that nobody meant to type."""
    if text.isascii():
        return text.strip()
    return _INVISIBLE.sub("", text).strip().strip(_JOINERS).strip()


def said(value: str | None) -> str:
    """Return the text of a field; empty for all the ways of writing "none"."""
    text = visible(value) if value else ""
    return "" if text.lower() in SAYS_NOTHING else text


def plain(text: str) -> str:
    """Replace look-alike signs by ASCII where they stand for it, and undo HTML's encoding."""
    if not text.isascii():
        text = text.translate(_PLAIN)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "," in text:
        text = _COMMA.sub(".", text)
    return _ENTITY.sub(lambda found: html.unescape(found[0]), text) if "&" in text else text


def links(text: str) -> list[str]:
    """Return the targets of the links in a text; empty if there is no markup."""
    return ["".join(found) for found in _LINK.findall(text)]


def bare(text: str) -> str:
    """Strip surrounding quotes, brackets and labels."""
    before = None
    while before != text:
        before = text
        text = text[1:] if text.startswith(_FORMULAS) else text
        text = _unbracketed(text.strip().lstrip(_QUOTES).rstrip(_QUOTES + _AFTER))
        if label := _LABEL.match(text):
            text = text[label.end() :]
    return text


def decoded(text: str) -> str:
    """Undo percent-encoding, and Markdown's backslashes."""
    if "\\" in text:
        text = _ESCAPED.sub("", text)
    while _PERCENT.search(text):  # undo double and partial encoding until nothing is left of it
        try:
            text = unquote(text, errors="strict").strip()
        except UnicodeDecodeError:
            break
    return text


def _unbracketed(text: str) -> str:
    """Strip a surrounding bracket. One whose other half is elsewhere inside belongs to the text."""
    closing = _BRACKETS.get(text[:1])
    if closing and text.find(closing, 1) in {-1, len(text) - 1}:
        text = text[1:].removesuffix(closing)
    last = text[-1:]
    if last in _BRACKETS.values() and not any(_closes(last, one) for one in text[:-1]):
        text = text[:-1]
    return text


def _closes(closing: str, one: str) -> bool:
    return _BRACKETS.get(one) == closing


_MAX_ADDRESS_BYTES = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690: a path of 256 without its angle brackets."""
_MOST_LOCAL_BYTES = 64
_ORDINARY_LOCAL = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")

_GOOGLE_DOMAINS = frozenset({"gmail.com", "googlemail.com"})

_ORDINARY = re.compile(rf"{_ORDINARY_LOCAL.pattern}@[A-Za-z0-9.-]+")
_SEPARATORS = re.compile(r"[,;|\r\n\t]+|:{3,}|\s/\s")
_MAILTO = re.compile(r"mailto:", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"<([^<>]*)>")
_IN_OTHERS = re.compile(r"\s[(\[](\S*@\S*)[)\]]\Z")
_COMMENT = re.compile(r"(?<=[^\s(])\s*\([^()@]*\)\Z")
_SIGNS = re.compile(r"[^\w.@%]+|\d+[.)]")
_CONJUNCTIONS = frozenset({"and", "or", "und", "oder", "et", "ou", "y", "o", "e", "en", "i"})
"""Allowed between two addresses; elsewhere they may be part of an address that was torn apart."""
_LEFT_OVER = frozenset("'`*{}=/#!?~^|%&")
"""Legal at the ends of a local part, yet no real name begins or ends so: it is the rest of a wrapping."""
LOST = "\ufffd"
"""Stands where a letter was that some program could not read: no mailbox and no company has one in its name."""
_GUEST = "#ext#"
"""How Microsoft's directories name an outside mailbox under a domain of their own."""


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A syntactically valid address without its +tag."""

    local: str
    domain: Domain

    @property
    def email(self) -> str:
        """The address to ask vendors about."""
        return f"{self.local}@{self.domain.host}"

    @property
    def key(self) -> str:
        """The same for every spelling of one mailbox. Only Google is known to ignore dots."""
        local = self.local.lower()
        if self.domain.host in _GOOGLE_DOMAINS:
            return f"{local.replace('.', '')}@gmail.com"
        return f"{local}@{self.domain.host}"


@dataclass(frozen=True, slots=True, repr=False)
class Reading:
    """What a text holds: the first valid address, and whether there were more candidates."""

    address: Address | None
    is_ambiguous: bool = False


def read(text: str) -> Reading:
    """Return the first valid address in the text."""
    text = visible(text)
    if _ORDINARY.fullmatch(text):  # nothing around it and nothing beside it, as nearly all are
        return Reading(parse(text))
    candidates = _candidates(text)
    addresses = (address for one in candidates if (address := parse(one)) is not None)
    return Reading(next(addresses, None), is_ambiguous=len(set(candidates)) > 1)


def parse(text: str) -> Address | None:
    """Parse one bare address; `None` when it cannot be a mailbox."""
    local, _, host = text.rpartition("@")
    if (domain := _domain(host)) is None:
        return None
    is_ordinary = len(local) <= _MOST_LOCAL_BYTES and _ORDINARY_LOCAL.fullmatch(local)
    name = local if is_ordinary else _unusual(local)
    if name is None or len(name.encode()) + 1 + len(domain.host) > _MAX_ADDRESS_BYTES:
        return None
    return Address(_without_tag(name) if "+" in name else name, domain)


def _candidates(text: str) -> list[str]:
    text = plain(text)
    parts = [part for one in links(text) or [text] for part in _SEPARATORS.split(one)]
    found = [one for part in parts for one in _in_part(part)]
    return [mailbox for one in found if "@" in (mailbox := _mailbox(one))]


def _in_part(part: str) -> list[str]:
    """Find addresses: `Jane <jane@x.com>` holds one; separate words count only if each is an address."""
    if bracketed := _IN_BRACKETS.findall(part) or _IN_OTHERS.findall(part):
        return list(bracketed)
    words = [word for word in _COMMENT.sub("", part).split() if not _SIGNS.fullmatch(word)]
    addresses = [word for word in words if "@" in word]
    between = [word.lower() for word in words[1:-1] if "@" not in word]
    are_apart = len(words) == len(addresses) + len(between) and _CONJUNCTIONS.issuperset(between)
    return addresses if addresses and are_apart else [part]


def _mailbox(text: str) -> str:
    """Strip what surrounds the address, and what makes it a link."""
    if link := _MAILTO.search(text):
        text = text[link.start() :].partition("?")[0]
    return bare(decoded(bare(text)))


def _domain(host: str) -> Domain | None:
    """Judge the domain. A bare public suffix (a@co.uk) has no mailboxes."""
    if host.startswith("["):
        return Domain(host, DomainKind.IP_ADDRESS) if _is_ip_literal(host) else None
    name = ascii_host(host.removesuffix("."))
    domain = classify(name) if name else None
    return None if domain is None or domain.kind is DomainKind.SUFFIX else domain


def _unusual(local: str) -> str | None:
    """Return a local part of unusual signs in NFC (RFC 6532, 3.1), or `None`. `domains` judges the real domain.

    Quoted local parts are legal but refused: no vendor takes one. The library takes as long as the rest of
    `identify`.
    """
    if "#" in local and _GUEST in local.lower():
        return None
    if local[:1] in _LEFT_OVER or local[-1:] in _LEFT_OVER or LOST in local:
        return None
    try:
        validate_email(f"{local}@a.com", check_deliverability=False, strict=True)
    except ValueError:
        return None
    return unicodedata.normalize("NFC", local)


def _is_ip_literal(host: str) -> bool:
    try:
        validate_email(f"a@{host}", check_deliverability=False, allow_domain_literal=True)
    except ValueError:
        return False
    return True


def _without_tag(local: str) -> str:
    """Return the part before "+", unless nothing valid would be left of it."""
    base = local.partition("+")[0]
    return base if base and not base.endswith(".") and base[-1] not in _LEFT_OVER else local


# The words that make a role address, by language and by kind.
#
# Common nouns of offices and shops, in lower case without accents, dots and dashes. A word that is also
# a person's name, or too short to tell, is among those that count alone, or is left out.

_ENGLISH_FIRST = """
    abuse accounting accounts accountspayable accountsreceivable admin administration administrator
    admissions advertising alumni applications appointments backoffice billing booking bookings
    bursar businessdevelopment catering claimsdept clientservices communication complaints
    compliance concierge consulting contact contacts contactus contracts creditcontrol customercare
    customerrelations customers customerservice customerservices customersuccess customersupport
    dataprotection delivery development dispatch distribution donations ecommerce education
    enquiries enquiry estimates export exports feedback finance frontdesk frontoffice fundraising
    grants helpdesk hostmaster housekeeping humanresources import imports info information
    innovation inquiries inquiry insidesales inspection installation insurance inventory
    investorrelations investors invoice invoices invoicing itsupport laboratory leasing lettings
    library logistics mailbox mailroom maintenance management manufacturing marketing mediarelations
    membership merchandising newsletter notification notifications office operations order ordering
    orders parking partnerships payables payments payroll permits pressoffice pressroom printing
    privacy procurement production programs projects properties publications publicity
    publicrelations purchase purchaseorder purchases purchasing quotations quotes receivables
    reception receptionist records recruiting recruitment refunds registrar registration
    registrations rentals repairs research reservation reservations retail returns sales salesteam
    secretariat secretary servicedesk servicing shipping sourcing sponsors sponsorship statements
    storefront students studentservices subscribe subscription subscriptions suppliers supply
    support sysadmin techsupport telesales theteam ticketing tickets tours treasury unsubscribe
    volunteer volunteers warehouse warranty webmaster welcome wholesale workshop
"""
_ENGLISH_WHOLE = """
    apply ask bids board bookkeeping business careers chat claims clients communications customs
    data dealer dealers deals desk dev developer developers devops digital director donate dpo
    drivers editor email engineering estimating fleet gdpr general guest guests hello helloworld
    help hey hi hire hiring hotel hq hr inbox infos intake it jobs kitchen lab law leads legal
    letters mail manager media member news newsroom noc ops partner partners partnership personal
    pharmacy planning post press principal quality quote reports rfq rooms root safety scheduling
    school security service services sponsor staff staffing stock store studio supportus switchboard
    talent team tech technical tenders test theoffice ticket trade training treasurer trust usenet
    vendors vip visit volunteering web website work www
"""
_PORTUGUESE_FIRST = """
    academico acolhimento administracao administradora administrativo agencia agendamento
    agendamentos almox almoxarifado ambulatorio assessoria assinaturas assistencia associados
    atelier atendimento atendimentoaocliente auditoria balcao biblioteca bilheteria boleto boletos
    bolsas cadastro cadastros captacao cartorio centraldeatendimento certificados clinica cobranca
    cobrancas coleta comercial comex compras comunicacao comunicados concursos condominio consorcio
    consultorio contabil contabilidade contas contasapagar contasareceber contaspagar contasreceber
    contato contatos contratos controladoria controle convenios coordenacao cotacao cotacoes cozinha
    credenciamento credito curriculo curriculos cursos delegacia departamento departamentopessoal
    depto desenv desenvolvimento despachante diretoria diretorias distribuidora docencia documentos
    edital editora emissao encomendas engenharia ensino entregas escritorio estacionamento estagio
    estagios estoque eventos expedicao exportacao fabrica falecom faleconosco farmacia faturamento
    faturas ferramentaria financeiro formacao formaturas fornecedores fretes garantia gerencia
    gerentes gestaodepessoas graduacao grafica hospedagem hospital imobiliaria imoveis implantacao
    importacao imprensa indicadores industria informatica infraestrutura inovacao inscricoes
    instalacao internacao investimentos jornalismo juridico laboratorio leiloes licitacao licitacoes
    livraria locacao locacoes logistica loja lojas manutencao marketing matricula matriculas
    mecanica mensalidades monitoramento montagem negociacao negocios notafiscal notas notasfiscais
    nucleo obras ocorrencias odonto oficina operacional operacoes orcamento orcamentos ouvidoria
    padaria pagamento pagamentos palestras parcerias patrimonio patrocinio pedido pedidos pesquisa
    planejamento planos plantao portal portaria posgraduacao posvenda posvendas prefeitura
    presidencia prevendas privacidade procuradoria producao programacao projetos promocoes propostas
    protocolo publicidade qualidade rastreamento recebimento receita recepcao reclamacoes
    recrutamento recursoshumanos redacao reembolso regulatorio reitoria relacionamento relatorios
    representantes reservas residencia restaurante retirada revenda secretaria seguranca seguro
    selecao sindicancia sindicato sinistros sistema sistemas sociais solicitacoes supervisao suporte
    suprimentos tecnologia televenda televendas tesouraria trabalheconosco transporte transportes
    tributario turmas unidades vagas venda vendas vendasexternas vestibular viagens vigilancia
    voluntariado zeladoria
"""
_PORTUGUESE_WHOLE = """
    adm admin01 administrador agenda agro ajuda apoio arte atacado atend auto avisos bar caixa casa
    central cliente clientes consultas consultoria contador coord copa cpd design direcao diretor
    diretora ead empresa encarregado finan financ financas fisc frota gerente gestao gestion grupo
    hotel jornal lgpd nf nfe nfse noc pcm pcp pedagogico pmo presidente prof proprietario recep rh
    sac saude sindico site ssma tesoureiro tesouro treinamento varejo web whatsapp xml zelador
"""
_SPANISH_FIRST = """
    academico accesos administracion admision admisiones agencia almacen almacenes alquileres
    anuncios aprovisionamiento archivo asesoria asistencia atencion atencionalcliente
    atencionalusuario atencioncliente atencionclientes atencionusuario auditoria aula autorizaciones
    ayuda ayuntamiento becas biblioteca bibliotecas bienestar calidad cancelaciones capacitacion
    capacitaciones cartera centralita clinica cobranza cobranzas cobros cocina colegio
    comercializacion compraventa comunicacion comunicaciones consultorio contabilidad contacta
    contactenos contacto contactos contratacion contrataciones contratos convenios coordinacion
    cotizaciones credito creditos cuentas cursos delegacion depositos desarrollo despacho
    devoluciones direccion distribucion docencia documentacion domicilio editorial educacion empleo
    empleos enfermeria envios estudios eventos expediciones exportacion exportaciones fabrica
    facturacion facturas farmacia finanzas formacion formulario garantias gerencia gestoria grupos
    hospital hostal hosteleria huespedes impuestos industria informacion informes ingenieria
    inmobiliaria innovacion inscripciones inspeccion instalaciones intervencion inversiones
    investigacion laboratorio libreria licitaciones logistica mantenimiento marketingdigital
    matriculas medicos mercadeo mesadeayuda mesadepartes montaje muestras negocios nominas notaria
    notificaciones ofertas oficina operaciones operador optica pagos pedido pedidos planificacion
    planta polideportivo posgrado postulaciones postventa prensa presidencia presupuesto
    presupuestos privacidad produccion promociones protecciondedatos proveedores proyectos
    publicaciones publicidad quejas recambios recaudacion recepcion reclamaciones reclamo reclamos
    rectorado recursos recursoshumanos redaccion registro relacionespublicas remuneraciones
    reparaciones repuestos reservaciones restaurante rrhh secretaria secretariageneral seguridad
    seguros seleccion servicioalcliente servicioscliente siniestro siniestros soluciones soporte
    sucursal sugerencias suministros suscripciones talentohumano taller tecnologia telefonica
    tesoreria tesorero tienda trabajo trafico tramites transportes turismo turnos tutorias
    universidad urgencias vacantes ventas viajes vivienda voluntariado
"""
_SPANISH_WHOLE = """
    admin1 agenda alumnos asesor bar bodega caja casa centro citas cliente compra consulta correo
    director directora empresa equipo fiscal gerente grupo hola hotel jefe laboral legal obra
    oficial pago presidente reserva responsable sac salud servicio servicios socios taquilla turno
    venta web zona
"""
_FRENCH_FIRST = """
    abonnement abonnements accueil achat achats acheteur adhesion adhesions administratif agence
    alternance apprentissage approvisionnement approvisionnements assistance association assurance
    assurances atelier atelierbois bibliotheque bienvenue billetterie bonjour bourse boutique
    candidature candidatures centrale chantier chantiers clinique codir college comite commande
    commandes commandesweb commercial commerciale commerciaux communication communicationinterne
    compta comptabilite comptable compte comptes conciergerie conduite conseil conseils contactez
    contentieux contrats coordination courrier crecheaccueil demande depannage depot dessin devis
    devisweb diffusion direction directiongenerale documentation dons editions emploi entretien
    equipe espaceclient etude etudes evenement evenementiel evenements expedition expeditions
    exploitation exports facturation facture factures formateurs formation formations fournisseurs
    gerance groupe guichet hebergement hotline immobilier impayes import industrie infirmerie
    informatique inscription inscriptions intendance interventions juridique laboratoire librairie
    litiges livraison livraisons location locations logistique lycee magasin maintenance mairie
    mediatheque mediation mutuelle notaire notaires numerique operations partenariat partenariats
    patrimoine pepiniere permanence pharmacie presidence prestations projets promotion proprete
    publicite qualite quittance reception reclamation reclamations recrutement redaction
    relationclient relationclients relationspresse rendezvous renseignement renseignements
    reservation reservations ressourceshumaines restaurant retours sante scolarite secretaire
    secretariat securite seminaires serviceclient serviceclients sinistre sinistres social soins
    solidarite sollicitation stages support technique telephonie tourisme transport travaux
    tresorerie urgences vacances vente ventes vieassociative visites
"""
_FRENCH_WHOLE = """
    aide asso boite bureau cabinet caf chef client clients directeur directrice doc ecole ecoute
    garage gerant infos infotel paie patron planning president presse rdv reponse residence restau
    rgpd rh sav standard syndic tresorier
"""
_GERMAN_FIRST = """
    abonnement abos abrechnung administration akquise anfrage anfragen angebot angebote anmeldung
    annahme anzeigen apotheke arbeitsschutz arbeitsvorbereitung archiv aufnahme auftraege auftrag
    auftragsabwicklung auftragsannahme auskunft ausleihe ausstellung baubuero bauleitung baustelle
    beratung beschaffung beschwerde beschwerden bestellung bestellungen betreuung betriebsrat
    bewerbung bewerbungen bibliothek buchhaltung buchung buchungen buero bueroleitung catering
    chefsekretariat datenschutz debitoren dialog dienstleistung direktion disposition druckerei
    eingang einkauf empfang entwicklung ersatzteile events export fahrschule faktura fakturierung
    fakultaet fertigung feuerwehr finanzbuchhaltung finanzen flotte foerderverein fortbildung
    freigabe fuhrpark gaeste garantie geschaeftsfuehrung geschaeftsleitung geschaeftsstelle
    gesundheit gutscheine handwerk hausmeister haustechnik hausverwalter hausverwaltung hotline
    immobilien import infopost infothek innendienst instandhaltung kanzleien karriere kartenverkauf
    kasse kita kollektion kommunikation konferenz konstruktion kontakt kreditoren kundenbetreuung
    kundencenter kundendienst kundenservice kundensupport kundschaft leitung leserbriefe
    leserservice lieferanten lieferung logistik lohnbuchhaltung lohnbuero mahnung mahnungen
    mahnwesen marketing marktplatz medien meldung mietverwaltung mitarbeiter mitglieder
    mitgliederverwaltung mitgliedschaft nachhaltigkeit nachricht netzwerk neubau notdienst objekt
    oeffentlichkeitsarbeit organisation personalabteilung personalwesen pfarramt pflege pforte
    planung poststelle praktikum privatkunden produktion programm projekte projektleitung pruefung
    qualitaet qualitaetsmanagement qualitaetssicherung rechnung rechnungen rechnungseingang
    rechnungswesen rechtsabteilung redaktion reinigung reklamation reklamationen reparatur
    reservierung reservierungen retouren rezeption ruecksendung schaden schadenabteilung
    schadenmeldung schulleitung schulsekretariat schulung schulungen sekretaerin sekretariat seminar
    seminare sicherheit sozialdienst spenden sponsoring stadtverwaltung stellen stellenangebote
    steuerberatung steuern stiftung tagung technik telefonzentrale termine terminvereinbarung
    tickets tierarzt touristinfo transport umwelt umwelttechnik unternehmen unterstuetzung
    veranstaltung veranstaltungen verein verkauf vermietung vermittlung versand versicherung
    vertragsmanagement vertrieb vertriebsinnendienst verwaltung verwaltungsrat vorzimmer
    warenannahme wareneingang wartung webshop weiterbildung werbung werkstatt wirtschaft zahlung
    zahlungen zeitung zentrale
"""
_GERMAN_WHOLE = """
    abo ausbildung bank betrieb bewerber bildung chef direktor edv elektro euro event fibu gemeinde
    geschaeft grafik hallo haus hilfe inhaber jugend kanzlei klinik kontor labor lager leiter lohn
    mail mailing markt material messe miete personal platz post praxis presse rathaus recht reisen
    rektor rektorat schule schulleiter sekr shop steuer team termin ticket verlag vermieter vorsitz
    vorsitzender vorstand web wohnen zoll
"""
_ITALIAN_FIRST = """
    abbonamenti accettazione accoglienza acquisti agenzia alberghi amministratore amministrazione
    anagrafe appuntamenti archivio assicurazioni assistenza assistenzaclienti associazione attivita
    autorizzazioni avvocati bandi biblioteca biglietteria bilancio candidature cantiere cantieri
    centralino certificazioni clienti clinica collaudi commerciale commerciale1 commercialeestero
    comunicazione condominio consegne consulenza contabilita contatti contatto contratti
    coordinamento corsi credito dipendenti direttivo direttore direzione ecommerce edilizia eventi
    export farmacia fatturazione fatture ferie finanza formazione fornitori gestione immobiliare
    impianti import info1 infopoint informatica informazioni ingegneria innovazione iscrizione
    iscrizioni laboratorio lavoraconnoi libreria locazioni logistica magazzino manifestazioni
    manutenzione marketing mediazione museo negozio noleggio notifiche offerte ordine ordini
    ordinicliente organizzazione ospiti pagamenti paghe parrocchia partecipazioni pediatria
    personaleata pratiche prenotazione prenotazioni presidenza prevendita preventivi preventivo
    produzione produzioni progettazione progetti protocollo pubblicita rappresentanti reclami
    reclamo recuperocrediti redazione resi ricambi ricerca richieste risorseumane ristorante saldi
    scuola segnalazioni segretariogenerale segreteria servizi servizioclienti sicurezza sinistri
    sistemi soci spedizioni sportello supporto sviluppo tecnica tecnico tesoreria traffico trasporti
    tributi turismo uffici ufficio ufficioacquisti ufficiocommerciale ufficiogare ufficioordini
    ufficiopersonale ufficiostampa ufficiotecnico ufficiotributi ufficiovendite vendita vendite
    viaggi vigili visite volontari
"""
_ITALIAN_WHOLE = """
    albergo amm area azienda biglietti casa comune contabile curriculum direttrice dirigenza gare
    gestore hotel legale officina pec personale presidente qualita ragioneria rettore sede
    segretario sindaco stampa studio tecnici titolare urp
"""
_DUTCH_FIRST = """
    aanmelden aanmelding aanmeldingen aanvraag aanvragen abonnement abonnementen administratie
    advertenties advies afspraak afspraken archief balie bedrijfsbureau beheer bestel bestelling
    bestellingen bezoek bezorging bibliotheek boekhouding boekingen communicatie crediteuren cursus
    debiteuren declaraties directie donateurs evenementen facturatie facturen factuur financien
    garantie gemeente horeca huisartsen huur incasso inkoop inschrijven inschrijving inschrijvingen
    kantoor keuken klacht klachten klant klantcontact klanten klantenservice klantenservices
    kwaliteit ledenadministratie leveranciers locatie logistiek magazijn makelaar marketing
    medewerkers offerte offertes onderhoud ondersteuning onderwijs ontvangst opdrachten opleiding
    opleidingen orders organisatie personeelszaken praktijk praktijkhuisarts productie projecten
    receptie redactie reparatie reparaties reserveren reserveringen retour retouren
    salarisadministratie secretariaat secretaris servicedesk stage subsidie techniek transport
    uitgeverij vacature vacatures vergunningen verhuur verkoop verkoopbinnendienst verzekering
    verzekeringen verzending vestiging vrijwilligers webshop welkom werken werkplaats
"""
_DUTCH_WHOLE = """
    bureau directeur garage leden pers planning school sollicitatie solliciteren werk winkel zorg
"""
_POLISH_FIRST = """
    administracja apteka awizacje bankowosc biblioteka bilety biuro centrala ceny daneosobowe
    dokumenty dostawcy dostawy dotacje dyrekcja dyrektor dyspozytor dzialhandlowy edukacja
    ekspedycja eksport faktura faktury finansowy fundacja gabinet gmina handlowcy handlowy hurtownia
    import infolinia informatyka inwestycje jakosc kadry kadryplace kancelaria klienci komunikacja
    konferencje konsultant kontakt ksiegowosc kursy laboratorium logistyk logistyka magazyn
    marketing materialy nieruchomosci noclegi obsluga obslugaklienta obslugaklientow ochrona
    odszkodowania oferta oferty ogloszenia patronat platnosci poczta prasa prawny prenumerata
    produkcja projekty promocja przetargi przychodnia przyjecia recepcja redakcja rejestr
    rejestracja reklama reklamacje rekrutacja restauracja rezerwacja rezerwacje rozliczenia rzecznik
    sekretariat sekretarz serwis serwiswww sklep sklepinternetowy spedycja sprzedaz stowarzyszenie
    studia szkolenia szkolenie techniczny transport turystyka ubezpieczenia umowy urzad warsztat
    windykacja wnioski wspolpraca wydawnictwo wynajem wysylka zakupy zamowienia zamowienie
    zaopatrzenie zapisy zapytania zarzad zgloszenia zwroty
"""
_POLISH_WHOLE = """
    bhp finanse handel hotel iod klient media pomoc praca rodo szef szkola
"""

_BESIDE_TEXT = """
    at ch es eu fr it mx nl pl pt ru jp cn ca dir division digital dpto dzial estero external
    extern externo front back inside internal intern interno internacional international industrial
    matriz filial sede nacional pagar pessoas receber student students tecnica usuario usuarios web
    nord sued ost west norte sul sur este oeste
    ap ar br center central centre cliente clientes client clients commerciale da dal das de del
    della departamento department dept depto des di do dos du equipe equipo et group global hq
    humanas humanos humaines interno la main national online pessoal service servico servicio
    setor sector team tecnico und umane uk us emea apac latam
"""
"""No single letters: e.sales@ is a person."""

_BELOW: dict[str, str] = {
    "ti": "br pt es mx ar cl co pe",
    "dp": "br",
    **dict.fromkeys("fin sec tec sup ped log cli cpa".split(), "br"),
    "gf": "de at ch",
    "qm": "de at ch",
    "bok": "pl",
    "ced": "it",
}
"""Personal initials, except at companies of these countries."""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(" ".join(texts).split())


FIRST = _words(
    _ENGLISH_FIRST,
    _PORTUGUESE_FIRST,
    _SPANISH_FIRST,
    _FRENCH_FIRST,
    _GERMAN_FIRST,
    _ITALIAN_FIRST,
    _DUTCH_FIRST,
    _POLISH_FIRST,
)
WHOLE = FIRST | _words(
    _ENGLISH_WHOLE,
    _PORTUGUESE_WHOLE,
    _SPANISH_WHOLE,
    _FRENCH_WHOLE,
    _GERMAN_WHOLE,
    _ITALIAN_WHOLE,
    _DUTCH_WHOLE,
    _POLISH_WHOLE,
)
KNOWN = WHOLE | _words(_BESIDE_TEXT)
BELOW = {word: frozenset(tlds.split()) for word, tlds in _BELOW.items()}
"""Words that are a role only below these top-level domains."""


@dataclass(frozen=True, slots=True, eq=False)
class Desks:
    """Role words by kind. `whole` includes `first`, and `known` includes all."""

    first: frozenset[str]
    whole: frozenset[str]
    known: frozenset[str]
    countries: Mapping[str, frozenset[str]]
    """Words that are a role only below these top-level domains."""

    def changed(self, added: Iterable[str], removed: Iterable[str]) -> Desks:
        """Return a copy with words added, which a place or a number may follow, and words removed."""
        more, less = frozenset(added), frozenset(removed)
        return Desks(
            (self.first | more) - less,
            (self.whole | more) - less,
            (self.known | more) - less,
            {word: tlds for word, tlds in self.countries.items() if word not in less},
        )


DESKS = Desks(FIRST, WHOLE, KNOWN, BELOW)

_LONGEST_INITIALS = 3
"""i.t@ and h.r@ are people; it@ and hr@ are roles."""
_MOST_WORDS = 2
"""info-berlin@ is a role address; a.long.row.of.words@ could be anything."""
_LEAST_LETTERS = 4
"""Letters that a word needs to be recognised in a compound without a separator."""

_LEAST_COMPOUND = 9
_OPENINGS = tuple(
    """
    accounts administracion amministrazione assistenza atencion atendimento bewerbung buchhaltung
    cobranca comercial commercial comptabilite contabilidad contato contabilita customer einkauf
    facturacion facturation faturamento financeiro helpdesk invoice klanten kunden marketing
    newsletter rechnung recrutamento segreteria servicecli soporte suporte ufficio vertrieb
    """.split()
)
_ENDINGS = tuple(
    """
    abteilung buchhaltung buero department einkauf kundenservice marketing office sekretariat
    service services support team verwaltung vertrieb zentrale
    """.split()
)
"""No person's name begins or ends like this, whatever is on the other side."""
_AND = re.compile(r"\A(?:de|da|do|dos|das|del|di|des|du|al)")
_DESK = "desk"
"""Stands in for initials that are a role."""
_BETWEEN_WORDS = re.compile(r"[-._]")
_DIGITS = "0123456789"
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ł": "l", "ø": "o"})
_BARE = str.maketrans({"ß": "ss", "ł": "l", "ø": "o"})

_SYSTEM = re.compile(
    r"""(?: (?:no|dont|do[-._]?not)[-._]?reply
            | n(?:ao|o)[-._]?(?:respond(?:a|e|er|as|am|emos)|contest(?:ar|e|a|en))
            | (?:ne[-._]?)?pas[-._]?(?:repondre|de[-._]?reponse) | sans[-._]?reponse
            | (?:bitte[-._]?)?nicht[-._]?(?:be)?antworten | keine[-._]?antwort(?:en)?
            | non[-._]?rispond(?:ere|i|ete)
            | nie[-._]?odpowiada(?:c|j|my)
            | niet[-._]?(?:be)?antwoorden | geen[-._]?antwoord | niet[-._]?reageren
            | (?:mailer|mail)[-._]?daemon | postmaster | bounces?
            | auto[-._]?(?:reply|responder|confirm|mailer) | nobody | null | undefined | devnull )
        (?: [-._=0-9] .* )? \Z""",
    re.VERBOSE | re.DOTALL,
)
_NO_REPLY_AT_THE_END = re.compile(r".+[-._]no[-._]?reply\d*\Z", re.DOTALL)


def is_system(local: str) -> bool:
    """Tell whether a machine writes from it and nobody reads it."""
    for each in _spellings(local):
        if _SYSTEM.match(each) or ("reply" in each and _NO_REPLY_AT_THE_END.match(each)):
            return True
    return False


def is_desk(local: str, host: str, desks: Desks = DESKS) -> bool:
    """Tell whether it is a role address. `host` matters only for initials that are a role in some countries."""
    return any(_is_desk(each, host, desks) for each in _spellings(local))


def desk_key(local: str) -> str:
    """Normalise a name for comparison with the operator's own: no case, accents, signs or numbers."""
    return _without_number("".join(_BETWEEN_WORDS.split(_spellings(local)[0])))


def _spellings(local: str) -> list[str]:
    """Return it in lower case with accents dropped, and with them written out as in German."""
    text = local.lower()
    if text.isascii():
        return [text]
    text = unicodedata.normalize("NFC", text)
    return [_without_accents(text.translate(each)) for each in (_BARE, _WRITTEN_OUT)]


def _without_accents(text: str) -> str:
    bare = unicodedata.normalize("NFD", text)
    return "".join([each for each in bare if not unicodedata.combining(each)])


def _is_desk(local: str, host: str, desks: Desks) -> bool:
    name = _without_number(local)
    if name in desks.whole:
        return True
    words = _BETWEEN_WORDS.split(name)
    if len(words) > 1:
        words = [_without_number(word) for word in words if word]
        return _are_a_desks(
            [_DESK if _is_initials_of_a_desk(word, host, desks) else word for word in words], desks
        )
    return _is_initials_of_a_desk(name, host, desks) or _is_compound(name, desks)


def _without_number(word: str) -> str:
    """Strip digits from both ends, unless nothing else is there."""
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
    """Recognise suportetecnico@ and kundenservice@: two words that are both known."""
    if word.startswith(_OPENINGS) or (word.endswith(_ENDINGS) and len(word) > _LEAST_COMPOUND):
        return True
    cuts = range(_LEAST_LETTERS - 1, len(word) - _LEAST_LETTERS + 1)
    return any(
        word[:cut] in desks.whole
        and (word[cut:] in desks.known or _AND.sub("", word[cut:]) in desks.known)
        for cut in cuts
    )
