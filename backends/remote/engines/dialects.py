"""What each engine calls its load, and where it says that it can serve. Knows no socket.

The names are each project's own; where to look when one of them changes:

* vLLM: docs/usage/metrics.md, vllm/v1/metrics/loggers.py. Its production stack's router tells the same names by server
  (src/vllm_router/services/metrics_service/__init__.py): they are added up, as those of one vLLM's engines are.
* TGI: docs/source/reference/metrics.md; `x-queue-time` in router/src/server.rs.
* TEI: core/src/queue.rs (`te_queue_size`, `te_batch_next_size`: texts, not requests), router/src/lib.rs for the header.
* SGLang: docs/references/production_metrics.md; only with `--enable-metrics`.
* llama.cpp: tools/server/README.md; only with `--metrics`.
* Dynamo: docs/observability/metrics.md. Its `queued_requests` counts whoever has no first token yet, those being read
  included: that is no line that anybody waits in, so it is not taken for one.
* KServe: the Open Inference Protocol's `v2/health/ready`; its Hugging Face runtime serves by vLLM, with vLLM's names.
* Ollama has no metrics (docs/api.md).
* Nearfar: `router/http/metrics.py`. With `auth.mode` on, its key needs the scope admin to read them.

How full a cache of keys and values is, is told and weighs nothing by itself: where it is full, requests wait.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from backends.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backends.remote.provider import Engine

METRICS = "/metrics"


class Dialect(Struct, frozen=True, kw_only=True):
    """How one engine says how it is. Of several names the first that is told counts.

    Attributes:
        health: The page whose status says whether it can serve.
        waiting: Gauges of requests that wait for their turn.
        running: Gauges of requests that it works on.
        cache: Gauges of how full its cache of keys and values is, 0..1.
        batch: A histogram of how many ran together, where those that do are not counted apart from those that wait.
        wait_s: A gauge of the seconds that a request would wait, by model.
        queue_ms: The header of an answer that says how long it waited, in milliseconds.
    """

    health: str = "/health"
    waiting: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()
    batch: str | None = None
    wait_s: str | None = None
    queue_ms: str | None = None

    @property
    def tells(self) -> bool:
        """Whether it has any metrics."""
        return bool(self.waiting or self.running)


_VLLM = Dialect(
    waiting=("vllm:num_requests_waiting",),
    running=("vllm:num_requests_running",),
    cache=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),  # the second until vLLM 0.10
)
DIALECTS: dict[Engine, Dialect] = {
    "vllm": _VLLM,
    "tgi": Dialect(waiting=("tgi_queue_size",), running=("tgi_batch_current_size",), queue_ms="x-queue-time"),
    "tei": Dialect(waiting=("te_queue_size",), batch="te_batch_next_size", queue_ms="x-queue-time"),
    "sglang": Dialect(
        waiting=("sglang:num_queue_reqs",), running=("sglang:num_running_reqs",), cache=("sglang:token_usage",)
    ),
    "llama.cpp": Dialect(waiting=("llamacpp:requests_deferred",), running=("llamacpp:requests_processing",)),
    "dynamo": Dialect(running=("dynamo_frontend_active_requests", "dynamo_frontend_inflight_requests")),
    "kserve": Dialect(health="/v2/health/ready", waiting=_VLLM.waiting, running=_VLLM.running, cache=_VLLM.cache),
    "ollama": Dialect(health="/api/version"),
    "nearfar": Dialect(
        health="/health/ready",
        running=("nearfar_attempts_under_way",),
        batch="nearfar_batch_requests",
        wait_s="nearfar_model_wait_seconds",
        queue_ms="x-nearfar-queue-ms",
    ),
}


class Load(Struct, frozen=True, kw_only=True):
    """What a server had to do when it was asked; None where it does not say.

    Attributes:
        waiting: Requests that wait for their turn.
        running: Requests that it works on.
        batch: How many run together in the mean, where that is told instead.
        cache: How full its cache of keys and values is, 0..1.
        wait_s: By model, how long a request would wait for its turn.
    """

    waiting: float | None = None
    running: float | None = None
    batch: float | None = None
    cache: float | None = None
    wait_s: dict[str, float] = {}

    @property
    def known(self) -> bool:
        """Whether it says how much there is to do."""
        return self.waiting is not None or self.running is not None

    @property
    def outstanding(self) -> float:
        """Everything it was asked and has not answered, as far as it is told."""
        return (self.waiting or 0.0) + (self.running or 0.0)

    @property
    def together(self) -> float | None:
        """How many it works on at once; None where nobody knows."""
        return self.running if self.batch is None else self.batch


def read(dialect: Dialect, text: str) -> Load:
    """The load in a page of metrics. Only its own lines are parsed: of many hundreds it is a handful.

    Raises:
        RemoteError: One of them is not in the exposition format.
    """
    found = _samples(dialect, text)

    def told(names: Sequence[str]) -> float | None:
        return next((sum(value for _, value in found[name]) for name in names if name in found), None)

    return Load(
        waiting=told(dialect.waiting),
        running=told(dialect.running),
        batch=_mean(dialect.batch, found),
        cache=_highest(dialect.cache, found),
        wait_s={labels["model"]: value for labels, value in found.get(dialect.wait_s or "", ()) if "model" in labels},
    )


_Samples = dict[str, list[tuple[dict[str, str], float]]]


def _samples(dialect: Dialect, text: str) -> _Samples:
    histogram = () if dialect.batch is None else (f"{dialect.batch}_sum", f"{dialect.batch}_count")
    wait = () if dialect.wait_s is None else (dialect.wait_s,)
    names = (*dialect.waiting, *dialect.running, *dialect.cache, *histogram, *wait)
    lines = [line for line in text.splitlines() if line.startswith(names)] if names else []
    found: _Samples = defaultdict(list)
    try:
        for family in text_string_to_metric_families("\n".join((*lines, ""))):
            for sample in family.samples:
                if sample.name in names and 0 <= sample.value < math.inf:
                    found[sample.name].append((sample.labels, sample.value))
    except (ValueError, IndexError, KeyError) as error:
        msg = "its metrics are not in the exposition format"
        raise RemoteError(msg) from error
    return dict(found)


def _mean(histogram: str | None, found: Mapping[str, list[tuple[dict[str, str], float]]]) -> float | None:
    counts = found.get(f"{histogram}_count", [])
    count = sum(value for _, value in counts)
    return sum(value for _, value in found.get(f"{histogram}_sum", [])) / count if count else None


def _highest(names: Sequence[str], found: Mapping[str, list[tuple[dict[str, str], float]]]) -> float | None:
    """Of several engines the fullest: shares cannot be added up."""
    return next((max(value for _, value in found[name]) for name in names if name in found), None)
