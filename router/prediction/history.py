"""What is known of one candidate: how long it takes, how far that was off, how long its answers are.

The service time is learnt apart from waiting and loading, which are predicted for each request; the quantiles are of
the whole, so that what was foreseen wrongly of a queue or of an answer's length widens them as it should.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
from msgspec import Struct

from policies.types import Quantiles
from router.curves import Curve
from router.prediction.lengths import IntentLengths
from router.prediction.service import ServiceModel
from router.prediction.spread import Spread
from router.priors import Listed, Parts, weighed

Source = Literal["prior", "warm-up", "calibrated", "observed"]
Identity = list[str | int | None]
Offsets = tuple[float, float, float, float]

LEAST_COLD = 8  # observed cold starts, from which on they have quantiles of their own
LEARNING_RATE = 0.2


class State(Struct):
    """What outlives the process.

    Attributes:
        service: Of the whole service time.
        first: Of the service time until the first piece of an answer.
        warm, cold, first_token: How far predictions were off: of loaded models, of cold ones, of first pieces.
        curve: What was measured on purpose at several sizes of an input, as seconds over prior seconds.
        calibration: A checksum of these measurements; None where there are none.
        load_s: The last load that was seen.
        own_s: What a request usually takes of the device by itself.
        drawings: How many times the assumed pixel steps its drawings took, by what the request had left to the model.
        listed: What its router listed of it when learning began: what the service's parts are in relation to.
    """

    service: ServiceModel = msgspec.field(default_factory=ServiceModel)
    first: ServiceModel = msgspec.field(default_factory=ServiceModel)
    warm: Spread = msgspec.field(default_factory=Spread)
    cold: Spread = msgspec.field(default_factory=Spread)
    first_token: Spread = msgspec.field(default_factory=Spread)
    source: Source = "prior"
    curve: Curve | None = None
    calibration: int | None = None
    load_s: float | None = None
    own_s: float | None = None
    drawings: dict[str, float] = msgspec.field(default_factory=dict)
    listed: Listed | None = None


class Base(Struct, frozen=True):
    """What a request should take before anything is corrected: the sum of the parts that are foreseen.

    Attributes:
        parts: Of the service time, as the prior or the curve has them.
        load_s: 0 where the model is loaded.
        first_parts: Of the service time until the first piece; None where pieces do not come one by one.
    """

    parts: Parts
    load_s: float
    queue_s: float
    service_s: float
    first_parts: Parts | None = None

    @property
    def total_s(self) -> float:
        """Seconds to the whole answer."""
        return self.load_s + self.queue_s + self.service_s


class History:
    """The state of one candidate, and what predicting needs of it, computed when it is learnt and not when it is asked.

    Attributes:
        same: What must not change, for all this to be worth anything.
        changes: How often something was learnt; whoever saves it knows by this whether there is anything new.
        saved: Likewise, when it was saved last.
    """

    __slots__ = (
        "_cold",
        "_first",
        "_first_factors",
        "_warm",
        "changes",
        "factors",
        "lengths",
        "same",
        "saved",
        "state",
    )

    def __init__(self, same: Identity, state: State | None = None, lengths: IntentLengths | None = None) -> None:
        self.same = same
        self.state = state or State()
        self.lengths = lengths or IntentLengths()
        self.changes = self.saved = 0
        self.refresh()

    def refresh(self) -> None:
        """Compute what predicting needs."""
        state = self.state
        self.factors = state.service.factors()
        self._first_factors = state.first.factors()
        self._warm = _offsets(state.warm, least=0) if state.source == "observed" else None
        self._cold = _offsets(state.cold, least=LEAST_COLD)
        self._first = _offsets(state.first_token, least=0) if state.first.seen else None

    # --- predicting -----------------------------------------------------------------------------

    def service_s(self, parts: Parts) -> float:
        """What a request of these parts should take once its turn has come."""
        return weighed(self.factors, parts)

    def latency(self, base: Base) -> Quantiles | None:
        """The distribution of the whole latency; None while no request was observed.

        A cold start has quantiles of its own once enough were seen; before that, its load is taken as it was measured
        and the rest as of a loaded model, and there are none where no load was ever measured.
        """
        if self._warm is None:
            return None
        if not base.load_s:
            return _around(base.total_s, self._warm)
        if self._cold is not None:
            return _around(base.total_s, self._cold)
        if self.state.load_s is None:
            return None
        return _around(base.total_s - base.load_s, self._warm, base.load_s)

    def first_token(self, base: Base) -> Quantiles | None:
        """The distribution of the seconds to the first piece; None while none was observed."""
        if self._first is None or base.first_parts is None:
            return None
        service_s = weighed(self._first_factors, base.first_parts)
        return _around(base.queue_s + service_s, self._first, base.load_s)

    # --- learning -------------------------------------------------------------------------------

    def measured(self, curve: Curve | None, points: list[tuple[Parts, float]], source: Source, checksum: int) -> None:
        """Begin anew with what was measured on purpose: a curve through it, or else the factors that fit it best."""
        before = self.state
        self.state = State(
            source=source, curve=curve, calibration=checksum, load_s=before.load_s, drawings=before.drawings,
            listed=before.listed,
        )  # fmt: skip
        self.state.service.fit(points)
        self.changes += 1
        self.refresh()

    def served(self, parts: Parts, seconds: float) -> None:
        """A request of these parts took so long once its turn had come."""
        state = self.state
        change = state.service.observe(parts, seconds)
        if change is not None:
            state.warm.moved(change.shift, change.since)
            state.cold.moved(change.shift, min(change.since, state.cold.seen))
        state.own_s = seconds if state.own_s is None else state.own_s + LEARNING_RATE * (seconds - state.own_s)
        state.source = "observed"
        self.changes += 1

    def took(self, base: Base, seconds: float, promised: Quantiles | None, *, censored: bool = False) -> None:
        """A request took so long altogether, or longer than this where it is `censored`."""
        if self.state.source != "observed":  # how far a guess was off says nothing of what was measured since
            return
        if seconds <= 0:  # a stream whose clock saw nothing pass: no factor leads there
            return
        spread = self.state.cold if base.load_s else self.state.warm
        score = math.log(seconds / base.total_s)
        if censored:
            spread.outlasted(score, seconds, promised)
        else:
            spread.observe(score, seconds, promised)
        self.changes += 1

    def began(self, base: Base, seconds: float, promised: Quantiles | None, *, censored: bool = False) -> None:
        """The first piece of an answer came after so long, or none came until then where it is `censored`.

        Loading and waiting are taken as they were foreseen.
        """
        if base.first_parts is None:
            return
        model, spread = self.state.first, self.state.first_token
        rest_s = seconds - base.load_s  # a measured load is as it is; what was wrong with it is the rest's error
        foreseen_s = base.queue_s + model.seconds(base.first_parts)
        if model.seen and rest_s > 0:
            score = math.log(rest_s / foreseen_s)
            if censored:
                spread.outlasted(score, seconds, promised)
            else:
                spread.observe(score, seconds, promised)
        service_s = rest_s - base.queue_s
        if service_s > 0 and not censored:
            change = model.observe(base.first_parts, service_s)
            if change is not None:
                spread.moved(change.shift, change.since)
        self.changes += 1


def _offsets(spread: Spread, *, least: int) -> Offsets | None:
    """The factors of the quantiles; None where fewer scores were seen than are wanted."""
    if spread.seen < least:
        return None
    a, b, c, d = spread.offsets()
    return math.exp(a), math.exp(b), math.exp(c), math.exp(d)


def _around(seconds: float, factors: Offsets, after_s: float = 0.0) -> Quantiles:
    return Quantiles(
        after_s + seconds * factors[0],
        after_s + seconds * factors[1],
        after_s + seconds * factors[2],
        after_s + seconds * factors[3],
    )
