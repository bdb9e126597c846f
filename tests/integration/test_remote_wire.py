"""The far backend over real sockets: what it sends, and how it reads what comes."""

import asyncio
import gzip
import json
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from backends.errors import (
    RemoteError,
)
from backends.remote.backend import Provider, RemoteBackend
from backends.types import (
    Delta,
    GenerationOutput,
    InferenceResult,
    Usage,
)
from tests.integration.far_side import FarSide, Reply, as_base64, reply_events, reply_json
from tests.integration.remote_peer import CHAT, EMBED, KEY, NEVER_S, failure, listen, peer, piece, target

# --- what is sent -------------------------------------------------------------------------------


def test_a_request_carries_key_agent_and_no_trace_of_us():
    """The key goes into one header; there is no referer and no cookie."""

    async def main():
        async with peer() as (far, backend):
            await backend.infer(EMBED, target(EMBED.task))
            return far.requests[0]

    request = asyncio.run(main())

    assert ("POST", "/v1/embeddings") == (request.method, request.path)
    assert f"Bearer {KEY}" == request.headers["authorization"]
    assert ("nearfar", "application/json") == (request.headers["user-agent"], request.headers["content-type"])
    assert set() == {"referer", "cookie"} & set(request.headers)


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_there_is_no_authorization_header(key, monkeypatch):
    """Not an empty one, and not the ambient token."""
    monkeypatch.setenv("HF_TOKEN", "hf_ambient")

    async def main():
        async with peer(api_key=key) as (far, backend):
            await backend.infer(EMBED, target(EMBED.task))
            await listen(backend)
            return far.requests

    assert [False, False] == ["authorization" in request.headers for request in asyncio.run(main())]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    """A key must not travel to wherever a far side points."""

    async def main():
        async with FarSide() as thief, peer() as (far, backend):
            far.enqueue(reply_json({}, status=status, location=f"{thief.url}/v1/embeddings"))
            error = await failure(backend, EMBED)
            return error, thief.requests

    error, stolen = asyncio.run(main())

    assert (RemoteError, status) == (type(error), error.http_status)
    assert [] == stolen


def test_each_provider_gets_its_own_key_only():
    """Two providers in one backend share nothing."""

    async def main():
        async with FarSide() as one, FarSide() as two:
            backend = RemoteBackend(
                [
                    Provider(name="one", protocol="openai", base_url=f"{one.url}/v1", api_key="key-one"),
                    Provider(name="two", protocol="huggingface", base_url=two.url, api_key="key-two"),
                ]
            )
            for name in ("one", "two"):
                await backend.infer(EMBED, target(EMBED.task, provider=name))
            await backend.aclose()
            return [[request.headers["authorization"] for request in far.requests] for far in (one, two)]

    assert [["Bearer key-one"], ["Bearer key-two"]] == asyncio.run(main())


def test_a_sub_provider_is_asked_through_the_router():
    """`together` is a suffix of the model there; the header says who really served."""

    async def main():
        async with peer(name="huggingface") as (far, backend):
            far.enqueue(reply_json(piece("hi", "stop", model="org/m"), x_inference_provider="groq"))
            result = await backend.infer(CHAT, target(provider="together", model="org/m"))
            plain = await backend.infer(CHAT, target(provider="huggingface", model="org/m"))
            return far.requests, result, plain

    requests, result, plain = asyncio.run(main())

    assert ["org/m:together", "org/m"] == [request.body["model"] for request in requests]
    assert ("groq", "org/m") == (result.provider, result.model)
    assert "huggingface" == plain.provider


