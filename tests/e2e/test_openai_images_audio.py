"""OpenAI's own client, unmodified, drawing and writing down speech."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.media import IMAGE, SPEECH, png_size, send, wav

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Server

BROKEN = """
[[models]]
id = "test/broken"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 6, fail_after_tokens = 3 }
  price = { per_request_usd = 0.0 }
"""


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)


@pytest.fixture
def client(near: Server) -> Iterator[openai.OpenAI]:
    with client_of(near) as found:
        yield found


def test_images_are_drawn(client: openai.OpenAI) -> None:
    """The size and the number asked for, as base64 PNG, with our extras beside OpenAI's fields."""
    answer = client.images.generate(
        model=IMAGE,
        prompt="a red circle",
        n=2,
        size="32x16",
        response_format="b64_json",
        quality="auto",
        user="someone",
        extra_body={"seed": 7, "steps": 3, "negative_prompt": "blue"},
    )

    assert answer.data is not None
    assert [(32, 16)] * 2 == [png_size(base64.b64decode(image.b64_json or "")) for image in answer.data]
    assert ("32x16", "png") == (answer.size, answer.output_format)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens > 0


def test_what_is_left_out_is_the_models_own_choice(client: openai.OpenAI) -> None:
    """No size, no number, no format: one image."""
    answer = client.images.generate(model=IMAGE, prompt="a red circle", size="auto")

    assert answer.data is not None
    assert 1 == len(answer.data)
    assert answer.size == "x".join(map(str, png_size(base64.b64decode(answer.data[0].b64_json or ""))))


def test_a_streamed_image_is_the_buffered_one(client: openai.OpenAI) -> None:
    """One event with the whole image; steps go by as comments."""
    extra = {"seed": 7, "steps": 3}
    whole = client.images.generate(model=IMAGE, prompt="a red circle", extra_body=extra)
    [event] = client.images.generate(model=IMAGE, prompt="a red circle", stream=True, extra_body=extra)

    assert "image_generation.completed" == event.type
    assert whole.data is not None
    assert whole.data[0].b64_json == event.b64_json
    assert whole.size == event.size


def test_a_drawing_that_breaks_raises_in_the_client(serve: Callable[..., Server]) -> None:
    """After its first steps in band, before them with a status; never an image."""
    with client_of(serve(BROKEN)) as client:
        stream = client.images.generate(model="test/broken", prompt="x", stream=True)
        with pytest.raises(openai.APIError, match="RemoteError"):
            list(stream)
        with pytest.raises(openai.InternalServerError):
            client.images.generate(model="test/broken", prompt="x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response_format", "url"),
        ("output_format", "webp"),
        ("output_compression", 50),
        ("partial_images", 2),
        ("quality", "hd"),
        ("style", "vivid"),
        ("background", "transparent"),
        ("moderation", "low"),
        ("size", "big"),
        ("size", "99999x1"),
        ("n", 11),
    ],
)
def test_what_is_not_served_of_images_is_refused_by_name(client: openai.OpenAI, field: str, value: object) -> None:
    """The client's own exception names the field."""
    with pytest.raises(openai.BadRequestError) as refusal:
        client.images.generate(prompt="x", model=IMAGE, **{field: value})

    assert field == refusal.value.param
    assert field in refusal.value.message


def test_an_empty_prompt_and_an_unknown_field_are_refused(client: openai.OpenAI) -> None:
    """As everywhere."""
    with pytest.raises(openai.BadRequestError, match="prompt"):
        client.images.generate(prompt=" ", model=IMAGE)
    with pytest.raises(openai.BadRequestError, match="colour"):
        client.images.generate(prompt="x", model=IMAGE, extra_body={"colour": 1})
    with pytest.raises(openai.BadRequestError, match="does automatic-speech-recognition"):
        client.images.generate(prompt="x", model=SPEECH)


def test_a_recording_is_written_down(client: openai.OpenAI) -> None:
    """As JSON, with the recording's seconds as usage; the client's file may be bytes or a tuple with a type."""
    plain = client.audio.transcriptions.create(model=SPEECH, file=("a.wav", wav(0.5)))
    typed = client.audio.transcriptions.create(
        model=SPEECH, file=("a.wav", wav(0.5), "audio/wav"), language="en", temperature=0, response_format="json"
    )

    assert plain.text == typed.text != ""
    assert plain.usage is not None
    assert pytest.approx(0.5) == plain.usage.seconds


