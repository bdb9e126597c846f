"""Prometheus counters of what went through, by route pattern. One registry per app: two never share a number."""

from math import nan
from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from backends.types import InferenceResult
from router.egress.guard import KINDS
from router.http.batch_gauges import BatchGauges
from router.http.cluster_gauges import ClusterGauges
from router.http.replica_gauges import ReplicaGauges
from router.outcome import Outcome
from router.rows import Refused
from router.telemetry.exchanges import Exchange
from router.token_health import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backends.remote.engines.replica import ReplicaState
    from backends.types import Status
    from router.admission import AdmissionState
    from router.availability import BreakerState
    from router.batches.types import Batch
    from router.budgets import BudgetState
    from router.caching.answers import CacheState
    from router.cluster.told import ClusterState
    from router.decision_log.taking import LogStats
    from router.egress.guard import EgressState
    from router.shipping.shipper import ShippingState

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
M = TypeVar("M", Counter, Histogram)
BREAKER = {"closed": 0.0, "half-open": 0.5, "open": 1.0}


class Metrics:
    """The numbers behind `GET /metrics`."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        labels = ("surface", "backend", "status")
        self._requests = _Kept(Counter("nearfar_requests", "Requests ended.", labels, registry=registry))
        self._seconds = _times("nearfar_request_seconds", "Seconds to the whole answer.", labels[:2], registry)
        self._overhead = Histogram(
            "nearfar_overhead_seconds", "Seconds not spent in a backend.", buckets=SECONDS, registry=registry
        )
        self._first_token = _times("nearfar_first_token_seconds", "Seconds to the first token.", ("backend",), registry)
        self._attempts = _Kept(
            Counter("nearfar_attempts", "Attempts ended.", ("provider", "status"), registry=registry)
        )
        self._tokens = _Kept(Counter("nearfar_tokens", "Tokens used.", ("backend", "kind"), registry=registry))
        self._cost = _Kept(Counter("nearfar_cost_usd", "Cost of answered requests.", ("backend",), registry=registry))
        self._unknown = Counter("nearfar_unknown_cost", "Requests whose cost is unknown.", registry=registry)
        self._refused, self._turned_away = _refusals(registry)
        self._log = {
            "queued": Gauge("nearfar_log_queued_rows", "Rows waiting for their commit.", registry=registry),
            "spilled": Gauge("nearfar_log_spilled_rows", "Rows that went through the spill file.", registry=registry),
            "replaced": Gauge("nearfar_log_replaced", "Times the log's file was deleted under it.", registry=registry),
            "memory_bytes": Gauge("nearfar_log_memory_bytes", "What DuckDB holds in memory.", registry=registry),
            "lag_s": Gauge("nearfar_log_lag_seconds", "Age of the oldest row not committed.", registry=registry),
        }
        self._http, self._shipping = _Http(registry), _Shipping(registry)
        self._denied = Gauge(
            "nearfar_egress_denied", "What would have left an offline process.", ("kind",), registry=registry
        )
        self._far = _Far(registry)
        self._covered = _covered(registry)
        self._near, self._budgets = _Near(registry), _Budgets(registry)
        self._batches, self._cache = BatchGauges(registry), _Cache(registry)
        self._replicas = ReplicaGauges(registry)
        self._cluster: ClusterGauges | None = None

    def observe(self, surface: str, outcome: Outcome) -> None:
        """Count one outcome."""
        winner = outcome.winner
        backend = winner.backend if winner is not None else "none"
        self._requests[surface, backend, outcome.status].inc()
        self._seconds[surface, backend].observe(outcome.latency_s)
        self._overhead.observe(outcome.overhead_s)
        asked = {candidate.id: candidate.target.provider for candidate in outcome.plan.candidates}
        for attempt in outcome.attempts:  # by whom we asked: who served behind it is whatever a header says
            self._attempts[asked[attempt.candidate_id], attempt.status].inc()
        if outcome.cost.usd is None:
            self._unknown.inc()
        else:
            self._cost[backend,].inc(outcome.cost.usd)
        if outcome.first_token_s is not None:
            self._first_token[backend,].observe(outcome.first_token_s)
        if outcome.result is not None:
            self._tokens[backend, "prompt"].inc(outcome.result.usage.prompt_tokens or 0)
            self._tokens[backend, "completion"].inc(outcome.result.usage.completion_tokens or 0)
            if backend == "local":
                self._near.answered(outcome.result)

    def refused(self, refusal: Refused, decision_id: str) -> None:  # noqa: ARG002 -- the protocol's signature
        """Count a request that was turned away before a decision."""
        self._refused.labels(refusal.surface).inc()

    def exchanged(self, exchange: Exchange) -> None:
        """Count one HTTP exchange, of whatever route."""
        self._http.exchanged(exchange)

    def guarded(self, egress: "EgressState") -> None:
        """Take in what the guard refused so far, before `render`."""
        for kind in KINDS:
            self._denied.labels(kind).set(egress.denied[kind])

    def clustered(self, state: "ClusterState") -> None:
        """Take in this router's part in its cluster, before `render`; where it has none, there are no such figures."""
        if self._cluster is None:
            self._cluster = ClusterGauges(self._registry)
        self._cluster.state(state)

    def shipped(self, state: "ShippingState | None") -> None:
        """Take in how shipping does, before `render`. A log that is not shipped has no figures."""
        if state is not None:
            self._shipping.state(state)

    def turned_away(self, why: str) -> None:
        """Count a request whose sender is unknown, or over a limit of its own."""
        self._turned_away.labels(why).inc()

    def admitted(self, states: "Sequence[AdmissionState]") -> None:
        """Take in what is under way, and what may be, before `render`. Whoever has neither is not told."""
        self._far.admitted(states)

    def covered(self, coverage: "Mapping[str, tuple[int, int]]") -> None:
        """Of predictions, by candidate: answers that had a p95, and those that took no longer."""
        self._covered.clear()  # whom nobody remembers any more has none
        for candidate_id, (told, kept) in coverage.items():
            self._covered.labels(candidate_id).set(kept / told)

    def batched(self, batches: "Iterable[Batch]") -> None:
        """Take in the batches there are, before `render`."""
        self._batches.take(batches)

    def replicated(self, states: "Iterable[ReplicaState]") -> None:
        """Take in how far servers are, before `render`."""
        self._replicas.take(states)

    def cached(self, state: "CacheState") -> None:
        """Take in how the exact cache does, before `render`."""
        self._cache.state(state)

    def render(
        self,
        log: "LogStats",
        breakers: "Mapping[str, BreakerState]",
        models: "Mapping[str, Status]",
        budgets: "Sequence[BudgetState]",
        token: str,
    ) -> bytes:
        """The exposition text, with the state of the log, breakers, near models, budgets and token at this moment."""
        for name, gauge in self._log.items():
            value = getattr(log, name)
            gauge.set(nan if value is None else value)
        self._far.states(breakers, token)
        self._near.states(models)
        self._budgets.states(budgets)
        return generate_latest(self._registry)