def test_loopback_is_never_asked_through_a_proxy(monkeypatch):
    """Proxy variables are for the world outside."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def main():
        async with peer() as (_, backend):
            return await backend.infer(EMBED, target(EMBED.task))

    assert isinstance(asyncio.run(main()), InferenceResult)


# --- what is read -------------------------------------------------------------------------------


def test_a_buffered_answer_says_all_it_knows():
    """Text, usage, price, request id, model and times."""
    answer = {
        "model": "org/m@main",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "estimated_cost": 0.002},
    }

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_json(answer, inference_id="id-9"))
            return await backend.infer(CHAT, target())

    result = asyncio.run(main())

    assert GenerationOutput("hi", "length") == result.output
    raw = '{"completion_tokens":1,"estimated_cost":0.002,"prompt_tokens":3}'
    assert Usage(prompt_tokens=3, completion_tokens=1, declared_cost_usd=0.002, raw=raw) == result.usage
    assert ("peer", "org/m@main", "remote", "id-9") == (
        result.provider,
        result.model,
        result.device,
        result.provider_request_id,
    )
    assert result.timings.service_s > 0


@pytest.mark.parametrize(
    ("said", "served"),
    [
        *[(name, name) for name in ("org/gpt", "gpt", "accounts/far/models/gpt", "gpt-2024", "org/gpt@main")],
        *[(name, "org/gpt") for name in ("./models/gpt", "../gpt", "/srv/gpt", "~/gpt", "C:\\models\\gpt", "C:/gpt")],
        *[(name, "org/gpt") for name in ("models\\gpt", "file:///srv/gpt", "a/../gpt", "secret", "gptsecret", "", 3)],
    ],
)
def test_only_a_name_like_the_asked_one_is_repeated(said, served):
    """A server of a local directory names that directory: nobody else's business."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_json(piece("hi", "stop", model=said)), reply_events(piece("hi", "stop", model=said)))
            at = target(model="org/gpt")
            return await backend.infer(CHAT, at), (await listen(backend, at=at))[0][-1]

    assert [served, served] == [result.model for result in asyncio.run(main())]


def test_usage_beyond_what_was_asked_is_unknown():
    """Buffered and streamed; it would be booked as money."""
    last = piece("hi", "stop", usage={"prompt_tokens": 3, "completion_tokens": 10**12})

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_json(last), reply_events(last))
            return await backend.infer(CHAT, target()), (await listen(backend))[0][-1]

    counts = [(result.usage.prompt_tokens, result.usage.completion_tokens) for result in asyncio.run(main())]
    assert [(3, None)] * 2 == counts


@pytest.mark.parametrize(
    "events",
    [
        [
            piece("a"),
            piece("b", "stop"),
            {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 2}},
            "[DONE]",
        ],
        [piece("a"), piece("b", "stop", usage={"prompt_tokens": 2, "completion_tokens": 2}), "[DONE]"],
        [piece("a"), piece("b", "stop", usage={"prompt_tokens": 2, "completion_tokens": 2})],
    ],
    ids=["usage behind", "usage with the last choice", "no DONE"],
)
def test_a_stream_is_read_as_each_server_sends_it(events):
    """OpenAI's way, others' way, and `transformers serve`, which just ends."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(*events, x_inference_provider="groq"))
            return await listen(backend)

    (*deltas, result), error = asyncio.run(main())

    assert error is None
    assert [Delta("a"), Delta("b")] == deltas
    assert (GenerationOutput("ab", "stop"), "groq") == (result.output, result.provider)
    raw = '{"completion_tokens":2,"prompt_tokens":2}'
    assert Usage(prompt_tokens=2, completion_tokens=2, raw=raw) == result.usage


@pytest.mark.parametrize(
    ("said", "compute_s"), [("0.000001", 0.000001), ("1", None), ("99999.5", None), ("fast", None)]
)
def test_compute_time_is_read_from_the_headers_whole_and_streamed(said, compute_s):
    """Seconds that the exchange can have held; whole numbers are another server's milliseconds."""

    async def main():
        async with peer() as (far, backend):
            last = piece("hi", "stop")
            far.enqueue(reply_json(last, x_compute_time=said), reply_events(last, x_compute_time=said))
            return await backend.infer(CHAT, target()), (await listen(backend))[0][-1]

    assert [compute_s] * 2 == [result.usage.compute_s for result in asyncio.run(main())]


