"""What each candidate would take and cost for one request, from the best source there is.

Latency = load (if cold) + queue + service. The service time is a prior shape (physics of the device, or of a network)
times a learnt factor: warm-up measurements set the factor, observed requests move it (an exponentially weighted mean
of log(observed / shape)), so one observation at one size informs every size. The source is named in each estimate.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from backends.types import ClassificationInput, EmbeddingInput, GenerationInput, ZeroShotInput
from policies.types import Estimate
from router.pricing import priced_usd
from router.slate import Size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from backends.types import InferenceRequest, LoadReport, Timings, Usage
    from router.pricing import LocalRates
    from router.slate import Candidate

CHARS_PER_TOKEN = 4  # English prose through a byte-pair tokenizer
PRIOR_OUTPUT_TOKENS = 128
PRIOR_PARAMETERS = 1_000_000_000
LEARNING_RATE = 0.2
MAX_LEARNT = 10_000
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# Priors, to be replaced by the first measurement. CPU: GEMM throughput and memory bandwidth of one core of a 2.5 GHz
# server; GPU: a mid-range card; far: round trip of a public API and a common decode speed.
CPU_FLOPS, GPU_FLOPS = 50e9, 20e12
CPU_BYTES_PER_S, GPU_BYTES_PER_S = 10e9, 500e9
NEAR_OVERHEAD_S, FAR_OVERHEAD_S = 0.01, 0.4
FAR_S_PER_OUTPUT_TOKEN, FAR_S_PER_INPUT_TOKEN = 0.02, 0.00005
LOAD_BYTES_PER_S, RUNTIME_START_S = 300e6, 4.0
FAKE_S = 0.001


def size_of(request: InferenceRequest, context_length: int | None = None) -> Size:
    """Estimate a request's size from its characters; no tokenizer is loaded for that.

    Texts that would be truncated count as long as the model reads: `context_length` tokens each.
    """
    payload = request.payload
    limit = None if isinstance(payload, EmbeddingInput) and not payload.truncate else context_length
    match payload:
        case EmbeddingInput() | ClassificationInput():
            return Size(items=len(payload.texts), input_tokens=_tokens(payload.texts, limit))
        case ZeroShotInput():
            # The labels are embedded like texts, each once.
            return Size(
                items=len(payload.texts), input_tokens=_tokens((*payload.texts, *payload.candidate_labels), limit)
            )
        case GenerationInput():
            texts = (payload.prompt,) if payload.prompt is not None else tuple(m.content for m in payload.messages)
            return Size(
                items=1,
                input_tokens=_tokens(texts),
                output_tokens=min(payload.max_tokens, PRIOR_OUTPUT_TOKENS),
                max_output_tokens=payload.max_tokens,
            )


def _tokens(texts: Sequence[str], limit: int | None = None) -> int:
    counts = (len(text) // CHARS_PER_TOKEN + 2 for text in texts)
    return sum(counts if limit is None else (min(count, limit) for count in counts))


class _Learnt(Struct):
    log_factor: float = 0.0
    source: Literal["prior", "warm-up", "observed"] = "prior"
    load_s: float | None = None
    mean_service_s: float | None = None
    output_tokens: float | None = None


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
        refusal: Callable[[str], str | None],
    ) -> list[Estimate]:
        """One estimate per candidate, in order. `refusal` says why a candidate's breaker is open."""
        return [self._one(size, candidate, refusal(candidate.id)) for candidate in candidates]

    def observe(self, candidate: Candidate, size: Size, usage: Usage, timings: Timings, total_s: float) -> None:
        """Learn from one answered request of known size."""
        learnt = self._of(candidate.id)
        actual = Size(
            items=size.items,
            input_tokens=usage.prompt_tokens or size.input_tokens,
            output_tokens=None if size.output_tokens is None else usage.completion_tokens or size.output_tokens,
        )
        service_s = timings.service_s if timings.service_s is not None else total_s
        self._move(learnt, service_s, prior_service_s(candidate, actual), "observed")
        if timings.load_s:
            learnt.load_s = timings.load_s
        if actual.output_tokens is not None:
            learnt.output_tokens = _ewma(learnt.output_tokens, actual.output_tokens)
        if 0 < service_s < math.inf:
            learnt.mean_service_s = _ewma(learnt.mean_service_s, service_s)

    def learn_load(self, candidate: Candidate, report: LoadReport) -> None:
        """Learn from a model's loading, and from the warm-up request it measured."""
        learnt = self._of(candidate.id)
        if report.load_s > 0:
            learnt.load_s = report.load_s
        if report.service_s is not None and learnt.source != "observed":
            size = Size(items=1, input_tokens=report.input_tokens, output_tokens=report.output_tokens or None)
            learnt.log_factor = 0.0
            self._move(learnt, report.service_s, prior_service_s(candidate, size), "warm-up")

    def expected_output_tokens(self, candidate_id: str, size: Size) -> int | None:
        """How many tokens the answer will probably have: what was seen before, within the request's own limit."""
        learnt = self._learnt.get(candidate_id)
        if size.output_tokens is None or learnt is None or learnt.output_tokens is None:
            return size.output_tokens
        seen = max(1, round(learnt.output_tokens))
        return seen if size.max_output_tokens is None else min(seen, size.max_output_tokens)

    def _one(self, size: Size, candidate: Candidate, refusal: str | None) -> Estimate:
        learnt = self._learnt.get(candidate.id) or _Learnt()
        expected = Size(
            items=size.items,
            input_tokens=size.input_tokens,
            output_tokens=self.expected_output_tokens(candidate.id, size),
        )
        service_s = prior_service_s(candidate, expected) * math.exp(learnt.log_factor)
        load_s = 0.0 if candidate.status.loaded else self._load_s(candidate, learnt)
        queue_s = candidate.status.queued * (learnt.mean_service_s or service_s) if candidate.near else 0.0
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
            unavailable=candidate.status.unavailable or refusal,
            does_not_fit=candidate.status.does_not_fit,
        )

    def _cost(self, candidate: Candidate, size: Size, service_s: float) -> tuple[float | None, str]:
        if candidate.target.backend == "local":
            return self._rates.occupancy_usd(service_s, candidate.status.device), "occupancy"
        cost = priced_usd(candidate.price, size.input_tokens, size.output_tokens or 0)
        return cost, "unknown" if cost is None else "priced"

    def _load_s(self, candidate: Candidate, learnt: _Learnt) -> float:
        if not candidate.near:
            return 0.0
        if learnt.load_s is not None:
            return learnt.load_s
        start_s = 0.0 if self._runtime_started() else RUNTIME_START_S
        return start_s + _weight_bytes(candidate) / LOAD_BYTES_PER_S

    def _of(self, candidate_id: str) -> _Learnt:
        if candidate_id not in self._learnt and len(self._learnt) >= MAX_LEARNT:
            self._learnt.pop(next(iter(self._learnt)))
        return self._learnt.setdefault(candidate_id, _Learnt())

    def _move(self, learnt: _Learnt, seen_s: float, shape_s: float, source: Literal["warm-up", "observed"]) -> None:
        if seen_s <= 0 or not math.isfinite(seen_s):
            return
        seen = math.log(seen_s / shape_s)
        learnt.log_factor = seen if learnt.source != source else _ewma(learnt.log_factor, seen)
        learnt.source = source


