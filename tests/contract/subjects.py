"""The backends under contract, one line each, and what they are asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from backends.base import Backend
from backends.fake import FakeBackend
from backends.fake.answers import png
from backends.remote.backend import Provider, RemoteBackend
from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    Message,
    Payload,
    PhotoInput,
    SpeechInput,
    Target,
    Task,
    ZeroShotInput,
)
from tests.integration.far_side import FarSide
from tests.unit.backends.test_media import wav

TEXTS = ("the weather is fine", "grüße an alle", "")
EMBED = EmbeddingInput(texts=TEXTS)
CLASSIFY = ClassificationInput(texts=TEXTS[:2])
ZERO_SHOT = ZeroShotInput(texts=TEXTS[:2], candidate_labels=("sport", "politics", "weather"))
CHAT = GenerationInput(messages=(Message("system", "Be brief."), Message("user", "Say it.")), max_tokens=8)
PROMPT = GenerationInput(prompt="Once upon a time", max_tokens=3)
DRAW = DrawingInput(prompt="a red circle on a blue background", width=64, height=64, steps=2, seed=7, images=2)
PHOTOS = PhotoInput(images=(png(64, 64, (200, 30, 30)), png(64, 48, (30, 30, 200))), top_k=3)
SPEECH = SpeechInput(audio=wav(1.0), language="en")

PAYLOADS: tuple[tuple[Task, Payload], ...] = (
    (Task.FEATURE_EXTRACTION, EMBED),
    (Task.TEXT_CLASSIFICATION, CLASSIFY),
    (Task.ZERO_SHOT_CLASSIFICATION, ZERO_SHOT),
    (Task.TEXT_GENERATION, CHAT),
    (Task.TEXT_GENERATION, PROMPT),
    (Task.TEXT_TO_IMAGE, DRAW),
    (Task.IMAGE_CLASSIFICATION, PHOTOS),
    (Task.AUTOMATIC_SPEECH_RECOGNITION, SPEECH),
)
each_payload = pytest.mark.parametrize(
    ("task", "payload"), PAYLOADS, ids=[f"{t}-{type(p).__name__}" for t, p in PAYLOADS]
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


async def asked(subject: Subject, task: Task, payload: Payload) -> InferenceResult | None:
    """The answer, or None where the backend says that it does not serve the task."""
    target = subject.target(task)
    await subject.backend.prepare(target)
    if subject.backend.status(target).unavailable:
        return None
    return await subject.backend.infer(InferenceRequest(task=task, model=target.model, payload=payload), target)


async def streamed(subject: Subject, task: Task, payload: Payload) -> list[Any] | None:
    """What a stream yields, or None where the backend says that it does not serve the task."""
    target = subject.target(task)
    await subject.backend.prepare(target)
    if subject.backend.status(target).unavailable:
        return None
    request = InferenceRequest(task=task, model=target.model, payload=payload, stream=True)
    async with aclosing(subject.backend.stream(request, target)) as items:
        return [item async for item in items]
