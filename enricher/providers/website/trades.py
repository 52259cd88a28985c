"""PURE What a small company does, by the words that it introduces itself with.

A web site rarely names its industry, and nearly always its trade: "Zahnarztpraxis", "escritório de advocacia",
"plumbing and heating". The table goes from stems of such words, in the languages of `page.head.language`, to an
industry in the vendors' usual wording. One industry must have more hits than any other, or nothing is said. A
type of schema.org says it directly.

It is a guess of last resort: any vendor's word replaces it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from enricher.identity.names import folded

_STEMS: Mapping[str, str] = {
    "Accounting": "contabil contador accountant accounting bookkeeping steuerberat buchhalt contabilidad comptab commercialist tax",
    "Apparel & Fashion": "moda vestuario roupa fashion clothing apparel bekleidung boutique confecc",
    "Architecture & Planning": "arquitet architect architekt arquitect",
    "Automotive": "automotiv oficina mecanica autohaus kfz autowerkstatt garage concessionaria autopecas",
    "Banking & Finance": "financeir finanz financial investiment credito emprestim bank",
    "Biotechnology": "biotec",
    "Building Materials": "material construcao baustoff madeireira",
    "Construction": "construtora construcao constru bauunternehm builder building contractor roofing dachdeck zimmerei"
    " maurer empreiteira edificac tischler schreiner carpent",
    "Consumer Services": "lavanderia cleaning limpeza reinigung",
    "Cosmetics": "cosmet beleza salao hair friseur barbearia barber kosmetik estetica beauty",
    "Dentistry": "odontolog dentist zahnarzt zahnaerzt dental zahnmedizin",
    "Design": "design grafik",
    "Education": "escola colegio curso educacao school education schule ausbildung faculdade training academy akademie"
    " nachhilfe ensino",
    "Electrical Services": "eletricist electrician electrical elektriker elektrotechnik elektroinstall eletrica",
    "Energy": "energia energy energie solar fotovolt photovolt",
    "Engineering": "engenharia engineering ingenieur",
    "Events Services": "evento event wedding hochzeit buffet casament catering",
    "Farming": "agro fazenda farm landwirt agricol agricultur",
    "Food & Beverages": "alimento alimentos bebida food beverage lebensmittel getraenke cervejaria brewery brauerei padaria bakery baeckerei"
    " confeitaria konditorei metzgerei acougue",
    "Furniture": "moveis marcenaria furniture moebel",
    "Gardening & Landscaping": "jardin paisagis garden landscap garten gaertner",
    "Health Care": "clinica medic saude arzt aerzt praxis physiother fisioter hospital health klinik psicolog psycholog"
    " nutric",
    "Hospitality": "hotel pousada guesthouse ferienwohnung hostel",
    "Human Resources": "recrutamento recruiting recruitment personalvermittlung staffing zeitarbeit",
    "Information Technology": "informatica software sistemas tecnologia it-dienst it-service webdesign programmierung desenvolvimento"
    " developer saas cloud it-support edv hosting",
    "Insurance": "seguro seguros corretora insurance versicherung",
    "Jewelry": "joalheria joia jewel juwelier schmuck",
    "Law Practice": "advocacia advogado juridic lawyer law solicitor attorney rechtsanwalt rechtsanwaelt anwalt kanzlei notar abogad avocat",
    "Logistics": "transport logist frete fracht spedition mudanca umzug removal freight courier armazen",
    "Machinery": "maquina maschinenbau machinery usinagem cnc ferramentaria",
    "Management Consulting": "consultoria unternehmensberatung",
    "Manufacturing": "fabrica manufactur hersteller fertigung metalurgica metallbau produktion",
    "Marketing & Advertising": "marketing publicidade propaganda advertising werbung werbeagentur agencia",
    "Media Production": "video fotograf photograph filmproduktion produtora",
    "Packaging": "embalagen packaging verpackung",
    "Pharmacy": "farmacia pharmacy apotheke",
    "Plumbing & Heating": "encanador plumb heating heizung sanitaer klempner hidraulic boiler",
    "Printing": "grafica print druckerei impress",
    "Real Estate": "imobiliaria imovel imoveis estate immobilien property letting corretor",
    "Restaurants": "restaurant restaurante pizzaria pizzeria lanchonete churrascaria gasthaus gasthof bistro cafe gastronom",
    "Retail": "loja varejo store retail laden einzelhandel handel",
    "Security Services": "seguranca vigilancia alarm sicherheitsdienst security monitoramento",
    "Sports & Fitness": "academia fitness sport crossfit yoga pilates ginastica",
    "Textiles": "textil tecido malharia stoff",
    "Tourism": "turismo viagen travel reise reisebuero tour agencia viagens",
    "Veterinary": "veterinari tierarzt tieraerzt pet animal",
    "Wholesale": "atacado distribuidora wholesale grosshandel distributor",
}
_BY_TYPE: Mapping[str, str] = {
    "accountingservice": "Accounting",
    "attorney": "Law Practice",
    "legalservice": "Law Practice",
    "notary": "Law Practice",
    "autodealer": "Automotive",
    "autorepair": "Automotive",
    "automotivebusiness": "Automotive",
    "bakery": "Food & Beverages",
    "barorpub": "Restaurants",
    "beautysalon": "Cosmetics",
    "cafeorcoffeeshop": "Restaurants",
    "clothingstore": "Apparel & Fashion",
    "collegeoruniversity": "Education",
    "school": "Education",
    "educationalorganization": "Education",
    "dentist": "Dentistry",
    "electrician": "Electrical Services",
    "employmentagency": "Human Resources",
    "financialservice": "Banking & Finance",
    "bankorcreditunion": "Banking & Finance",
    "foodestablishment": "Restaurants",
    "restaurant": "Restaurants",
    "furniturestore": "Furniture",
    "generalcontractor": "Construction",
    "roofingcontractor": "Construction",
    "homeandconstructionbusiness": "Construction",
    "hairsalon": "Cosmetics",
    "healthclub": "Sports & Fitness",
    "exercisegym": "Sports & Fitness",
    "hotel": "Hospitality",
    "lodgingbusiness": "Hospitality",
    "bedandbreakfast": "Hospitality",
    "hvacbusiness": "Plumbing & Heating",
    "plumber": "Plumbing & Heating",
    "insuranceagency": "Insurance",
    "jewelrystore": "Jewelry",
    "medicalclinic": "Health Care",
    "medicalbusiness": "Health Care",
    "medicalorganization": "Health Care",
    "physician": "Health Care",
    "hospital": "Health Care",
    "movingcompany": "Logistics",
    "pharmacy": "Pharmacy",
    "realestateagent": "Real Estate",
    "store": "Retail",
    "onlinestore": "Retail",
    "travelagency": "Tourism",
    "veterinarycare": "Veterinary",
}
_LEAST_WHOLE = 5
"""Letters: shorter entries of the table are whole words."""


def industry_of_types(types: Iterable[str]) -> str | None:
    """Return the industry that a type of schema.org stands for."""
    return next((_BY_TYPE[each.lower()] for each in types if each.lower() in _BY_TYPE), None)


def industry_of_words(*texts: str) -> str | None:
    """Return the industry that has the most hits in the texts; `None` when there is none, or a tie."""
    words = re.findall(r"[\w-]+", folded(" ".join(texts)))[:400]
    hits: Counter[str] = Counter()
    for word in words:
        for industry in _industries_of(word):
            hits[industry] += 1
    best = hits.most_common(2)
    if not best or (len(best) > 1 and best[0][1] == best[1][1]):
        return None
    return best[0][0]


@lru_cache(4096)
def _industries_of(word: str) -> frozenset[str]:
    return frozenset(
        industry
        for stem, industry in _by_stem()
        if word == stem or (len(stem) >= _LEAST_WHOLE and word.startswith(stem))
    )


@lru_cache(1)
def _by_stem() -> tuple[tuple[str, str], ...]:
    return tuple((stem, industry) for industry, stems in _STEMS.items() for stem in stems.split())
