"""The OpenAI protocol, read tolerantly and written strictly."""

import base64
from array import array

import pytest
from msgspec import structs

from backends.errors import ContentRefused, RemoteError
from backends.remote.call import Call
from backends.remote.openai_wire import (
    MAX_RAW_BYTES,
    GenerationReader,
    embeddings_call,
    generation_call,
    parse_embeddings,
    usage_of,
)
from backends.types import EmbeddingInput, GenerationInput, GenerationOutput, Message, Usage

EVERYTHING = GenerationInput(
    prompt="p",
    max_tokens=9,
    temperature=0.0,
    top_p=0.5,
    top_k=4,
    repetition_penalty=1.1,
    seed=0,
    stop=("x",),
)


def piece(text=None, finish=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]} | more


def read(*chunks):
    reader = GenerationReader()
    for chunk in chunks:
        reader.feed(chunk)
    return reader


def test_only_given_fields_are_sent():
    """A parameter that is None is left to the model's default."""
    call = generation_call(GenerationInput(messages=(Message("user", "hi"),)), "m", stream=False)

    expected = {"model": "m", "max_tokens": 256, "messages": [{"role": "user", "content": "hi"}]}
    assert Call("/chat/completions", expected) == call


def test_a_zero_is_given():
    """Temperature 0 and seed 0 are values, not absences; fields unknown to OpenAI are not sent."""
    call = generation_call(EVERYTHING, "m", stream=False)

    expected = {
        "model": "m",
        "prompt": "p",
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 0,
        "stop": ["x"],
    }
    assert Call("/completions", expected) == call


def test_extended_servers_get_the_rest():
    """hf-inference takes top_k and repetition_penalty."""
    body = generation_call(EVERYTHING, "m", stream=False, extended=True).body

    assert (4, 1.1) == (body["top_k"], body["repetition_penalty"])


def test_a_partial_answer_is_sent_as_the_beginning_of_the_assistants_message() -> None:
    """With the two fields that tell servers of vLLM's kind to go on with it; a plain prompt simply grows."""
    talk = generation_call(GenerationInput(messages=(Message("user", "hi"),), partial="Hel"), "m", stream=True).body
    plain = generation_call(GenerationInput(prompt="Once", partial=" upon"), "m", stream=True).body

    assert {"role": "assistant", "content": "Hel"} == talk["messages"][-1]
    assert (True, False) == (talk["continue_final_message"], talk["add_generation_prompt"])
    assert "Once upon" == plain["prompt"]


def test_streams_always_ask_for_usage():
    """A stream without usage cannot be priced."""
    body = generation_call(EVERYTHING, "m", stream=True).body

    assert (True, {"include_usage": True}) == (body["stream"], body["stream_options"])


def test_dimensions_are_sent_when_given():
    """Floats are asked for, which every server knows."""
    body = embeddings_call(EmbeddingInput(texts=("a", "b"), dimensions=3), "m").body

    assert {"model": "m", "input": ["a", "b"], "encoding_format": "float", "dimensions": 3} == body
    assert "dimensions" not in embeddings_call(EmbeddingInput(texts=("a",)), "m").body


def test_pieces_join_to_the_whole():
    """Roles, nulls and empty choices add nothing."""
    reader = GenerationReader()
    added = [
        reader.feed(chunk)
        for chunk in (
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
            piece("a"),
            {"choices": []},
            {"choices": None},
            {},
            piece("b", "stop"),
        )
    ]

    assert ["", "a", "", "", "", "b"] == added
    assert GenerationOutput("ab", "stop") == reader.output()


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]},
        {"choices": [{"text": "a", "finish_reason": "stop"}]},
        {"choices": [{"index": None, "delta": {"content": "a"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "text": "other", "finish_reason": "length"}, {"text": "a", "finish_reason": "stop"}]},
    ],
    ids=["chat", "completion", "no index", "two choices"],
)
def test_whole_answers_are_a_single_chunk(chunk):
    """Chats and completions, buffered or not, are read by the same code; only the first choice counts."""
    assert GenerationOutput("a", "stop") == read(chunk).output()


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
    ],
)
def test_finish_reasons_of_different_servers(said, finish):
    """Text generation inference has its own words."""
    assert finish == read(piece("a", said)).output().finish_reason


def test_no_finish_reason_is_truncation():
    """Half an answer is never a success."""
    with pytest.raises(RemoteError, match="truncated"):
        read(piece("half an")).output()


def test_a_content_filter_is_a_refusal():
    """It is propagated, not routed around."""
    with pytest.raises(ContentRefused):
        read(piece("so", "content_filter")).output()


def test_other_finish_reasons_are_errors():
    """We asked for no tools."""
    with pytest.raises(RemoteError, match="'tool_calls'"):
        read(piece("", "tool_calls")).output()


