"""Several servers behind one provider, watched and not: whole houses, real sockets, engines' own pages of metrics."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import aclosing
from typing import get_args

import pytest

from backends.errors import Unavailable
from backends.remote.backend import RemoteBackend
from backends.remote.provider import Engine, Provider
from backends.types import Delta
from router.cli.doctor_engines import engine_lines
from router.far_servers import remote_of
from router.house import serving_house
from router.http.system import report
from router.outcome import Outcome
from tests.integration.far_side import Reply, reply_events, reply_json
from tests.integration.fleet import EngineServer, chat, house_of, provider, servers
from tests.integration.remote_peer import CHAT, piece, target
from tests.unit.backends.remote.engines.test_dialects import PAGES, VLLM

SOON_S = 60
BUSY = reply_json({"error": "busy"}, status=429, retry_after="30")


def run(go):
    return asyncio.run(asyncio.wait_for(go(), SOON_S))


def watched(far: EngineServer, engine: Engine = "vllm", **given) -> RemoteBackend:
    given = {"name": "peer", "protocol": "openai", "base_url": f"{far.url}/v1"} | given
    return RemoteBackend([Provider(engine=engine, **given)])


async def rows(house, query: str) -> list[tuple]:
    await asyncio.to_thread(house.log.flush)
    return [tuple(row) for row in house.log.reader().sql(query).rows]


async def attempts_of(house, outcome: Outcome) -> list[tuple]:
    return await rows(
        house,
        f"select status, role, replica, error_class from attempts where decision_id = '{outcome.decision_id}' "
        "order by attempt",
    )


# --- reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", get_args(Engine))
def test_an_engine_is_asked_for_its_health_and_load(engine) -> None:
    """At its origin, by its own names; the load is in the status, and who tells none is ready all the same."""
    page, load = PAGES[engine]

    async def go():
        async with EngineServer() as far:
            far.metrics = page
            backend = watched(far, engine)
            await backend.watch.look()
            state, status = backend.replicas()[0], backend.status(target(model="a"))
            await backend.aclose()
            return state, status, {request.path for request in far.requests}

    state, status, paths = run(go)

    assert ("ready", load.waiting, load.running, load.cache) == (state.state, state.waiting, state.running, state.cache)
    assert (None, load.wait_s.get("a")) == (status.unavailable, status.queue_s)
    assert (round(load.outstanding) if load.known else 0) == status.queued
    assert (load.waiting is None) == (status.queue_turns is None)
    assert ("/metrics" in paths) == (engine != "ollama")
    assert not any(path.startswith("/v1") for path in paths)


def test_an_engine_that_says_it_cannot_serve_is_unavailable_until_it_says_otherwise() -> None:
    """With its reason; so is one that is gone. No address is told to whoever asks."""

    async def go():
        async with EngineServer() as far:
            backend = watched(far)
            far.health = 503
            await backend.watch.look()
            loading = backend.status(target()).unavailable
            with pytest.raises(Unavailable, match="answers 503"):
                await backend.infer(CHAT, target())
            far.health = 200
            await backend.watch.look()
            back, answer = backend.status(target()).unavailable, await backend.infer(CHAT, target())
        await backend.aclose()  # idle connections to it are gone with it
        gone_backend = watched(far)
        await gone_backend.watch.look()
        gone = gone_backend.status(target()).unavailable
        await gone_backend.aclose()
        return loading, back, answer.replica, gone

    loading, back, replica, gone = run(go)

    assert "provider peer: its server cannot serve (its health page answers 503)" == loading
    assert (None, "1") == (back, replica)
    assert "cannot be reached" in gone
    assert "127.0.0.1" not in gone


def test_a_server_that_hangs_is_ruled_out_after_the_second_silence(monkeypatch) -> None:
    """The watcher waits for nobody longer than its own limit."""
    monkeypatch.setattr("backends.remote.engines.watch.ANSWER_S", 0.1)

    async def go():
        async with EngineServer() as far:
            far.health = Reply(status=0, then="hang")
            backend = watched(far)
            seen = []
            for _ in range(2):
                await backend.watch.look()
                seen.append(backend.status(target()).unavailable)
            await backend.aclose()
            return seen

    once, twice = run(go)

    assert once is None
    assert "does not answer within 0.1 s" in twice


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("vllm:num_requests_waiting{ 1\n", "not in the exposition format"),
        ("", "tells no load under its engine's names"),
    ],
)
def test_a_page_that_tells_nothing_leaves_the_load_unknown(page, why) -> None:
    """The server is ready; its state says what is missing, and no queue is assumed."""

    async def go():
        async with EngineServer() as far:
            far.metrics = page
            backend = watched(far)
            await backend.watch.look()
            found = backend.replicas()[0], backend.status(target())
            await backend.aclose()
            return found

    state, status = run(go)

    assert ("ready", None, None) == (state.state, state.waiting, state.running)
    assert why in (state.why or "")
    assert (None, None) == (status.queue_turns, status.unavailable)


def test_a_running_house_watches_by_itself_and_says_what_it_sees() -> None:
    """In the estimate, in System Health and in the metrics; it stops with the house."""

    async def go():
        async with servers(2) as (fleet, _):
            for server in fleet:
                server.metrics = VLLM
            entry = provider(*fleet, engine="vllm", watch_every_s=0.01)
            async with house_of(entry, opening=serving_house) as house:
                while None in {one.waiting for one in remote_of(house.backends).replicas()}:  # noqa: ASYNC110 -- is tested
                    await asyncio.sleep(0.01)
                outcome = await house.dispatcher.infer(chat())
                fleet[0].health = 503
                while remote_of(house.backends).replicas()[0].state != "unready":  # noqa: ASYNC110 -- likewise
                    await asyncio.sleep(0.01)
                seen = report(house)
                house.metrics.replicated(remote_of(house.backends).replicas())
                (candidate,) = house.finder.of_model(house.catalog.find("org/m"))
                [(queued, queue_ms, pred_ms)] = await rows(house, "select queued, queue_ms, pred_ms from candidates")
                told = house.metrics.render(house.log.stats(), {}, {}, [], "unknown").decode()
            settled = len(fleet[0].requests)
            return outcome, seen, candidate, (queued, queue_ms, pred_ms), told, settled, len(fleet[0].requests)

    outcome, seen, candidate, (queued, queue_ms, pred_ms), told, settled, later = run(go)

    assert "ok" == outcome.status
    assert 28 == queued  # fourteen at each of the two
    assert 0 < queue_ms < pred_ms
    assert [("1", "unready"), ("2", "ready")] == [(one["replica"], one["state"]) for one in seen["replicas"]]
    assert any("fleet, server 1: its health page answers 503" in problem["message"] for problem in seen["problems"])
    assert candidate.status.unavailable is None
    assert 'nearfar_replica_up{provider="fleet",replica="1"} 0.0' in told
    assert 'nearfar_replica_up{provider="fleet",replica="2"} 1.0' in told
    assert 'nearfar_replica_waiting{provider="fleet",replica="2"} 6.0' in told
    assert "127.0.0.1" not in told
    assert settled == later


# --- failing ----------------------------------------------------------------------------------------


def test_a_server_that_died_costs_a_retry_and_no_request() -> None:
    """Every request is answered by the other one, each attempt says where it went, and no breaker opens."""

    async def go():
        async with servers(2) as (fleet, _):
            async with house_of(provider(*fleet)) as house:
                await fleet[0].__aexit__()
                outcomes = [await house.dispatcher.infer(chat()) for _ in range(12)]
                tried = [await attempts_of(house, outcome) for outcome in outcomes]
                breakers = house.lessons.breakers.states(0.0)
            return [outcome.status for outcome in outcomes], tried, breakers, len(fleet[1].asked)

    statuses, tried, breakers, answered = run(go)

    assert (["ok"] * 12, {}, 12) == (statuses, breakers, answered)
    assert all(("2", "ok") == (attempts[-1][2], attempts[-1][0]) for attempts in tried)
    failed = [attempts[0] for attempts in tried if len(attempts) > 1]
    assert {("error", "primary", "1", "Unavailable")} == set(failed)
    assert {2} == {len(attempts) for attempts in tried if len(attempts) > 1}


def test_a_wish_to_wait_is_one_servers_alone() -> None:
    """The other answers at once, and all that comes while the first is left alone."""

    async def go():
        async with servers(2) as (fleet, bad):
            async with house_of(provider(*fleet)) as house:
                bad.append(BUSY)
                outcomes = [await house.dispatcher.infer(chat()) for _ in range(8)]
                tried = [await attempts_of(house, outcome) for outcome in outcomes]
                open_ones = house.lessons.breakers.states(0.0)
            return outcomes, tried, open_ones

    outcomes, tried, open_ones = run(go)

    assert (["ok"] * 8, {}) == ([outcome.status for outcome in outcomes], open_ones)
    first, second = tried[0]
    assert ("error", "RateLimited", "ok", "retry") == (first[0], first[3], second[0], second[1])
    assert {second[2]} == {attempts[0][2] for attempts in tried[1:]}
    assert first[2] != second[2]


def test_where_all_ask_to_wait_the_candidate_is_left_alone() -> None:
    """Then it is the provider's word: nobody else can be asked, and the breaker is open as long as was said."""

    async def go():
        async with servers(2) as (fleet, bad), house_of(provider(*fleet), max_attempts=2) as house:
            bad.extend([BUSY, BUSY])
            outcome = await house.dispatcher.infer(chat())
            return outcome, list(house.lessons.breakers.states(0.0).values())

    outcome, breakers = run(go)

    assert ("error", 2, ["open"]) == (outcome.status, len(outcome.attempts), breakers)


