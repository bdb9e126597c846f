"""Event replay: what queues do, against worlds whose truth is known; and when it is not believed."""

import random
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from router.replay import estimators, latency
from router.replay.events import run
from router.replay.evidence import weigh
from router.replay.logged import Logged, Shown, Tried, traffic
from router.replay.replayed import Asked, Clock, judged
from router.replay.stations import stations
from router.replay.targets import LOGGED, Target, target
from router.replay.verdict import Figure

sys.path.append(str(Path(__file__).parents[4] / "benchmarks"))
import replay_worlds as worlds


def tick() -> None:
    """Nobody waits."""


def replayed(log: list[Logged], name: str, **asked) -> dict[str, Figure]:
    answer = judged(traffic(log), [target(name)], Asked(policy=name, **asked), Clock())
    return {figure.quantity: figure for figure in answer.verdicts[0].figures}


def mean_ms(log: list[Logged]) -> float:
    return sum(one.latency_ms for one in log) / len(log)


def requests_of(*services_ms: float, gap_ms: float = 1.0, deadline_ms: float | None = None, **attempt) -> list[Logged]:
    """Requests that all went near, one gap after the other, each with its own service time and no wait."""
    return [
        Logged(
            at_ms=n * gap_ms,
            slate=[
                Shown(
                    candidate_id="near", backend="local", provider="local", device="cpu", near=True, eligible=True,
                    warm=True, load_ms=0.0, queue_ms=0.0, pred_ms=service_ms, propensity=1.0,
                )
            ],
            attempts=[
                Tried(
                    **{
                        "candidate_id": "near", "role": "primary", "status": "ok",
                        "begun_ms": n * gap_ms, "total_ms": service_ms, "queue_ms": 0.0, "load_ms": 0.0,
                        "service_ms": service_ms,
                    } | attempt
                )
            ],
            shadows=[], chosen="near", propensity=1.0, status="ok", latency_ms=service_ms, deadline_ms=deadline_ms,
        )
        for n, service_ms in enumerate(services_ms)
    ]  # fmt: skip


def ran(log: list[Logged], servers: int = 1, batch: int = 1, slope: float = 0.0, **station) -> list[float | None]:
    """Latencies of the log's own choices at a near side of this shape."""
    known = stations(log, tick)
    shaped = {name: replace(one, servers=servers, batch=batch, slope=slope, **station) for name, one in known.items()}
    return run(log, shaped, Target(name=LOGGED), 0, tick).latency_ms


def test_one_server_takes_them_in_turn() -> None:
    """Each waits for all before it."""
    assert [10.0, 19.0, 28.0, 37.0] == ran(requests_of(10.0, 10.0, 10.0, 10.0))


def test_two_servers_take_two_at_once() -> None:
    """The third waits for the first."""
    assert [10.0, 10.0, 18.0, 18.0] == ran(requests_of(10.0, 10.0, 10.0, 10.0), servers=2)


def test_what_waits_is_taken_together_where_a_server_batches() -> None:
    """The first alone; the other three together, which takes as long as one and half as much for each further one."""
    assert [10.0, 29.0, 28.0, 27.0] == ran(requests_of(10.0, 10.0, 10.0, 10.0), batch=8, slope=0.5)


def test_a_cold_model_is_loaded_once() -> None:
    """By the first that needs it."""
    assert [110.0, 119.0] == ran(requests_of(10.0, 10.0), warm=False, load_ms=100.0)


def test_who_has_waited_past_the_deadline_has_left() -> None:
    """Without an answer, and without keeping the server busy."""
    assert [10.0, 19.0, None, None, None, 15.0] == ran(
        requests_of(10.0, 10.0, 10.0, 10.0, 10.0, 10.0, deadline_ms=None)[:2]
        + [replace(one, deadline_ms=5.0) for one in requests_of(*[10.0] * 5)[2:]]
        + [replace(requests_of(*[10.0] * 6)[5], at_ms=15.0)]
    )


