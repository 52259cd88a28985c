"""What the webhook sends, against an implementation that is not ours."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from enricher.lead import Document
from enricher.settings.types import webhook_keys
from enricher.webhook.signature import body_of, headers_of, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = f"whsec_{base64.b64encode(b'another secret of 32 bytes......').decode()}"
KEYS = webhook_keys(SecretStr(SECRET))
AT = datetime(2026, 3, 4, 5, 6, 7, 890_000, UTC)


def event(**other: object) -> Document:
    told = {"status": "completed", "changed": ["company_data.name"], "attempt": 1, "at": AT}
    return {"_id": "evt_1", "collection": "leads", "lead": 7, **told, **other}


def test_the_signature_is_that_of_the_specifications_example() -> None:
    body = b'{"test": 2432232314}'
    signature = sign(KEYS, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def now() -> int:
    return int(datetime.now(UTC).timestamp())


@given(st.text(), st.sampled_from(["completed", "failed"]))
def test_an_independent_implementation_verifies_it(lead: str, status: str) -> None:
    body = body_of(event(lead=lead, status=status))
    said = Verifier(SECRET).verify(body, headers_of(KEYS, "evt_1", now(), body))
    assert said["data"]["lead"] == lead


def test_either_secret_verifies_it_while_one_is_changed() -> None:
    keys, body = webhook_keys(SecretStr(f"{OTHER} {SECRET}")), body_of(event())
    headers = headers_of(keys, "evt_1", now(), body)
    for secret in (SECRET, OTHER):
        Verifier(secret).verify(body, headers)


def test_another_secret_does_not() -> None:
    body = body_of(event())
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(body, headers_of(KEYS, "evt_1", now(), body))


def test_the_body_says_which_lead_and_what_changed_and_nothing_of_it() -> None:
    id_ = ObjectId("65f000000000000000000001")
    assert json.loads(body_of(event(lead=id_, webhook={"attempts": 2}, token=3))) == {
        "type": "lead.enriched",
        "timestamp": "2026-03-04T05:06:07.890Z",
        "data": {
            "collection": "leads",
            "lead": {"$oid": "65f000000000000000000001"},
            "status": "completed",
            "changed": ["company_data.name"],
            "attempt": 1,
        },
    }