def test_a_stream_that_breaks_off_is_gone_on_with_at_another_server() -> None:
    """By the same candidate: what was said is the beginning of what the other one says."""

    async def go():
        async with servers(2) as (fleet, bad), house_of(provider(*fleet), on_stream_failure="continue") as house:
            bad.append(reply_events(piece("Once upon"), then="cut"))
            async with aclosing(house.dispatcher.stream(chat(stream=True))) as pieces:
                came = [piece async for piece in pieces]
            outcome = came[-1]
            assert isinstance(outcome, Outcome)
            said = "".join(piece.text for piece in came if isinstance(piece, Delta))
            return outcome, said, await attempts_of(house, outcome)

    outcome, said, tried = run(go)

    assert "ok" == outcome.status, outcome.error
    assert said.startswith("Once upon")
    assert len(said) > len("Once upon")
    assert ["primary", "continuation"] == [role for _, role, _, _ in tried]
    assert {"1", "2"} == {replica for _, _, replica, _ in tried}


def test_an_hour_of_an_engine_is_shared_out_among_those_it_serves() -> None:
    """An estimate, as who shares it is seen now and then; without an hour's price the cost is unknown, never 0."""

    async def go():
        async with servers(1) as (fleet, _):
            fleet[0].metrics = VLLM  # eight at once
            costs = []
            for more in ({"usd_per_hour": 3600.0}, {}):
                async with house_of(provider(*fleet, engine="vllm", **more)) as house:
                    await remote_of(house.backends).watch.look()
                    outcome = await house.dispatcher.infer(chat())
                    [(compute_ms, service_ms, usd, source)] = await rows(
                        house, "select compute_ms, service_ms, cost_usd, cost_source from attempts"
                    )
                    costs.append((compute_ms, service_ms, usd, source, outcome.plan.estimates[0].cost_usd))
            return costs

    (compute_ms, service_ms, usd, source, expected), (_, _, *unknown) = run(go)

    assert pytest.approx(service_ms / 8, abs=0.001) == compute_ms
    assert ("estimated", pytest.approx(compute_ms / 1000, abs=1e-6)) == (source, usd)
    assert 0 < expected
    assert [None, "unknown", None] == unknown