def test_a_failed_attempt_goes_on_to_the_next_candidate_after_the_time_it_took() -> None:
    """As in the house."""
    one = requests_of(10.0)[0]
    far = replace(one.slate[0], candidate_id="far", near=False, backend="remote", pred_ms=30.0)
    failed = replace(one.attempts[0], status="error", total_ms=7.0, service_ms=None, queue_ms=None)
    then = replace(one.attempts[0], candidate_id="far", role="fallback", begun_ms=7.0, total_ms=30.0, service_ms=None)
    log = [replace(one, slate=[one.slate[0], far], attempts=[failed, then])]

    assert [37.0] == run(log, stations(log, tick), Target(name=LOGGED), 0, tick).latency_ms


def test_servers_and_batches_are_read_off_the_log() -> None:
    """Three at once, and batches of four that take twice as long as one."""
    three = [
        replace(one, attempts=[replace(one.attempts[0], begun_ms=10.0 * (n // 3))])
        for n, one in enumerate(requests_of(*[10.0] * 90))
    ]
    batched = [
        replace(
            one,
            attempts=[
                replace(one.attempts[0], batch_size=4, service_ms=20.0, total_ms=20.0, begun_ms=100.0 * (n // 4))
            ],
        )
        if n >= 40
        else replace(one, attempts=[replace(one.attempts[0], batch_size=1, begun_ms=10_000 + 100.0 * n)])
        for n, one in enumerate(requests_of(*[10.0] * 80))
    ]

    assert 3 == stations(three, tick)["near"].servers
    known = stations(batched, tick)["near"]
    assert (1, 4) == (known.servers, known.batch)
    assert 1 / 3 == pytest.approx(known.slope)


def test_a_given_up_attempt_counts_as_one_that_takes_longer() -> None:
    """A hedge's loser, cancelled after 50 ms, is drawn as one of those that did take more than that."""
    log = [replace(one, slate=[replace(one.slate[0], pred_ms=50.0)]) for one in requests_of(*[10.0, 100.0] * 20)]
    given_up = replace(log[0].attempts[0], status="cancelled", total_ms=50.0, service_ms=50.0)
    known = stations([replace(log[0], attempts=[given_up]), *log[1:]], tick)["near"]

    assert not known.seen[0].bound
    assert 100.0 == pytest.approx(known.seen[0].over * known.curve.at(50.0))


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_event_replay_gives_the_true_latency_where_a_per_request_estimate_does_not(share) -> None:
    """One near server with 1.85 times what it can serve, logged at 40 %; a brown-out far. Within 10 % of the truth."""
    arrivals = worlds.made_up_arrivals(1500, 1.85, random.Random(4))
    log = worlds.live(arrivals, worlds.split(0.4, 1), 0.4)
    truth = mean_ms(worlds.live(arrivals, worlds.split(share, 2)))

    class Split:
        name, version = "split", "1"

        def __init__(self) -> None:
            self.near = worlds.split(share, 3)
            self.asked = -1

        def ranked(self, estimates, limits):
            self.asked += 1
            return ("near", "far") if self.near(self.asked) else ("far", "near")

    here = latency.judge(traffic(log), stations(log, tick), worlds.DEADLINE_MS, tick)
    told = {figure.quantity: figure for figure in latency.figures(here, Split(), tick)}
    as_price = traffic([replace(one, cost_usd=one.latency_ms) for one in log])
    weighed = weigh(log, [{"near": share, "far": 1 - share} if share < 1 else {"near": 1.0}] * len(log))
    snips = estimators.figures(estimators.evidence(as_price, weighed, "price"), anytime=False)[1]

    assert latency.objection(here) is None
    assert told["latency_mean"].estimate == pytest.approx(truth, rel=0.1)
    assert told["latency_mean"].low < truth < told["latency_mean"].high
    if share == 1.0:
        assert truth > 50 * snips.high


def test_a_policy_sees_the_simulated_queue_and_not_the_logged_one() -> None:
    """`fastest` sends far what would wait near: its mean stays below both that of all-near and of all-far."""
    arrivals = worlds.made_up_arrivals(500, 1.3, random.Random(4))
    log = worlds.live(arrivals, worlds.split(0.5, 1), 0.5)
    means = {
        name: replayed(log, name)["latency_mean"].estimate for name in ("fastest", "all-near", "all-far", "oracle")
    }

    assert means["oracle"] <= means["fastest"] < min(means["all-near"], means["all-far"])


def test_a_simulation_that_does_not_give_back_the_log_is_not_believed() -> None:
    """The log's own latencies are three times what its attempts say."""
    arrivals = worlds.made_up_arrivals(400, 0.5, random.Random(4))
    log = [replace(one, latency_ms=3 * one.latency_ms) for one in worlds.live(arrivals, worlds.split(0.4, 1), 0.4)]

    assert "does not give back the log" in replayed(log, "all-near")["latency_mean"].refusal


def test_candidates_that_were_hardly_tried_are_refused() -> None:
    """Nobody ever went far."""
    arrivals = worlds.made_up_arrivals(400, 0.5, random.Random(4))
    log = worlds.live(arrivals, worlds.split(1.0, 1), 0.5)

    assert replayed(log, "all-far")["latency_p95"].refusal.startswith("unseen candidates: 100%")


def test_too_few_requests_are_refused() -> None:
    """Below 200."""
    log = worlds.live(worlds.made_up_arrivals(150, 0.5, random.Random(4)), worlds.split(0.4, 1), 0.4)

    assert "150 answered requests" in replayed(log, "all-near")["latency_mean"].refusal


def test_without_deadlines_nothing_is_late_until_somebody_says_what_is() -> None:
    """The figure of misses alone is refused, or judged by the deadline that is given."""
    log = worlds.live(worlds.made_up_arrivals(400, 0.5, random.Random(4)), worlds.split(0.4, 1), 0.4)

    assert "no deadline is known" in replayed(log, "all-near")["deadline_misses"].refusal
    assert 0 < replayed(log, "all-far", deadline_ms=500.0)["deadline_misses"].estimate <= 1


def test_without_a_deadline_no_answer_is_a_failure_and_not_late() -> None:
    """Nine of ten were answered and none had a deadline: nothing is known of misses, not that all were late."""
    log = [replace(one, status="error") if n % 10 == 0 else one for n, one in enumerate(requests_of(*[5.0] * 1000))]

    misses = replayed(log, LOGGED)["deadline_misses"]
    assert (None, None) == (misses.observed, misses.estimate)


def test_it_says_so_where_nobody_was_ever_seen_waiting() -> None:
    """How many a side serves at once is then not known."""
    arrivals = worlds.made_up_arrivals(400, 0.2, random.Random(4))
    quiet = [
        replace(one, attempts=[replace(a, queue_ms=0.0 if a.queue_ms is not None else None) for a in one.attempts])
        for one in worlds.live(arrivals, worlds.split(0.2, 1), 0.2)
    ]
    found = replayed(quiet, "all-near")["latency_mean"]

    assert any("nobody was seen waiting for near" in warning for warning in (*found.warnings, found.refusal or ""))


def test_no_miss_at_all_does_not_prove_that_there_are_none() -> None:
    """Neither of the policy's, nor of the difference to the log."""
    log = worlds.live(worlds.made_up_arrivals(400, 0.3, random.Random(4)), worlds.split(0.4, 1), 0.4)
    misses = replayed(log, "all-near", deadline_ms=1e9)["deadline_misses"]

    assert (0.0, 0.0, 0.0) == (misses.estimate, misses.low, misses.difference)
    assert 0.005 < misses.high < 0.05
    assert misses.difference_low < 0 < misses.difference_high
