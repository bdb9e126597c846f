"""What is counted: as many series as the configuration has names, whatever a far side says."""

import asyncio

from msgspec.structs import replace
from prometheus_client import generate_latest

from router.admission import AdmissionState
from router.http.metrics import Metrics
from tests.unit.router.house import chat, chat_model, fake, opened


def test_who_is_idle_says_so() -> None:
    """Another router reads it: a figure that is missing would be unknown, and this is known to be nothing."""
    metrics = Metrics()
    seen = []
    for states in ([], [AdmissionState("a:m", 4, 2), AdmissionState("local:m", None, 3)]):
        metrics.admitted(states)
        seen += [
            line for line in generate_latest(metrics._registry).decode().splitlines()
            if line.startswith("nearfar_attempts_under_way")
        ]  # fmt: skip

    assert ["nearfar_attempts_under_way 0.0", "nearfar_attempts_under_way 5.0"] == seen


def test_attempts_are_counted_by_whom_we_asked() -> None:
    """Who served behind it is a header's word: verbatim it would be a series for each spelling, without end."""

    async def go():
        async with opened(chat_model(fake("a:b"))) as house:
            return await house.dispatcher.infer(chat())

    outcome, metrics = asyncio.run(go()), Metrics()
    for number in range(3):
        served = replace(outcome.attempts[0], provider=f"served-by-{number}")
        metrics.observe("test", replace(outcome, attempts=(served,)))
    counted = [
        line for line in generate_latest(metrics._registry).decode().splitlines()
        if line.startswith("nearfar_attempts_total")
    ]  # fmt: skip

    assert ['nearfar_attempts_total{provider="a:b",status="ok"} 3.0'] == counted
