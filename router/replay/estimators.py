"""Price, errors and quality per request under another policy: IPS, SNIPS and doubly robust, or why the log is too thin.

* IPS (Horvitz & Thompson 1952): the mean of `w r`, w the target's probability of what was done over the log's. Its
  interval is a confidence sequence (`anytime`): it holds at every moment at once, also where the policy learnt while it
  logged. There, and where somebody watches, it goes first; else it is the last, as it is the widest.
* SNIPS (Swaminathan & Joachims 2015): the same over the mean weight.
* DR (Dudík, Langford & Li 2011), with normalised weights and a cross-fitted direct model (`arms`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from router.replay.anytime import sequence
from router.replay.arms import Arms
from router.replay.evidence import Quantity, predicted, values
from router.replay.intervals import Interval, Sums, by_cluster, dof_of, mean_of, share, spread, student
from router.replay.verdict import Figure, Method, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.replay.evidence import Weighed
    from router.replay.logged import Logged, Traffic

MIN_ESS = 200.0
"""Effective requests below which no interval is given: at 13 to 114 of them, nominal 95 % covered 74 %."""
MIN_CLUSTERS = 20
MIN_EQUAL = 6.0
"""Groups of equal weight below which no interval is given: with fewer, Student's t has under 5 degrees of freedom."""
MAX_UNSEEN = 0.01
MAX_MISSING = 0.2
OFF, OFF_SES = 0.1, 4.0
FIXED = "this interval is for a policy that stayed as it was, looked at once"
UNITS: dict[Quantity, Unit] = {"price": "usd", "errors": "share", "quality": "score"}


class Evidence(NamedTuple):
    """One quantity of the requests whose outcome is known, weighed, and what the others could have been."""

    quantity: Quantity
    requests: list[Logged]
    weights: list[float]
    rewards: list[float | None]
    clusters: list[int]
    weighed: Weighed
    kept: list[int]  # which requests of the window these are

    @property
    def known(self) -> list[float]:
        """The rewards that are known."""
        return [reward for reward in self.rewards if reward is not None]

    @property
    def missing(self) -> int:
        """How many are not."""
        return len(self.rewards) - len(self.known)

    @property
    def bound(self) -> float:
        """The largest a reward can be: 1, or the largest cost there was."""
        return max(self.known, default=0.0) if self.quantity == "price" else 1.0

    @property
    def ess(self) -> float:
        """Effective sample size."""
        return self.weighed.ess(self.weights)


def evidence(traffic: Traffic, weighed: Weighed, quantity: Quantity) -> Evidence:
    """What the window says of a quantity. Of quality it is the requests somebody judged, else all."""
    rewards = values(traffic.requests, quantity)
    kept = [n for n, reward in enumerate(rewards) if reward is not None or quantity != "quality"]
    return Evidence(
        quantity=quantity,
        requests=[traffic.requests[n] for n in kept],
        weights=[weighed.weights[n] for n in kept],
        rewards=[rewards[n] for n in kept],
        clusters=[traffic.clusters[n] for n in kept],
        weighed=weighed,
        kept=kept,
    )


def objection(case: Evidence) -> str | None:
    """Why this evidence does not carry a figure; None when it does."""
    total, ess = len(case.rewards), case.ess
    if not case.known:
        return "nobody judged an answer (POST /v1/feedback)" if case.quantity == "quality" else "no outcome is known"
    if case.missing > MAX_MISSING * total:
        what = "costs" if case.quantity == "price" else "outcomes"
        return f"{case.missing} of {total} {what} are not known; the rest need not be like them"
    if case.weighed.unseen > MAX_UNSEEN:
        return (
            f"unseen candidates: at {case.weighed.unseen:.0%} of the requests it would choose whom the log can never "
            "have chosen (probability 0), so nothing is known of their answers; log with exploration"
        )
    if ess < MIN_ESS:
        return f"too little evidence: {total} requests say as much as {ess:.0f} would, and {MIN_ESS:.0f} are needed"
    return _few(case) or _off(case)


def _few(case: Evidence) -> str | None:
    clusters = len(set(case.clusters))
    if clusters < MIN_CLUSTERS:
        return f"too few independent groups of requests: {clusters}, and {MIN_CLUSTERS} are needed"
    equal = _effective(case)
    if equal >= MIN_EQUAL:
        return None
    return f"too few groups of requests weigh anything: as {equal:.1f} equal ones would, and {MIN_EQUAL:.0f} are needed"