def _refusals(registry: CollectorRegistry) -> tuple[Counter, Counter]:
    """Requests that came to no decision; and, of these and of others, those of unknown senders or over a limit."""
    return (
        Counter("nearfar_refused", "Requests refused before a decision.", ("surface",), registry=registry),
        Counter("nearfar_turned_away", "Requests of unknown senders, or over a limit.", ("why",), registry=registry),
    )


def _covered(registry: CollectorRegistry) -> Gauge:
    told = "Share of a candidate's answers that took no longer than the p95 predicted of them."
    return Gauge("nearfar_predicted_p95_coverage", told, ("candidate",), registry=registry)


class _Kept(dict[tuple[str, ...], M], Generic[M]):
    """A metric of which only ever more is counted, by its labels' values: `labels` takes a lock to find a child."""

    def __init__(self, metric: M) -> None:
        super().__init__()
        self._metric: M = metric

    def __missing__(self, values: tuple[str, ...]) -> M:
        child = self[values] = self._metric.labels(*values)
        return child


def _times(name: str, told: str, labels: "Sequence[str]", registry: CollectorRegistry) -> _Kept[Histogram]:
    return _Kept(Histogram(name, told, labels, buckets=SECONDS, registry=registry))


class _Http:
    """Every exchange, by its route's pattern. A path, a method nobody knows, or a model is in no label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = _Kept(
            Counter("nearfar_http_requests", "HTTP requests ended.", ("route", "method", "status"), registry=registry)
        )
        self._seconds = _times("nearfar_http_request_seconds", "Seconds to the last byte.", ("route",), registry)

    def exchanged(self, exchange: Exchange) -> None:
        self._count[exchange.route, exchange.method, str(exchange.status)].inc()
        self._seconds[exchange.route,].observe(exchange.seconds)


class _Shipping:
    """What became of the log's rows on their way to where all nodes' are."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._figures = {
            "rows": Gauge("nearfar_log_shipped_rows", "Rows taken out to be shipped.", registry=registry),
            "segments": Gauge("nearfar_log_shipped_segments", "Segments that arrived.", registry=registry),
            "failed": Gauge("nearfar_log_shipping_failed", "Rounds that did not end well.", registry=registry),
            "waiting_bytes": Gauge("nearfar_log_shipping_waiting_bytes", "What has to wait.", registry=registry),
            "lag_s": Gauge("nearfar_log_shipping_lag_seconds", "Since when all is there.", registry=registry),
        }
        for gauge in self._figures.values():
            gauge.set(nan)  # not shipped

    def state(self, state: "ShippingState") -> None:
        for name, gauge in self._figures.items():
            gauge.set(getattr(state, name))