def test_pieces_arrive_while_the_far_side_is_still_writing():
    """The first delta is given before the far side has finished: nothing waits for a full buffer."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_events(piece("a"), then="hang"))
            stream = backend.stream(CHAT, target())
            first = await anext(stream)
            gone = far.gone.is_set()
            await stream.aclose()
            return first, gone

    assert (Delta("a"), False) == asyncio.run(main())


def test_a_character_cut_between_chunks_is_whole_again():
    """UTF-8 does not care for packets."""
    data = f"data: {json.dumps(piece('grüße 雪', 'stop'), ensure_ascii=False)}\r\n\r\n".encode()
    reply = Reply(headers={"content-type": "text/event-stream"}, chunks=tuple(bytes([byte]) for byte in data))

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply)
            return await listen(backend)

    (_, result), _ = asyncio.run(main())

    assert "grüße 雪" == result.output.text


def test_base64_embeddings_are_read():
    """Some servers send them whatever was asked."""

    async def main():
        async with peer() as (far, backend):
            far.enqueue(reply_json({"data": [{"index": 0, "embedding": as_base64([0.0, 2.0])}]}))
            return await backend.infer(EMBED, target(EMBED.task))

    assert [0.0, 1.0] == list(asyncio.run(main()).output.vectors[0])


def test_a_compressed_answer_is_read_all_the_same():
    """It was not asked for, but some proxies compress whatever passes."""
    body = gzip.compress(json.dumps(piece("hi", "stop")).encode())

    async def main():
        async with peer() as (far, backend):
            far.enqueue(Reply(headers={"content-type": "application/json", "content-encoding": "gzip"}, chunks=(body,)))
            return await backend.infer(CHAT, target())

    assert "hi" == asyncio.run(main()).output.text


def test_connections_are_used_again():
    """One connection serves many requests, streams among them, one after the other."""

    async def main():
        async with peer() as (far, backend):
            for _ in range(3):
                await backend.infer(EMBED, target(EMBED.task))
                await listen(backend)
            return far.connections

    assert 1 == asyncio.run(main())


def test_a_connection_is_used_again_by_whoever_leaves_with_the_result() -> None:
    """The router closes the stream at its result; what follows, `[DONE]` a moment later, is read all the same."""
    events = (piece("hi"), piece("", "stop"), {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

    async def main():
        async with peer() as (far, backend):
            for _ in range(3):
                far.enqueue(replace(reply_events(*events, "[DONE]"), between_s=0.01))
                async with aclosing(backend.stream(CHAT, target())) as stream:
                    async for item in stream:
                        if isinstance(item, InferenceResult):
                            break
            return far.connections

    assert 1 == asyncio.run(main())


def test_the_body_of_an_error_is_not_waited_for_long() -> None:
    """The status says enough, and somebody else could be answering by now."""

    async def main():
        async with peer(idle_timeout_s=30) as (far, backend):
            far.enqueue(Reply(status=500, chunks=(b'{"error"',), then="hang"))
            async with asyncio.timeout(10):
                return await failure(backend)

    error = asyncio.run(main())
    assert (500, False) == (error.http_status, error.billed)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 2, "completion_tokens": 2}], ids=["uncounted", "counted"])
@pytest.mark.parametrize(
    ("last", "then"),
    [((), "end"), ((), "cut"), ((), "hang"), (('{"choices": [',), "hang")],
    ids=["end", "cut", "hang", "malformed"],
)
def test_a_finished_answer_needs_nothing_behind_it(last, then, usage):
    """Whatever becomes of the connection then: the text is whole, the usage what came of it, and nobody waits long."""

    async def main():
        async with peer(idle_timeout_s=NEVER_S) as (far, backend):
            said = [piece("a"), piece("b", "stop"), *([{"choices": [], "usage": usage}] if usage else []), *last]
            far.enqueue(reply_events(*said, then=then))
            async with asyncio.timeout(NEVER_S / 2):
                return await listen(backend)

    items, error = asyncio.run(main())

    assert error is None
    assert ("ab", "stop") == (items[-1].output.text, items[-1].output.finish_reason)
    assert (usage or {}).get("completion_tokens") == items[-1].usage.completion_tokens
