"""PURE Whether a company can be told by its name alone, so that its domain may be looked for by it.

    Totvs S.A., Quokka Freight Ltda      yes
    Padaria Central, Global Services     no: many companies have this name
    Delta Ltda, Phoenix GmbH             no: the same
    João Silva ME, Ada Lovelace          no: a person's name
    ABC, Acme                            no: too short

A vendor always answers with its best guess, so what this lets pass is paid for and written, and what it stops costs
nothing. It is strict: a name that says only what is sold, where, or that it is good, is nobody's.
"""

from __future__ import annotations

import re

from enricher.identity.address import LOST
from enricher.identity.names import COMMON, name_key, telling_words

NO_NAME = "no company name"
TOO_SHORT = "the company's name is too short to look it up by"
COMMON_NAME = "many companies have this name"
PERSONS_NAME = "the company's name is a person's"

_LONGEST = 100
_MOST_WORDS = 8
_LEAST = 4
_LEAST_OF_ONE_WORD = 5
"""Four letters are a company's name in every country: Acme, Nova, Tech."""
_NO_NAMES = frozenset(
    "n a|na|none|no|nil|null|not applicable|test|teste|testing|company|my company|minha empresa|empresa|unknown|self|private"
    "|self employed|selfemployed|self employed person|freelance|freelancer|freelas|autonomo|autonoma|profissional autonomo"
    "|pessoa fisica|particular|privat|privatperson|selbststandig|selbstandig|selbstaendig|freiberufler|autonome"
    "|independant|independent|independiente|trabajador independiente|libero professionista|student|estudante|estudiante"
    "|studente|etudiant|unemployed|desempregado|aposentado|retired|nenhuma|ninguna|sem empresa|nao tenho|nao possuo|keine"
    "|pensionist|rentner|home|personal|stealth|stealth startup|confidential|confidencial|various|diversos|xxx|asdf".split(
        "|"
    )
)
_GENERIC = COMMON | frozenset(
    """
    academia academy accounting acessorios adega advocacia advogado advogados advocates agencia agency agencies agentur agro
    alimentos ambiental ambiente analytics apartments apoio apparel arquitetura architects architecture arquitectos art arte
    artes asesores assessoria assistencia associacao associados associates atacado atelier auto automacao automation
    automotive autopecas autos auxiliar bakery baeckerei backerei banco bank bar barber barbearia bau beauty beleza bike
    bistro boutique brand brands brothers buero builders building burger business cafe cafeteria cake car care carros casa
    casas catering center central centre centro cervejaria chef china cidade city clean cleaning cloud club coaching coffee
    colegio comercial comercio commerce commercial communication communications comunicacao concept condominio confeccoes
    confeitaria construcao construcoes constructions construction construtora construtores consult consultants consultores
    contabil contabilidade contadores contractors cooperativa corretora corretores cosmeticos creative criativa cursos data
    decor decoracoes deli delivery dental dentist depot desenvolvimento design designs developers development digital
    distribuicao distribuidora distribution dog drogaria e ecommerce education educacao educacional electric electrical
    electronics elektro eletrica eletronica eletronicos embalagens energia energie energy engenharia engineering
    engineers enterprise enterprises entertainment equipamentos escola escritorio espaco esportes estetica estudio evento
    eventos events excellence expert express factory family farm farma farmacia farms fashion fazenda ferragens films
    finance financas financeira financial fitness floor flores food foods foto fotografia foundation free freight fretes
    fundacao furniture future games garage garden garten gastro gestao gmb gold golden good grafica grand graphics green
    guincho gym hair handel handels haus health healthcare heating help hoffmann home homes hospital hostel hotel hotels
    house hr ideal imoveis imobiliaria immobilien import importacao importadora imports in indico industria industrial
    industrie industries industry info informatica ingenieurbuero ingenieria inmobiliaria innovation innovations inovacao
    inspection institute instituto insurance interior interiors intl investimentos investment investments it jardim jewelry
    joias jornal joalheria kids kitchen labor laboratorio labs land landscaping language lanches latin law lawyers leader
    learning legal leasing life lifestyle limpeza lingerie living local locacao locadora logistica logistics logistik loja
    lojas lounge machine magazine management manutencao maquinas marble market marketing markets materiais materials
    mecanica media medica medical medicina medien mercado mercearia metais metal metalurgica mobile moda modas modern
    modelo moto motors moveis movers multi music nacional national natural nature net network networks new news nova novo
    nutricao odonto odontologia office oficina online optica otica organic outlet packaging padaria paes paint painting
    papelaria park parking partner partners parts patrimonial pecas pet pets pharma pharmacy photo photography physio
    pizza pizzaria planejados planning plasticos plumbing plus point posto power praia premier premium press prime print
    printing private pro produce producoes product production productions produtos professional professionals project
    projects projetos promotions properties property propaganda psicologia public publicidade quality real realty recruiting
    recursos refrigeracao reformas relations rent rental rentals repair representacoes research restaurant restaurante
    restaurants results retail reisen roofing room roupas safety salao salon sales saude school schule science search
    seguranca security seguros self seminovos servico service servicos shipping shoes shopping sign signs sistema sistemas
    smart social society soft software solar solution sorvetes sound spa special specialty sport sports star start startup
    state station steel steuerberater storage strategies strategy street style suites super supermercado supermercados
    supplies supply support sustentavel system systeme systems talent tax taxi tea team tech technik technologie
    technologie tecnica tecnologico telecom telecomunicacoes textil textile the therapy tickets tires tool tools top total
    tour tourism tours toys trade trading trailer training trans transport transportadora transporte transportes travel
    treinamento treinamentos trucking turismo union united universal university urban usa utilidades vacation value varejo
    veiculos ventures vet veterinaria viagem viagens video view village vinhos virtual vision vita wash water way wealth
    web wedding wellness werkstatt west wine wines wireless women wood work works workshop world world worldwide yoga young
    """.split()
)
"""What is sold, how, and where: a name of nothing else is many companies'."""
_PLACES = frozenset(
    """
    america american americas amazonia argentina asia asian atlantic atlantica austin australia austria bahia barcelona
    bay beach berlin boston brasilia britain british california canada caribbean carioca central ceara chicago chile china
    coast colombia cologne curitiba dallas delhi denver dubai east eastern england espana euro europa europe european
    florida france frankfurt german germany goias gaucha hamburg houston iberia iberica india italia italy island japan
    koeln koln lagos latina leste lisboa london los angeles lyon madrid maine manchester mexico miami milano minas
    mineira mountain muenchen munchen munich nordeste norte north northern nyc new york oeste ohio pacific paris paulista
    parana pernambuco polska porto portugal recife regional rio river roma san sao salvador schweiz seattle south southern
    spain sul sydney swiss texas tokyo toronto valley vale vienna virginia washington west western wien york zurich
    """.split()
)
_POPULAR = frozenset(
    """
    amarela amigos bela belo big bem boa bom branca branco doce dois familia hot irmao irmaos mulher nascente nossa
    pao preco preta preto rainha rei sabor santa santo seguro senhor senhora tres vermelha
    absolute access ace acme action active adler advance advanced advantage aegis agil agile alfa alianca alliance allianz
    alpha alpine alternativa amigo anchor angel apex apollo aqua arc arcadia archer ares argos aria ark arrow ascend ascent
    aspen aspire asset astra astro athena atlantis atlas aura aurora avalon avante avenue aztec azul azure balance beacon
    bella beta better bison black blink bloom blue bluebird boa bold bolt boost brasa bravo breeze bridge bridges bright
    brilliant brisa bronze buffalo cardinal carbon cascade castle catalyst cedar champion charm choice circle citadel clarity
    classic clear clearview click cobalt collective comet common compass concord condor connect connection conquest
    continental core cornerstone corona cosmos coyote crescent crest cross crossroads crown crystal cube dawn deluxe delta
    destiny diamond diamante dinamica direct discovery diversified dolphin dragon dream dreams dynamic dynamics eagle
    earth easy echo eclipse eco eden edge elan element elements elevate elite elo elysium embassy ember emerald eminence
    empire encore endeavor engage envision eos epic epsilon equinox esperanca essence essential estrela eterna eternal
    everest evergreen everest evolution evolve excel excelsior exclusive falcon fenix fidelity first flame flash fleet
    flex flora flow focus force forma forte fortress fortuna fortune forum forward foco foundry fox freedom fresh
    frontier fuel full fusion futura galaxia galaxy gamma gateway gemini gem genesis genius global glory granite gravity
    griffin grove guardian guia harbor harbour harmonia harmony harvest haven hawk heart helios helix hera heritage hermes
    hero highland horizon horizonte hub hunter hydra icon icone idea ideas ignite imagine impact impacto imperial imperio
    impulse impulso independence infinite infinito infinity insight inspire integra integral integrity integrated
    intelligence interactive iris iron ivory jade jaguar journey jupiter key kings kingdom knight lakeside landmark laser
    laurel leaf legacy legend leo liberty liberdade lider light lighthouse lighting lince line link linx lion livre logos
    lotus lumen lumina luna lunar lux luxe luxury lynx magic magna magnolia magnum majestic maple marathon maximum
    maxima meadow mega mercury meridian merit meta metro metropolitan midnight millennium mind minerva mirage mission
    momentum moon mosaic motion mundial mundo mustang nexus next nexo noble nobel nomad noor nordic nova novum nucleo
    oak oasis ocean oceano olimpo olympia olympus omega omni one onix onyx opal optima optimal optimum optimus opus
    orange orbit orchid origin origem orion osprey ouro owl oxygen palm pantera panda panther paradigm paradise paradiso
    paragon paramount parceiro path pathfinder patriot paz peak pearl pegasus penguin perfect performance phoenix pilot
    pinnacle pine pioneer pivot planet plan planeta platinum plaza polar polaris ponto poseidon positive precision prestige
    prima primavera prime primus principal prism prodigy progress progresso prometheus promise prosper protect proton
    provision pulse pyramid quantum quartz quasar quest quick radiance radiant radius rainbow rapid raven ray red reliable
    reliance renaissance renova renovar resolve resource resources rex right rise rising rocket rock rocks root rosa rose
    rota rover royal ruby rubi sage sapphire safira saturn savanna scout select sentinel sequoia serenity shadow shield
    sierra sigma signal signature silver sirius sky skyline sol solid solis solo solstice soul source spark spartan spectra
    spectrum spirit spring sprint stellar sterling stone storm stratos stream strong success summer summit sun sunrise
    sunset sunshine supreme supreme swan swift symphony synergy synergia talisma tangerine target tempo terra theta thrive
    thunder tiger time titan titanium torch touch tower trail transform tree trend triad tribo tribune tricolor trident
    trinity trio triton triumph true trust turbo twin ultra unica unicorn unique unity universe universo up urbana valor
    value vanguard vantage vector vega velocity venture venus verde veritas versa vertex vertical vertice via vibe vibrant
    victor victoria victory vida viking villa vintage viper vista vital vitoria viva vivid volt vortex vox voyager vulcan
    wave white wild willow wind wings winner wise wolf wonder xpress zen zenit zenith zephyr zeta zeus zion zodiac zoom
    """.split()
)
"""Words that companies of every trade and country call themselves by."""
_GIVEN = frozenset(
    """
    adam adriana adriano alan alberto alejandro aleksandra alessandra alessandro alex alexander alexandra alexandre alice
    aline alvaro amanda amelie ana anderson andre andrea andreas andrew andrzej angela anita anna anne anthony antoine
    antonia antonio arthur artur augusto barbara beatriz benjamin bernardo bernd bianca bob brenda brian bruna bruno
    camila camille carina carl carla carlos carmen carolina caroline catarina cecilia celia cesar charles charlotte
    christian christina christine christopher claire clara claudia claudio cristian cristiane cristina daniel daniela
    daniele danilo david debora denis denise diana diego dieter dmitri eduardo edson elena eliane elisabeth elizabeth emily
    emma enrique eric erik erika ernesto estela eva evelyn fabiana fabio fatima felipe felix fernanda fernando filipe
    flavia flavio francesca francesco francisco francois frank franz fred frederico gabriel gabriela georg george gerald
    gerard geraldo gilberto giovanni giulia gloria graziela grzegorz guilherme guillermo gustavo hans harald heinrich
    heinz helen helena henrique henry herbert hugo ian ignacio igor ines ingrid irene isabel isabela isabella ivan ivone
    jack jacob jacques jaime jakob james jan jane janet jason javier jean jeff jennifer jens jessica jesus joao joana
    joaquim joerg johann johannes john jonas jonathan jorg jorge jose josef joseph joshua juan julia juliana juliano julie
    julio jurgen juergen karen karin karina karl karla kate katharina katherine kevin klaus krzysztof larissa lars laura
    laurent leandro leonardo leticia lilian linda lisa lorena louis louise luca lucas lucia luciana luciano luis luisa
    luiz lukas luke magdalena manuel manuela marc marcel marcela marcelo marcia marcin marcio marco marcos marcus margarida
    maria mariana marie marina mario mark markus marta martha martin martina mary mateus mathias matheus matt matteo
    matthew matthias mauricio mauro max maximilian melanie michael michel michele miguel mike milena monica monika murilo
    nadia nancy natalia natalie nathalie nelson nicolas nicole nikolaus nina noah norbert oliver olivia oscar otto pablo
    pascal patricia patrick paul paula paulo pavel pedro peter petra philip philipp philippe pierre piotr rafael rafaela
    ralf ramon raphael raquel raul rebecca regina reinhard renata renate renato ricardo richard rita robert roberta
    roberto rodrigo roger roland rolf rosana rosangela rudolf ruth ryan sabine sabrina samuel sandra sara sarah sebastian
    sergio silvia simon simone sofia sonia sophie stefan stefanie stephan stephanie stephen steve steven susan susana
    susanne sven tania tatiana teresa thiago tiago thomas tim tobias tom tomas uwe valentina valeria vanessa vera veronica
    victor vinicius vincent virginia vitor viviane wagner walter wellington werner william wilson wolfgang yolanda yuri
    """.split()
)
_FAMILY = frozenset(
    """
    almeida alonso alvarez alves anderson andrade antunes araujo bailey baker barbosa barros bauer becker bell bernard
    bianchi borges braun brown campbell campos cardoso carter carvalho castro clark coelho collins cook cooper correia costa
    cruz cunha davies davis diaz dias duarte dubois dupont durand edwards esposito evans fernandes fernandez ferrari ferreira
    ferrer fischer flores fonseca freitas garcia gil gomes gomez goncalves gonzalez green guerrero gutierrez hahn hall harris
    hartmann hernandez herrera hill hoffmann hofmann hughes jackson jansen jensen jimenez johnson jones kaiser keller khan
    kim klein koch kohler koenig konig krause kruger krueger kumar lange larsen laurent lee lefebvre lehmann leroy lewis
    lima lopes lopez ludwig maier marques martin martinez martins mayer medina melo mendes mendoza meyer meier miller
    mitchell monteiro moore moraes morais morales moreau moreira moreno morgan morris moura mueller muller murphy
    nascimento nelson neto neumann nguyen nielsen nogueira novak nowak nunes oliveira ortega ortiz parker patel pereira perez
    peters petit phillips pinto pires ramirez ramos reis reyes ribeiro richter rivera roberts robinson rocha rodrigues
    rodriguez rogers romano romero rossi roux ruiz russo sanchez santana santiago santos sato schafer schaefer schmid schmidt
    schmitz schneider scholz schreiber schroder schroeder schulz schulze schwarz scott silva silveira simon singh smith
    soares sousa souza stein stewart suarez taylor teixeira thomas thompson torres turner vargas vasquez vazquez vieira vogel
    wagner walker walter wang ward watson weber weiss werner white williams wilson winkler wolf wolff wong wood wright yang
    young zimmermann
    """.split()
)
_JUNIOR = frozenset(
    {"filho", "neto", "junior", "jr", "sr", "irmaos", "filhos", "sohne", "soehne", "sons", "fils"}
)
_ADDRESS = re.compile(r"@|://|\bwww\.|\.(?:com|net|org|io|de|br)\b", re.IGNORECASE)


