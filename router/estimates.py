"""What each candidate would take and cost for one request, from the best source there is.

Latency = load (if cold) + queue + service. The service time is a shape times a learnt factor. The shape is a prior
(physics of the device, or of a network) until requests of several sizes were measured here: then it runs through those.
Observed requests move the factor (an exponentially weighted mean of log(observed / shape)), so one observation at one
size informs every size. The source is named in each estimate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from backends.types import Task, Usage
from policies.types import Estimate
from router.curves import Curve, curve_of
from router.pricing import priced_usd
from router.priors import assumed_pixel_steps, prior_load_s, prior_service_s
from router.slate import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.types import LoadReport, Timings
    from router.pricing import LocalRates
    from router.slate import Candidate

LEARNING_RATE = 0.2
MAX_LEARNT = 10_000

Source = Literal["prior", "warm-up", "calibrated", "observed"]


class _Learnt(Struct):
    """What is known of one candidate.

    Attributes:
        drawings: How many times the assumed pixel steps its drawings took, by what the request had left to the model.
    """

    log_factor: float = 0.0
    source: Source = "prior"
    curve: Curve | None = None
    load_s: float | None = None
    mean_service_s: float | None = None
    output_tokens: float | None = None
    drawings: dict[tuple[bool, bool], float] = msgspec.field(default_factory=dict)


class Estimator:
    """Predicts, and learns from what happened. One instance per process; state is bounded and lives in memory."""

    def __init__(self, rates: LocalRates, runtime_started: Callable[[], bool]) -> None:
        self._rates = rates
        self._runtime_started = runtime_started
        self._learnt: dict[str, _Learnt] = {}

    def estimate(
        self,
        size: Size,
        candidates: Sequence[Candidate],
        refusal: Callable[[Candidate], str | None],
    ) -> list[Estimate]:
        """One estimate per candidate, in order. `refusal` says why a candidate's breaker is open."""
        return [self._one(size, candidate, refusal(candidate)) for candidate in candidates]

    def observe(self, candidate: Candidate, size: Size, usage: Usage, timings: Timings, total_s: float) -> None:
        """Learn from one answered request. What it held the device alone goes before the time of its whole batch."""
        learnt = self._of(candidate.id)
        expected = self._expected(candidate, learnt, size)
        actual = Size(
            items=size.items,
            input_tokens=usage.prompt_tokens or size.input_tokens,
            output_tokens=None if size.output_tokens is None else usage.completion_tokens or size.output_tokens,
            images=usage.images or size.images,
            pixel_steps=usage.pixel_steps or expected.pixel_steps,
            audio_s=usage.audio_s or size.audio_s,
        )
        service_s = next(s for s in (timings.device_s, timings.service_s, total_s) if s is not None)
        self._move(learnt, service_s, _shape_s(candidate, learnt, actual))
        if timings.load_s:
            learnt.load_s = timings.load_s
        if actual.output_tokens is not None:
            learnt.output_tokens = _ewma(learnt.output_tokens, actual.output_tokens)
        if usage.pixel_steps and size.images is not None and None in {size.pixels, size.steps}:
            learnt.drawings[_left_open(size)] = usage.pixel_steps / assumed_pixel_steps(candidate, size)
        if 0 < service_s < math.inf:
            learnt.mean_service_s = _ewma(learnt.mean_service_s, service_s)

    def learn_load(
        self, candidate: Candidate, report: LoadReport, source: Literal["calibrated", "warm-up"] = "warm-up"
    ) -> None:
        """Learn from a model's loading, and from the requests measured with it, which become the candidate's curve.

        A calibration measured several sizes thoroughly, now or here before, and always takes over; the one quick
        request of a warm-up goes neither before that nor before what was observed.
        """
        learnt = self._of(candidate.id)
        if report.load_s > 0:
            learnt.load_s = report.load_s
        if source == "warm-up" and learnt.source in {"calibrated", "observed"}:
            return
        curve = curve_of(candidate, report.measured)
        if curve is not None:
            learnt.curve, learnt.log_factor, learnt.source = curve, 0.0, source

    def expected_output_tokens(self, candidate_id: str, size: Size) -> int | None:
        """How many tokens the answer will probably have: what was seen before, within the request's own limit."""
        learnt = self._learnt.get(candidate_id)
        if size.output_tokens is None or learnt is None or learnt.output_tokens is None:
            return size.output_tokens
        seen = max(1, round(learnt.output_tokens))
        return seen if size.max_output_tokens is None else min(seen, size.max_output_tokens)

    def _one(self, size: Size, candidate: Candidate, refusal: str | None) -> Estimate:
        learnt = self._learnt.get(candidate.id) or _Learnt()
        expected = self._expected(candidate, learnt, size)
        service_s = _shape_s(candidate, learnt, expected) * math.exp(learnt.log_factor)
        load_s = 0.0 if candidate.status.loaded else self._load_s(candidate, learnt)
        queue_s = _queue_s(candidate, learnt.mean_service_s or service_s)
        cost_usd, cost_source = self._cost(candidate, expected, service_s)
        return Estimate(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider,
            near=candidate.near,
            accelerated=candidate.near and candidate.status.device != "cpu",
            latency_s=load_s + queue_s + service_s,
            latency_source=learnt.source,
            load_s=load_s,
            queue_s=queue_s,
            service_s=service_s,
            cost_usd=cost_usd,
            cost_source=cost_source,
            quality=candidate.quality,
            quality_source=candidate.quality_source,
            unavailable=candidate.status.unavailable or refusal,
            does_not_fit=candidate.status.does_not_fit,
        )

    def _expected(self, candidate: Candidate, learnt: _Learnt, size: Size) -> Size:
        """The size with what the request leaves to the model: as this candidate had it before, else as is usual."""
        if size.output_tokens is None and size.images is None:
            return size
        pixel_steps = None
        if candidate.target.task is Task.TEXT_TO_IMAGE:
            pixel_steps = round(assumed_pixel_steps(candidate, size) * learnt.drawings.get(_left_open(size), 1.0))
        return Size(
            items=size.items,
            input_tokens=size.input_tokens,
            output_tokens=self.expected_output_tokens(candidate.id, size),
            images=size.images,
            steps=size.steps,
            pixel_steps=pixel_steps,
            audio_s=size.audio_s,
        )

    def _cost(self, candidate: Candidate, size: Size, service_s: float) -> tuple[float | None, str]:
        if candidate.target.backend == "local":
            return self._rates.occupancy_usd(service_s, candidate.status.device), "occupancy"
        cost = priced_usd(candidate.price, _usage(size, service_s))
        return cost, "unknown" if cost is None else "priced"

    def _load_s(self, candidate: Candidate, learnt: _Learnt) -> float:
        if not candidate.near:
            return 0.0
        if learnt.load_s is not None:
            return learnt.load_s
        return prior_load_s(candidate, runtime_started=self._runtime_started())

    def _of(self, candidate_id: str) -> _Learnt:
        if candidate_id not in self._learnt and len(self._learnt) >= MAX_LEARNT:
            self._learnt.pop(next(iter(self._learnt)))
        return self._learnt.setdefault(candidate_id, _Learnt())

    def _move(self, learnt: _Learnt, seen_s: float, shape_s: float) -> None:
        if seen_s <= 0 or not math.isfinite(seen_s):
            return
        seen = math.log(seen_s / shape_s)
        # The first observation replaces a prior outright; what was measured, it only moves.
        learnt.log_factor = seen if learnt.source == "prior" else _ewma(learnt.log_factor, seen)
        learnt.source = "observed"


