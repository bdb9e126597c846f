"""From which confidence on a near answer may be given, so that the share of right ones holds a target. Values only.

What is known are pairs: how sure the near model was of an answer, and how right that turned out to be (0..1). A
threshold accepts the answers whose confidence reaches it. Lower thresholds escalate less, and so cost less; the lowest
is wanted of which the pairs prove that what it accepts is right at least as often as the target says.

Proof is a test for each threshold of a fixed grid: the hypothesis is that less than the target is right, the p-value is
the exact binomial tail where every pair is right or wrong (Clopper and Pearson, 1934: rejecting it is a lower
confidence bound above the target), and the bound of Hoeffding and Bentkus for judgements between (Bates et al., 2021,
arXiv:2101.02703). The thresholds are tested from the strictest down, starting where the accepted pairs suffice for a
proof at all, which only their number says, and ending at the first that fails: fixed sequence testing, the way of
"Learn then Test" (Angelopoulos et al., 2021, arXiv:2110.01052), which keeps the probability of any wrong proof at or
below `risk`. As whole answers are accepted or not this is selective classification (Geifman and El-Yaniv, 2017,
arXiv:1705.08500).

What it takes for granted: pairs like the requests to come, independent of each other. Feedback that comes for some
confidences and not for others of the same rightness breaks that.

A monotone recalibration of the confidence would move the threshold alike and change no decision; so scores that are no
probabilities (a mean token likelihood) serve as well as calibrated ones once there are pairs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from router.section_of_routing import CascadeSettings

STEPS = 50
GRID = tuple(step / STEPS for step in range(STEPS, -1, -1))  # from the strictest down
NOTHING_HOLDS = math.inf  # accepts no answer


class Pair(NamedTuple):
    """How sure a model was of an answer, and how right it was: both in 0..1."""

    confidence: float
    right: float


class Threshold(NamedTuple):
    """From which confidence on an answer is given, and why; `NOTHING_HOLDS` accepts none.

    `learnt` is False where the configured one stands for want of pairs.
    """

    value: float
    learnt: bool
    why: str


def choose(pairs: Sequence[Pair], settings: CascadeSettings) -> Threshold:
    """The threshold of least cost that holds the target quality, as above; the configured one for too few pairs."""
    target = settings.target_quality
    if len(pairs) < settings.min_pairs:
        why = f"as configured: {len(pairs)} of the {settings.min_pairs} judged answers it takes to learn it"
        return Threshold(settings.threshold, learnt=False, why=why)
    value = lowest_holding(pairs, target, settings.risk)
    if value == NOTHING_HOLDS:
        why = f"of {len(pairs)} judged answers no part is shown to be right {target:.0%} of the time"
        return Threshold(value, learnt=True, why=why)
    why = f"holds {target:.0%} right in {len(pairs)} judged answers, at a risk of {settings.risk:.0%}"
    return Threshold(value, learnt=True, why=why)


def lowest_holding(pairs: Iterable[Pair], target: float, risk: float) -> float:
    """The lowest threshold of the grid that holds the target; `NOTHING_HOLDS` where none is proven to."""
    best = NOTHING_HOLDS
    ordered = sorted(pairs, reverse=True)
    graded = any(0 < pair.right < 1 for pair in ordered)
    accepted, right = 0, 0.0
    for threshold in GRID:
        while accepted < len(ordered) and ordered[accepted].confidence >= threshold:
            right += ordered[accepted].right
            accepted += 1
        if accepted == 0 or p_value(accepted, float(accepted), target, graded=graded) > risk:
            continue  # were all of them right, it would be no proof
        if p_value(accepted, right, target, graded=graded) > risk:
            return best
        best = threshold
    return best


def p_value(count: int, right: float, target: float, *, graded: bool = False) -> float:
    """How likely so many of `count` answers are right, or more, where a share just below `target` is.

    Binomial; where answers are `graded` between 0 and 1 the bound of Hoeffding and Bentkus, which is never smaller.
    """
    most_wrong, wrong = 1 - target, max(0.0, count - right)
    if wrong / count >= most_wrong:
        return 1.0
    if not graded:
        return _binomial_tail(count, round(wrong), most_wrong)
    share = wrong / count
    hoeffding = math.exp(-count * _divergence(share, most_wrong))
    return min(1.0, hoeffding, math.e * _binomial_tail(count, math.ceil(wrong - 1e-9), most_wrong))


def _binomial_tail(count: int, most: int, share: float) -> float:
    """P(X <= most) of a binomial: summed from its largest term down, until the rest is too small to count."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(most >= count)
    log_share, log_rest = math.log(share), math.log1p(-share)
    log_term = math.lgamma(count + 1) - math.lgamma(most + 1) - math.lgamma(count - most + 1)
    term = math.exp(log_term + most * log_share + (count - most) * log_rest)
    total, odds = 0.0, (1 - share) / share
    for successes in range(most, -1, -1):  # here most < count * share: the terms fall
        total += term
        if term < total * 1e-12:
            break
        term *= successes * odds / (count - successes + 1)
    return min(1.0, total)


def _divergence(share: float, other: float) -> float:
    """Kullback and Leibler's, between two coins."""
    first = share * math.log(share / other) if share > 0 else 0.0
    second = (1 - share) * math.log((1 - share) / (1 - other)) if share < 1 else 0.0
    return first + second
