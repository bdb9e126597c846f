"""Which of a provider's servers a request goes to, and what becomes of one that fails."""

import asyncio
import time
from collections import Counter

import pytest

from backends import errors
from backends.remote.engines.dialects import Load
from backends.remote.engines.pool import Pool
from backends.remote.provider import Provider
from backends.types import Timings

URLS = tuple(f"http://127.0.0.1:{port}/v1" for port in (1, 2, 3))
LATER = time.monotonic() + 3600


def pool(*urls: str, **given) -> Pool:
    return Pool(Provider(**{"name": "fleet", "protocol": "openai", "base_url": urls[0], "base_urls": urls} | given))


def chosen(servers: Pool, times: int = 400) -> Counter[str]:
    """How often each server is the one, while nothing is under way."""
    found: Counter[str] = Counter()
    for _ in range(times):
        with servers.lease() as replica:
            found[replica.number] += 1
    return found


def told(servers: Pool, *loads: Load | None) -> Pool:
    for replica, load in zip(servers.replicas, loads, strict=True):
        if load is not None:
            replica.tells(load, until=LATER)
    return servers


def fail(servers: Pool, error: errors.BackendError) -> errors.BackendError:
    with pytest.raises(type(error)) as caught, servers.lease():
        raise error
    return caught.value


def broken(status: int = 500, **more) -> errors.RemoteError:
    return errors.RemoteError("x", http_status=status, **more)


def test_the_less_loaded_of_two_that_are_drawn_is_asked() -> None:
    """The fullest of three never is, as somebody beside it always has less; the emptiest is whenever it is drawn."""
    servers = told(pool(*URLS, engine="vllm"), Load(running=1.0), Load(running=5.0), Load(waiting=3.0, running=9.0))
    found = chosen(servers)

    assert {"1", "2"} == set(found)
    assert found["1"] > found["2"] > 0


def test_where_one_says_nothing_what_is_under_way_from_here_counts() -> None:
    """A server that nobody could read is not taken for an idle one."""
    servers = told(pool(*URLS[:2], engine="vllm"), Load(running=50.0), None)
    one, other = servers.replicas
    other.in_flight = 1

    assert {"1"} == set(chosen(servers))
    other.in_flight, one.in_flight = 0, 1
    assert {"2"} == set(chosen(servers))


def test_alike_servers_share_the_requests() -> None:
    """Nobody is first by its place in the list."""
    assert {"1", "2", "3"} == set(chosen(pool(*URLS)))


def test_a_failure_leaves_the_others_to_be_asked() -> None:
    """It says who failed, that another can be asked at once, and the next request goes there."""
    servers = pool(*URLS[:2])
    error = fail(servers, broken())
    with servers.lease() as next_one:
        assert {"1", "2"} == {error.replica, next_one.number}
    assert error.replaceable


def test_the_last_that_fails_speaks_for_all() -> None:
    """Then the candidate itself is in question, and its wish to wait counts."""
    servers = pool(*URLS[:2])
    first, last = fail(servers, broken()), fail(servers, broken(503, retry_after_s=9.0))

    assert (True, False, 9.0) == (first.replaceable, last.replaceable, last.retry_after_s)
    with servers.lease() as soonest:  # whether nobody is asked any more is not decided here
        assert first.replica == soonest.number


def test_what_is_wrong_everywhere_is_not_tried_elsewhere() -> None:
    """A refused input stays one."""
    error = fail(pool(*URLS), errors.InvalidInput("no", http_status=400))

    assert (False, True) == (error.replaceable, error.replica is not None)


def test_a_provider_of_one_place_behaves_as_ever() -> None:
    """It is asked whatever happened before, nobody else could be, and the log needs no number."""
    servers = Pool(Provider(name="box", protocol="openai", base_url=URLS[0]))
    error = fail(servers, errors.RateLimited("wait", http_status=429, retry_after_s=60.0))

    assert (None, False, 60.0) == (error.replica, error.replaceable, error.retry_after_s)
    assert {"1": 3} == chosen(servers, times=3)


