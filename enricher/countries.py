"""PURE Countries by ISO 3166 code: "USA", "us" and "united states" are one.

The names are the common English ones. What is not in the table is no error: a vendor's own wording
stays as it is, and only the code beside it is missing.
"""

from __future__ import annotations

import re
import unicodedata

_TABLE = """\
AD AND Andorra; AE ARE United Arab Emirates; AF AFG Afghanistan; AG ATG Antigua and Barbuda;
AI AIA Anguilla; AL ALB Albania; AM ARM Armenia; AO AGO Angola; AQ ATA Antarctica;
AR ARG Argentina; AS ASM American Samoa; AT AUT Austria; AU AUS Australia; AW ABW Aruba;
AX ALA Åland Islands; AZ AZE Azerbaijan; BA BIH Bosnia and Herzegovina; BB BRB Barbados;
BD BGD Bangladesh; BE BEL Belgium; BF BFA Burkina Faso; BG BGR Bulgaria; BH BHR Bahrain;
BI BDI Burundi; BJ BEN Benin; BL BLM Saint Barthélemy; BM BMU Bermuda; BN BRN Brunei;
BO BOL Bolivia; BQ BES Caribbean Netherlands; BR BRA Brazil; BS BHS Bahamas; BT BTN Bhutan;
BV BVT Bouvet Island; BW BWA Botswana; BY BLR Belarus; BZ BLZ Belize; CA CAN Canada;
CC CCK Cocos Islands; CD COD DR Congo; CF CAF Central African Republic; CG COG Congo;
CH CHE Switzerland; CI CIV Côte d'Ivoire; CK COK Cook Islands; CL CHL Chile; CM CMR Cameroon;
CN CHN China; CO COL Colombia; CR CRI Costa Rica; CU CUB Cuba; CV CPV Cape Verde; CW CUW Curaçao;
CX CXR Christmas Island; CY CYP Cyprus; CZ CZE Czech Republic; DE DEU Germany; DJ DJI Djibouti;
DK DNK Denmark; DM DMA Dominica; DO DOM Dominican Republic; DZ DZA Algeria; EC ECU Ecuador;
EE EST Estonia; EG EGY Egypt; EH ESH Western Sahara; ER ERI Eritrea; ES ESP Spain; ET ETH Ethiopia;
FI FIN Finland; FJ FJI Fiji; FK FLK Falkland Islands; FM FSM Micronesia; FO FRO Faroe Islands;
FR FRA France; GA GAB Gabon; GB GBR United Kingdom; GD GRD Grenada; GE GEO Georgia;
GF GUF French Guiana; GG GGY Guernsey; GH GHA Ghana; GI GIB Gibraltar; GL GRL Greenland;
GM GMB Gambia; GN GIN Guinea; GP GLP Guadeloupe; GQ GNQ Equatorial Guinea; GR GRC Greece;
GS SGS South Georgia; GT GTM Guatemala; GU GUM Guam; GW GNB Guinea-Bissau; GY GUY Guyana;
HK HKG Hong Kong; HM HMD Heard and McDonald Islands; HN HND Honduras; HR HRV Croatia; HT HTI Haiti;
HU HUN Hungary; ID IDN Indonesia; IE IRL Ireland; IL ISR Israel; IM IMN Isle of Man; IN IND India;
IO IOT British Indian Ocean Territory; IQ IRQ Iraq; IR IRN Iran; IS ISL Iceland; IT ITA Italy;
JE JEY Jersey; JM JAM Jamaica; JO JOR Jordan; JP JPN Japan; KE KEN Kenya; KG KGZ Kyrgyzstan;
KH KHM Cambodia; KI KIR Kiribati; KM COM Comoros; KN KNA Saint Kitts and Nevis; KP PRK North Korea;
KR KOR South Korea; KW KWT Kuwait; KY CYM Cayman Islands; KZ KAZ Kazakhstan; LA LAO Laos;
LB LBN Lebanon; LC LCA Saint Lucia; LI LIE Liechtenstein; LK LKA Sri Lanka; LR LBR Liberia;
LS LSO Lesotho; LT LTU Lithuania; LU LUX Luxembourg; LV LVA Latvia; LY LBY Libya; MA MAR Morocco;
MC MCO Monaco; MD MDA Moldova; ME MNE Montenegro; MF MAF Saint Martin; MG MDG Madagascar;
MH MHL Marshall Islands; MK MKD North Macedonia; ML MLI Mali; MM MMR Myanmar; MN MNG Mongolia;
MO MAC Macao; MP MNP Northern Mariana Islands; MQ MTQ Martinique; MR MRT Mauritania;
MS MSR Montserrat; MT MLT Malta; MU MUS Mauritius; MV MDV Maldives; MW MWI Malawi; MX MEX Mexico;
MY MYS Malaysia; MZ MOZ Mozambique; NA NAM Namibia; NC NCL New Caledonia; NE NER Niger;
NF NFK Norfolk Island; NG NGA Nigeria; NI NIC Nicaragua; NL NLD Netherlands; NO NOR Norway;
NP NPL Nepal; NR NRU Nauru; NU NIU Niue; NZ NZL New Zealand; OM OMN Oman; PA PAN Panama;
PE PER Peru; PF PYF French Polynesia; PG PNG Papua New Guinea; PH PHL Philippines; PK PAK Pakistan;
PL POL Poland; PM SPM Saint Pierre and Miquelon; PN PCN Pitcairn; PR PRI Puerto Rico;
PS PSE Palestine; PT PRT Portugal; PW PLW Palau; PY PRY Paraguay; QA QAT Qatar; RE REU Réunion;
RO ROU Romania; RS SRB Serbia; RU RUS Russia; RW RWA Rwanda; SA SAU Saudi Arabia;
SB SLB Solomon Islands; SC SYC Seychelles; SD SDN Sudan; SE SWE Sweden; SG SGP Singapore;
SH SHN Saint Helena; SI SVN Slovenia; SJ SJM Svalbard and Jan Mayen; SK SVK Slovakia;
SL SLE Sierra Leone; SM SMR San Marino; SN SEN Senegal; SO SOM Somalia; SR SUR Suriname;
SS SSD South Sudan; ST STP Sao Tome and Principe; SV SLV El Salvador; SX SXM Sint Maarten;
SY SYR Syria; SZ SWZ Eswatini; TC TCA Turks and Caicos Islands; TD TCD Chad;
TF ATF French Southern Territories; TG TGO Togo; TH THA Thailand; TJ TJK Tajikistan;
TK TKL Tokelau; TL TLS Timor-Leste; TM TKM Turkmenistan; TN TUN Tunisia; TO TON Tonga;
TR TUR Turkey; TT TTO Trinidad and Tobago; TV TUV Tuvalu; TW TWN Taiwan; TZ TZA Tanzania;
UA UKR Ukraine; UG UGA Uganda; UM UMI US Minor Outlying Islands; US USA United States;
UY URY Uruguay; UZ UZB Uzbekistan; VA VAT Vatican City; VC VCT Saint Vincent and the Grenadines;
VE VEN Venezuela; VG VGB British Virgin Islands; VI VIR US Virgin Islands; VN VNM Vietnam;
VU VUT Vanuatu; WF WLF Wallis and Futuna; WS WSM Samoa; YE YEM Yemen; YT MYT Mayotte;
ZA ZAF South Africa; ZM ZMB Zambia; ZW ZWE Zimbabwe
"""
"""Two letters, three letters, name."""