def why_not_sought(company: str | None, person: str | None) -> str | None:
    """Return why a company of this name is not looked for, as a short phrase; `None` if it may be.

    `person` is the name of the lead's person, whose own name is no company's.
    """
    if not company or _is_no_name(company):
        return NO_NAME
    words = telling_words(company)
    letters = sum(map(len, words))
    if letters < (_LEAST if len(words) > 1 else _LEAST_OF_ONE_WORD) or "".join(words).isdecimal():
        return TOO_SHORT
    if _is_persons(words, telling_words(person or "")):
        return PERSONS_NAME
    return COMMON_NAME if all(map(_is_common, words)) else None


def own_words(name: str) -> str:
    """Return what of a company's name tells it from others of its trade and place; empty if nothing does."""
    return " ".join(word for word in telling_words(name) if not is_generic(word))


def is_generic(word: str) -> bool:
    """Tell whether a word only says what is sold, how, or where."""
    return word in _GENERIC or word in _PLACES


def _is_no_name(company: str) -> bool:
    key = name_key(company)
    is_long = len(company) > _LONGEST or len(key.split()) > _MOST_WORDS
    return (
        not key
        or is_long
        or LOST in company
        or key in _NO_NAMES
        or _ADDRESS.search(company) is not None
    )


def _is_persons(words: tuple[str, ...], person: tuple[str, ...]) -> bool:
    """Recognise the person's own name, also with a trade beside it, and what is made of names alone."""
    own = [word for word in words if not is_generic(word)]
    if person and own and set(own) <= set(person):
        return True
    is_of_names = all(word in _GIVEN or word in _FAMILY or word in _JUNIOR for word in own)
    return is_of_names and len(own) > 1 and any(word in _GIVEN for word in own)


def _is_common(word: str) -> bool:
    is_name = word in _GIVEN or word in _FAMILY or word in _JUNIOR
    is_sign = len(word) == 1 or word.isdecimal()
    return is_generic(word) or word in _POPULAR or is_name or is_sign
