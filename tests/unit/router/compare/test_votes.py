"""Who won how often, as people said."""

from router.compare.votes import Vote, standings


def votes(better: list[str | None]) -> list[Vote]:
    return [Vote(at, "a", "b", each) for at, each in enumerate(better)]


def test_a_tie_is_half_a_win_for_each() -> None:
    """Everybody first, best first, then the two against each other."""
    best, other, pair = standings(votes(["a", "a", "b", None]))

    assert ("a", None, 2, 1, 1, 0.625) == (
        best.candidate,
        best.against,
        best.wins,
        best.ties,
        best.losses,
        best.share.value,
    )
    assert ("b", 0.375) == (other.candidate, other.share.value)
    assert ("a", "b", 0.625) == (pair.candidate, pair.against, pair.share.value)


def test_few_votes_are_not_tested() -> None:
    """Four say nothing either way."""
    assert [None, None, None] == [each.p for each in standings(votes(["a"] * 4))]


def test_who_wins_nearly_always_is_better() -> None:
    """By the signs of twenty votes; the pair alone is tested."""
    *alone, pair = standings(votes(["a"] * 19 + ["b"]))

    assert [None, None] == [each.p for each in alone]
    assert pair.p == pair.p_holm < 0.001
    assert pair.share.low > 0.5


def test_votes_on_one_input_are_one() -> None:
    """A hundred people who judge the same two answers do not judge two models."""
    *_, pair = standings([Vote(0, "a", "b", "a")] * 100)

    assert (None, None, None) == (pair.p, pair.share.low, pair.share.high)


def test_several_pairs_are_corrected_together() -> None:
    """Three pairs have three chances."""
    met = [Vote(at, one, other, one) for one, other in ("ab", "ac", "bc") for at in range(10)]
    pairs = [each for each in standings(met) if each.against is not None]

    assert [each.p * 3 for each in pairs] == [each.p_holm for each in pairs]


def test_nobody_voted() -> None:
    """Nothing is said."""
    assert () == standings([])
