"""Refusals that decide who may be asked next: too short a context, no wish to go on, an empty account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import SMOLLM
from tests.faults.asking import ask, error_of
from tests.faults.house import HEALTHY
from tests.faults.provider import partial_of
from tests.faults.scripts import SAID, TEXT

if TYPE_CHECKING:
    from tests.faults.conftest import House


def rows_of(faulty: House, decision_id: str) -> list[list[object]]:
    """Role, model and error of each attempt."""
    return faulty.server.sql(
        f"select role, model, error_class from attempts where decision_id = '{decision_id}' order by attempt"
    )


@pytest.mark.parametrize("mode", ["streamed", "buffered"])
def test_a_conversation_too_long_goes_to_no_shorter_and_no_unknown_context(faulty: House, mode: str) -> None:
    """Neither of two fallbacks may be larger: none is asked, and the caller is told that it was too long."""
    told = ask(faulty.url, "larger-only", stream=mode == "streamed")

    assert (400, "context_length_exceeded") == (getattr(told.error, "status_code", None), error_of(told)["code"])
    assert [] == faulty.far.asked("good.small") + faulty.far.asked("good.unknown")
    assert [["primary", "context.larger-only", "ContextLengthExceeded"]] == rows_of(faulty, told.decision_id)


@pytest.mark.parametrize("mode", ["streamed", "buffered"])
def test_a_conversation_too_long_skips_to_the_larger_context(faulty: House, mode: str) -> None:
    """The shorter fallback stands first in the alias, and is passed over."""
    told = ask(faulty.url, "larger-at-last", stream=mode == "streamed")

    assert (TEXT, True) == (told.text, told.complete), told
    assert [] == faulty.far.asked("good.small")
    assert [["primary", "context.larger-at-last", "ContextLengthExceeded"], ["fallback", HEALTHY, None]] == rows_of(
        faulty, told.decision_id
    )


def test_a_fallback_that_refuses_a_partial_answer_is_followed_by_the_next(faulty: House) -> None:
    """It is asked to go on and answers 400; the near model goes on instead."""
    told = ask(faulty.url, "picky-then-near", stream=True)

    assert told.complete, told
    assert told.text.startswith(SAID)
    assert len(told.text) > len(SAID)
    assert SMOLLM == told.models[-1]
    assert SAID in [partial_of(request) for request in faulty.far.asked("picky")]
    assert [
        ["primary", "cut.picky-then-near", "RemoteError"],
        ["continuation", "picky", "InvalidInput"],
        ["continuation", SMOLLM, None],
    ] == rows_of(faulty, told.decision_id)


def test_a_fallbacks_own_refusal_does_not_mask_the_first_failure(faulty: House) -> None:
    """Nobody can go on: the error in band is that of the stream that broke, and there is no `[DONE]`."""
    told = ask(faulty.url, "picky-only", stream=True)

    assert (SAID, None, False) == (told.text, told.finish_reason, told.done)
    assert "all_attempts_failed" == error_of(told)["code"]  # and not `invalid_value`, which the fallback's 400 means
    assert "invalid_request_error" != error_of(told)["type"]
    assert [["primary", "RemoteError"], ["continuation", "InvalidInput"]] == [
        [role, error] for role, _, error in rows_of(faulty, told.decision_id)
    ]


def test_a_far_fallback_that_did_not_declare_it_is_not_asked_to_go_on(faulty: House) -> None:
    """Without `continues` a provider may say the beginning again: it is not asked at all."""
    told = ask(faulty.url, "plain-only", stream=True)

    assert told.error is not None
    assert (SAID, None, False) == (told.text, told.finish_reason, told.done)
    assert [] == faulty.far.asked("good.plain")


def test_an_empty_account_is_not_asked_for_anything_else(faulty: House) -> None:
    """After a 402 the caller is served near, and so is the next, whose model the same account would serve."""
    first = ask(faulty.url, "unpaid", stream=False)
    second = ask(faulty.url, "same-account", stream=False)

    assert (True, SMOLLM) == (first.complete, first.models[0]), first
    assert (True, SMOLLM) == (second.complete, second.models[0]), second
    assert 1 == len(faulty.far.asked("unpaid.first"))
    assert [] == faulty.far.asked("good.second")


def test_where_nobody_listens_the_fallback_answers(faulty: House) -> None:
    """A refused connection is tried at most twice."""
    told = ask(faulty.url, "nobody", stream=False)

    assert (TEXT, True) == (told.text, told.complete), told
    assert [["Unavailable"] * (len(rows_of(faulty, told.decision_id)) - 1), [None]] == [
        [row[2] for row in rows_of(faulty, told.decision_id)[:-1]],
        [row[2] for row in rows_of(faulty, told.decision_id)[-1:]],
    ]
    assert len(rows_of(faulty, told.decision_id)) in {2, 3}
