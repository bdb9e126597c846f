"""Drawings, photos and recordings over real sockets: what is sent, how answers are read, and what failures cost."""

import asyncio
import base64

import pytest

from backends.errors import (
    ContentRefused,
    InvalidInput,
    Overloaded,
    PaymentRequired,
    RateLimited,
    RemoteError,
    Timeout,
    Unauthorized,
)
from backends.fake.answers import png
from backends.remote import client
from backends.types import (
    DrawingInput,
    InferenceRequest,
    InferenceResult,
    PhotoInput,
    SpeechInput,
    Task,
    Usage,
)
from tests.integration.far_side import Reply, colour, form, reply_json
from tests.integration.remote_peer import KEY, TOO_SOON_S, failure, listen, peer, target
from tests.unit.backends.test_media import wav

SOUND = wav(2.0)
PHOTO = png(3, 3, (1, 2, 3))


def draw(**given) -> InferenceRequest:
    return InferenceRequest(
        task=Task.TEXT_TO_IMAGE, model="m", payload=DrawingInput(**{"prompt": "a red circle"} | given)
    )


CLASSIFY = InferenceRequest(task=Task.IMAGE_CLASSIFICATION, model="m", payload=PhotoInput(images=(PHOTO,)))
HEAR = InferenceRequest(task=Task.AUTOMATIC_SPEECH_RECOGNITION, model="m", payload=SpeechInput(audio=SOUND))


def hub(**given):
    return peer(**{"protocol": "huggingface"} | given)


def asked(request, side, *replies):
    """The far side's requests, and the result."""

    async def main():
        async with side as (far, backend):
            far.enqueue(*replies)
            result = await backend.infer(request, target(request.task))
            return far.requests, result

    return asyncio.run(main())


def refused(request, side, *replies):
    """The error, and how many requests it took."""

    async def main():
        async with side as (far, backend):
            far.enqueue(*replies)
            return await failure(backend, request), len(far.requests)

    return asyncio.run(main())


def image(body: bytes, kind: str = "image/png") -> Reply:
    return Reply(headers={"content-type": kind}, chunks=(body,))


# --- drawings -------------------------------------------------------------------------------------


def test_the_hub_draws_one_image_a_request():
    """PNG is asked for; seeds go up; the pixels that came times the steps that were asked are the usage."""
    requests, result = asked(draw(images=2, seed=5, steps=3, width=8, height=4), hub())

    assert ["/v1/models/m"] * 2 == [request.path for request in requests]
    assert {"image/png"} == {request.headers["accept"] for request in requests}
    assert {f"Bearer {KEY}"} == {request.headers["authorization"] for request in requests}
    assert [5, 6] == [request.body["parameters"]["seed"] for request in requests]
    assert tuple(png(8, 4, colour("a red circle", seed)) for seed in (5, 6)) == result.output.images
    assert (5, 6) == result.output.seeds
    assert Usage(images=2, steps=2 * 3, pixel_steps=2 * 32 * 3) == result.usage
    assert ("peer", "m", "far-1") == (result.provider, result.model, result.provider_request_id)


def test_openai_draws_all_images_in_one_request():
    """Base64 in JSON; what the provider says it cost is kept."""
    answer = {"data": [{"b64_json": base64.b64encode(PHOTO).decode()}] * 2, "usage": {"cost": 0.5}}
    requests, result = asked(draw(images=2), peer(), reply_json(answer))

    assert [("/v1/images/generations", 2)] == [(request.path, request.body["n"]) for request in requests]
    assert (PHOTO, PHOTO) == result.output.images
    assert Usage(images=2, declared_cost_usd=0.5, raw='{"cost":0.5}') == result.usage


@pytest.mark.parametrize(
    ("said", "cost_usd", "raw"),
    [
        ([{"cost": 0.5}, {"cost": 0.25}], 0.75, '[{"cost":0.5},{"cost":0.25}]'),
        ([{"cost": 0.5}, None], None, '[{"cost":0.5},null]'),
        ([None, None], None, None),
        ([{"x": "y" * 3000}] * 2, None, None),
    ],
)
def test_images_drawn_one_a_request_cost_what_all_requests_cost(said, cost_usd, raw):
    """One answer that does not say its cost makes the whole unknown; the words of all are kept, within the bound."""
    picture = base64.b64encode(PHOTO).decode()
    answers = [reply_json({"data": [{"b64_json": picture}], "usage": usage}) for usage in said]
    _, result = asked(draw(images=2), hub(), *answers)

    assert (2, cost_usd, raw) == (result.usage.images, result.usage.declared_cost_usd, result.usage.raw)


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/PNG; q=1", "application/octet-stream"])
def test_a_picture_is_known_by_its_bytes(kind):
    """Some servers name no type."""
    assert (PHOTO,) == asked(draw(), hub(), image(PHOTO, kind))[1].output.images


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (image(b"<html>", "text/html"), "answered text/html instead of image/png"),
        (image(b"", "text/plain"), "answered text/plain instead of image/png"),
        (image(b"\0" * 50), "bytes of no known type"),
        (reply_json({"url": "http://x/y.png"}), "unknown shape"),
    ],
)
def test_what_is_no_picture_is_an_error_of_the_far_side(reply, said):
    """By its type, or by its bytes; it may have charged."""
    error, _ = refused(draw(), hub(), reply)

    assert (RemoteError, None) == (type(error), error.billed)
    assert said in str(error)


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_an_error_under_status_200_is_the_error_it_says(kind):
    """Whatever it calls itself; a refused prompt is propagated."""
    body = b'{"error": {"message": "flagged", "code": "content_policy_violation"}}'

    assert ContentRefused is type(refused(draw(), hub(), image(body, kind))[0])


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (402, PaymentRequired), (422, InvalidInput), (429, RateLimited), (503, Overloaded)],
)
@pytest.mark.parametrize("request_", [draw(), CLASSIFY, HEAR], ids=["drawing", "photo", "recording"])
def test_refusals_go_through_the_one_table(status, kind, request_):
    """As for every other task; nothing was charged."""
    error, _ = refused(request_, hub(), reply_json({"error": "no"}, status=status))

    assert (kind, False) == (type(error), error.billed)


