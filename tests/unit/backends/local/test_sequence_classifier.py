"""Sequence classifiers on tiny random models of the real classes: the scores of transformers' own pipelines."""

from __future__ import annotations

import json
import math
import random
import threading

import pytest

from backends.errors import ContextLengthExceeded, InvalidInput, Unavailable
from backends.local import sequence_classifier
from backends.local.sequence_classifier import FAMILY, TEXT_CLASSIFICATION, ZERO_SHOT_CLASSIFICATION
from backends.local.types import Control, Opening
from backends.types import ClassificationInput, ZeroShotInput

tokenizers = pytest.importorskip("tokenizers")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

POSITIONS = 80
NLI = ("contradiction", "neutral", "entailment")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # with the numbers that RoBERTa and BART want
SIZES = {"vocab_size": 4 + 256, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
ENCODER = {
    **SIZES, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS, "type_vocab_size": 2,
}  # fmt: skip
BART = {
    **SIZES, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": POSITIONS,
    "decoder_start_token_id": 2, "forced_eos_token_id": 2,
}  # fmt: skip
GPT2 = {**SIZES, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": POSITIONS}
XLNET = {**SIZES, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "summary_use_proj": False}
KINDS = {
    "Bert": ("BertConfig", "BertForSequenceClassification", ENCODER),
    "Roberta": ("RobertaConfig", "RobertaForSequenceClassification", ENCODER),
    "Bart": ("BartConfig", "BartForSequenceClassification", BART),
    "GPT2": ("GPT2Config", "GPT2ForSequenceClassification", GPT2),
    "XLNet": ("XLNetConfig", "XLNetForSequenceClassification", XLNET),
    "GPT2-unpadded": ("GPT2Config", "GPT2ForSequenceClassification", {**GPT2, "pad_token_id": None}),
}
TEXTS = ("a", "the film was dull", "", "one more text, longer than the others", "the film was great")


def tokenizer(*, types, **settings):
    """A token a byte; `<s> text </s>` and `<s> text </s> pair </s>`."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    made = tokenizers.Tokenizer(tokenizers.models.BPE({c: at for at, c in enumerate((*SPECIAL, *alphabet))}, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_input_names=names, **settings,
    )  # fmt: skip


def build(directory, kind="Bert", labels=NLI, *, settings=None, **config):
    """Save a random model: a fresh one of its kind each time, the same in each run."""
    config_class, model_class, sizes = KINDS[kind]
    settings = {"padding_side": "left" if kind == "XLNet" else "right", **(settings or {})}
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: at for at, label in enumerate(labels)}}
    torch.manual_seed(0)
    made = getattr(transformers, model_class)(getattr(transformers, config_class)(**{**sizes, **named, **config}))
    with torch.no_grad():
        for weight in made.parameters():  # large enough that scores differ
            weight.normal_(std=0.3)
    made.save_pretrained(directory)
    tokenizer(types=kind == "Bert", **settings).save_pretrained(directory)
    return directory


def load(directory, **changes):
    given = {"directory": directory, "device": "cpu", "dtype": "float32", "threads": 1, "cache_dir": directory}
    return FAMILY.load(Opening(**{**given, **changes}))


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """As `preparation` sets the libraries up before it loads."""
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)


@pytest.fixture(scope="module", params=KINDS)
def directory(request, tmp_path_factory):
    """Each kind of model, trained for entailment by nobody."""
    return build(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return load(build(tmp_path_factory.mktemp("bert")))


def ask(task, model, payload):
    units = task.pre(model, payload)
    results = FAMILY.core(model, [unit.content for unit in units], Control(threading.Event(), lambda _piece: None))
    return task.post(model, payload, units, results)


def classify(model, *texts, **asked):
    return ask(TEXT_CLASSIFICATION, model, ClassificationInput(texts=texts, **asked))


def zero_shot(model, *texts, labels=("good", "bad", "long"), **asked):
    return ask(ZERO_SHOT_CLASSIFICATION, model, ZeroShotInput(texts=texts, candidate_labels=labels, **asked))


def pairs(row):
    return [(each.label, each.score) for each in row]


def assert_same(theirs, ours):
    """The same labels in the same order, with the same scores."""
    assert [label for label, _ in theirs] == [label for label, _ in ours]
    assert pytest.approx([score for _, score in theirs], abs=2e-6) == [score for _, score in ours]


# --- the model's own labels ---------------------------------------------------------------------


def test_scores_are_those_of_transformers(directory):
    """For every kind of model, texts of all lengths together in padded batches, in the order given."""
    own = transformers.pipeline("text-classification", model=str(directory), top_k=None)
    answer = classify(load(directory), *TEXTS)

    for text, row in zip(TEXTS, answer.output.labels, strict=True):
        assert_same([(each["label"], each["score"]) for each in own([text])[0]], pairs(row))
    assert sum(len(text) + 2 for text in TEXTS) == answer.usage.prompt_tokens


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (("calm", "angry", "sad"), "multi_label_classification"),
        (("calm", "angry", "sad"), "single_label_classification"),
        (("relevant",), None),
        (("stars",), "regression"),
    ],
)
def test_scores_follow_what_the_model_was_trained_for(tmp_path, labels, problem):
    """Labels that exclude each other share 1, others stand on their own; a regression says its value."""
    directory = build(tmp_path, labels=labels, problem_type=problem)
    own = transformers.pipeline("text-classification", model=str(directory), top_k=None)

    for text, row in zip(TEXTS, classify(load(directory), *TEXTS).output.labels, strict=True):
        assert_same([(each["label"], each["score"]) for each in own([text])[0]], pairs(row))


def test_only_the_best_labels_are_told_when_so_many_are_asked_for(bert):
    """More than there are is all there are."""
    whole = classify(bert, "a text").output.labels[0]

    assert whole[:1] == classify(bert, "a text", top_k=1).output.labels[0]
    assert whole == classify(bert, "a text", top_k=99).output.labels[0]
    with pytest.raises(InvalidInput, match="top_k is 0; it can be 1 or more"):
        classify(bert, "a text", top_k=0)


def test_extreme_logits_are_probabilities(bert):
    """No overflow at either end."""
    bounded = sequence_classifier._softmax([1e4, -1e4]), [sequence_classifier._sigmoid(x) for x in (1e4, -1e4)]

    assert ([1.0, 0.0], [1.0, 0.0]) == bounded
    assert pytest.approx(1 / (1 + math.exp(3))) == sequence_classifier._sigmoid(-3.0)


# --- any labels, by entailment ------------------------------------------------------------------


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("labels", [("good", "bad", "long"), ("good",)])
def test_zero_shot_scores_are_those_of_transformers(directory, labels, multi_label):
    """A label alone is weighed against contradiction, as its pipeline does."""
    own = transformers.pipeline("zero-shot-classification", model=str(directory))
    texts = [text for text in TEXTS if text]
    answer = zero_shot(load(directory), *texts, labels=labels, multi_label=multi_label)

    for text, row in zip(texts, answer.output.labels, strict=True):
        theirs = own(text, list(labels), multi_label=multi_label)
        assert_same(list(zip(theirs["labels"], theirs["scores"], strict=True)), pairs(row))


@pytest.mark.parametrize(
    "labels",
    [
        ("ENTAILMENT", "NEUTRAL", "CONTRADICTION"),
        ("entailment", "not_entailment"),
        ("not_entailment", "entailment"),
        ("Contradiction", "Entailment", "Neutral"),
    ],
)
def test_the_entailment_label_is_found_by_name(tmp_path, labels):
    """In any case, at any place, with or without a contradiction."""
    directory = build(tmp_path, labels=labels)
    own = transformers.pipeline("zero-shot-classification", model=str(directory))

    for multi_label in (False, True):
        theirs = own("the film was dull", ["good", "bad"], multi_label=multi_label)
        row = zero_shot(load(directory), "the film was dull", labels=("good", "bad"), multi_label=multi_label)
        assert_same(list(zip(theirs["labels"], theirs["scores"], strict=True)), pairs(row.output.labels[0]))


def test_a_contradiction_that_is_not_first_is_found_too(tmp_path):
    """Transformers would take the neutral label for it."""
    model = load(build(tmp_path, labels=("neutral", "entailment", "contradiction")))

    assert (1, 2) == (model.entailment, model.contradiction)


def test_a_template_of_the_requests_own_is_used(bert):
    """As if it were transformers' argument."""
    plain, own = zero_shot(bert, "a film"), zero_shot(bert, "a film", hypothesis_template="About {}!")

    assert plain.output == zero_shot(bert, "a film", hypothesis_template="This example is {}.").output
    assert plain.output != own.output
    assert own.usage.prompt_tokens < plain.usage.prompt_tokens


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"hypothesis_template": "about it"}, "hypothesis_template has no {}, the place of the label"),
        ({"labels": ()}, "there are no candidate_labels"),
    ],
)
def test_what_cannot_be_asked_is_refused(bert, asked, says):
    """The sentence names the parameter."""
    with pytest.raises(InvalidInput) as caught:
        zero_shot(bert, "a film", **asked)

    assert says == str(caught.value)