# --- finding ----------------------------------------------------------------------------------------


async def twins() -> tuple[EngineServer, EngineServer]:
    """Two servers at one port of two addresses."""
    for _ in range(20):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        one, other = EngineServer("127.0.0.1", port), EngineServer("127.0.0.2", port)
        try:
            await one.__aenter__()
        except OSError:  # somebody else took it meanwhile
            continue
        try:
            await other.__aenter__()
        except OSError:
            await one.__aexit__()
            continue
        return one, other
    pytest.fail("no port is free at both addresses")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on loopback")
def test_every_address_of_a_name_is_a_server_and_one_that_is_gone_drains() -> None:
    """The name stays in the request. It is looked up before the first, and again; where nobody can, they stay."""
    known = ["127.0.0.2", "127.0.0.1"]
    looked: list[tuple[str, int]] = []

    async def resolver(host: str, port: int) -> list[str]:
        looked.append((host, port))
        if not known:
            raise OSError("no such name")
        return list(known)

    async def go():
        one, other = await twins()
        port = int(one.url.rpartition(":")[2])
        place = Provider(name="peer", protocol="openai", base_url=f"http://engines.test:{port}/v1", dns=True)
        backend = RemoteBackend([place], resolver)
        unresolved = backend.status(target()).unavailable
        answers = [await backend.infer(CHAT, target()) for _ in range(24)]
        known.remove("127.0.0.1")
        await backend.watch.look()
        since = len(one.asked)
        answers += [await backend.infer(CHAT, target()) for _ in range(6)]
        known.clear()
        await backend.watch.look()
        answers.append(await backend.infer(CHAT, target()))
        hosts = {request.headers["host"] for server in (one, other) for request in server.asked}
        counts = len(one.asked) - since, len(other.asked)
        await backend.aclose()
        await one.__aexit__()
        await other.__aexit__()
        return port, unresolved, [answer.replica for answer in answers], hosts, counts

    port, unresolved, replicas, hosts, (after, others) = run(go)

    assert [("engines.test", port)] * 3 == looked
    assert unresolved is None
    assert {"1", "2"} == set(replicas[:24])
    assert {"1"} == set(replicas[24:])
    assert {f"engines.test:{port}"} == hosts
    assert (0, replicas.count("1")) == (after, others)