def test_a_failure_after_the_first_image_may_have_been_charged():
    """The class stays, so that it is routed as before; the next images are not asked for."""
    error, requests = refused(
        draw(images=3), hub(), image(PHOTO), reply_json({"error": "slow down"}, status=429, retry_after="7")
    )

    assert (RateLimited, None, 7, 2) == (type(error), error.billed, error.retry_after_s, requests)
    assert RateLimited.billed is False


def test_a_picture_longer_than_the_limit_is_refused(monkeypatch):
    """Whatever the far side announces, it is not kept."""
    monkeypatch.setattr(client, "MAX_BODY_BYTES", 1000)
    error, _ = refused(draw(), hub(), image(PHOTO + bytes(2000)))

    assert "longer than 1000 bytes" in str(error)


def test_a_broken_connection_is_not_half_a_picture():
    """It ends inside the body."""
    half = Reply(headers={"content-type": "image/png"}, chunks=(PHOTO[:30],), then="cut")
    error, _ = refused(draw(), hub(), half)

    assert (RemoteError, None) == (type(error), error.billed)


# --- photos and recordings ------------------------------------------------------------------------


def test_a_photo_is_sent_as_it_is():
    """With its own type, and nothing around it."""
    requests, result = asked(CLASSIFY, hub())

    assert (PHOTO, "image/png") == (requests[0].body, requests[0].headers["content-type"])
    assert "tabby" == result.output.labels[0][0].label
    assert Usage(images=1) == result.usage


def test_photos_with_top_k_are_sent_as_base64():
    """One request each, in order."""
    payload = PhotoInput(images=(PHOTO, png(2, 2, (9, 9, 9))), top_k=2)
    requests, result = asked(InferenceRequest(task=CLASSIFY.task, model="m", payload=payload), hub())

    assert list(payload.images) == [base64.b64decode(request.body["inputs"]) for request in requests]
    assert [2, 2] == [len(labels) for labels in result.output.labels]


def test_a_recording_is_sent_as_it_is_and_measured_by_its_own_header():
    """Text comes back; a server that gives no times has none."""
    requests, result = asked(HEAR, hub())

    assert (SOUND, "audio/wav") == (requests[0].body, requests[0].headers["content-type"])
    assert ("Turn it off.", ()) == (result.output.text, result.output.segments)
    assert Usage(audio_s=2.0) == result.usage


def test_a_recording_for_openai_goes_into_a_form():
    """Segments always, words where they are asked for."""
    payload = SpeechInput(audio=SOUND, timestamps="word", language="en")
    requests, result = asked(InferenceRequest(task=HEAR.task, model="org/m", payload=payload), peer())
    fields = form(requests[0])

    assert "/v1/audio/transcriptions" == requests[0].path
    [(headers, sound)] = fields["file"]
    assert (SOUND, "audio/wav") == (sound, headers["content-type"])
    assert [b"m"] == [content for _, content in fields["model"]]
    assert ("Turn it off.", "en", 1, 3) == (
        result.output.text,
        result.output.language,
        len(result.output.segments),
        len(result.output.words),
    )


def test_the_length_of_another_recording_is_the_far_sides_word():
    """Its header does not tell; without a word nobody knows."""
    request = InferenceRequest(task=HEAR.task, model="m", payload=SpeechInput(audio=b"OggS" + bytes(90)))

    assert 3.0 == asked(request, peer())[1].usage.audio_s
    assert asked(request, hub())[1].usage.audio_s is None


def test_what_is_no_file_of_its_kind_is_never_sent():
    """A clear refusal, and no request."""
    for payload in (PhotoInput(images=(SOUND,)), SpeechInput(audio=PHOTO)):
        request = InferenceRequest(task=CLASSIFY.task, model="m", payload=payload)
        error, requests = refused(request, hub())

        assert (InvalidInput, 0) == (type(error), requests)


# --- streams and waits ----------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [draw(), CLASSIFY, HEAR], ids=["drawing", "photo", "recording"])
def test_a_stream_of_them_is_its_result(request_):
    """No protocol streams them, and no progress is invented."""

    async def main():
        async with hub() as (_, backend):
            return await listen(backend, request_, target(request_.task))

    items, error = asyncio.run(main())

    assert ([InferenceResult], None) == ([type(item) for item in items], error)


def test_drawings_and_recordings_may_take_the_whole_time():
    """A photo is classified at once or not at all."""

    async def main():
        async with hub(first_token_timeout_s=TOO_SOON_S, total_timeout_s=10 * TOO_SOON_S) as (far, backend):
            far.enqueue(*[Reply(status=0, then="hang")] * 3)
            return [await failure(backend, request) for request in (draw(), CLASSIFY, HEAR)]

    errors = asyncio.run(main())

    assert {Timeout} == {type(error) for error in errors}
    limits = ["total limit of 0.5 s", "first-token limit of 0.05 s", "total limit of 0.5 s"]
    assert [True] * 3 == [limit in str(error) for limit, error in zip(limits, errors, strict=True)]