def test_usage_may_stand_in_any_chunk_and_the_last_wins():
    """With the last choice, behind it, or growing in every chunk."""
    reader = read(
        piece("a", usage={"prompt_tokens": 3, "completion_tokens": 1}),
        piece("b", "stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        {"choices": [], "usage": None},
    )

    assert Usage(prompt_tokens=3, completion_tokens=2, raw='{"completion_tokens":2,"prompt_tokens":3}') == reader.usage


@pytest.mark.parametrize("nothing", [None, {}, [], "soon", 0])
def test_a_later_chunk_that_says_nothing_takes_nothing_back(nothing):
    """A usage is replaced by a usage, not by an empty word for one."""
    reader = read(piece("a", "stop", usage={"completion_tokens": 1}), {"choices": [], "usage": nothing})

    assert 1 == reader.usage.completion_tokens


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (None, Usage()),
        ("many", Usage()),
        ({}, Usage()),
        ({"prompt_tokens": True, "completion_tokens": -1}, Usage()),
        ({"prompt_tokens": 1.5, "completion_tokens": "2"}, Usage()),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(prompt_tokens=0, completion_tokens=0)),
        ({"estimated_cost": 0.25, "cost": 9}, Usage(declared_cost_usd=0.25)),
        ({"estimated_cost": "cheap", "cost": 2}, Usage(declared_cost_usd=2.0)),
        ({"cost": float("nan")}, Usage()),
        ({"cost": -1}, Usage()),
        ({"cost": float("inf")}, Usage()),
        ({"cost": 10**400}, Usage()),
        ({"prompt_tokens": 10_000_001, "completion_tokens": 10**12}, Usage()),
        ({"prompt_tokens": 10_000_000}, Usage(prompt_tokens=10_000_000)),
    ],
)
def test_unknown_usage_is_none_never_zero(raw, usage):
    """Only counts are counts, only prices are prices."""
    assert usage == structs.replace(usage_of(raw), raw=None)


@pytest.mark.parametrize(
    ("said", "cached"),
    [
        ({"cached_tokens": 4}, 4),
        ({"cached_tokens": 9}, 9),
        ({"cached_tokens": 0}, 0),
        ({"cached_tokens": 10}, None),
        ({"cached_tokens": -1}, None),
        ({"cached_tokens": True}, None),
        ({"cached_tokens": 4.0}, None),
        ({"cached_tokens": None}, None),
        ({}, None),
        (None, None),
        ([4], None),
    ],
)
def test_cached_tokens_are_part_of_the_prompt(said, cached):
    """More than there were, or anything that is no count, is unknown, never 0."""
    assert cached == usage_of({"prompt_tokens": 9, "prompt_tokens_details": said}).cached_tokens
    assert usage_of({"prompt_tokens_details": said}).cached_tokens in {None, 0}


def test_the_far_sides_own_words_are_kept_as_canonical_json():
    """Whatever it says, in one order; nothing is kept where it said nothing."""
    raw = {"total_tokens": 5, "prompt_tokens": 3, "details": {"z": None, "a": [1.5, "x"]}}
    words = '{"details":{"a":[1.5,"x"],"z":null},"prompt_tokens":3,"total_tokens":5}'

    assert words == usage_of(raw).raw
    assert words == usage_of(dict(reversed(raw.items()))).raw
    assert [None, None, None] == [usage_of(nothing).raw for nothing in (None, {}, "many")]


def test_words_too_long_to_keep_are_dropped_not_cut():
    """Half a JSON object is none; the counts are read all the same."""
    fits = {"prompt_tokens": 3, "x": "y" * (MAX_RAW_BYTES - len('{"prompt_tokens":3,"x":""}'))}
    longer = fits | {"x": fits["x"] + "y"}

    assert MAX_RAW_BYTES == len(usage_of(fits).raw)
    assert Usage(prompt_tokens=3) == usage_of(longer)
    assert Usage(prompt_tokens=3) == usage_of({"prompt_tokens": 3, "x": "é" * 2048})


def test_more_tokens_than_were_allowed_are_unknown():
    """A far side cannot bill what it was not asked for, whole or in chunks."""
    reader = GenerationReader(max_tokens=9)
    reader.feed(piece("a", usage={"prompt_tokens": 3, "completion_tokens": 10**12}))

    assert (3, None) == (reader.usage.prompt_tokens, reader.usage.completion_tokens)
    assert 9 == usage_of({"completion_tokens": 9}, max_tokens=9).completion_tokens
    assert usage_of({"completion_tokens": 10}, max_tokens=9).completion_tokens is None


@pytest.mark.parametrize("payload", [None, [], "text", {"choices": "a"}, {"choices": [{"delta": 3}]}])
def test_other_shapes_are_refused(payload):
    """A surprise is an error of the far side, not of ours."""
    with pytest.raises(RemoteError, match="unknown shape"):
        read(payload)


def b64(*numbers):
    return base64.b64encode(array("f", numbers).tobytes()).decode()


def embedding(*rows):
    return {"data": [{"index": index, "embedding": row} for index, row in rows]}


def test_vectors_are_put_in_order():
    """The index counts, not the place."""
    output = parse_embeddings(embedding((1, [0.0, 1.0]), (0, [1.0, 0.0])), EmbeddingInput(texts=("a", "b")))

    assert [[1.0, 0.0], [0.0, 1.0]] == [list(vector) for vector in output.vectors]


def test_base64_is_read():
    """float32, little-endian, as OpenAI's own client asks."""
    output = parse_embeddings(embedding((0, b64(0.0, 1.0))), EmbeddingInput(texts=("a",)))

    assert [0.0, 1.0] == list(output.vectors[0])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": None},
        {"data": []},
        embedding((0, [1.0]), (1, [1.0])),
        embedding((3, [1.0])),
        embedding((0, [])),
        embedding((0, ["a"])),
        embedding((0, [None])),
        embedding((0, 3)),
        embedding((0, "!!")),
        embedding((0, base64.b64encode(b"abc").decode())),
        embedding((0, b64(float("nan")))),
        embedding((0, [1e300])),
    ],
)
def test_anything_but_a_finite_vector_a_text_is_refused(answer):
    """No count, shape or number slips through."""
    with pytest.raises(RemoteError):
        parse_embeddings(answer, EmbeddingInput(texts=("a",)))
