"""What each candidate would take and cost for one request, from the best source there is.

Latency = load (if cold) + queue + service. The service time is made of the prior's parts (`router.priors`) with a
learnt factor each, or runs through what was measured of several sizes; `router.prediction` says how it is learnt. All
of it is multiplied by what such sums were lately off by, so that `latency_s` is the median of what is to be expected;
around it lie its quantiles. The source is named in each estimate.

Who did not answer teaches, too: an attempt that timed out, was cancelled or lost to a hedge took longer than it was
watched for. It is taken as that lower bound, so that neither the slow ones are missing nor anything is invented.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from backends.types import Task, Timings, Usage
from policies.types import Estimate
from router.curves import curve_of, used_size
from router.prediction.history import Base, History
from router.prediction.lengths import Expected, IntentLengths
from router.prediction.memory import checksum, identity, restored, saved
from router.prediction.sizing import expected_usage, first_parts, left_open, parts_of, sized
from router.prediction.timed import first_s, own_s, possible, whole_s
from router.pricing import priced_usd
from router.priors import assumed_pixel_steps, listed_of, prior_load_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backends.reports import LoadReport
    from router.pricing import NearRates
    from router.slate import Candidate, Size

MAX_LEARNT = 10_000


class Asked(Struct, frozen=True):
    """What was so when a request was decided.

    Attributes:
        intent: What its prompt wants; None where nobody was asked.
        predicted: The candidate's estimate; None where there was none, or it was of another moment.
    """

    intent: str | None = None
    predicted: Estimate | None = None


_NOBODY = Asked()


class Estimator:
    """Predicts, and learns from what happened. One instance per process; state is bounded, and can be saved."""

    def __init__(self, rates: NearRates, runtime_started: Callable[[], bool]) -> None:
        self._rates = rates
        self._runtime_started = runtime_started
        self._known: dict[str, History] = {}
        self._saved: dict[str, str] = {}
        self._lengths: dict[Task, IntentLengths] = {}
        self._nothing = History([])

    def estimate(
        self,
        size: Size,
        candidates: Sequence[Candidate],
        refusal: Callable[[Candidate], str | None],
        intent: str | None = None,
    ) -> list[Estimate]:
        """One estimate per candidate, in order. `refusal` says why a candidate's breaker is open."""
        return [self._one(size, candidate, refusal(candidate), intent) for candidate in candidates]

    def observe(
        self, candidate: Candidate, size: Size, usage: Usage, timings: Timings, total_s: float, asked: Asked = _NOBODY
    ) -> None:
        """Learn from one answered request.

        The service time learns from what the request held the device alone, where that is known, before the time of
        its whole batch: those it shared it with are in the queue's prediction. The quantiles learn from the whole.
        """
        if not possible(timings, total_s):
            return
        history = self._of(candidate)
        state = history.state
        base = self._base_then(candidate, history, size, timings, asked)
        predicted = asked.predicted
        history.took(base, whole_s(timings, total_s), predicted.latency if predicted else None)
        began_s = first_s(timings)
        if began_s:
            history.began(base, began_s, predicted.first_token if predicted else None)
        tokens = None if size.output_tokens is None else usage.completion_tokens
        seconds = own_s(timings, total_s)
        if timings.queue_s is None and base.queue_s > 0:  # nobody saw how it was spent: as it was foreseen
            seconds *= base.service_s / (base.service_s + base.queue_s)
        if seconds > 0:
            usual = sized(candidate, state, size, tokens or self._tokens(candidate, history, size, asked.intent))
            actual = replace(usual, pixel_steps=usage.pixel_steps or usual.pixel_steps)
            history.served(parts_of(candidate, state, actual), seconds)
        state.load_s = timings.load_s or state.load_s
        if tokens:
            self._heard(candidate, history, tokens, size, asked.intent)
        if usage.pixel_steps and size.images is not None and None in {size.pixels, size.steps}:
            state.drawings[left_open(size)] = usage.pixel_steps / assumed_pixel_steps(candidate, size)
        history.refresh()

    def outlasted(self, candidate: Candidate, size: Size, waited_s: float, asked: Asked, *, silent: bool) -> None:
        """Learn from a request that took longer than this, and nobody knows how much; `silent` before its first piece.

        It counts for the quantiles, the median among them, as far as it is known: never to make anything look faster,
        nor slower than this bound. What a request takes by itself is learnt from answers alone: near it may never have
        had its turn, and teaches nothing where nobody foresaw its queue.
        """
        unforeseen = candidate.near and asked.predicted is None
        if candidate.id not in self._known or unforeseen or not 0 < waited_s < math.inf:
            return
        history, predicted = self._of(candidate), asked.predicted
        base = self._base_then(candidate, history, size, Timings(), asked)
        history.took(base, waited_s, predicted.latency if predicted else None, censored=True)
        if silent:
            history.began(base, waited_s, predicted.first_token if predicted else None, censored=True)
        history.refresh()

    def learn_load(
        self, candidate: Candidate, report: LoadReport, source: Literal["calibrated", "warm-up"] = "warm-up"
    ) -> None:
        """Learn from a model's loading, and from the requests measured with it, which become the candidate's shape.

        A calibration measured several sizes thoroughly, now or here before, and always takes over; the one quick
        request of a warm-up goes neither before that nor before what was observed. Neither says how far requests lie
        apart, so there are no quantiles until one was observed.
        """
        history = self._of(candidate)
        if report.load_s > 0:
            history.state.load_s = report.load_s
            history.changes += 1
        measured = [one for one in report.measured if 0 < one.service_s < math.inf]
        if not measured or (source == "warm-up" and history.state.source in {"calibrated", "observed"}):
            return
        # An answer's length and its prompt's are two things, which no single curve runs through.
        generated = any(one.usage.completion_tokens for one in measured)
        curve = None if generated else curve_of(candidate, measured)
        history.state.curve = curve
        points = [(parts_of(candidate, history.state, used_size(one.usage)), one.service_s) for one in measured]
        history.measured(curve, points, source, checksum(report.measured))

    def begin_with(self, candidate: Candidate, report: LoadReport) -> None:
        """Begin with a calibration of an earlier process, unless more was learnt since and came back with `restore`."""
        state = self._of(candidate).state
        if state.source != "observed" or state.calibration != checksum(report.measured):
            self.learn_load(candidate, report, "calibrated")

    def expected_output_tokens(self, candidate: Candidate, size: Size, intent: str | None = None) -> int | None:
        """How many tokens the answer will probably have, the median: within the request's own limit.

        By what this candidate answered to prompts of the intent, else to any, else what any candidate of the task did;
        before all that it is the size's own guess. None for tasks that generate no text.
        """
        history = self._known.get(candidate.id) or self._nothing
        return self._tokens(candidate, history, size, intent)

    def forget(self, candidate_id: str) -> None:
        """Forget what was learnt of a candidate: whoever has this id from now on is somebody else."""
        self._known.pop(candidate_id, None)
        self._saved.pop(candidate_id, None)

    # --- what outlives the process --------------------------------------------------------------

    def restore(self, states: Mapping[str, str]) -> None:
        """Take in what `unsaved` gave to an earlier process, by candidate id: each is used once its candidate is."""
        self._saved = dict(states)

    def unsaved(self) -> Iterator[tuple[str, str]]:
        """Each candidate of whom something was learnt since this was called last, and its state as text."""
        for candidate_id, history in list(self._known.items()):
            if history.changes > history.saved:
                history.saved = history.changes
                yield candidate_id, saved(history)

    def coverage(self) -> dict[str, tuple[int, int]]:
        """By candidate: answers that had a predicted p95, and those of them that took no longer."""
        found = {}
        for candidate_id, history in self._known.items():
            warm, cold = history.state.warm, history.state.cold
            if warm.told + cold.told:
                found[candidate_id] = (warm.told + cold.told, warm.kept + cold.kept)
        return found

    # --- predicting -----------------------------------------------------------------------------

    def _one(self, size: Size, candidate: Candidate, refusal: str | None, intent: str | None) -> Estimate:
        history = self._known.get(candidate.id)
        if history is None:
            history = self._of(candidate) if candidate.id in self._saved else self._nothing
        length = self._length(candidate, history, size, intent)
        expected = sized(candidate, history.state, size, None if length is None else length.median)
        base = self._base(candidate, history, expected)
        latency = history.latency(base)
        total_s = base.total_s
        correction = 1.0 if latency is None else latency.p50_s / total_s
        cost_usd, cost_source = self._cost(candidate, expected, base, history, length)
        status = candidate.status
        return Estimate(
            candidate_id=candidate.id,
            backend=candidate.target.backend,
            provider=candidate.target.provider,
            near=candidate.near,
            accelerated=candidate.near and status.device != "cpu",
            latency_s=total_s if latency is None else latency.p50_s,
            latency_source=history.state.source,
            load_s=base.load_s * correction,
            queue_s=base.queue_s * correction,
            service_s=base.service_s * correction,
            cost_usd=cost_usd,
            cost_source=cost_source,
            quality=candidate.quality,
            quality_source=candidate.quality_source,
            unavailable=status.unavailable or refusal,
            does_not_fit=status.does_not_fit,
            unsupported=candidate.unsupported,
            latency=latency,
            first_token=history.first_token(base),
            correction=correction,
        )

    def _base(self, candidate: Candidate, history: History, expected: Size) -> Base:
        """What is foreseen now of a request of this size."""
        parts = parts_of(candidate, history.state, expected)
        service_s = history.service_s(parts)
        load_s = 0.0 if candidate.status.loaded else self._load_s(candidate, history)
        return Base(
            parts,
            load_s,
            _queue_s(candidate, history.state.own_s or service_s),
            service_s,
            first_parts(parts, expected),
        )

    def _base_then(self, candidate: Candidate, history: History, size: Size, timings: Timings, asked: Asked) -> Base:
        """What was foreseen when it was decided of loading and waiting, and would be foreseen now of the rest.

        With what was learnt meanwhile: else the many that are under way when a level changes would all count as late.
        """
        tokens = self._tokens(candidate, history, size, asked.intent)
        expected = sized(candidate, history.state, size, tokens)
        parts = parts_of(candidate, history.state, expected)
        predicted = asked.predicted
        if predicted is None:
            load_s, queue_s = timings.load_s or 0.0, timings.queue_s or 0.0
        else:
            load_s, queue_s = predicted.load_s / predicted.correction, predicted.queue_s / predicted.correction
        return Base(parts, load_s, queue_s, history.service_s(parts), first_parts(parts, expected))

    def _heard(self, candidate: Candidate, history: History, tokens: int, size: Size, intent: str | None) -> None:
        of_task = self._lengths.get(candidate.target.task)
        if of_task is None:
            of_task = self._lengths[candidate.target.task] = IntentLengths()
        for lengths in (history.lengths, of_task):
            lengths.observe(intent, tokens, size.max_output_tokens)

    def _tokens(self, candidate: Candidate, history: History, size: Size, intent: str | None) -> int | None:
        length = self._length(candidate, history, size, intent)
        return None if length is None else length.median

    def _length(self, candidate: Candidate, history: History, size: Size, intent: str | None) -> Expected | None:
        if size.output_tokens is None:
            return None
        found = history.lengths.expected(intent, size.max_output_tokens)
        if found is None and candidate.target.task in self._lengths:
            found = self._lengths[candidate.target.task].expected(intent, size.max_output_tokens)
        return found or Expected(size.output_tokens, size.output_tokens)

    def _cost(
        self, candidate: Candidate, size: Size, base: Base, history: History, length: Expected | None
    ) -> tuple[float | None, str]:
        """By what answers take in the mean: their median says what one takes, and the mean what all of them do."""
        service_s, tokens = base.service_s, size.output_tokens
        if length is not None and tokens:
            service_s += history.factors[2] * base.parts[2] * (length.mean / tokens - 1)
            tokens = round(length.mean)
        if candidate.target.backend == "local":
            return self._rates.expected(service_s, candidate.status.device)
        shared_s = service_s / (candidate.status.together or 1.0)
        cost = priced_usd(candidate.price, expected_usage(size, tokens, shared_s))
        return cost, "unknown" if cost is None else "priced"

    def _load_s(self, candidate: Candidate, history: History) -> float:
        if not candidate.near and candidate.target.backend != "ray":
            return 0.0
        if history.state.load_s is not None:
            return history.state.load_s
        return prior_load_s(candidate, runtime_started=self._runtime_started())

    def _of(self, candidate: Candidate) -> History:
        """What is known of the candidate, and stays known; what an earlier process knew, where it is the same one."""
        history = self._known.get(candidate.id)
        if history is not None:
            return history
        if len(self._known) >= MAX_LEARNT:
            self._known.pop(next(iter(self._known)))
        state = self._saved.pop(candidate.id, None)
        history = None if state is None else restored(candidate, state)
        if history is None:
            history = History(identity(candidate))
            history.state.listed = listed_of(candidate)
        return self._known.setdefault(candidate.id, history)


def _queue_s(candidate: Candidate, each_s: float) -> float:
    """As the backend says; else each request ahead takes as long as requests do. Few far queues can be seen."""
    status = candidate.status
    if status.queue_s is not None:
        return status.queue_s
    if status.queue_turns is not None:
        return status.queue_turns * each_s
    return status.queued * each_s if candidate.near else 0.0
