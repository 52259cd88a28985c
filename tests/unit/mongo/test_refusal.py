"""Whose fault a failed write is: the document's, or the state the database is in."""

from __future__ import annotations

import pytest
from pymongo.errors import BulkWriteError, OperationFailure

from enricher.mongo.outage import Refusal, is_denied, is_refusal, is_unreadable, refusals


def bulk(*codes: int, concern: bool = False) -> BulkWriteError:
    errors = [{"index": place, "code": code, "errmsg": ""} for place, code in enumerate(codes)]
    concerns = [{"code": 64, "errmsg": "timed out"}] if concern else []
    return BulkWriteError({"writeErrors": errors, "writeConcernErrors": concerns})


@pytest.mark.parametrize("code", [121, 17419, 10334, 11000, 2, 52, 171, 16755])
def test_an_error_about_the_document_is_a_refusal(code: int) -> None:
    assert refusals(bulk(code)) == [Refusal(0, code)]
    assert is_refusal(OperationFailure("no", code))


@pytest.mark.parametrize("code", [50, 112, 189, 10107, 11600, 11602, 91, 262, 13, 64, 9001, 462])
def test_an_error_about_the_state_of_the_database_is_raised(code: int) -> None:
    """Or a paid result would be given up because a primary stepped down in mid-batch."""
    with pytest.raises(BulkWriteError):
        refusals(bulk(121, code))
    assert not is_refusal(OperationFailure("not now", code))


def test_a_failed_write_concern_is_raised_whatever_else_there_is() -> None:
    with pytest.raises(BulkWriteError):
        refusals(bulk(121, concern=True))
    with pytest.raises(BulkWriteError):
        refusals(bulk(concern=True))


def test_every_refused_update_is_named_by_its_place() -> None:
    assert refusals(bulk(121, 17419)) == [Refusal(0, 121), Refusal(1, 17419)]


def test_an_error_without_a_code_is_no_refusal() -> None:
    assert not is_refusal(OperationFailure("what"))
    assert not is_unreadable(OperationFailure("what"))


def test_a_command_that_cannot_be_read_is_told_from_one_that_may_not_run() -> None:
    assert is_unreadable(OperationFailure("too deep", 15))
    assert not is_unreadable(OperationFailure("unauthorized", 13))


@pytest.mark.parametrize(("code", "denied"), [(13, True), (18, True), (8000, True), (91, False)])
def test_a_lost_privilege_is_told_from_other_states_of_the_database(
    code: int, denied: bool
) -> None:
    assert is_denied(OperationFailure("no", code)) == denied