_ALIASES = """\
GB UK; GB Great Britain; GB Britain; GB England; GB Scotland; GB Wales; GB Northern Ireland;
GB United Kingdom of Great Britain and Northern Ireland; US U S A; US U S; US America;
US United States of America; RU Russian Federation; KR Korea; KR Republic of Korea; KR Korea Republic of;
KP Democratic People's Republic of Korea; KP Korea Democratic People's Republic of; VN Viet Nam; CZ Czechia;
TR Türkiye; NL Holland; IE Republic of Ireland; AE UAE; CI Ivory Coast; HK Hong Kong SAR;
HK Hong Kong SAR China; MO Macau; IR Islamic Republic of Iran; IR Iran Islamic Republic of; TW Taiwan Province of China;
CN PRC; CN People's Republic of China; CN Mainland China; CD Democratic Republic of the Congo;
CD Congo Democratic Republic of the; CG Republic of the Congo; MK Macedonia; MM Burma; SZ Swaziland;
CV Cabo Verde; TL East Timor; PS Palestinian Territory; PS State of Palestine; SY Syrian Arab Republic;
LA Lao People's Democratic Republic; MD Republic of Moldova; MD Moldova Republic of; BO Plurinational State of Bolivia;
BO Bolivia Plurinational State of; VE Bolivarian Republic of Venezuela; VE Venezuela Bolivarian Republic of;
TZ United Republic of Tanzania; TZ Tanzania United Republic of; BN Brunei Darussalam; VA Holy See;
DE Deutschland; ES España; BR Brasil; CH Schweiz; AT Österreich; IT Italia
"""
"""Other ways in which vendors name them."""


def _folded(text: str) -> str:
    """Without case, accents, punctuation and a leading article."""
    letters = unicodedata.normalize("NFKD", text.replace("&", " and ").replace("\u2019", "'"))
    bare = "".join(each for each in letters if not unicodedata.combining(each)).casefold()
    words = re.sub(r"[^\w']+", " ", bare).split()
    return " ".join(words[1:] if words[:1] == ["the"] else words)


def _entries(table: str) -> list[list[str]]:
    return [entry.split(maxsplit=1) for entry in table.replace("\n", " ").split(";")]


NAMES = {code: rest.split(maxsplit=1)[1].strip() for code, rest in _entries(_TABLE)}
"""Two letters -> common English name."""

_CODES = {
    **{_folded(name): code for code, name in _entries(_ALIASES)},
    **{_folded(name): code for code, name in NAMES.items()},
    **{rest.split()[0].casefold(): code for code, rest in _entries(_TABLE)},
    **{code.casefold(): code for code in NAMES},
}

LONGEST = 64
"""Characters of the longest name that is looked up."""


def code_of(text: str) -> str | None:
    """The two-letter code of a country that is named, or given by any of its codes."""
    return _CODES.get(_folded(text)) if len(text) <= LONGEST else None


def name_of(text: str) -> str:
    """The common name for a code or for a name in small letters; anything else as it is."""
    code = code_of(text)
    is_raw = text == text.lower() or len(text) <= len("USA")
    return NAMES[code] if code and is_raw else text