def test_where_all_say_that_they_cannot_serve_nobody_is_asked() -> None:
    """The reason is the servers' own, and no address is in it."""
    servers = pool(*URLS[:2], engine="vllm")
    for replica in servers.replicas:
        replica.says("its health page answers 503")

    assert "provider fleet: all 2 servers cannot serve (its health page answers 503)" == servers.refusal
    with pytest.raises(errors.Unavailable, match="all 2 servers cannot serve"), servers.lease():
        pass
    servers.replicas[0].says(None)
    assert servers.refusal is None
    assert {"1"} == set(chosen(servers, times=10))


def test_addresses_that_are_gone_drain_and_one_that_returns_is_the_same() -> None:
    """What is under way there ends there; nothing begins; the next one has another number."""
    servers = pool(URLS[0], base_urls=(), dns=True)
    assert [] == servers.found(["10.0.0.1", "10.0.0.2"])
    first, second = servers.replicas
    first.in_flight = 1
    assert [] == servers.found(["10.0.0.2", "10.0.0.3"])

    assert [("1", True), ("2", False), ("3", False)] == [(r.number, r.draining) for r in servers.replicas]
    assert {"2", "3"} == set(chosen(servers))
    first.in_flight = 0
    assert [first] == servers.found(["10.0.0.2"])[:1]
    assert [second] == list(servers.replicas)
    servers.found(["10.0.0.1"])
    assert "1" == servers.replicas[-1].number


def test_a_name_that_nobody_looked_up_yet_is_no_reason_to_refuse() -> None:
    """One that leads nowhere is, and says so without the name."""
    servers = pool(URLS[0], base_urls=(), dns=True)
    assert servers.refusal is None
    servers.why_unresolved = "its name cannot be resolved (gaierror)"

    assert "provider fleet: its name cannot be resolved (gaierror)" == servers.refusal
    assert ["unready"] == [state.state for state in servers.states()]
    servers.found(["10.0.0.1"])
    assert servers.refusal is None


def test_the_shortest_line_is_what_a_request_has_before_it() -> None:
    """Of those it may go to; what all have to do together is known where all say it."""
    servers = told(pool(*URLS, engine="vllm"), Load(waiting=8.0, running=4.0), Load(waiting=9.0, running=3.0), None)

    assert (2.0, None) == (servers.queue("m").turns, servers.queue("m").outstanding)
    servers.replicas[2].says("it does not answer")
    assert (2.0, 24) == (servers.queue("m").turns, servers.queue("m").outstanding)
    servers.replicas[0].draining = True
    assert (3.0, 12) == (servers.queue("m").turns, servers.queue("m").outstanding)


def test_without_an_engine_no_line_is_known() -> None:
    """Unknown, which is not an empty one."""
    queue = pool(*URLS).queue("m")

    assert (None, None, None) == (queue.turns, queue.outstanding, queue.wait_s)


def test_an_answers_compute_is_its_share_of_the_servers_time() -> None:
    """As it says how many ran; how many usually do follows slowly."""
    servers = told(pool(URLS[0], engine="vllm"), Load(running=4.0))
    (replica,) = servers.replicas

    assert 2.0 == servers.answered(replica, Timings(service_s=8.0))
    assert 4.0 == servers.together
    replica.tells(Load(running=24.0), until=LATER)
    assert 0.5 == servers.answered(replica, Timings(service_s=12.0))
    assert 5.0 == servers.together
    plain = pool(*URLS)
    assert plain.answered(plain.replicas[0], Timings(service_s=8.0)) is None


def test_another_key_is_for_every_server_and_for_those_that_come() -> None:
    """From the next request on."""
    servers = pool(URLS[0], base_urls=(), dns=True)
    servers.found(["10.0.0.1"])
    servers.rekey("sk-two")
    servers.found(["10.0.0.1", "10.0.0.2"])

    assert ["sk-two"] * 2 == [replica.connections._provider.api_key for replica in servers.replicas]
    asyncio.run(servers.aclose())
