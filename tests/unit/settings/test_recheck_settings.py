"""When thin leads are looked at again, as an operator writes it."""

from __future__ import annotations

import pytest

from enricher import wiring
from enricher.commands.backfill import ProviderEstimate
from enricher.commands.check import Result, say_whom_rechecks_ask
from enricher.errors import SettingsError
from enricher.settings.load import load

HOUR, DAY = 3600.0, 86_400.0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", ()),
        ("false", ()),
        ("[]", ()),
        ("true", (4 * HOUR, 3 * DAY, 30 * DAY)),
        ('["4h", "3D", " 30d "]', (4 * HOUR, 3 * DAY, 30 * DAY)),
        ('["90s","1.5h"]', (90.0, 1.5 * HOUR)),
    ],
)
def test_times_are_written_as_people_say_them(written: str, meant: tuple[float, ...]) -> None:
    assert load({"ENRICHER_RECHECKS": written}, env_file=None).rechecks.after == meant


@pytest.mark.parametrize(
    "written",
    [
        *("4h", "yes", '"4h"', '["soon"]', '["0h"]', '["4"]', '["-4h"]', "[4]", '{"after": "4h"}'),
        *('["4000d"]', str(["1h"] * 11).replace("'", '"'), '[["4h"]]'),
    ],
)
def test_anything_else_is_one_clear_error(written: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({"ENRICHER_RECHECKS": written}, env_file=None)
    [problem] = caught.value.problems
    assert problem.startswith("ENRICHER_RECHECKS: expected ")


async def test_the_check_says_whom_rechecks_ask_and_which_price_is_wanting() -> None:
    given = {"ENRICHER_RECHECKS": "true", "HUNTER_API_KEY": "a-key", "CLEARBIT_API_KEY": "a-key"}
    settings = load(given, env_file=None)
    async with wiring.vendors(settings) as registered:
        result, said = say_whom_rechecks_ask(settings, registered.providers)
    assert result is Result.OK
    assert said == (
        "after 4h, 3d, 30d, ask hunter_company, hunter_person; clearbit only with CLEARBIT_CREDIT_PRICE;"
        " hunter only with HUNTER_CREDIT_PRICE"
    )


def test_rechecks_cost_what_misses_cost_since_an_answer_is_charged_but_once() -> None:
    questions = {b"one", b"two"}
    free = ProviderEstimate(2.0, rechecks=3, charges_misses=False, questions=questions)
    dear = ProviderEstimate(2.0, rechecks=3, charges_misses=True, questions=questions)
    assert (free.recheck_calls, free.recheck_credits) == (6, 0.0)
    assert (dear.recheck_calls, dear.recheck_credits) == (6, 12.0)