def _shape_s(candidate: Candidate, learnt: _Learnt, size: Size) -> float:
    prior_s = prior_service_s(candidate, size)
    return prior_s if learnt.curve is None else learnt.curve.at(prior_s)


def _queue_s(candidate: Candidate, each_s: float) -> float:
    """As the backend says; else each request ahead takes as long as requests do. A far queue cannot be seen."""
    status = candidate.status
    if status.queue_s is not None:
        return status.queue_s
    return status.queued * each_s if candidate.near else 0.0


def _left_open(size: Size) -> tuple[bool, bool]:
    return size.pixels is None, size.steps is None


def _usage(size: Size, service_s: float) -> Usage:
    """What a request of this size would use: nothing of it cached, and computing all the time it is expected to take.

    Texts and photos generate nothing; how many tokens a recording has, or a drawing is counted as, nobody knows.
    """
    unknown = size.output_tokens is None and (size.audio_s is not None or size.pixel_steps is not None)
    return Usage(
        prompt_tokens=size.input_tokens,
        completion_tokens=None if unknown else size.output_tokens or 0,
        images=size.images,
        steps=None if size.images is None or size.steps is None else size.images * size.steps,
        pixel_steps=size.pixel_steps,
        audio_s=size.audio_s,
        cached_tokens=0,
        compute_s=service_s,
    )


def _ewma(old: float | None, new: float) -> float:
    return float(new) if old is None else old + LEARNING_RATE * (new - old)
