"""What every backend promises, whichever it is: one suite over all of them."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from backends.base import Backend
from backends.errors import BackendError, Unavailable
from backends.fake import FakeBackend
from backends.remote.backend import Provider, RemoteBackend
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    Delta,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    InferenceRequest,
    InferenceResult,
    Message,
    Payload,
    Target,
    Task,
    ZeroShotInput,
)
from tests.integration.far_side import FarSide

TEXTS = ("the weather is fine", "grüße an alle", "")
EMBED = EmbeddingInput(texts=TEXTS)
CLASSIFY = ClassificationInput(texts=TEXTS[:2])
ZERO_SHOT = ZeroShotInput(texts=TEXTS[:2], candidate_labels=("sport", "politics", "weather"))
CHAT = GenerationInput(messages=(Message("system", "Be brief."), Message("user", "Say it.")), max_tokens=8)
PROMPT = GenerationInput(prompt="Once upon a time", max_tokens=3)

PAYLOADS: tuple[tuple[Task, Payload], ...] = (
    (Task.FEATURE_EXTRACTION, EMBED),
    (Task.TEXT_CLASSIFICATION, CLASSIFY),
    (Task.ZERO_SHOT_CLASSIFICATION, ZERO_SHOT),
    (Task.TEXT_GENERATION, CHAT),
    (Task.TEXT_GENERATION, PROMPT),
)


class Subject(Struct):
    """A backend under test, and how to address a model in it."""

    backend: Backend
    provider: str
    models: dict[Task, str]
    model_named: str = "test/model"

    def target(self, task: Task) -> Target:
        return Target(
            backend=self.backend.name,
            provider=self.provider,
            model=self.models.get(task, self.model_named),
            task=task,
        )


@asynccontextmanager
async def fake() -> AsyncIterator[Subject]:
    yield Subject(FakeBackend(), "fake", {})


@asynccontextmanager
async def remote_openai() -> AsyncIterator[Subject]:
    async with FarSide() as far:
        backend = RemoteBackend([Provider(name="peer", protocol="openai", base_url=f"{far.url}/v1")])
        yield Subject(backend, "peer", {})


@asynccontextmanager
async def remote_huggingface() -> AsyncIterator[Subject]:
    async with FarSide() as far:
        backend = RemoteBackend([Provider(name="hub", protocol="huggingface", base_url=f"{far.url}/hf")])
        yield Subject(backend, "hub", {})


# A new backend joins by one line here (and `models` where its models differ by task).
SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "fake": fake,
    "remote-openai": remote_openai,
    "remote-huggingface": remote_huggingface,
}


@pytest.fixture(params=SUBJECTS)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Subject], Awaitable[None]]], None]:
    """Runs a coroutine function on each backend in turn, and closes it afterwards."""

    def runner(check: Callable[[Subject], Awaitable[None]]) -> None:
        async def main() -> None:
            async with SUBJECTS[request.param]() as subject:
                try:
                    await check(subject)
                finally:
                    await subject.backend.aclose()

        asyncio.run(main())

    return runner


async def asked(subject: Subject, task: Task, payload: Payload) -> InferenceResult | None:
    """The answer, or None where the backend says that it does not serve the task."""
    target = subject.target(task)
    await subject.backend.prepare(target)
    if subject.backend.status(target).unavailable:
        return None
    return await subject.backend.infer(InferenceRequest(task=task, model=target.model, payload=payload), target)


async def streamed(subject: Subject, payload: GenerationInput) -> list[Any]:
    target = subject.target(Task.TEXT_GENERATION)
    await subject.backend.prepare(target)
    request = InferenceRequest(task=Task.TEXT_GENERATION, model=target.model, payload=payload, stream=True)
    async with aclosing(subject.backend.stream(request, target)) as items:
        return [item async for item in items]


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts(run):
    """One float32 vector a text; the same text gives the same vector, wherever it stands."""

    async def check(subject):
        result = await asked(subject, Task.FEATURE_EXTRACTION, EMBED)
        turned = await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=TEXTS[::-1]))

        assert isinstance(result.output, EmbeddingOutput)
        assert len(TEXTS) == len(result.output.vectors)
        assert {"f"} == {vector.typecode for vector in result.output.vectors}
        assert all(abs(1 - math.hypot(*vector)) < 1e-3 for vector in result.output.vectors)
        assert [list(vector) for vector in result.output.vectors[::-1]] == [
            pytest.approx(list(vector), abs=1e-5) for vector in turned.output.vectors
        ]

    run(check)


def test_embeddings_keep_the_first_dimensions_and_stay_unit(run):
    """Asking for fewer dimensions gives shorter vectors of length 1."""

    async def check(subject):
        result = await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=("a b",), dimensions=4))

        (vector,) = result.output.vectors
        assert 4 == len(vector)
        assert pytest.approx(1, abs=1e-3) == math.hypot(*vector)

    run(check)


@pytest.mark.parametrize(
    ("task", "payload"), [(Task.TEXT_CLASSIFICATION, CLASSIFY), (Task.ZERO_SHOT_CLASSIFICATION, ZERO_SHOT)]
)
def test_classifications_give_labels_best_first(run, task, payload):
    """Each text has its labels with probabilities, the best first; the sum is 1 where labels exclude each other."""

    async def check(subject):
        result = await asked(subject, task, payload)
        if result is None:
            return

        assert isinstance(result.output, ClassificationOutput)
        assert len(payload.texts) == len(result.output.labels)
        for labels in result.output.labels:
            scores = [label.score for label in labels]
            assert sorted(scores, reverse=True) == scores
            assert pytest.approx(1, abs=1e-3) == sum(scores)
        if isinstance(payload, ZeroShotInput):
            assert all(set(payload.candidate_labels) == {one.label for one in row} for row in result.output.labels)

    run(check)


def test_top_k_bounds_the_labels(run):
    """No more labels come back than were asked for."""

    async def check(subject):
        result = await asked(subject, Task.TEXT_CLASSIFICATION, ClassificationInput(texts=TEXTS[:1], top_k=1))
        if result is None:
            return

        assert [1] == [len(labels) for labels in result.output.labels]

    run(check)


@pytest.mark.parametrize(("task", "payload"), PAYLOADS)
def test_every_answer_says_who_served_and_what_it_took(run, task, payload):
    """Provider, model, device and a service time are never missing; counts are None or not negative."""

    async def check(subject):
        result = await asked(subject, task, payload)
        if result is None:
            return

        assert all((result.provider, result.model, result.device))
        assert result.timings.service_s is not None
        counts = (result.usage.prompt_tokens, result.usage.completion_tokens)
        assert all(count is None or count >= 0 for count in counts)
        assert result.batch_size >= 1

    run(check)


@pytest.mark.parametrize("payload", [CHAT, PROMPT], ids=["chat", "prompt"])
def test_a_stream_gives_its_pieces_then_one_result_that_joins_them(run, payload):
    """Deltas, then exactly one result: the same text, finish and usage as a buffered answer."""

    async def check(subject):
        *deltas, result = await streamed(subject, payload)
        whole = await asked(subject, Task.TEXT_GENERATION, payload)

        assert all(isinstance(delta, Delta) for delta in deltas)
        assert isinstance(result.output, GenerationOutput)
        assert result.output.text == "".join(delta.text for delta in deltas)
        assert whole.output == result.output
        assert whole.usage == result.usage
        assert result.timings.first_token_s is not None

    run(check)


def test_a_generation_keeps_to_its_max_tokens(run):
    """A generation that was cut says `length`."""

    async def check(subject):
        result = await asked(subject, Task.TEXT_GENERATION, PROMPT)

        assert "length" == result.output.finish_reason
        assert result.usage.completion_tokens is None or result.usage.completion_tokens <= PROMPT.max_tokens

    run(check)


def test_a_stream_closed_early_is_no_longer_in_flight(run):
    """Whoever stops listening leaves nothing behind, and the next request is served."""

    async def check(subject):
        target = subject.target(Task.TEXT_GENERATION)
        request = InferenceRequest(task=target.task, model=target.model, payload=CHAT, stream=True)
        await subject.backend.prepare(target)
        stream = subject.backend.stream(request, target)
        await anext(stream)
        await stream.aclose()

        assert 0 == subject.backend.status(target).queued
        assert isinstance((await streamed(subject, CHAT))[-1], InferenceResult)

    run(check)


def test_loading_twice_costs_nothing_the_second_time(run):
    """A loaded target answers `load` at once, with 0 seconds."""

    async def check(subject):
        target = subject.target(Task.FEATURE_EXTRACTION)
        await subject.backend.prepare(target)
        await subject.backend.load(target)

        assert subject.backend.status(target).loaded
        assert 0 == (await subject.backend.load(target)).load_s

    run(check)


def test_concurrent_requests_do_not_mix(run):
    """Each of many requests at once gets the answer to its own text."""

    async def check(subject):
        texts = [f"text number {number}" for number in range(20)]
        alone = [await asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=(text,))) for text in texts]
        together = await asyncio.gather(
            *(asked(subject, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=(text,))) for text in texts)
        )

        assert [list(one.output.vectors[0]) for one in alone] == [
            pytest.approx(list(one.output.vectors[0]), abs=1e-4) for one in together
        ]

    run(check)


def test_a_closed_backend_is_unavailable(run):
    """After `aclose` it says so, raises nothing but a BackendError, and can be closed again."""

    async def check(subject):
        target = subject.target(Task.FEATURE_EXTRACTION)
        await subject.backend.prepare(target)
        await subject.backend.aclose()

        assert subject.backend.status(target).unavailable
        with pytest.raises(BackendError) as caught:
            await asked_anyway(subject)
        assert isinstance(caught.value, Unavailable)

    run(check)


async def asked_anyway(subject: Subject) -> InferenceResult:
    target = subject.target(Task.FEATURE_EXTRACTION)
    return await subject.backend.infer(InferenceRequest(task=target.task, model=target.model, payload=EMBED), target)