def test_a_model_without_entailment_is_refused(tmp_path):
    """Its labels are named, and it still tells its own."""
    model = load(build(tmp_path, labels=("NEGATIVE", "POSITIVE")))

    with pytest.raises(InvalidInput, match="tells no entailment: its labels are NEGATIVE, POSITIVE"):
        zero_shot(model, "a film")
    assert {"NEGATIVE", "POSITIVE"} == {each.label for each in classify(model, "a film").output.labels[0]}


# --- lengths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "limit"), [("Bert", 80), ("Roberta", 78), ("Bart", 80), ("GPT2", 80)])
def test_a_text_past_the_limit_is_refused(tmp_path, kind, limit):
    """RoBERTa's positions begin at 2. Index, length and limit are named, the text is not; at the limit it is read."""
    model = load(build(tmp_path, kind))

    with pytest.raises(ContextLengthExceeded, match=f"^text 1 has {limit + 1} tokens; the model reads {limit}$"):
        classify(model, "ok", "z" * (limit - 1))
    assert limit == classify(model, "z" * (limit - 2)).usage.prompt_tokens


def test_the_tokenizers_limit_counts_where_it_is_lower(tmp_path):
    """Some models have more positions than they were trained for."""
    model = load(build(tmp_path, settings={"model_max_length": 20}))

    with pytest.raises(ContextLengthExceeded, match="text 0 has 21 tokens; the model reads 20"):
        classify(model, "z" * 19)


