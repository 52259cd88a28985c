"""PURE A company's number in the Brazilian register (CNPJ), out of what somebody wrote.

Fourteen characters: eight for the firm, four for the branch (`0001` is mostly the head office) and two check
digits. Since July 2026 the first twelve may be letters too (IN RFB 2.229/2024): a character counts for its code
less 48, so digits count for themselves. Public example of the new form: 12.ABC.345/01DE-35.
"""

from __future__ import annotations

import re
from operator import mul

_LONGEST = 64
_LABEL = re.compile(r"\A\s*CNPJ\b[\s:.-]*", re.IGNORECASE)
_SIGNS = re.compile(r"[.\-/\s]")
_FORM = re.compile(r"[0-9A-Z]{12}[0-9]{2}", re.ASCII)
_LOST_ZEROS = re.compile(r"[0-9]{12,13}", re.ASCII)
_WEIGHTS = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
_DIGITS = 14


def read_cnpj(text: str | None) -> str | None:
    """Return the number without signs, or `None` if its check digits are wrong or it is none.

    Spreadsheets drop leading zeros: up to two are put back.
    """
    if not text or len(text) > _LONGEST:
        return None
    bare = _SIGNS.sub("", _LABEL.sub("", text)).upper()
    number = bare.zfill(_DIGITS) if _LOST_ZEROS.fullmatch(bare) else bare
    is_number = _FORM.fullmatch(number) is not None and len(set(number)) > 1
    return number if is_number and _is_checked(number) else None


def with_check_digits(first: str) -> str:
    """Return the number that begins with these twelve characters."""
    values = [ord(each) - ord("0") for each in first]
    for _ in range(_DIGITS - len(values)):
        values.append(_check_digit(values))
    return first + "".join(map(str, values[len(first) :]))


def _is_checked(number: str) -> bool:
    values = [ord(each) - ord("0") for each in number]
    return all(values[place] == _check_digit(values[:place]) for place in (12, 13))


def _check_digit(values: list[int]) -> int:
    rest = sum(map(mul, values, _WEIGHTS[-len(values) :])) % 11
    return 0 if rest < 2 else 11 - rest  # noqa: PLR2004 - as the register's rule says
