"""How every decision ends: the ranking, the sentence, the version and the figures in it."""

from __future__ import annotations

import pytest

from policies.base import apart, conclude, dollars, known, seconds, tie_break, versioned
from policies.latency import Fastest
from policies.types import Decision, Estimate, Rejection

A = Estimate(
    "a",
    "local",
    "local",
    near=True,
    latency_s=0.5,
    latency_source="prior",
    service_s=0.5,
    cost_usd=3e-7,
    cost_source="occupancy",
)
B = A._replace(candidate_id="b", backend="remote", provider="groq", near=False, latency_s=0.1, cost_usd=None)
C = B._replace(candidate_id="c", provider="together", latency_s=0.2)


def ended(*eligible: Estimate, order: tuple[str, ...] = (), rejections: tuple[Rejection, ...] = ()) -> Decision:
    scores = {e.candidate_id: 1.0 for e in eligible}
    return conclude(
        Fastest(),
        (list(eligible), rejections),
        scores,
        order,
        lambda one, two: f"{one.candidate_id} beats {two.candidate_id}",
    )


def test_equal_scores_go_by_latency_then_id() -> None:
    """Nothing is left to the order of the input."""
    twin = B._replace(candidate_id="b2")

    assert ("b", "b2", "c", "a") == ended(A, C, twin, B).ranked


@pytest.mark.parametrize(
    ("order", "ranked"),
    [
        (("together",), ("c", "b", "a")),
        (("local", "together"), ("a", "c", "b")),
        (("remote", "local"), ("b", "c", "a")),
        (("nobody",), ("b", "c", "a")),
    ],
)
def test_the_requested_order_outranks_the_score(order: tuple[str, ...], ranked: tuple[str, ...]) -> None:
    """Listed providers or backends come first in their order, the others follow by score."""
    assert ranked == ended(A, B, C, order=order).ranked


def test_the_reason_names_the_order_when_it_had_a_say() -> None:
    """A policy must not claim a win that the request's order gave."""
    expected = "a leads as the request orders local first: 500 ms, $0.0000003 (b: 100 ms, price unknown)."

    assert expected == ended(A, B, order=("local",)).reason
    assert "b beats c" == ended(B, C, order=("remote",)).reason
    expected = "b leads as the request orders remote first: 100 ms, price unknown (c: 200 ms, price unknown)."
    assert expected == ended(A, B, C, order=("remote",)).reason


def test_one_candidate_needs_no_comparison() -> None:
    """With a single eligible candidate the reason says so."""
    assert "a is the only eligible candidate: 500 ms, $0.0000003." == ended(A).reason


def test_an_empty_slate_says_that_nothing_is_eligible() -> None:
    """With rejections they are counted by code; without candidates it says that, too."""
    rejections = (Rejection("z", "offline", ""), Rejection("y", "too_slow", ""), Rejection("x", "offline", ""))

    assert "Nothing is eligible: there is no candidate at all." == ended().reason
    decision = ended(rejections=rejections)
    assert "Nothing is eligible: every candidate is rejected (2 offline, 1 too_slow)." == decision.reason
    assert ["x", "y", "z"] == [r.candidate_id for r in decision.rejections]


def test_a_version_follows_code_and_parameters() -> None:
    """Same parameters, same version, in any order; another code, name or value, another version."""
    version = versioned("1", a=1.0, b=2.0)

    assert version == versioned("1", b=2.0, a=1.0)
    assert 5 == len(
        {version, versioned("2", a=1.0, b=2.0), versioned("1", a=1.0), *(versioned("1", x=v) for v in (1, 2))}
    )
    assert ("1", 8) == (version.split("-")[0], len(version.split("-")[1]))


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.314, "2.31 s"), (1.0, "1.00 s"), (1599.2, "1599 s"), (0.0481, "48.1 ms"), (0.0, "0 ms"), (1e-5, "0.0100 ms")],
)
def test_durations_read_in_seconds_or_milliseconds(value: float, text: str) -> None:
    """Three digits, and never a power of ten."""
    assert text == seconds(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-7, "$0.0000003"), (0.0, "$0"), (12.5, "$12.5"), (1000.0, "$1000"), (0.01234, "$0.0123"), (1e-13, "$1e-13")],
)
def test_amounts_read_in_plain_dollars(value: float, text: str) -> None:
    """Small prices are written out; 0 is only shown for 0."""
    assert text == dollars(value)


def test_apart_gives_the_digits_it_takes() -> None:
    """Equal figures read the same, different ones never do."""
    assert ("$0.01", "$0.02") == apart(dollars, 0.01, 0.02)
    assert ("1.00 s", "1.00 s") == apart(seconds, 1.0, 1.0)
    assert 2 == len(set(apart(seconds, 1.0, 1.0 + 1e-15)))


def test_a_tie_is_explained_by_what_broke_it() -> None:
    """Latency when it differs, else the name."""
    assert "latency, 100 ms against 200 ms" == tie_break(B, C)
    assert "name" == tie_break(B, B._replace(candidate_id="z"))


def test_known_lets_only_figures_pass() -> None:
    """None, NaN, infinities and negative figures are unknown; 0 is a figure."""
    assert [None] * 4 == [known(x) for x in (None, float("nan"), float("inf"), -1.0)]
    assert [0.0, 2.0] == [known(x) for x in (0.0, 2.0)]