def test_truncate_cuts_to_what_the_model_reads(bert):
    """The special tokens stay, and short texts beside it are what they were."""
    cut = classify(bert, "z" * 500, "ok", truncate=True)

    assert classify(bert, "z" * (POSITIONS - 2), "ok").output == cut.output
    assert POSITIONS + 4 == cut.usage.prompt_tokens


def test_truncate_cuts_the_text_and_never_the_label(tmp_path):
    """As transformers does."""
    directory = build(tmp_path, settings={"model_max_length": POSITIONS})
    own = transformers.pipeline("zero-shot-classification", model=str(directory))
    model, text = load(directory), "the film was dull " * 20
    with pytest.raises(
        ContextLengthExceeded, match=f"^text 1 with label 0 has 384 tokens; the model reads {POSITIONS}$"
    ):
        zero_shot(model, "ok", text)
    theirs = own(text, ["good", "bad", "long"])

    row = zero_shot(model, text, truncate=True).output.labels[0]
    assert_same(list(zip(theirs["labels"], theirs["scores"], strict=True)), pairs(row))


def test_a_label_that_leaves_no_room_is_refused(bert):
    """Even when cutting is asked for: there would be nothing left to classify."""
    with pytest.raises(ContextLengthExceeded, match="label 1 has 100 tokens in its template, which leave no room"):
        zero_shot(bert, "a film", labels=("good", "b" * 80), truncate=True)


def test_a_text_of_no_tokens_is_refused(tmp_path):
    """Some tokenizers put nothing around a text."""
    directory = build(tmp_path, "GPT2")
    settings = json.loads((directory / "tokenizer.json").read_text())
    (directory / "tokenizer.json").write_text(json.dumps({**settings, "post_processor": None}))

    with pytest.raises(InvalidInput, match="text 1 has no tokens"):
        classify(load(directory), "ok", "")


# --- batches ------------------------------------------------------------------------------------


