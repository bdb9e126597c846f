"""What a request asks beyond text, in a whole house: who cannot is no candidate, and nobody goes on with half of it."""

import asyncio

from msgspec.structs import replace

from backends.extras import Extras
from backends.types import EmbeddingInput, GenerationInput, InferenceRequest, Message, Task
from router.errors import NoCandidate
from router.sections import AliasEntry
from router.sizes import size_of
from tests.unit.router.house import CHAT, VECTORS, chat, chat_model, embed, fake, opened, vector_model

TOOLS = Extras(fields={"tools": [{"type": "function", "function": {"name": "f"}}]})


def asking(extras, **given):
    call = chat(**given)
    return replace(call, request=replace(call.request, payload=replace(call.request.payload, extras=extras)))


def test_who_cannot_is_rejected_by_the_fields_name():
    """The refusal names the field, for clients and in words; it has its row."""

    async def run():
        async with opened(chat_model(fake("a"), fake("b"))) as house:
            outcome = await house.dispatcher.infer(asking(TOOLS))
            return outcome, await house.row(outcome.decision_id)

    outcome, row = asyncio.run(run())

    assert isinstance(outcome.error, NoCandidate)
    assert "tools" == outcome.error.param
    assert {"unsupported"} == {refusal.code for refusal in outcome.error.rejections}
    assert "cannot do what is asked by: tools" in str(outcome.error)
    assert "refused" == row["status"]


def test_token_ids_need_who_can_read_them():
    """A candidate that reads text alone is no candidate for numbers."""

    async def run():
        async with opened(vector_model(fake("a"))) as house:
            call = embed()
            payload = EmbeddingInput(tokens=((1, 2),))
            return await house.dispatcher.infer(replace(call, request=replace(call.request, payload=payload)))

    assert "input" == asyncio.run(run()).error.param


def test_a_stream_of_extras_is_never_gone_on_with():
    """An alias with fallbacks goes on with a text that breaks; with anything else it does not, whoever asks for it."""

    async def run():
        alias = AliasEntry(name="both", models=(CHAT,), fallbacks=("test/other",))
        models = (chat_model(fake("a")), chat_model(fake("b"), model="test/other"))
        async with opened(*models, aliases=(alias,)) as house:
            given = {"model": "both", "stream": True}
            calls = [chat(**given), asking(TOOLS, **given), asking(TOOLS, on_stream_failure="continue", **given)]
            held = asking(TOOLS, on_stream_failure="hold", **given)
            return [(await house.dispatcher.plan(call)).on_stream_failure for call in (*calls, held)]

    assert ["continue", "error", "error", "hold"] == asyncio.run(run())


def test_sizes_count_what_is_asked_beyond_text():
    """Tools are read like text, each answer is written, token ids are counted as they are."""

    def size(payload, task=Task.TEXT_GENERATION):
        return size_of(InferenceRequest(task=task, model=VECTORS, payload=payload), 512)

    plain = GenerationInput(messages=(Message("user", "hi"),), max_tokens=10)
    many, tools = replace(plain, extras=Extras(fields={"n": 3})), replace(plain, extras=TOOLS)

    assert (10, 30) == (size(plain).max_output_tokens, size(many).max_output_tokens)
    assert 30 == size(many).output_tokens
    assert size(tools).input_tokens > size(plain).input_tokens + 10
    ids = EmbeddingInput(tokens=(tuple(range(600)), (1, 2)))
    assert (2, 602) == (size(ids, Task.FEATURE_EXTRACTION).items, size(ids, Task.FEATURE_EXTRACTION).input_tokens)
    assert 514 == size(replace(ids, truncate=True), Task.FEATURE_EXTRACTION).input_tokens
