"""A stream that breaks after its first word: an error, a continuation by somebody else, or nothing but the whole."""

import asyncio

import pytest

from backends.types import Delta
from router.errors import AllAttemptsFailed
from router.outcome import Begun, Outcome
from router.sections import AliasEntry
from tests.unit.router.house import CHAT, chat, chat_model, drained, fake, opened

BREAKS = {"fail_after_tokens": 2}
TOKENS = 8


def streamed(*candidates, mode: str | None = None, **settings):
    """The pieces of one stream over these candidates, and its row."""

    async def go():
        async with opened(chat_model(*candidates), **settings) as house:
            pieces = await drained(house.dispatcher.stream(chat(stream=True, talks=True, on_stream_failure=mode)))
            return pieces, await house.row(pieces[-1].decision_id)

    return asyncio.run(go())


def text_of(pieces) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


def test_another_candidate_goes_on_where_the_first_one_stopped() -> None:
    """The sender hears one text; whoever speaks is named again, and so is the place where that began."""
    pieces, row = streamed(fake("a", **BREAKS), fake("b", continues=True), mode="continue")
    begun, one, two, again, *_, outcome = pieces

    assert [Begun, Delta, Delta, Begun] == [type(piece) for piece in (begun, one, two, again)]
    assert ("a", 0, "b", len(one.text + two.text)) == (begun.provider, begun.from_char, again.provider, again.from_char)
    assert ("ok", text_of(pieces)) == (outcome.status, outcome.result.output.text)
    assert ["primary", "continuation"] == [attempt["role"] for attempt in row["attempts"]]
    assert [None, again.from_char] == [attempt["from_char"] for attempt in row["attempts"]]
    assert [False, True] == [attempt["won"] for attempt in row["attempts"]]


def test_a_continuation_does_not_repeat_what_was_said() -> None:
    """The fake goes on with its own words, so the joined text is what it would have said alone."""
    pieces, _ = streamed(fake("a", **BREAKS), fake("b", continues=True), mode="continue")
    alone, _ = streamed(fake("b"))

    assert text_of(alone) == text_of(pieces)


def test_a_continuation_that_breaks_is_continued_by_the_next() -> None:
    """As long as somebody is left."""
    candidates = (fake("a", **BREAKS), fake("b", continues=True, **BREAKS), fake("c", continues=True))
    pieces, row = streamed(*candidates, mode="continue")

    assert text_of(streamed(fake("c"))[0]) == text_of(pieces) == pieces[-1].result.output.text
    assert 2 == len(pieces[-1].splices)
    assert 3 == len(row["attempts"])


def test_the_answer_keeps_its_length() -> None:
    """Words that were said count against the tokens that were asked for."""
    pieces, _ = streamed(fake("a", tokens=50, **BREAKS), fake("b", continues=True, tokens=50), mode="continue")

    assert TOKENS == len(text_of(pieces).split())


def test_where_nobody_can_continue_the_first_failure_is_told() -> None:
    """A candidate that would begin anew is not asked."""
    pieces, row = streamed(fake("a", **BREAKS), fake("b"), mode="continue")
    outcome = pieces[-1]

    assert ("error", None) == (outcome.status, outcome.result)
    assert isinstance(outcome.error, AllAttemptsFailed)
    assert ["a"] == [attempt["provider"] for attempt in row["attempts"]]


def test_a_refused_continuation_never_masks_the_first_failure() -> None:
    """What the sender is told is what broke the stream."""
    pieces, row = streamed(fake("a", **BREAKS), fake("b", continues=True, fail="InvalidInput"), mode="continue")
    outcome = pieces[-1]

    assert ["RemoteError", "InvalidInput"] == [type(failed.error).__name__ for failed in outcome.error.attempts]
    assert "error" == row["status"]


@pytest.mark.parametrize("tokens", [1, 2])
def test_held_back_nothing_is_heard_of_a_break(tokens) -> None:
    """The whole text of the one that finished, and nothing of the other; nobody needs to continue for that."""
    pieces, row = streamed(fake("a", fail_after_tokens=tokens), fake("b"), mode="hold")
    begun, *_, outcome = pieces

    assert [Begun, *[Delta] * TOKENS, Outcome] == [type(piece) for piece in pieces]
    assert ("b", 2, "ok") == (begun.provider, begun.attempts, outcome.status)
    assert text_of(streamed(fake("b"))[0]) == text_of(pieces)
    assert ["primary", "fallback"] == [attempt["role"] for attempt in row["attempts"]]


def test_held_back_a_stream_that_nobody_finishes_says_nothing() -> None:
    """Not a single piece of an answer that does not exist."""
    pieces, _ = streamed(fake("a", **BREAKS), mode="hold")

    assert [Outcome] == [type(piece) for piece in pieces]
    assert "error" == pieces[0].status


def test_without_a_word_about_it_a_break_is_an_error() -> None:
    """Only an alias that names fallbacks has said that another model may speak."""
    pieces, _ = streamed(fake("a", **BREAKS), fake("b", continues=True))

    assert "error" == pieces[-1].status


def test_the_settings_may_say_it_for_all() -> None:
    """And a request may say otherwise."""
    candidates = (fake("a", **BREAKS), fake("b", continues=True))

    assert "ok" == streamed(*candidates, on_stream_failure="continue")[0][-1].status
    assert "error" == streamed(*candidates, mode="error", on_stream_failure="continue")[0][-1].status


def test_an_alias_with_fallbacks_continues() -> None:
    """That is what its fallbacks are for."""

    async def go():
        entries = (chat_model(fake("a", **BREAKS)), chat_model(fake("b", continues=True), model="test/last"))
        alias = AliasEntry(name="resilient", models=(CHAT,), fallbacks=("test/last",))
        async with opened(*entries, aliases=[alias]) as house:
            return await drained(house.dispatcher.stream(chat(model="resilient", stream=True)))

    pieces = asyncio.run(go())
    assert ("ok", "test/last") == (pieces[-1].status, pieces[-1].result.model)