def test_many_requests_in_one_batch_are_what_they_are_alone(directory):
    """Texts and pairs of all lengths, of both tasks, in any order: what a busy worker gives to the core."""
    model, chance = load(directory), random.Random(0)
    texts = ["".join(chance.choices("abcdef ", k=chance.randint(1, 40))) for _ in range(40)]
    alone = [classify(model, text).output.labels[0] for text in texts]
    units = TEXT_CLASSIFICATION.pre(model, ClassificationInput(texts=tuple(texts)))
    others = ZERO_SHOT_CLASSIFICATION.pre(
        model, ZeroShotInput(texts=("a b", "c"), candidate_labels=("x", "a longer label"))
    )
    order = [*units, *others]
    chance.shuffle(order)
    results = FAMILY.core(model, [unit.content for unit in order], Control(threading.Event(), lambda _piece: None))
    placed = dict(zip(map(id, order), results, strict=True))
    payload = ClassificationInput(texts=tuple(texts))
    together = TEXT_CLASSIFICATION.post(model, payload, units, [placed[id(unit)] for unit in units])

    for one, other in zip(alone, together.output.labels, strict=True):
        assert_same(pairs(one), pairs(other))


def test_an_end_token_in_a_text_disturbs_nobody(tmp_path):
    """BART reads at the last one and wants as many in every row: a stranger's text must not decide for others."""
    model = load(build(tmp_path, "Bart"))
    alone = [classify(model, text).output.labels[0] for text in ("ok</s></s>", "fine")]

    for one, other in zip(alone, classify(model, "ok</s></s>", "fine").output.labels, strict=True):
        assert_same(pairs(one), pairs(other))


@pytest.mark.parametrize("kind", ["XLNet", "GPT2"])
def test_a_model_that_pads_on_the_left_gets_no_padding(tmp_path, kind):
    """XLNet takes the last place for the text's end; GPT-2 counts its places from the left."""
    model = load(build(tmp_path, kind, settings={"padding_side": "left"}))
    alone = [classify(model, text).output.labels[0] for text in TEXTS]

    for one, other in zip(alone, classify(model, *TEXTS).output.labels, strict=True):
        assert_same(pairs(one), pairs(other))


def test_no_texts_are_no_labels(bert):
    """Nothing asked, nothing answered, nothing counted."""
    assert ((), 0) == (classify(bert).output.labels, classify(bert).usage.prompt_tokens)
    assert () == zero_shot(bert).output.labels


# --- loading ------------------------------------------------------------------------------------


def test_what_was_loaded_says_what_it_is(bert):
    """For the status."""
    assert ("cpu", "float32", "torch", NLI) == (bert.device, bert.dtype, bert.runtime, bert.labels)


def test_half_precision_gives_probabilities(tmp_path):
    """Computed in bfloat16, told in full."""
    model = load(build(tmp_path), dtype="bfloat16")

    assert "bfloat16" == model.dtype
    assert pytest.approx(1) == sum(each.score for each in classify(model, "a text").output.labels[0])


def test_weights_that_lack_the_classifier_are_refused(tmp_path):
    """Transformers would make it up."""
    directory = build(tmp_path)
    made = transformers.BertForSequenceClassification.from_pretrained(directory).bert
    made.save_pretrained(directory)

    with pytest.raises(Unavailable, match=r"these weights are of no text classifier: 2 are missing, classifier\.bias"):
        load(directory)


def test_pickles_are_refused_and_let_in_where_that_is_allowed(tmp_path):
    """They can run code."""
    directory = build(tmp_path)
    expected = classify(load(directory), "a text").output
    weights = transformers.BertForSequenceClassification.from_pretrained(directory).state_dict()
    torch.save(weights, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()

    with pytest.raises(OSError, match="safetensors"):
        load(directory)
    again = classify(load(directory, pickles=True), "a text").output
    assert [each.label for each in expected.labels[0]] == [each.label for each in again.labels[0]]
    # Weights lie elsewhere in memory, and a processor may add up in another order.
    assert pytest.approx([each.score for each in expected.labels[0]]) == [each.score for each in again.labels[0]]


def test_code_that_comes_with_the_model_is_not_run(tmp_path):
    """It is not even asked for."""
    directory = build(tmp_path)
    config = json.loads((directory / "config.json").read_text())
    config.update(model_type="unknown-kind", auto_map={"AutoConfig": "mine.Config"})
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "mine.py").write_text("raise SystemExit('this ran')")

    with pytest.raises(ValueError, match="trust_remote_code"):
        load(directory)