def _effective(case: Evidence) -> float:
    """How many groups of equal weight would say as much (Kish 1965)."""
    weights = [weight for (weight,) in by_cluster(case.clusters, [case.weights])]
    squares = sum(weight * weight for weight in weights)
    return sum(weights) ** 2 / squares if squares else 0.0


def _off(case: Evidence) -> str | None:
    """The mean weight's own test: off by more than 0.1 and more than 4 standard errors."""
    weighed = case.weighed
    se = weighed.mean_se
    if se is None:
        _, se = mean_of([(weight, 1.0) for weight in weighed.weights])
    off = weighed.mean - (1 - weighed.unseen)
    if abs(off) <= max(OFF, OFF_SES * se):
        return None
    return (
        f"the mean weight is {weighed.mean:.3f} and should be 1 (± {2 * se:.3f}): the logged propensities are wrong, "
        "or requests were lost by what became of them"
    )


def figures(case: Evidence, *, anytime: bool) -> list[Figure]:
    """DR, SNIPS and IPS of a quantity, best first; the caller has heard `objection`."""
    seen = _observed(case)
    settled, watched = [_settled(case, method) for method in ("dr", "snips")], _watched(case)
    if anytime:
        settled = [replace(figure, warnings=(FIXED,)) for figure in settled]
    made = [replace(f, **seen) for f in ((watched, *settled) if anytime else (*settled, watched))]
    return [unsure(figure) for figure in made]


def unsure(figure: Figure) -> Figure:
    """Where target and log show no event at all, the difference is no surer than each of them."""
    ends = (figure.low, figure.high, figure.observed_low, figure.observed_high)
    if figure.unit in {"usd", "ms"} or figure.difference_low != figure.difference_high or None in ends:
        return figure
    low, high, observed_low, observed_high = (end or 0.0 for end in ends)
    return replace(figure, difference_low=low - observed_high, difference_high=high - observed_low)


def weighted(case: Evidence) -> Figure:
    """The weighted mean with its interval: for weights that come of a sample, not of chance in the decision."""
    return replace(_settled(case, "snips"), method="paired")


def mean_change(case: Evidence) -> Interval:
    """The weighted mean of rewards that are differences, and so may be negative."""
    kept = [n for n, reward in enumerate(case.rewards) if reward is not None]
    weights = [case.weights[n] for n in kept]
    columns = [[w * r for w, r in zip(weights, case.known, strict=True)], weights]
    groups = by_cluster([case.clusters[n] for n in kept], columns)
    return student(*mean_of(groups), dof_of(weight for _, weight in groups))


def observed(case: Evidence) -> Figure:
    """What the log itself shows, for a target that does what the log did."""
    seen = _observed(case)
    blank = _blank(case, "observed")
    figure = replace(blank, **seen, difference=0.0, difference_low=0.0, difference_high=0.0, ess=None, mean_weight=None)
    return replace(figure, estimate=figure.observed, low=figure.observed_low, high=figure.observed_high)


def refused(case: Evidence, reason: str, method: Method = "dr") -> Figure:
    """No figure of a quantity, and why."""
    seen = _observed(case) if case.known else {}
    return replace(_blank(case, method), refusal=reason, **seen)


def _blank(case: Evidence, method: Method) -> Figure:
    return Figure(
        quantity=case.quantity,
        unit=UNITS[case.quantity],
        method=method,
        n=len(case.known),
        missing=case.missing,
        clusters=len(set(case.clusters)),
        ess=case.ess,
        mean_weight=case.weighed.mean,
    )


def _settled(case: Evidence, method: Method) -> Figure:
    """A figure with an interval for a policy that did not change, and the difference to what was observed."""
    plain, change = _interval(case, method)
    low, high = _widened(case, method, plain)
    return replace(
        _blank(case, method),
        estimate=plain.estimate,
        low=low,
        high=high,
        difference=change.estimate,
        difference_low=change.low - (plain.low - low),
        difference_high=change.high + (high - plain.high),
    )


def _watched(case: Evidence) -> Figure:
    """IPS with its confidence sequence; what is not known is the best, and the worst, it could be."""
    low, high = (sequence(case.weights, _filled(case, value), case.bound) for value in (0.0, case.bound))
    middle = low.estimate if not case.missing else (low.estimate + high.estimate) / 2
    spare = case.weighed.unseen * case.bound
    return replace(
        _blank(case, "ips"), estimate=middle, low=max(0.0, low.low - spare), high=high.high + spare, anytime=True
    )