def test_a_name_that_leads_nowhere_says_so_without_saying_the_name() -> None:
    """Before the first request nothing is known; after it the candidate is unavailable."""

    async def resolver(host: str, port: int) -> list[str]:
        raise OSError(host)

    async def go():
        place = Provider(name="peer", protocol="openai", base_url="http://secret.internal:1/v1", dns=True)
        backend = RemoteBackend([place], resolver)
        with pytest.raises(Unavailable) as caught:
            await backend.infer(CHAT, target())
        return str(caught.value), backend.status(target()).unavailable

    said, unavailable = run(go)

    assert "provider peer: its name cannot be resolved (OSError)" == said == unavailable


def test_the_systems_resolver_knows_this_machine() -> None:
    """A name that every machine has, through the resolver that is used unless another is given."""

    async def go():
        async with EngineServer() as far:
            port = int(far.url.rpartition(":")[2])
            place = Provider(name="peer", protocol="openai", base_url=f"http://localhost:{port}/v1", dns=True)
            backend = RemoteBackend([place])
            await backend.watch.look()
            addresses = {state.address for state in backend.replicas()}
            await backend.aclose()
            return addresses

    assert {"127.0.0.1"} <= run(go)


# --- telling ----------------------------------------------------------------------------------------


def test_the_doctor_asks_engines_once_and_names_what_is_wrong() -> None:
    """Ready ones with their load, and those that cannot serve with why; offline nobody is asked."""

    async def go():
        async with servers(2) as (fleet, _):
            fleet[0].metrics, fleet[1].health = VLLM, 503
            entry, found = provider(*fleet, engine="vllm"), []
            for offline in (False, True):
                async with house_of(entry, offline=offline) as house:
                    found.append(await engine_lines(house))
            return found, [len(server.requests) for server in fleet]

    (asked, unasked), counts = run(go)

    assert [("server fleet 1", "ok"), ("server fleet 2", "warning")] == [(one.what, one.state) for one in asked]
    assert asked[0].detail.startswith("ready at http://127.0.0.1:")
    assert asked[0].detail.endswith("waiting 6; running 8; KV cache 0.75")
    assert "its health page answers 503" in asked[1].detail
    assert ["ok", "ok"] == [one.state for one in unasked]
    assert all(one.detail.startswith("unknown") for one in unasked)
    assert [2, 1] == counts
