"""The same answer costs the same to the last digit, streamed and buffered, however its usage was sent."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.remote import wires
from backends.remote.openai_wire import GenerationReader
from backends.remote.provider import Provider
from backends.remote.sse import SseParser
from backends.types import GenerationInput, InferenceResult, Message, Status, Target, Task, Timings, Usage
from router.decision_log.log import DecisionLog
from router.http.metrics import Metrics
from router.ledger import Ledger
from router.near_costs import NearCosts
from router.outcome import Cost
from router.pricing import local_rates
from router.sections import LogSettings, Price
from router.slate import Candidate

MAX_TOKENS = 1000
CHAT = GenerationInput(messages=(Message("user", "hello"),), max_tokens=MAX_TOKENS)
TARGET = Target(backend="remote", provider="peer", model="m", task=Task.TEXT_GENERATION)
PROVIDERS = [Provider(name="peer", protocol=protocol, base_url="http://peer") for protocol in ("openai", "huggingface")]

counts = st.integers(-1, 2 * MAX_TOKENS) | st.none()
details = st.none() | st.fixed_dictionaries({}, optional={"cached_tokens": counts, "audio_tokens": counts})
usages = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": counts,
        "completion_tokens": counts,
        "total_tokens": counts,
        "prompt_tokens_details": details,
        "cost": st.floats(0, 1),
        "estimated_cost": st.none() | st.floats(0, 1),
        "note": st.text(max_size=20),
    },
)
dollars = st.none() | st.floats(0, 100)
prices = st.none() | st.builds(
    Price,
    input_per_1m_usd=dollars,
    cached_input_per_1m_usd=dollars,
    output_per_1m_usd=dollars,
    per_request_usd=dollars,
)
texts = st.lists(st.text(min_size=1, max_size=8), max_size=6)
placed = st.sampled_from(["with the last choice", "behind it", "in every chunk", "with the last and behind it"])


@pytest.fixture(scope="module")
def ledger():
    log = DecisionLog.open(Path(":memory:"))
    yield Ledger(log, NearCosts(local_rates(3.6, 2)), ("book", "{}"), LogSettings(), Metrics())
    log.close()


def piece(text: str, finish: str | None = None, **more) -> dict:
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]} | more


def grown(usage: dict, share: float) -> dict:
    """The usage as a server counts it on the way: less was generated, and nothing was cached yet."""
    whole = usage.get("completion_tokens")
    some = {} if whole is None or whole < 0 else {"completion_tokens": int(whole * share)}
    return {"prompt_tokens": usage.get("prompt_tokens")} | some


def chunks(texts: list[str], usage: dict, where: str) -> list[dict]:
    """A stream of these texts, with its usage where this kind of server puts it."""
    last_has_it = where != "behind it"
    events = [piece(text) for text in texts]
    if where == "in every chunk" and usage:
        events = [event | {"usage": grown(usage, n / len(events))} for n, event in enumerate(events)]
    events.append(piece("", "stop", **({"usage": usage} if last_has_it else {"usage": None})))
    if where in {"behind it", "with the last and behind it"}:
        events.append({"model": "m", "choices": [], "usage": usage})
    return events


def streamed(events: list[dict], cut: int) -> tuple[str, Usage]:
    """What the reader makes of the events as they come over the wire, `cut` bytes at a time."""
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    parser, reader = SseParser(), GenerationReader(CHAT.max_tokens)
    parts = [wire[at : at + cut] for at in range(0, len(wire), cut)]
    for event in (*(event for part in parts for event in parser.feed(part)), *parser.finish()):
        if event.data != "[DONE]":
            reader.feed(msgspec.json.decode(event.data))
    return reader.output().text, reader.usage


def buffered(texts: list[str], usage: dict, provider: Provider) -> tuple[str, Usage]:
    """What the reader makes of the whole answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "".join(texts)}, "finish_reason": "stop"}
    body = json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()
    output, said, _ = wires.parsed(provider, CHAT, [msgspec.json.decode(body)])
    return output.text, said


@pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.protocol for provider in PROVIDERS])
@given(answer=st.tuples(texts, usages, placed), price=prices, cut=st.integers(1, 400))
def test_streamed_and_buffered_cost_the_same_to_the_last_digit(ledger, provider, answer, price, cut) -> None:
    """The text, what was used, the far side's own words on it, and the dollars with their source."""
    texts, usage, where = answer
    whole = buffered(texts, usage, provider)
    parts = streamed(chunks(texts, usage, where), cut)

    assert whole == parts
    assert cost(ledger, price, whole[1]) == cost(ledger, price, parts[1])


def cost(ledger: Ledger, price: Price | None, usage: Usage) -> Cost:
    candidate = Candidate(id="peer:m", target=TARGET, near=False, status=Status(), price=price)
    result = InferenceResult(output=None, usage=usage, timings=Timings(), provider="peer", model="m", device="remote")
    return ledger.price(candidate, result)
