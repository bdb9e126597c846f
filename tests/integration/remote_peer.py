"""A far side with a backend in front of it, and short ways to ask it."""

from contextlib import aclosing, asynccontextmanager

import pytest

from backends.errors import BackendError
from backends.remote.backend import Provider, RemoteBackend
from backends.types import (
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    Message,
    Target,
    Task,
)
from tests.integration.far_side import FarSide

KEY = "hf_test_key_123"
TOO_SOON_S = 0.05
NEVER_S = 60

CHAT = InferenceRequest(
    task=Task.TEXT_GENERATION, model="m", payload=GenerationInput(messages=(Message("user", "hello you"),))
)
EMBED = InferenceRequest(task=Task.FEATURE_EXTRACTION, model="m", payload=EmbeddingInput(texts=("a",)))


def target(task=Task.TEXT_GENERATION, provider="peer", model="m"):
    return Target(backend="remote", provider=provider, model=model, task=task)


def piece(text=None, finish=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]} | more


@asynccontextmanager
async def peer(**given):
    """A far side, and a backend whose provider `peer` it is."""
    async with FarSide() as far:
        base = {"name": "peer", "protocol": "openai", "base_url": f"{far.url}/v1", "api_key": KEY}
        backend = RemoteBackend([Provider(**(base | given))])
        try:
            yield far, backend
        finally:
            await backend.aclose()


async def listen(backend, request=CHAT, at=None):
    """What came, and the error that ended it."""
    items = []
    try:
        async with aclosing(backend.stream(request, at or target())) as stream:
            async for item in stream:
                items.append(item)  # noqa: PERF401 -- what came before an error counts
    except BackendError as error:
        return items, error
    return items, None


async def failure(backend, request=CHAT):
    with pytest.raises(BackendError) as caught:
        await backend.infer(request, target(request.task))
    return caught.value