def test_every_format_carries_the_same_words(client: openai.OpenAI) -> None:
    """text, srt and vtt are text for the client; verbose JSON has segments, and words on request."""
    file = ("a.wav", wav(0.5))
    text = client.audio.transcriptions.create(model=SPEECH, file=file, response_format="text")
    srt = client.audio.transcriptions.create(model=SPEECH, file=file, response_format="srt")
    vtt = client.audio.transcriptions.create(model=SPEECH, file=file, response_format="vtt")
    verbose = client.audio.transcriptions.create(model=SPEECH, file=file, response_format="verbose_json")
    words = client.audio.transcriptions.create(
        model=SPEECH, file=file, response_format="verbose_json", timestamp_granularities=["word"]
    )

    assert text == verbose.text + "\n"
    assert f"1\n00:00:00,000 --> 00:00:00,500\n{verbose.text}\n" == srt
    assert f"WEBVTT\n\n00:00:00.000 --> 00:00:00.500\n{verbose.text}\n" == vtt
    assert pytest.approx(0.5) == verbose.duration
    assert verbose.segments is not None
    assert [verbose.text] == [segment.text for segment in verbose.segments]
    assert verbose.words is None
    assert words.segments is None
    assert words.words is not None
    assert verbose.text.split() == [word.word for word in words.words]


def test_a_streamed_transcript_is_the_buffered_one(client: openai.OpenAI) -> None:
    """Deltas as segments are understood, then the whole text."""
    whole = client.audio.transcriptions.create(model=SPEECH, file=("a.wav", wav()))
    told = list(client.audio.transcriptions.create(model=SPEECH, file=("a.wav", wav()), stream=True))

    assert {"transcript.text.delta"} == {event.type for event in told[:-1]}
    assert "transcript.text.done" == told[-1].type
    assert whole.text == told[-1].text


def test_routing_goes_along_in_the_form(client: openai.OpenAI) -> None:
    """The client writes nested fields with brackets; JSON in one field works too."""
    file = ("a.wav", wav())
    with pytest.raises(openai.UnprocessableEntityError):
        client.audio.transcriptions.create(model=SPEECH, file=file, extra_body={"routing": {"backend": "local"}})
    with pytest.raises(openai.UnprocessableEntityError):
        client.audio.transcriptions.create(model=SPEECH, file=file, extra_body={"routing": '{"backend": "local"}'})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": 0.7}, "temperature"),
        ({"prompt": "names: Ada"}, "prompt"),
        ({"include": ["logprobs"]}, "include"),
        ({"language": "English"}, "language"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"stream": True, "response_format": "srt"}, "stream"),
        ({"extra_body": {"colour": "red"}}, "colour"),
        ({"extra_body": {"temperature": "nan"}}, "temperature"),
    ],
)
def test_what_is_not_served_of_speech_is_refused_by_name(
    client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    """The client's own exception names the field."""
    with pytest.raises(openai.BadRequestError) as refusal:
        client.audio.transcriptions.create(**{"model": SPEECH, "file": ("a.wav", wav())} | fields)

    assert param == refusal.value.param


def test_a_form_that_lacks_its_file_or_is_none_is_refused(near: Server, client: openai.OpenAI) -> None:
    """Each in words that say what is missing; every answer has its row."""
    kind = {"content-type": "multipart/form-data; boundary=cut"}
    model = f'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\n{SPEECH}\r\n--cut--\r\n'.encode()
    for body, headers, status, said in (
        (model, kind, 400, "file"),
        (b"--cut", kind, 400, "cannot be read"),
        (b"{}", {"content-type": "application/json"}, 415, "multipart/form-data"),
        (b"RIFF", {"content-type": "audio/wav"}, 415, "multipart/form-data"),
    ):
        code, told, answer = send(near, "/v1/audio/transcriptions", body, headers)

        assert (status, True) == (code, said in json.loads(answer)["error"]["message"]), answer
        assert "x-nearfar-decision-id" in told
    with pytest.raises(openai.BadRequestError, match="file"):
        client.audio.transcriptions.create(model=SPEECH, file=("a.wav", b""))


def test_a_recording_beyond_the_limit_is_refused_with_the_limit(client: openai.OpenAI) -> None:
    """413 reaches the client although it has not sent everything when the answer is clear."""
    with pytest.raises(openai.APIStatusError, match="10000000") as refusal:
        client.audio.transcriptions.create(model=SPEECH, file=("a.wav", bytes(11_000_000)))

    assert 413 == refusal.value.status_code


@pytest.mark.parametrize(
    "page",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
    ids=str,
)
def test_a_web_page_cannot_upload_through_a_browser(near: Server, page: dict[str, str]) -> None:
    """A form is what a browser sends unasked: its origin gives it away, and the refusal has its row."""
    form = f'--cut\r\nContent-Disposition: form-data; name="model"\r\n\r\n{SPEECH}\r\n--cut--\r\n'.encode()
    headers = {"content-type": "multipart/form-data; boundary=cut"} | page
    status, told, _ = send(near, "/v1/audio/transcriptions", form, headers)

    assert 403 == status
    assert near.get(f"/v1/decisions/{told['x-nearfar-decision-id']}").body["status"] == "refused"
