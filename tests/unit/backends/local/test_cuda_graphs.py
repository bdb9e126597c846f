"""Recorded tokens against launched ones, on the CPU, where nothing is recorded: the loop, the cache and the choice."""

from __future__ import annotations

import pytest

from backends.local import causal_lm, cuda_graphs, generation_runtimes, text_generation
from backends.local.cuda_graphs import GraphedLM
from backends.types import GenerationInput
from tests.unit.backends.local import tiny_llama
from tests.unit.backends.local.tiny_llama import opening_of

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("gguf")

ASKED = [
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 1.3},
    {"temperature": 1.5, "seed": 7},
    {"temperature": 1.5, "seed": 7, "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.2},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llama.save(tmp_path_factory.mktemp("tiny"))


def heard(model, **asked):
    """The tokens and their probabilities."""
    payload = GenerationInput(**{"prompt": "hello", "max_tokens": 24} | asked)
    (unit,) = text_generation.pre(model, payload)
    told = generation_runtimes.Heard(model)
    model.generate(unit.content, told)
    return told.tokens, told.generated().likelihood


@pytest.mark.parametrize("asked", ASKED, ids=["greedy", "penalty", "drawn", "all"])
def test_it_says_what_the_reference_says(folder, asked) -> None:
    """Token for token, as sure of them, and again when asked again: nothing of the request before is left."""
    reference = causal_lm.load(opening_of(folder))
    graphed = GraphedLM(reference.model, reference.tokenizer, "cpu", "float32")
    expected, sure = heard(reference, **asked)

    for _ in range(2):
        tokens, likelihood = heard(graphed, **asked)
        assert expected == tokens
        assert sure == pytest.approx(likelihood, rel=1e-4)


def test_long_texts_have_longer_recordings_and_few_are_kept(folder, monkeypatch) -> None:
    """By powers of two; whichever was used longest ago goes."""
    made = []

    class Noted(cuda_graphs.Steps):
        def __init__(self, model, length, device) -> None:
            made.append(length)
            super().__init__(model, length, device)

    monkeypatch.setattr(cuda_graphs, "SHORTEST", 16)
    monkeypatch.setattr(cuda_graphs, "Steps", Noted)
    reference = causal_lm.load(opening_of(folder))
    graphed = GraphedLM(reference.model, reference.tokenizer, "cpu", "float32")
    for most in (2, 40, 2, 100, 2, 40):
        assert heard(reference, max_tokens=most)[0] == heard(graphed, max_tokens=most)[0]

    assert [16, 64, 128, 64] == made


def test_what_cannot_be_recorded_is_launched(folder, monkeypatch, caplog) -> None:
    """Once a length, and the answer is the same; where there is no room, whoever makes some must hear of it."""
    torch = pytest.importorskip("torch")
    failures = [RuntimeError("operation not permitted when stream is capturing"), torch.OutOfMemoryError("no room")]

    class Unmade(cuda_graphs.Steps):
        def __init__(self, *_: object) -> None:
            raise failures.pop(0)

    monkeypatch.setattr(cuda_graphs, "Steps", Unmade)
    reference = causal_lm.load(opening_of(folder))
    graphed = GraphedLM(reference.model, reference.tokenizer, "cpu", "float32")

    assert not graphed.warm()
    assert heard(reference)[0] == heard(graphed)[0]
    assert ["a text of 512 tokens is not recorded: RuntimeError"] == [each.getMessage() for each in caplog.records]
    with pytest.raises(torch.OutOfMemoryError):
        GraphedLM(reference.model, reference.tokenizer, "cpu", "float32").warm()


def test_a_model_with_wishes_of_its_own_is_left_to_generate(tmp_path) -> None:
    """What only transformers' `generate` does stays with it, and so does a model that is not of one piece."""
    wishing = causal_lm.load(opening_of(tiny_llama.save(tmp_path, suppress_tokens=[65])))
    plain = causal_lm.load(opening_of(tiny_llama.save(tmp_path)))

    assert "suppress_tokens" in cuda_graphs.unfit(wishing)
    assert None is cuda_graphs.unfit(plain)
    plain.model._can_compile_fullgraph = False
    assert None is not cuda_graphs.unfit(plain)
