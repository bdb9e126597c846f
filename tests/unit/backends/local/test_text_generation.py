"""text-generation on a tiny random model with one token a byte: everything but the sense of the text."""

from __future__ import annotations

import math
import threading

import pytest

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local import generation_runtimes, text_generation
from backends.local.causal_lm import CausalLM
from backends.local.cuda_graphs import GraphedLM
from backends.local.types import Cancelled, Control
from backends.types import GenerationInput, Message

tokenizers = pytest.importorskip("tokenizers")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }};{% endfor %}"
CONTEXT = 64


@pytest.fixture(scope="module", params=[CausalLM, GraphedLM])
def model(request):
    """Two layers, 257 tokens: the bytes and an end. What a GPU would record is computed as it is here."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE({"<end>": 0} | {char: at for at, char in enumerate(alphabet, 1)}, [])
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=CONTEXT, bos_token_id=None, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", chat_template=TEMPLATE
    )
    return request.param(transformers.LlamaForCausalLM(config).eval(), wrapped, "cpu", "float32")


def generate(model, **payload):
    pieces = []
    answer = run(model, GenerationInput(**payload), Control(threading.Event(), lambda piece: pieces.append(piece.text)))
    return answer, pieces


def run(model, payload, control):
    units = text_generation.pre(model, payload)
    results = text_generation.core(model, [unit.content for unit in units], control)
    return text_generation.post(model, payload, units, results)


def test_the_pieces_are_the_text(model):
    """What was emitted is what is returned, and the counts are the tokens'."""
    answer, pieces = generate(model, prompt="hello", max_tokens=12)

    assert answer.output.text == "".join(pieces)
    assert (5, 12, "length") == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
        answer.output.finish_reason,
    )


def test_greedy_text_is_what_the_model_itself_generates(model):
    """Our streaming, stopping and choosing change no token."""
    encoded = model.tokenizer("hello", return_tensors="pt")
    expected = model.model.generate(**encoded, max_new_tokens=12, do_sample=False, pad_token_id=0)[0, 5:]

    assert model.decode(expected.tolist()) == generate(model, prompt="hello", max_tokens=12)[0].output.text


@pytest.mark.parametrize("payload", [{}, {"repetition_penalty": 1.5}, {"temperature": 2.0, "seed": 3}])
def test_an_answer_is_as_sure_as_its_tokens_are_probable(model, payload):
    """The geometric mean of what the model itself gave them, whatever was penalised or drawn."""
    asked = GenerationInput(prompt="hello", max_tokens=12, **payload)
    heard = generation_runtimes.Heard(model)
    (unit,) = text_generation.pre(model, asked)
    model.generate(unit.content, heard)
    tokens = torch.tensor([unit.content.tokens + heard.tokens])
    with torch.inference_mode():
        logs = model.model(input_ids=tokens).logits[0].float().log_softmax(-1)
    start = len(unit.content.tokens) - 1
    chosen = [float(logs[start + at, token]) for at, token in enumerate(heard.tokens)]

    assert heard.generated().likelihood == pytest.approx(math.exp(sum(chosen) / len(chosen)), rel=1e-4)


def test_a_runtime_that_tells_no_probability_is_of_unknown_confidence(model):
    """One token without is enough."""
    heard = generation_runtimes.Heard(model)
    heard.take(40, -0.5)
    heard.take(41)

    assert None is heard.generated().likelihood


def test_a_seed_repeats_and_another_differs(model):
    """Sampling with a seed is reproducible."""
    texts = [
        generate(model, prompt="hello", max_tokens=16, temperature=1.5, seed=seed)[0].output.text for seed in (1, 1, 2)
    ]

    assert texts[0] == texts[1] != texts[2]


def test_a_stop_string_ends_the_generation_and_is_not_shown(model):
    """The text is cut before it, the model runs no further, and the finish says why."""
    whole = generate(model, prompt="hello", max_tokens=16)[0].output.text
    stop = whole[4:6]
    answer, pieces = generate(model, prompt="hello", max_tokens=16, stop=(stop,))

    assert whole[: whole.find(stop)] == answer.output.text == "".join(pieces)
    assert "stop" == answer.output.finish_reason
    assert answer.usage.completion_tokens < 16


def test_an_end_token_stops(model, monkeypatch):
    """A model that says it is done is done."""
    first = generate(model, prompt="hello", max_tokens=1)[0].output.text
    monkeypatch.setattr(model, "end_tokens", frozenset(model.tokenizer(first)["input_ids"]))
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", min(model.end_tokens))
    answer, _ = generate(model, prompt="hello", max_tokens=10)

    assert (1, "stop") == (answer.usage.completion_tokens, answer.output.finish_reason)


def test_a_prompt_that_fills_the_context_is_refused(model):
    """There must be room for one token; the sentence names the limit and the length."""
    with pytest.raises(ContextLengthExceeded, match=f"{CONTEXT} tokens; the model reads {CONTEXT}"):
        generate(model, prompt="x" * CONTEXT, max_tokens=1)


def test_max_tokens_is_cut_to_the_room_left(model):
    """A prompt near the limit is answered with what room there is."""
    answer, _ = generate(model, prompt="x" * (CONTEXT - 3), max_tokens=50)

    assert (3, "length") == (answer.usage.completion_tokens, answer.output.finish_reason)


def test_a_chat_is_written_out_by_the_models_template(model):
    """`user:hi;` has eight tokens here."""
    answer, _ = generate(model, messages=(Message("user", "hi"),), max_tokens=1)

    assert 8 == answer.usage.prompt_tokens


def test_a_partial_answer_stands_where_the_answer_begins(model):
    """Behind the model's own template for a chat, behind a plain prompt as it is; so what follows goes on from it."""
    talk = model.encode(GenerationInput(messages=(Message("user", "ab"),), partial="cd"))
    plain = model.encode(GenerationInput(prompt="ab", partial="cd"))

    assert ("user:ab;cd", "abcd") == (model.decode(talk), model.decode(plain))


def test_a_chat_without_a_template_is_refused(model, monkeypatch):
    """Guessing a format would give nonsense."""
    monkeypatch.setattr(model.tokenizer, "chat_template", None)
    with pytest.raises(InvalidInput, match="no chat template"):
        generate(model, messages=(Message("user", "hi"),))


def test_an_empty_prompt_is_refused(model):
    """There is nothing to continue."""
    with pytest.raises(InvalidInput, match="empty"):
        generate(model, prompt="")


def test_cancelling_stops_within_one_token(model):
    """The event set at the third piece: no fourth token is generated."""
    event, pieces = threading.Event(), []

    def emit(piece):
        pieces.append(piece)
        if len(pieces) == 3:
            event.set()

    with pytest.raises(Cancelled):
        run(model, GenerationInput(prompt="hello", max_tokens=40, temperature=0.0), Control(event, emit))

    assert len(pieces) in (3, 4)  # the last one may be the end of a half-told character


def test_the_models_own_defaults_are_left_as_they_are(model):
    """A request's parameters do not leak into the next one."""
    before = model.model.generation_config.to_dict()
    generate(model, prompt="hello", max_tokens=3, repetition_penalty=1.5, temperature=0.9, seed=1)

    assert before == model.model.generation_config.to_dict()
