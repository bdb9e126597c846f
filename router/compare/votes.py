"""Who won how often, where people said which of two answers is better. Votes in, shares out.

A tie is half a win for each. Votes on one input are alike, so inputs are what is independent. People vote by feedback
on the decisions of a run's trials: whoever scores two answers to one input has said which of them is better.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from statistics import fmean
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from router.compare.intervals import Bounds, Sample, share_bounds
from router.compare.pairs import FEW_UNITS
from router.compare.signs import holm, mean_sign

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Vote(Struct, frozen=True):
    """One judgement of two answers to one input; `better` is one of the two names, or None for a tie."""

    input: int
    one: str
    other: str
    better: str | None


class Opinion(Struct, frozen=True):
    """What a source of feedback said of one answer, 0..1."""

    load: int
    repeat: int
    input: int
    source: str
    candidate: str
    score: float


class Standing(Struct, frozen=True, kw_only=True):
    """How often a candidate won: against `against`, or against everybody where that is None.

    `p` and `p_holm` are of even chances, one against one; None where people voted on fewer than `FEW_UNITS` inputs.
    """

    candidate: str
    against: str | None
    wins: int
    ties: int
    losses: int
    share: Bounds
    p: float | None = None
    p_holm: float | None = None


def votes_of(opinions: Iterable[Opinion]) -> list[Vote]:
    """A vote for every two answers that one source scored: to one input, in one repeat, under one load.

    The higher score is the better answer. Equal ones are a tie where none is higher; below another nothing was said of
    the two: whoever names the best of three does not compare the rest.
    """
    scored: defaultdict[tuple[int, int, int, str], dict[str, float]] = defaultdict(dict)
    for each in opinions:
        scored[each.input, each.load, each.repeat, each.source][each.candidate] = each.score
    found = []
    for (place, *_), scores in scored.items():
        best = max(scores.values())
        for one, other in combinations(sorted(scores), 2):
            if scores[one] != scores[other]:
                found.append(Vote(place, one, other, max(one, other, key=scores.__getitem__)))
            elif scores[one] == best:
                found.append(Vote(place, one, other, None))
    return found


def standings(votes: Sequence[Vote]) -> tuple[Standing, ...]:
    """Everybody against everybody, best first, and then every two against each other."""
    names = sorted({name for vote in votes for name in (vote.one, vote.other)})
    alone = [_standing(name, None, [vote for vote in votes if name in {vote.one, vote.other}]) for name in names]
    pairs: defaultdict[tuple[str, str], list[Vote]] = defaultdict(list)
    for vote in votes:
        first, second = sorted((vote.one, vote.other))
        pairs[first, second].append(vote)
    met = [_standing(first, second, each) for (first, second), each in sorted(pairs.items())]
    return (*sorted(alone, key=lambda each: -each.share.value), *_corrected(met))


def _standing(name: str, against: str | None, votes: Sequence[Vote]) -> Standing:
    won = [0.5 if vote.better is None else float(vote.better == name) for vote in votes]
    by_input: defaultdict[int, list[float]] = defaultdict(list)
    for vote, each in zip(votes, won, strict=True):
        by_input[vote.input].append(2 * each - 1)
    tested = against is not None and len(by_input) >= FEW_UNITS
    return Standing(
        candidate=name,
        against=against,
        wins=won.count(1.0),
        ties=won.count(0.5),
        losses=won.count(0.0),
        share=share_bounds(Sample(won, [vote.input for vote in votes])),
        p=mean_sign([fmean(each) for each in by_input.values()]) if tested else None,
    )


def _corrected(met: Sequence[Standing]) -> Iterator[Standing]:
    after = holm({str(at): each.p for at, each in enumerate(met) if each.p is not None})
    return (replace(each, p_holm=after.get(str(at))) for at, each in enumerate(met))
