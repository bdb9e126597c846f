"""May the logged propensities be believed? Each check is one that right propensities pass but for chance.

The sums of `chosen - propensity` per candidate are martingales with known variance whatever the policy saw or learnt,
so their size is a test that needs no model of anything.
"""

from __future__ import annotations

from collections import defaultdict
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.replay.logged import Logged

TOLERANCE = 1e-3  # of a sum of propensities
FAR_OFF = 3.5  # standard errors: right propensities are that far off once in 2000 times
ENOUGH = 5.0  # variance of a candidate's count before it is judged


def objection(requests: Sequence[Logged]) -> str | None:
    """Why these propensities cannot be believed; None when nothing speaks against them."""
    decided = [one for one in requests if one.chosen is not None]
    silent = [one for one in decided if one.propensity is None]
    if silent:
        return (
            f"no propensities: {len(silent)} of {len(decided)} decisions do not say with which probability they were "
            "made (they are from before the log kept it); choose a later beginning"
        )
    broken = sum(not _sound(one) for one in decided)
    if broken:
        return (
            f"wrong propensities: at {broken} of {len(decided)} decisions they are no probabilities that add up to 1, "
            "or the chosen candidate's differs from the decision's"
        )
    return _miscounted(decided)


def is_deterministic(requests: Sequence[Logged]) -> bool:
    """Whether nothing was left to chance anywhere."""
    return all(one.propensity == 1.0 for one in requests if one.chosen is not None)


def _sound(one: Logged) -> bool:
    if one.propensity is None or not 0 < one.propensity <= 1:
        return False
    shares = {c.candidate_id: c.propensity for c in one.slate if c.eligible}
    if any(share is None for share in shares.values()):
        return True  # a log that keeps the decision's own alone
    known = [share for share in shares.values() if share is not None]
    chosen = shares.get(one.chosen or "")
    return chosen is not None and abs(chosen - one.propensity) < TOLERANCE and abs(sum(known) - 1) < TOLERANCE


def _miscounted(decided: Sequence[Logged]) -> str | None:
    """A candidate, or all that was left to chance, was chosen more or less often than the propensities say."""
    sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for one in decided:
        shares = [(c.candidate_id, c.propensity) for c in one.slate if c.eligible and c.propensity]
        likeliest = max((share for _, share in shares), default=1.0)
        greedy = (one.propensity or 0.0) >= likeliest - 1e-12
        if likeliest < 1:
            _count(sums["whatever was left to chance"], not greedy, _rare(shares, likeliest))
        for arm, share in shares:
            _count(sums[arm], one.chosen == arm, share)
    for arm, (seen, expected, variance) in sums.items():
        if variance > ENOUGH and abs(seen - expected) > FAR_OFF * sqrt(variance):
            return (
                f"wrong propensities: {arm} was chosen {seen:.0f} times, and by the logged propensities should have "
                f"been {expected:.0f} ± {2 * sqrt(variance):.0f} times"
            )
    return None


def _rare(shares: Sequence[tuple[str, float]], likeliest: float) -> float:
    """The probability of anything but the likeliest (or what is as likely as it)."""
    return max(0.0, 1 - sum(share for _, share in shares if share >= likeliest - 1e-12))


def _count(kept: list[float], seen: bool, share: float) -> None:  # noqa: FBT001 -- a count of one or none
    kept[0] += seen
    kept[1] += share
    kept[2] += share * (1 - share)
