"""What crosses between router and replica: the same value comes out, and no class of ours is pickled."""

import time
from array import array
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends import errors
from backends.errors import BackendError
from backends.extras import Extras
from backends.fake.answers import answer
from backends.fake.script import Script
from backends.local.types import LocalOptions
from backends.ray import wire
from backends.ray.options import Opening, Shape
from backends.reports import LoadReport, Measurement
from backends.types import (
    Delta,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    Progress,
    Status,
    Target,
    Task,
    Timings,
    Usage,
)
from tests.contract.subjects import each_payload

TARGET = Target(backend="ray", provider="ray", model="m", task=Task.FEATURE_EXTRACTION, source="s", shape=(("a", 1),))
KINDS = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, BackendError)]


@each_payload
def test_a_request_comes_out_as_it_went_in(task, payload):
    """Whatever it asks; fields that only matter to the router stay there."""
    target = replace(TARGET, task=task)
    request = InferenceRequest(task=task, model="m", payload=payload, stream=True, tenant="t", background=True)

    assert (request, target) == wire.asked(wire.ask(request, target))


def test_what_is_asked_beyond_text_comes_out_too():
    """Extras are carried whole, and so are ids of tokens."""
    extras = Extras(fields={"n": 2, "logprobs": True, "logit_bias": {"50256": -1}}, messages=({"role": "user"},))
    for payload in (GenerationInput(prompt="p", extras=extras), EmbeddingInput(tokens=((1, 2), (3,)))):
        request = InferenceRequest(task=TARGET.task, model="m", payload=payload)

        assert payload == wire.asked(wire.ask(request, TARGET))[0].payload


def test_a_deadline_crosses_as_what_is_left_of_it():
    """Two machines' clocks have nothing in common."""
    request = InferenceRequest(
        task=TARGET.task, model="m", payload=EmbeddingInput(texts=("a",)), deadline=time.monotonic() + 1000
    )
    body = wire.ask(request, TARGET)

    came = wire.asked(body)[0].deadline - time.monotonic()
    assert 0 < came <= 1000
    assert wire.asked(wire.ask(replace(request, deadline=None), TARGET))[0].deadline is None


@each_payload
@pytest.mark.parametrize("cold", [True, False])
def test_an_answer_comes_out_as_it_went_in(task, payload, cold):
    """With what it took outside of the replica as loading where none ran, else as waiting."""
    output, usage = answer(payload, "m", Script())
    timings = Timings(queue_s=0.5, service_s=2.0, device_s=1.0)
    result = InferenceResult(
        output=output, usage=usage, timings=timings, provider="x", model="m", device="cpu", batch_size=3
    )

    served = wire.value_of(wire.result(result, 3.0))
    told = wire.answer(served, replace(TARGET, task=task), 0.25, cold=cold)

    assert 3.0 == served.inside_s
    assert output == told.output
    assert usage == told.usage
    assert replace(timings, **({"load_s": 0.25} if cold else {"queue_s": 0.75})) == told.timings
    assert ("ray", "m", "cpu", 3) == (told.provider, told.model, told.device, told.batch_size)


def test_vectors_are_the_same_to_the_last_bit():
    """Single precision in, single precision out."""
    vector = array("f", [0.1, -1e-30, 3.4e38])
    output, _ = answer(EmbeddingInput(texts=("a",)), "m", Script())
    output = replace(output, vectors=(vector,))
    result = InferenceResult(
        output=output, usage=Usage(), timings=Timings(service_s=1.0), provider="x", model="m", device="cpu"
    )

    came = wire.answer(wire.value_of(wire.result(result, 1.0)), TARGET, 0.0, cold=False)

    assert vector.tobytes() == came.output.vectors[0].tobytes()


@pytest.mark.parametrize("piece", [Delta("grüße", 0.5, ({"index": 0},)), Progress(1, 4, 0.25)])
def test_pieces_come_out_as_they_went_in(piece):
    """Text, and steps of drawings."""
    assert piece == wire.value_of(wire.piece(piece))


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_an_error_is_raised_as_it_was(kind):
    """Its class, its words, and how long it asks to wait."""
    with pytest.raises(kind) as caught:
        wire.value_of(wire.failure(kind("the words", retry_after_s=1.5, http_status=503)))

    assert kind is type(caught.value)
    assert ("the words", 1.5, 503) == (str(caught.value), caught.value.retry_after_s, caught.value.http_status)


def test_what_a_replica_is_told_and_says_of_itself():
    """Its paths are paths again."""
    local = LocalOptions(models_dir=Path("/models"), intents_dir=None, threads=2)
    opening = Opening(target=TARGET, shape=Shape(num_gpus=0.5), local=local)
    status = Status(loaded=True, device="cpu", features=frozenset({"n"}))
    report = LoadReport(load_s=1.0, measured=(Measurement(usage=Usage(prompt_tokens=1), service_s=0.1),))

    assert opening == wire.opened(wire.opening(opening))
    assert wire.Described(status=status, report=report) == wire.value_of(wire.described(status, report))
    assert report == wire.value_of(wire.report(report))


def test_nothing_that_crosses_is_pickled():
    """A pickle can run code; these bytes are values, and name no module."""
    request = InferenceRequest(task=TARGET.task, model="m", payload=EmbeddingInput(texts=("a",)))
    for body in (wire.ask(request, TARGET), wire.failure(errors.Overloaded("full")), wire.piece(Delta("a"))):
        assert type(body) is bytes
        assert b"backends" not in body
