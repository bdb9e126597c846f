"""Who won how often, as people said."""

from router.compare.votes import Opinion, Vote, standings, votes_of


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


def opinion(score: float, candidate: str, *, place: int = 0, repeat: int = 0, source: str = "user") -> Opinion:
    return Opinion(0, repeat, place, source, candidate, score)


def test_scores_of_one_source_on_one_input_are_votes_between_every_two() -> None:
    found = votes_of([opinion(1.0, "a"), opinion(0.2, "b"), opinion(0.5, "c")])

    assert {Vote(0, "a", "b", "a"), Vote(0, "a", "c", "a"), Vote(0, "b", "c", "c")} == set(found)


def test_equal_scores_are_a_tie_only_where_nobody_is_better() -> None:
    """Whoever names the best of three says nothing of the other two."""
    best_of_three = votes_of([opinion(1.0, "a"), opinion(0.25, "b"), opinion(0.25, "c")])

    assert {Vote(0, "a", "b", "a"), Vote(0, "a", "c", "a")} == set(best_of_three)
    assert [Vote(0, "a", "b", None)] == votes_of([opinion(0.5, "a"), opinion(0.5, "b")])


def test_what_different_people_say_or_of_different_inputs_is_not_compared() -> None:
    apart = [
        opinion(1.0, "a"),
        opinion(0.0, "b", source="somebody else"),
        opinion(0.0, "b", place=1),
        opinion(0.0, "b", repeat=1),
    ]

    assert [] == votes_of(apart)