class _Far:
    """What is known of candidates that may fail or be full, and of the hub's token."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._open = Gauge("nearfar_breakers_open", "Circuit breakers that are open.", registry=registry)
        self._breakers = Gauge(
            "nearfar_breaker_state", "1 open, 0.5 half-open, 0 closed after failures.", ("breaker",), registry=registry
        )
        self._token = Gauge(
            "nearfar_hub_token_state", "1 for the state that the hub token is in.", ("state",), registry=registry
        )
        self._under_way = Gauge(
            "nearfar_attempts_under_way", "Attempts under way at all candidates together.", registry=registry
        )
        self._admission = {
            "in_flight": Gauge("nearfar_in_flight", "Attempts under way.", ("candidate",), registry=registry),
            "limit": Gauge("nearfar_admission_limit", "How many there may be.", ("candidate",), registry=registry),
        }

    def admitted(self, states: "Sequence[AdmissionState]") -> None:
        self._under_way.set(sum(state.in_flight for state in states))  # idle it is 0, where a label would be missing
        for name, gauge in self._admission.items():
            gauge.clear()
            for state in states:
                if (figure := getattr(state, name)) is not None:
                    gauge.labels(state.candidate).set(figure)

    def states(self, breakers: "Mapping[str, BreakerState]", token: str) -> None:
        self._open.set(sum(state != "closed" for state in breakers.values()))
        self._breakers.clear()
        for name, state in breakers.items():
            self._breakers.labels(name).set(BREAKER[state])
        for known in STATES:
            self._token.labels(known).set(known == token)


class _Near:
    """What only the near side has: batches, a queue that can be seen, and models in memory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batch = Histogram(
            "nearfar_batch_requests", "Requests that ran together near.", buckets=BATCHES, registry=registry
        )
        self._queue = Histogram(
            "nearfar_queue_seconds", "Seconds waited for a turn near.", buckets=SECONDS, registry=registry
        )
        model = ("model",)
        self._models = {
            "loaded": Gauge("nearfar_model_loaded", "1 while the model is in memory.", model, registry=registry),
            "memory_bytes": Gauge("nearfar_model_memory_bytes", "What it occupies.", model, registry=registry),
            "queued": Gauge("nearfar_model_queued", "Requests accepted, not answered.", model, registry=registry),
            "loads": Gauge("nearfar_model_loads", "Times it was loaded since the start.", model, registry=registry),
            "queue_s": Gauge("nearfar_model_wait_seconds", "What a request would wait.", model, registry=registry),
        }

    def answered(self, result: InferenceResult) -> None:
        self._batch.observe(result.batch_size)
        self._queue.observe(result.timings.queue_s or 0.0)

    def states(self, models: "Mapping[str, Status]") -> None:
        for gauge in self._models.values():
            gauge.clear()
        for model, status in models.items():
            occupied = status.memory_bytes if status.loaded else 0
            figures = {
                "loaded": status.loaded,
                "memory_bytes": occupied,
                "queued": status.queued,
                "loads": status.loads,
            }
            for name, figure in figures.items():
                self._models[name].labels(model).set(figure or 0)
            if status.queue_s is not None:
                self._models["queue_s"].labels(model).set(status.queue_s)


class _Cache:
    """What the exact cache answered and holds. It counts itself: here is what was added since it was last looked at."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            "hits": Counter("nearfar_cache_hits", "Requests answered from the exact cache.", registry=registry),
            "misses": Counter("nearfar_cache_misses", "Requests it had no answer to, but might.", registry=registry),
        }
        self._gauges = {
            "entries": Gauge("nearfar_cache_entries", "Answers in the exact cache.", registry=registry),
            "bytes": Gauge("nearfar_cache_bytes", "Bytes they take.", registry=registry),
        }
        self._counted = {"hits": 0, "misses": 0}

    def state(self, state: "CacheState") -> None:
        for name, counter in self._counters.items():
            counter.inc(getattr(state, name) - self._counted[name])
            self._counted[name] = getattr(state, name)
        for name, gauge in self._gauges.items():
            gauge.set(getattr(state, name))


class _Budgets:
    """What the budgets allow, and what of it is gone or set aside."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("scope", "period", "on_exceeded")
        self._figures = {
            "limit_usd": Gauge("nearfar_budget_limit_usd", "What it allows.", labels, registry=registry),
            "spent_usd": Gauge("nearfar_budget_spent_usd", "Spent in its period.", labels, registry=registry),
            "reserved_usd": Gauge("nearfar_budget_reserved_usd", "Set aside for attempts.", labels, registry=registry),
        }

    def states(self, budgets: "Sequence[BudgetState]") -> None:
        for budget in budgets:
            for name, gauge in self._figures.items():
                gauge.labels(budget.scope, budget.period, budget.on_exceeded).set(getattr(budget, name))
