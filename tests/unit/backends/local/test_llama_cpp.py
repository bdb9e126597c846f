"""llama.cpp against torch on the same tiny random weights: what text_generation promises, both keep."""

from __future__ import annotations

import importlib.util
import re
import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from backends.errors import ContextLengthExceeded, InvalidInput, Unavailable
from backends.local import causal_lm, generation_runtimes, llama_cpp, numbered_gguf, text_generation
from backends.local.generation_runtimes import Speed, choose
from backends.local.types import Cancelled, Control
from backends.types import GenerationInput, Message
from tests.unit.backends.local import tiny_llama
from tests.unit.backends.local.tiny_llama import opening_of

for library in ("tokenizers", "torch", "transformers", "gguf", "xllamacpp"):
    pytest.importorskip(library)


@pytest.fixture(scope="module")
def opening(tmp_path_factory):
    return opening_of(tiny_llama.save(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def torch_model(opening):
    return causal_lm.load(opening)


@pytest.fixture(scope="module")
def model(opening):
    return llama_cpp.load(opening)


def generate(model, control=None, **payload):
    pieces = []
    asked = GenerationInput(**payload)
    units = text_generation.pre(model, asked)
    control = control or Control(threading.Event(), pieces.append)
    results = text_generation.core(model, [unit.content for unit in units], control)
    return text_generation.post(model, asked, units, results), [piece.text for piece in pieces]


def assert_alike(one, other):
    """The same answer in the same pieces; how sure it is, as far as float16 leaves it."""
    (first, pieces), (second, others) = one, other
    sure = [answer.output.confidence for answer in (first, second)]
    texts = [replace(answer.output, confidence=None) for answer in (first, second)]

    assert (texts[0], first.usage, pieces) == (texts[1], second.usage, others)
    assert sure[0] == pytest.approx(sure[1], rel=0.02)
    assert 0 < sure[0] < 1


@pytest.mark.parametrize(
    "payload",
    [
        {"prompt": "hello", "max_tokens": 24},
        {"prompt": "hello hello hello", "max_tokens": 24, "repetition_penalty": 1.3},
        {"prompt": "Grüße, 東京 👋", "max_tokens": 24, "repetition_penalty": 1.1},
        {"prompt": "hello", "max_tokens": 24, "temperature": 0.8, "top_k": 1, "seed": 5},
        {"prompt": "hello", "max_tokens": 24, "temperature": 0.8, "top_p": 0.001, "seed": 5},
        {"messages": (Message("user", "hi"),), "max_tokens": 24},
        {"prompt": "x" * (tiny_llama.CONTEXT - 1), "max_tokens": 50},
        {"prompt": "x" * (tiny_llama.CONTEXT - 9), "max_tokens": 50},
        {"prompt": "y", "max_tokens": 40},
    ],
)
def test_what_is_not_drawn_is_what_torch_says(model, torch_model, payload):
    """The text, the pieces it comes in, the counts and the finish: also with penalties and at the context's end."""
    assert_alike(generate(torch_model, **payload), generate(model, **payload))


@pytest.mark.parametrize(
    "wanted", [{}, {"top_k": 5}, {"top_p": 0.6}, {"top_p": 0.8, "top_k": 12, "repetition_penalty": 1.4}]
)
def test_drawn_tokens_are_distributed_as_in_torch(model, torch_model, wanted):
    """600 first tokens against what torch gives each: none that torch excludes, and each about as often."""
    import torch

    asked = GenerationInput(prompt="hello", max_tokens=1, temperature=1.7, **wanted)
    (unit,) = text_generation.pre(torch_model, asked)
    tokens = torch.tensor([unit.content.tokens])
    with torch.inference_mode():
        scores = torch_model.model(tokens).logits[:, -1]
    expected = probabilities(tokens, scores, unit.content.wanted)
    drawn = [first_token(model, asked, seed) for seed in range(600)]
    seen = torch.bincount(torch.tensor(drawn), minlength=257) / len(drawn)

    assert 0 == seen[expected == 0].sum()
    assert float((seen - expected).abs().sum() / 2) < 0.5 * float((expected > 0).sum() / len(drawn)) ** 0.5 + 0.02


def probabilities(tokens, scores, wanted):
    import transformers

    if wanted.repetition_penalty:
        scores = transformers.RepetitionPenaltyLogitsProcessor(wanted.repetition_penalty)(tokens, scores)
    scores = transformers.TemperatureLogitsWarper(wanted.temperature)(tokens, scores)
    if wanted.top_k:
        scores = transformers.TopKLogitsWarper(wanted.top_k)(tokens, scores)
    if wanted.top_p:
        scores = transformers.TopPLogitsWarper(wanted.top_p)(tokens, scores)
    return scores.softmax(-1)[0]


def first_token(model, asked, seed):
    import msgspec

    (unit,) = text_generation.pre(model, msgspec.structs.replace(asked, seed=seed))
    heard = generation_runtimes.Heard(model)
    model.generate(unit.content, heard)
    return heard.tokens[0]


def test_a_seed_repeats_and_another_differs(model):
    """Also a seed of 63 bits, and after other requests."""
    texts = [
        generate(model, prompt="hello", max_tokens=16, temperature=1.5, seed=seed)[0].output.text
        for seed in (2**62 + 1, 1, 2**62 + 1, 2)
    ]
    free = {generate(model, prompt="hello", max_tokens=16, temperature=1.5)[0].output.text for _ in range(3)}

    assert texts[0] == texts[2]
    assert 3 == len(set(texts))
    assert 1 < len(free)


def test_a_stop_string_ends_the_generation_and_is_not_shown(model, torch_model):
    """Just as in torch, to the token."""
    whole = generate(torch_model, prompt="hello", max_tokens=24)[0].output.text
    asked = {"prompt": "hello", "max_tokens": 24, "stop": (whole[6:8],)}

    assert "stop" == generate(model, **asked)[0].output.finish_reason
    assert_alike(generate(torch_model, **asked), generate(model, **asked))


def test_end_tokens_end_it_and_count(tmp_path):
    """Two of them: the one that llama.cpp knows, and one that only we do. Neither has a text."""
    plain = opening_of(tiny_llama.save(tmp_path / "plain"))
    heard = generation_runtimes.continued(causal_lm.load(plain), [40, 41, 42], 12)
    ends = [heard.tokens[7], heard.tokens[3]]
    opening = opening_of(tiny_llama.save(tmp_path / "ending", eos_token_id=ends))
    ours, theirs = llama_cpp.load(opening), causal_lm.load(opening)
    results = [generation_runtimes.continued(each, [40, 41, 42], 12) for each in (ours, theirs)]

    assert heard.tokens[:4] == results[0].tokens == results[1].tokens
    assert results[0].generated().text == results[1].generated().text
    assert results[0].generated().stopped == results[1].generated().stopped
    assert results[0].generated().stopped


def test_cancelling_stops_within_one_token(model):
    """The event set at the third piece: nothing comes after it, and the next request is answered."""
    event, pieces = threading.Event(), []

    def emit(piece):
        pieces.append(piece)
        if len(pieces) == 3:
            event.set()

    with pytest.raises(Cancelled):
        generate(model, Control(event, emit), prompt="hello", max_tokens=50)

    assert 3 == len(pieces)
    assert 5 == generate(model, prompt="hello", max_tokens=5)[0].usage.completion_tokens


def test_what_a_listener_raises_comes_out(model):
    """The library would swallow it; the model is fit for the next request."""

    def fail(_piece):
        raise OSError("the line is dead")

    with pytest.raises(OSError, match="the line is dead"):
        generate(model, Control(threading.Event(), fail), prompt="hello", max_tokens=50)
    assert 5 == generate(model, prompt="hello", max_tokens=5)[0].usage.completion_tokens


def test_bad_requests_are_refused_as_in_torch(model):
    """The checks are the task's, not the runtime's."""
    with pytest.raises(ContextLengthExceeded, match="256 tokens; the model reads 256"):
        generate(model, prompt="x" * tiny_llama.CONTEXT, max_tokens=1)
    with pytest.raises(InvalidInput, match="empty"):
        generate(model, prompt="")


def test_it_listens_nowhere_and_leaves_nothing(opening):
    """Loading and dropping it three times: no listening address, no file, no thread and no open file more."""
    llama_cpp.load(opening)  # what the library puts up once
    before = held()
    addresses = [str(llama_cpp.load(opening)._server.listening_address) for _ in range(3)]

    assert all(each.startswith("unix://") for each in addresses)
    assert not any(Path(each.removeprefix("unix://")).parent.exists() for each in addresses)
    assert before == held()


def held():
    return [len(list(Path("/proc/self", kind).iterdir())) for kind in ("task", "fd")]


def test_one_model_leaves_and_another_stays(opening, model):
    """Each has a server of its own."""
    expected = generate(model, prompt="hello", max_tokens=8)
    other = llama_cpp.load(opening)
    assert expected == generate(other, prompt="hello", max_tokens=8)
    del other

    assert expected == generate(model, prompt="hello", max_tokens=8)


def test_the_runtime_that_was_measured_is_loaded(opening):
    """Torch unless llama.cpp was chosen."""
    loaded = [
        text_generation.load(opening_of(opening.directory, runtimes=runtimes)).runtime
        for runtimes in ({}, {"runtime": "torch"}, {"runtime": "llama.cpp", "why": "fast"})
    ]

    assert ["torch", "torch", "llama.cpp"] == loaded


def test_a_chosen_runtime_that_went_away_leaves_torch(opening, monkeypatch, caplog):
    """The extra was uninstalled: the log says so, and the model still serves."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    model = text_generation.load(opening_of(opening.directory, runtimes={"runtime": "llama.cpp"}))

    assert "torch" == model.runtime
    assert "calibrate anew" in caplog.text


@pytest.mark.parametrize(
    ("defaults", "reason"),
    [
        ({"no_repeat_ngram_size": 3}, "wants no_repeat_ngram_size"),
        ({"suppress_tokens": [5]}, "wants suppress_tokens"),
        ({"eos_token_id": None}, "names no end token"),
    ],
)
def test_a_model_with_other_ways_is_torchs_alone(tmp_path, defaults, reason):
    """What llama.cpp would do differently is not offered there."""
    opening = opening_of(tiny_llama.save(tmp_path, **defaults))

    assert reason in llama_cpp.supports(opening)
    with pytest.raises(Unavailable, match=reason):
        llama_cpp.load(opening)


def test_what_it_cannot_run_is_said(opening, tmp_path, monkeypatch):
    """Another device, no gguf or a broken one, a context that takes too much, an old processor."""
    broken = tmp_path / "broken"
    broken.mkdir()
    assert "has 0 gguf files" in llama_cpp.supports(opening_of(broken))
    (broken / "model.gguf").write_bytes(b"GGUF")
    assert "damaged" in llama_cpp.supports(opening_of(broken))
    assert "cuda:0" in llama_cpp.supports(opening_of(opening.directory, device="cuda:0"))
    monkeypatch.setattr(llama_cpp, "MAX_CACHE_BYTES", 1000)
    assert "full context of 256 tokens" in llama_cpp.supports(opening)
    monkeypatch.setattr(llama_cpp, "_instructions", frozenset)
    assert "lacks avx2" in llama_cpp.supports(opening)


def test_a_model_dropped_at_once_is_gone(opening):
    """Its library loses a stop that comes before its loop runs, and would wait for ever."""
    for _ in range(20):
        llama_cpp.load(opening)

    assert "unix://" in llama_cpp.load(opening)._server.listening_address


def test_the_gguf_is_written_once_in_float16_and_numbers(tmp_path):
    """Half the bytes; no text of the vocabulary; what is kept whole stays; nothing half-written is left."""
    import gguf

    source = tiny_llama.save(tmp_path, halves=True) / "tiny.gguf"
    made = numbered_gguf.made(source, {7, 3}, tmp_path / "cache")
    again = numbered_gguf.made(source, {3, 7}, tmp_path / "cache")
    reader = gguf.GGUFReader(str(made))
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}

    assert made == again
    assert [made.name] == [file.name for file in made.parent.iterdir()]
    assert ("F16", "F32") == (kinds["blk.0.attn_q.weight"], kinds["output_norm.weight"])
    assert "256;" == reader.fields["tokenizer.ggml.tokens"].contents()[256]
    assert 3 == reader.fields["tokenizer.ggml.eos_token_id"].contents()


def speed(name="llama.cpp", agreement=1.0, read_s=0.8, token_s=0.03):
    return Speed(name=name, agreement=agreement, read_s=read_s, token_s=token_s)


@pytest.mark.parametrize(
    ("measured", "expected", "why"),
    [
        ({}, "llama.cpp", "writes 33.3 tokens/s"),
        ({"agreement": 0.978}, "torch", "97.8% of tokens as torch does, fewer than 98%"),
        ({"agreement": float("nan")}, "torch", "fewer than 98%"),
        ({"token_s": 0.06}, "torch", "writes 16.7 tokens/s"),
    ],
)
def test_only_what_is_faster_and_says_the_same_is_chosen(measured, expected, why):
    """Slower to read and faster to write is faster for the request that is compared; below the floor is not."""
    chosen = choose(speed("torch", read_s=0.3, token_s=0.065), speed(**measured))

    assert expected == chosen["runtime"]
    assert why in chosen["why"]


def test_calibrating_measures_both(opening):
    """They agree but for near ties of a random model; which is faster is the machine's affair."""
    chosen = generation_runtimes.calibrate(opening)

    assert chosen["runtime"] in {"torch", "llama.cpp"}
    assert float(re.search(r"chooses ([\d.]+)% of tokens as torch", chosen["why"])[1]) >= 98


def test_without_a_gguf_the_choice_is_torch(tmp_path):
    """And the reason is kept."""
    assert {"runtime": "torch", "why": "llama.cpp: the model has 0 gguf files, not one"} == (
        generation_runtimes.calibrate(opening_of(tmp_path))
    )