def prior_service_s(candidate: Candidate, size: Size) -> float:
    """Seconds one request would take before anything was measured; always above 0.

    Near: 2 x parameters floating-point operations per input token, and one pass over the weights per output token
    (decoding is bound by memory bandwidth). Far: one round trip plus a time per token.
    """
    output_tokens = size.output_tokens or 0
    if candidate.target.backend == "fake":
        return FAKE_S
    if candidate.target.backend != "local":
        return FAR_OVERHEAD_S + FAR_S_PER_INPUT_TOKEN * size.input_tokens + FAR_S_PER_OUTPUT_TOKEN * output_tokens
    on_cpu = candidate.status.device == "cpu"
    parameters = candidate.target.parameters or PRIOR_PARAMETERS
    prefill_s = 2 * parameters * size.input_tokens / (CPU_FLOPS if on_cpu else GPU_FLOPS)
    decode_s = output_tokens * _weight_bytes(candidate) / (CPU_BYTES_PER_S if on_cpu else GPU_BYTES_PER_S)
    return NEAR_OVERHEAD_S + prefill_s + decode_s


def _weight_bytes(candidate: Candidate) -> float:
    return (candidate.target.parameters or PRIOR_PARAMETERS) * DTYPE_BYTES.get(candidate.status.dtype or "", 4)


def _ewma(old: float | None, new: float) -> float:
    return float(new) if old is None else old + LEARNING_RATE * (new - old)
