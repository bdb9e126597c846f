"""When a server is asked, left alone, and tried again. The time is passed in."""

import pytest

from backends import errors
from backends.remote.client import Connections
from backends.remote.engines.dialects import Load
from backends.remote.engines.replica import FIRST_PAUSE_S, LONGEST_PAUSE_S, Replica, speaks_against
from backends.remote.provider import Provider

BROKEN = errors.RemoteError("x", http_status=500)
PROVIDER = Provider(name="fleet", protocol="openai", base_url="http://127.0.0.1:1/v1")


def server() -> Replica:
    return Replica("1", PROVIDER.base_url, Connections(PROVIDER))


@pytest.mark.parametrize(
    ("error", "against"),
    [
        (errors.Unavailable("refused"), True),
        (errors.Interrupted("reset"), True),
        (errors.RemoteError("broke in the middle"), True),
        (BROKEN, True),
        (errors.RemoteError("odd", http_status=418), False),
        (errors.Overloaded("busy", http_status=503), True),
        (errors.RateLimited("wait", http_status=429), True),
        (errors.Overloaded("a pool of our own is full"), False),
        (errors.Timeout("silent"), False),
        (errors.InvalidInput("bad", http_status=400), False),
        (errors.Unauthorized("who?", http_status=401), False),
    ],
)
def test_only_what_another_server_could_do_better_counts_against_one(error, against) -> None:
    """A wrong key or input is wrong everywhere, and our own impatience says nothing of it."""
    one = server()
    one.failed(error, now=0.0)

    assert (against, not against) == (speaks_against(error), one.able(0.0))


def test_pauses_double_up_to_a_minute_and_end_with_an_answer() -> None:
    """Each failure in a row."""
    one, now, pauses = server(), 0.0, []
    for _ in range(9):
        one.failed(BROKEN, now)
        pauses.append(one.paused_until - now)
        now = one.paused_until

    assert [FIRST_PAUSE_S * 2**n for n in range(6)] == pauses[:6]
    assert {LONGEST_PAUSE_S} == set(pauses[6:])
    one.answered()
    assert one.able(now - 1)


def test_whoever_says_when_to_come_back_is_believed() -> None:
    """It is left alone so long, and no longer."""
    one = server()
    one.failed(errors.RateLimited("wait", http_status=429, retry_after_s=7.0), now=10.0)

    assert (False, True) == (one.able(16.9), one.able(17.0))


def test_after_failures_one_request_at_a_time_tries_it() -> None:
    """A crowd would fail together."""
    one = server()
    one.failed(BROKEN, now=0.0)
    one.in_flight = 1

    assert not one.able(100.0)
    one.answered()
    assert one.able(100.0)


def test_what_it_says_of_itself_rules_it_out_until_it_says_otherwise() -> None:
    """However long that takes; one silence may be a busy moment, two in a row are not."""
    one = server()
    one.says("its health page answers 503")
    assert (False, "its health page answers 503") == (one.usable, one.unready)
    one.says(None)
    assert one.usable
    one.silent("nothing came")
    assert one.usable
    one.silent("nothing came")
    assert not one.usable
    one.says(None)
    one.silent("nothing came")
    assert one.usable


def test_figures_that_are_too_old_are_unknown() -> None:
    """Not zero, and not what they were."""
    one = server()
    one.tells(Load(waiting=6.0, running=3.0), until=10.0)

    assert (9.0, 2.0) == (one.outstanding(9.9), one.turns(9.9))
    assert (None, None) == (one.outstanding(10.0), one.turns(10.0))
    assert (None, None) == (one.state("fleet", "vllm", 10.0).waiting, one.state("fleet", "vllm", 10.0).running)


def test_what_was_sent_since_the_figures_were_told_counts_too() -> None:
    """They hold what was under way then; where nobody waited then, it is not known that anybody does now."""
    one, idle = server(), server()
    one.in_flight = idle.in_flight = 2
    one.tells(Load(waiting=4.0, running=2.0), until=10.0)
    idle.tells(Load(waiting=0.0, running=2.0), until=10.0)
    one.in_flight = idle.in_flight = 5

    assert (9.0, 3.5) == (one.outstanding(0.0), one.turns(0.0))
    assert (5.0, 0.0) == (idle.outstanding(0.0), idle.turns(0.0))


def test_a_line_is_as_long_as_it_takes_to_be_served() -> None:
    """Eight at once are served in the time of one; of whom nobody knows how many are, one."""
    batched, alone, silent = server(), server(), server()
    batched.tells(Load(waiting=16.0, batch=8.0), until=10.0)
    alone.tells(Load(waiting=16.0), until=10.0)
    silent.tells(Load(running=16.0), until=10.0)

    assert (2.0, 16.0, None) == (batched.turns(0.0), alone.turns(0.0), silent.turns(0.0))


def test_how_many_share_its_time_is_what_it_says_else_what_is_known_here() -> None:
    """Never nobody."""
    one = server()
    assert 1.0 == one.together(0.0)
    one.in_flight = 3
    assert 3.0 == one.together(0.0)
    one.tells(Load(running=8.0), until=10.0)
    assert (8.0, 3.0) == (one.together(0.0), one.together(11.0))


def test_a_state_says_what_is_wrong() -> None:
    """Also that nobody knows."""
    one = server()
    seen = [one.state("fleet", None, 0.0).state]
    one.says(None)
    seen.append(one.state("fleet", "vllm", 0.0).state)
    one.failed(BROKEN, now=0.0)
    seen.append(one.state("fleet", "vllm", 0.5).state)
    one.says("it does not answer")
    seen.append(one.state("fleet", "vllm", 0.5).state)
    one.draining = True
    seen.append(one.state("fleet", "vllm", 0.5).state)

    assert ["unknown", "ready", "paused", "unready", "draining"] == seen


def test_a_server_that_tells_no_load_is_ready_and_says_so() -> None:
    """Its health is one thing; metrics that are switched off are another."""
    one = server()
    one.says(None)
    one.tells(Load(), until=10.0)
    state = one.state("fleet", "llama.cpp", 0.0)

    assert ("ready", "it tells no load under its engine's names", None) == (state.state, state.why, state.waiting)
