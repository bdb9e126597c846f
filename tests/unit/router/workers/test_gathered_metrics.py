"""One exposition of several workers: every figure once, under its worker's name, so that sums are what went through."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from router.workers.gathered_metrics import together

ESCAPED = 'a "quoted" \\ label\nof two lines'


def exposition(count: int, memory: float) -> bytes:
    registry = CollectorRegistry()
    Counter("nearfar_requests", "Requests.", ("surface",), registry=registry).labels(ESCAPED).inc(count)
    seconds = Histogram("nearfar_request_seconds", "Seconds.", buckets=(1, 2), registry=registry)
    for _ in range(count):
        seconds.observe(1.5)
    Gauge("nearfar_log_memory_bytes", "Memory.", registry=registry).set(memory)
    return generate_latest(registry)


def samples(text: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            told = found.setdefault(sample.name, {})
            key = tuple(sorted(sample.labels.items()))

            assert key not in told
            told[key] = sample.value
    return found


def test_sums_are_true() -> None:
    """Counters and histograms of each are there, with their labels; each family is described once."""
    text = together({"worker-0": exposition(3, 7.0), "worker-1": exposition(4, 7.0)})
    found = samples(text)

    assert {
        (("surface", ESCAPED), ("worker", "worker-0")): 3.0,
        (("surface", ESCAPED), ("worker", "worker-1")): 4.0,
    } == found["nearfar_requests_total"]
    assert 7.0 == sum(found["nearfar_request_seconds_count"].values())
    assert 7.0 == sum(value for key, value in found["nearfar_request_seconds_bucket"].items() if ("le", "2.0") in key)
    assert 1 == text.count(b"# TYPE nearfar_requests_total counter")


def test_what_is_the_log_s_is_told_once() -> None:
    """Every worker heard the same of its owner."""
    found = samples(together({"worker-0": exposition(1, 7.0), "worker-1": exposition(1, 7.0)}))

    assert {(): 7.0} == found["nearfar_log_memory_bytes"]


def test_a_worker_that_does_not_answer_is_told_of() -> None:
    """Its figures are missing, not zero."""
    found = samples(together({"worker-0": exposition(1, 7.0), "worker-1": None}))

    assert {(("worker", "worker-0"),): 1.0, (("worker", "worker-1"),): 0.0} == found["nearfar_worker_up"]
    assert {"worker-0"} == {dict(key)["worker"] for key in found["nearfar_requests_total"]}
