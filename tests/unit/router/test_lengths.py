"""How long answers are: by intent where enough were seen, within the limit, and cut ones counted as longer."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prediction.lengths import EVERY, LEAST, MAX_INTENTS, WINDOW, IntentLengths, Lengths

tokens = st.integers(1, 5000)


@given(st.lists(tokens, min_size=1, max_size=200), st.none() | tokens)
def test_what_is_expected_is_what_was_seen_within_the_limit(seen, limit) -> None:
    """The median for how long it takes, and the mean for what it costs."""
    lengths = Lengths()
    for count in seen:
        lengths.observe(count, None)
    last = seen[-WINDOW:]
    within = last if limit is None else [min(count, limit) for count in last]
    lengths.rank()
    expected = lengths.expected(limit)

    assert pytest.approx(statistics.mean(within)) == expected.mean
    assert statistics.median_low(within) == expected.median
    assert len(lengths.seen) <= WINDOW


def test_an_answer_cut_at_its_limit_counts_as_a_longer_one() -> None:
    """Else short limits would make a talkative model look brief."""
    lengths = Lengths()
    for count in (100, 200, 300):
        lengths.observe(count, 1000)
    for _ in range(3):
        lengths.observe(50, 50)
    assert (200, pytest.approx(200.0)) == lengths.expected(1000)
    assert (50, pytest.approx(50.0)) == lengths.expected(50)

    only_cut = Lengths()
    only_cut.observe(50, 50)
    assert (50, 50.0) == only_cut.expected(1000)  # nothing longer was seen: all that is known


def test_lengths_are_found_through_limits_that_cut_most_of_them() -> None:
    """Two in three end at their limit, and what would have been is found all the same."""
    dice, lengths = random.Random(1), Lengths()
    for _ in range(WINDOW):
        limit = dice.choice((64, 256, 1024))
        lengths.observe(min(limit, round(450 * math.exp(0.7 * dice.gauss(0, 1)))), limit)

    assert pytest.approx(450, rel=0.25) == lengths.expected(1024).median


def test_the_distribution_is_never_far_behind() -> None:
    """It is made anew for every length at first, and for every eighth later."""
    lengths = Lengths()
    for _ in range(WINDOW):
        lengths.observe(10, None)
    for _ in range(WINDOW // 2 + EVERY):
        lengths.observe(99, None)

    assert 99 == lengths.expected(None).median
    assert WINDOW == len(lengths.seen)


def test_an_intent_is_trusted_once_enough_of_it_was_seen() -> None:
    """Before that, all answers of the candidate are what is known."""
    lengths = IntentLengths()
    assert lengths.expected("code", None) is None
    for number in range(LEAST):
        lengths.observe("chat", 10, None)
        lengths.observe(None, 10, None)
        if number < LEAST - 1:
            lengths.observe("code", 500, None)
    assert 10 == lengths.expected("code", None).median

    lengths.observe("code", 500, None)
    assert [500, 10] == [lengths.expected(intent, None).median for intent in ("code", "chat")]
    assert 10 == lengths.expected("never seen", None).median


def test_intents_are_bounded_and_survive_saving() -> None:
    """The one seen first is forgotten for the newest."""
    lengths = IntentLengths()
    for number in range(MAX_INTENTS + 1):
        for _ in range(LEAST):
            lengths.observe(f"{number}", number + 1, None)

    assert MAX_INTENTS == len(lengths.of)
    again = IntentLengths(lengths.saved())
    assert lengths.saved() == again.saved()
    assert lengths.expected("7", 5) == again.expected("7", 5)