def _widened(case: Evidence, method: Method, plain: Interval) -> tuple[float, float]:
    """The interval's ends, were all that is not known the best, and the worst, it could be."""
    low, high = plain.low, plain.high
    if case.missing:
        low = min(low, _interval(case._replace(rewards=list(_filled(case, 0.0))), method)[0].low)
        high = max(high, _interval(case._replace(rewards=list(_filled(case, case.bound))), method)[0].high)
    spare = case.weighed.unseen * case.bound
    return max(0.0, low - spare), high + spare if case.quantity == "price" else min(1.0, high + spare)


def _filled(case: Evidence, value: float) -> list[float]:
    return [value if reward is None else reward for reward in case.rewards]


def _interval(case: Evidence, method: Method) -> tuple[Interval, Interval]:
    """A method's figure and its difference to what was observed, over the requests whose outcome is known."""
    there = [n for n, reward in enumerate(case.rewards) if reward is not None]
    weights, rewards = [case.weights[n] for n in there], case.known
    base, off = _direct(case, there) if method == "dr" else ([0.0] * len(there), rewards)
    weighed = [w * r for w, r in zip(weights, off, strict=True)]
    groups = by_cluster([case.clusters[n] for n in there], [base, weighed, weights, rewards, [1.0] * len(there)])
    values, changes = _left_out(groups)
    dof = dof_of(group[2] for group in groups)
    weight = sum(weights)
    value = sum(base) / len(base) + (sum(weighed) / weight if weight else 0.0)
    return (
        _bounded(case, value, spread(values), dof, case.ess),
        student(value - sum(rewards) / len(rewards), spread(changes), dof),
    )


def _left_out(groups: Sequence[Sums]) -> tuple[list[float], list[float]]:
    """Figure, and figure less observed, without each cluster. Where nothing else weighs, the figure is the model's."""
    base, weighed, weight, seen, count = (sum(column) for column in zip(*groups, strict=True))
    least = 1e-12 * weight
    values = [
        (base - b) / max(count - c, 1.0) + ((weighed - r) / (weight - w) if weight - w > least else 0.0)
        for b, r, w, _, c in groups
    ]
    changes = [value - (seen - s) / max(count - c, 1.0) for value, (_, _, _, s, c) in zip(values, groups, strict=True)]
    return values, changes


def _bounded(case: Evidence, value: float, se: float, dof: float, ess: float) -> Interval:
    """No price is below 0, and no share outside 0..1."""
    if case.quantity == "price":
        plain = student(value, se, dof)
        return plain._replace(low=max(0.0, plain.low))
    return share(value, se, dof, ess)


def _direct(case: Evidence, there: Sequence[int]) -> tuple[list[float], list[float]]:
    """What the direct model expects of the target, and by how much it was wrong about what was done."""
    model = Arms(_answers(case, there))
    expected, wrong = [], []
    for n in there:
        request, cluster = case.requests[n], case.clusters[n]
        slate = {shown.candidate_id: predicted(shown, case.quantity) for shown in request.slate}
        choice = case.weighed.choices[case.kept[n]]
        means = sum(p * model.expect(cluster, arm, slate.get(arm)) for arm, p in choice.items())
        expected.append(means if choice else model.expect(cluster, "", None))
        reward, done = case.rewards[n], request.chosen or ""
        wrong.append((reward or 0.0) - model.expect(cluster, done, slate.get(done)))
    return expected, wrong


def _answers(case: Evidence, there: Sequence[int]) -> list[tuple[int, str, float | None, float]]:
    found = []
    for n in there:
        request, reward = case.requests[n], case.rewards[n]
        shown = next((c for c in request.slate if c.candidate_id == request.chosen), None)
        said = None if shown is None else predicted(shown, case.quantity)
        found.append((case.clusters[n], request.chosen or "", said, reward or 0.0))
    return found


def _observed(case: Evidence) -> dict[str, float]:
    there = [n for n, reward in enumerate(case.rewards) if reward is not None]
    groups = by_cluster([case.clusters[n] for n in there], [case.known, [1.0] * len(there)])
    mean, se = mean_of(groups)
    dof = dof_of(count for _, count in groups)
    seen = _bounded(case, mean, se, dof, float(len(there)))
    return {"observed": mean, "observed_low": seen.low, "observed_high": seen.high}
