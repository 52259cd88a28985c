"""PURE The code of a country by its name, for vendors that only write names.

Names are those of ISO 3166 in everyday English, with other common ones; whatever is not among them
has no code here: "Georgia" is left out because the American state may be meant, "Congo" because
there are two.
"""

from __future__ import annotations

import re
import unicodedata

_NAMES = """
    Afghanistan AF, Albania AL, Algeria DZ, Andorra AD, Angola AO, Antigua and Barbuda AG, Argentina AR, Armenia AM,
    Aruba AW, Australia AU, Austria AT, Azerbaijan AZ, Bahamas BS, The Bahamas BS, Bahrain BH, Bangladesh BD,
    Barbados BB, Belarus BY, Belgium BE, Belize BZ, Benin BJ, Bermuda BM, Bhutan BT, Bolivia BO,
    Bosnia and Herzegovina BA, Botswana BW, Brazil BR, Brunei BN, Bulgaria BG, Burkina Faso BF, Burundi BI,
    Cambodia KH, Cameroon CM, Canada CA, Cape Verde CV, Cabo Verde CV, Cayman Islands KY,
    Central African Republic CF, Chad TD, Chile CL, China CN, Colombia CO, Comoros KM, Costa Rica CR, Croatia HR,
    Cuba CU, Curaçao CW, Cyprus CY, Czechia CZ, Czech Republic CZ, Côte d'Ivoire CI, Ivory Coast CI,
    Democratic Republic of the Congo CD, Republic of the Congo CG, Denmark DK, Djibouti DJ, Dominica DM,
    Dominican Republic DO, Ecuador EC, Egypt EG, El Salvador SV, Equatorial Guinea GQ, Eritrea ER, Estonia EE,
    Eswatini SZ, Swaziland SZ, Ethiopia ET, Faroe Islands FO, Fiji FJ, Finland FI, France FR, French Polynesia PF,
    Gabon GA, Gambia GM, The Gambia GM, Germany DE, Ghana GH, Gibraltar GI, Greece GR, Greenland GL, Grenada GD,
    Guadeloupe GP, Guam GU, Guatemala GT, Guernsey GG, Guinea GN, Guinea-Bissau GW, Guyana GY, Haiti HT,
    Honduras HN, Hong Kong HK, Hungary HU, Iceland IS, India IN, Indonesia ID, Iran IR, Iraq IQ, Ireland IE,
    Isle of Man IM, Israel IL, Italy IT, Jamaica JM, Japan JP, Jersey JE, Jordan JO, Kazakhstan KZ, Kenya KE,
    Kiribati KI, Kuwait KW, Kyrgyzstan KG, Laos LA, Latvia LV, Lebanon LB, Lesotho LS, Liberia LR, Libya LY,
    Liechtenstein LI, Lithuania LT, Luxembourg LU, Macau MO, Macao MO, Madagascar MG, Malawi MW, Malaysia MY,
    Maldives MV, Mali ML, Malta MT, Marshall Islands MH, Martinique MQ, Mauritania MR, Mauritius MU, Mexico MX,
    Micronesia FM, Moldova MD, Monaco MC, Mongolia MN, Montenegro ME, Morocco MA, Mozambique MZ, Myanmar MM,
    Burma MM, Namibia NA, Nauru NR, Nepal NP, Netherlands NL, The Netherlands NL, New Caledonia NC, New Zealand NZ,
    Nicaragua NI, Niger NE, Nigeria NG, North Korea KP, North Macedonia MK, Macedonia MK, Norway NO, Oman OM,
    Pakistan PK, Palau PW, Palestine PS, Panama PA, Papua New Guinea PG, Paraguay PY, Peru PE, Philippines PH,
    Poland PL, Portugal PT, Puerto Rico PR, Qatar QA, Réunion RE, Romania RO, Russia RU, Russian Federation RU,
    Rwanda RW, Saint Kitts and Nevis KN, Saint Lucia LC, Saint Vincent and the Grenadines VC, Samoa WS,
    San Marino SM, Saudi Arabia SA, Senegal SN, Serbia RS, Seychelles SC, Sierra Leone SL, Singapore SG,
    Slovakia SK, Slovenia SI, Solomon Islands SB, Somalia SO, South Africa ZA, South Korea KR,
    Republic of Korea KR, South Sudan SS, Spain ES, Sri Lanka LK, Sudan SD, Suriname SR, Sweden SE,
    Switzerland CH, Syria SY, São Tomé and Príncipe ST, Taiwan TW, Tajikistan TJ, Tanzania TZ, Thailand TH,
    Timor-Leste TL, East Timor TL, Togo TG, Tonga TO, Trinidad and Tobago TT, Tunisia TN, Turkey TR, Türkiye TR,
    Turkmenistan TM, Tuvalu TV, Uganda UG, Ukraine UA, United Arab Emirates AE, United Kingdom GB, Great Britain GB,
    United States US, United States of America US, USA US, Uruguay UY, Uzbekistan UZ, Vanuatu VU, Vatican City VA,
    Venezuela VE, Vietnam VN, Yemen YE, Zambia ZM, Zimbabwe ZW
"""


def _folded(name: str) -> str:
    """Small letters without accents; one space between words."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return re.sub(r"\s+", " ", letters.replace("\u2019", "'").replace("&", " and ")).strip()


_CODES = {
    _folded(name): code
    for name, _, code in (entry.strip().rpartition(" ") for entry in _NAMES.split(","))
}


def code_of(name: str | None) -> str | None:
    """ISO 3166 alpha-2; `None` when the name leaves a doubt."""
    return _CODES.get(_folded(name)) if name else None
