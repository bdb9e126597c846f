"""Tests of paired differences by their signs, and what they say when asked for an interval. Pure arithmetic.

Where two candidates are alike, chance alone said which of a pair came first, so each difference could as well have had
the other sign. Both tests ask how often such a turn of signs gives what was seen or more (Fisher 1935), and hold
whatever the spread of latencies is and however one follows on the other:

* `signed_rank` on the ranks of the differences (Wilcoxon 1945): a few stalled requests do not decide. Its estimate is
  the median of the means of all pairs of differences, and its interval the values that the same test does not reject
  (Hodges and Lehmann 1963). Exact up to `EXACT` differences, above that by the normal distribution.
* `mean_sign` on the differences themselves, for money and quality, whose mean is what counts: all turns where there are
  few, else `DRAWS` of them from a fixed seed.

`holm` makes the p-values of several comparisons larger, so that with none of them real there is a false one in at most
5 % of runs (Holm 1979).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from math import sqrt
from random import Random
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALPHA = 0.05
EXACT = 50
FEW = 13
DRAWS = 9_999
_NORMAL = NormalDist()


class Shift(NamedTuple):
    """How far differences lie from 0: the typical one, the values not rejected at 5 %, and the test of 0.

    `low` and `high` are None where there are too few differences to reject anything.
    """

    estimate: float
    low: float | None
    high: float | None
    p: float


def signed_rank(differences: Sequence[float]) -> Shift:
    """The typical difference, its interval, and how probable one so far from 0 is where there is none."""
    ordered = sorted(differences)
    pairs = len(ordered) * (len(ordered) + 1) // 2
    k = _critical(len(ordered))
    low, high = (walsh(ordered, k), walsh(ordered, pairs + 1 - k)) if k else (None, None)
    return Shift(typical(ordered), low, high, _rank_p(ordered))


def typical(values: Sequence[float]) -> float:
    """The median of the means of all pairs of values, each with itself as well (Hodges and Lehmann)."""
    ordered = sorted(values)
    pairs = len(ordered) * (len(ordered) + 1) // 2
    return (walsh(ordered, (pairs + 1) // 2) + walsh(ordered, pairs // 2 + 1)) / 2


def walsh(ordered: Sequence[float], k: int) -> float:
    """The k-th smallest mean of two of the values, counted from 1; by halving: no list of them is made."""
    low, high = ordered[0], ordered[-1]
    if _at_most(ordered, low) >= k:
        return low
    while (middle := low + (high - low) / 2) > low and middle < high and high - low > 1e-13 * max(abs(low), abs(high)):
        low, high = (low, middle) if _at_most(ordered, middle) >= k else (middle, high)
    return high


def _at_most(ordered: Sequence[float], value: float) -> int:
    """How many means of two values are at most `value`: one walk from both ends."""
    found, right = 0, len(ordered) - 1
    for left, one in enumerate(ordered):
        while right >= left and (one + ordered[right]) / 2 > value:
            right -= 1
        if right < left:
            break
        found += right - left + 1
    return found


def mean_sign(differences: Sequence[float]) -> float:
    """How probable a mean so far from 0 is where every difference could as well have the other sign."""
    known = [one for one in differences if one]
    seen = abs(sum(known)) * (1 - 1e-12)
    if len(known) <= FEW:
        sums = [0.0]
        for one in known:
            sums = [each + turned for each in sums for turned in (one, -one)]
        return sum(abs(each) >= seen for each in sums) / len(sums)
    draw, tables = Random(len(known)), [_turns(known[at : at + 8]) for at in range(0, len(known), 8)]  # noqa: S311 -- a test's draw, no secret
    drawn = (sum(map(list.__getitem__, tables, draw.randbytes(len(tables)))) for _ in range(DRAWS))
    return (1 + sum(abs(each) >= seen for each in drawn)) / (1 + DRAWS)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values after Holm's correction, by the same names."""
    largest, found = 0.0, {}
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = found[name] = max(largest, min(1.0, p * (len(p_values) - place)))
    return found


def _turns(values: Sequence[float]) -> list[float]:
    """The sum of up to eight values for each way to turn their signs: 256, so that a random byte chooses one."""
    return [sum(-one if turn >> at & 1 else one for at, one in enumerate(values)) for turn in range(256)]


def _rank_p(ordered: Sequence[float]) -> float:
    """Two-sided, by twice the ranks so that tied ones are whole; differences of 0 have no sign and no rank."""
    sizes = sorted((one for one in ordered if one), key=abs)
    ranks: list[int] = []
    for _, tied in groupby(sizes, key=abs):
        count = len(list(tied))
        ranks += [2 * len(ranks) + count + 1] * count
    positive = sum(rank for rank, one in zip(ranks, sizes, strict=True) if one > 0)
    least = min(positive, sum(ranks) - positive)
    if len(ranks) > EXACT:
        away = sum(ranks) / 2 - least - 1  # less the half that a whole number of ranks stands for
        return min(1.0, 2 * (1 - _NORMAL.cdf(away / (sqrt(sum(rank * rank for rank in ranks)) / 2))))
    ways = _ways(tuple(ranks))
    return min(1.0, 2 * sum(ways[: least + 1]) / sum(ways))


@lru_cache(maxsize=64)
def _critical(n: int) -> int | None:
    """The largest k for which the sum of positive ranks is below k with probability 2.5 % at most."""
    if n > EXACT:
        return int(n * (n + 1) / 4 - _NORMAL.inv_cdf(1 - ALPHA / 2) * sqrt(n * (n + 1) * (2 * n + 1) / 24) + 0.5)
    ways, below, k = _ways(tuple(range(1, n + 1))), 0, 0
    while below + ways[k] <= ALPHA / 2 * 2**n:
        below += ways[k]
        k += 1
    return k or None


def _ways(ranks: tuple[int, ...]) -> list[int]:
    """In how many of the turns of signs the positive ranks sum up to 0, 1, 2, ..."""
    ways = [1]
    for rank in ranks:
        ways = [
            (ways[at] if at < len(ways) else 0) + (ways[at - rank] if at >= rank else 0)
            for at in range(len(ways) + rank)
        ]
    return ways
