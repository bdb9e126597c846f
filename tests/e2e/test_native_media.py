"""The native route with images and speech: shapes, streams, refusals, files that are none."""

from __future__ import annotations

import base64
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.media import IMAGE, PHOTO, SPEECH, base64_of, events, png_size, send, wav

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.conftest import Server

JSON = {"content-type": "application/json"}
FAILING = """
[[models]]
id = "test/broken"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 6, fail_after_tokens = 3 }
  price = { per_request_usd = 0.0 }
[[models]]
id = "test/mute"
task = "automatic-speech-recognition"
  [[models.candidates]]
  backend = "fake"
  script = { fail_after_tokens = 0 }
  price = { per_request_usd = 0.0 }
"""

SLOW = """
[[models]]
id = "test/slow"
task = "text-to-image"
  [[models.candidates]]
  backend = "fake"
  script = { tokens = 1000, per_token_ms = 100 }
  price = { per_request_usd = 0.0 }
"""


def infer(server: Server, model: str, inputs: object, *, stream: bool = False, **parameters: object) -> Any:
    body = {"model": model, "inputs": inputs, "parameters": parameters, "stream": stream}
    return server.post("/v1/inference", body)


def streamed(server: Server, model: str, inputs: object, **parameters: object) -> list[tuple[str, Any]]:
    body = {"model": model, "inputs": inputs, "parameters": parameters, "stream": True}
    status, headers, answer = send(server, "/v1/inference", json.dumps(body).encode(), JSON)

    assert (200, True) == (status, headers["content-type"].startswith("text/event-stream")), answer
    assert headers["x-nearfar-decision-id"]
    return [(name, json.loads(data)) for name, data in events(answer)]


def test_a_prompt_is_drawn(near: Server) -> None:
    """One image is an object, several are a list; each is a PNG of the size asked for, with the seed that makes it."""
    one = infer(near, IMAGE, "a red circle", seed=7, width=24, height=16)
    several = infer(near, IMAGE, "a red circle", seed=7, width=24, height=16, n=3).body["result"]

    assert 200 == one.status, one.body
    assert {"image", "seed"} == set(one.body["result"])
    assert (24, 16) == png_size(base64.b64decode(one.body["result"]["image"]))
    assert [7, 8, 9] == [image["seed"] for image in several]
    assert one.body["result"] == several[0]
    assert 1 == one.body["usage"]["images"]


def test_a_drawing_streams_its_steps_and_then_itself(near: Server) -> None:
    """The stream's result is the buffered one."""
    told = streamed(near, IMAGE, "a red circle", seed=7, steps=5)
    whole = infer(near, IMAGE, "a red circle", seed=7, steps=5).body["result"]

    assert [("progress", {"step": step, "steps": 5}) for step in range(1, 6)] == told[:-1]
    assert ("result", True, whole) == (told[-1][0], told[-1][1]["success"], told[-1][1]["result"])


def test_photos_are_classified_one_or_many(near: Server) -> None:
    """A list of files gives a list of answers, a data URL is as good as base64, and `top_k` cuts."""
    one, two = base64_of(b"a photo"), base64_of(b"another")
    alone = infer(near, PHOTO, one).body["result"]
    listed = infer(near, PHOTO, [f"data:image/png;base64,{one}", two]).body["result"]
    cut = infer(near, PHOTO, one, top_k=1).body["result"]

    assert alone == listed[0] != listed[1]
    assert alone[:1] == cut
    assert all(set(label) == {"label", "score"} for label in alone)


def test_a_recording_is_written_down(near: Server) -> None:
    """Text, language, and chunks with times: segments, or words where they are asked for; and its seconds are usage."""
    said = infer(near, SPEECH, base64_of(wav(0.5))).body
    words = infer(near, SPEECH, base64_of(wav(0.5)), timestamps="word").body["result"]

    assert {"text", "chunks", "language"} == set(said["result"])
    assert [said["result"]["text"]] == [chunk["text"] for chunk in said["result"]["chunks"]]
    assert [0.0, 0.5] == said["result"]["chunks"][0]["timestamp"]
    assert words["text"].split() == [chunk["text"].strip() for chunk in words["chunks"]]
    assert pytest.approx(0.5) == said["usage"]["audio_s"]


def test_a_recording_streams_its_segments(near: Server) -> None:
    """Deltas, then the result, which holds all of their text."""
    told = streamed(near, SPEECH, base64_of(wav()))

    assert {"delta"} == {name for name, _ in told[:-1]}
    assert "result" == told[-1][0]
    assert "".join(data["text"] for _, data in told[:-1]).split() == told[-1][1]["result"]["text"].split()


def test_a_stream_that_breaks_says_so(serve: Callable[..., Server]) -> None:
    """After its first piece in band, as an error event and no result; before it, with a status."""
    server = serve(FAILING)
    told = streamed(server, "test/broken", "x")
    refused = infer(server, "test/mute", base64_of(wav()), stream=True)

    assert ["progress"] * 3 + ["error"] == [name for name, _ in told]
    assert (False, "upstream_error") == (told[-1][1]["success"], told[-1][1]["error"]["type"])
    assert (502, False) == (refused.status, refused.body["success"])


def test_a_dry_run_of_a_drawing_shows_its_slate(near: Server) -> None:
    """Nothing is drawn."""
    slate = near.post("/v1/route", {"model": IMAGE, "inputs": "x", "parameters": {"steps": 3}}).body

    assert (False, "fake") == (slate["executed"], slate["candidates"][0]["backend"])


def test_a_sender_that_goes_away_stops_its_drawing(serve: Callable[..., Server]) -> None:
    """After the first step on the native route and on OpenAI's: the rows say `cancelled`."""
    server = serve(SLOW)
    for path, body in (
        ("/v1/inference", {"model": "test/slow", "inputs": "x", "stream": True}),
        ("/v1/images/generations", {"model": "test/slow", "prompt": "x", "stream": True}),
    ):
        host, port = server.url.removeprefix("http://").split(":")
        content = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
            while b"step" not in connection.recv(4096):
                assert server.process.poll() is None
    ended = "select status from decisions where status <> 'open'"
    while len(statuses := server.sql(ended)) < 2:
        assert server.process.poll() is None

    assert [["cancelled"], ["cancelled"]] == statuses


REFUSALS: list[tuple[str, object, dict[str, object], str | None, str]] = [
    (IMAGE, ["a", "b"], {}, "inputs", "one text"),
    (IMAGE, "", {}, "inputs", "empty"),
    (IMAGE, "x", {"width": 10**7}, "parameters.width", "8192"),
    (IMAGE, "x", {"guidance_scale": -1}, "parameters.guidance_scale", "0"),
    (IMAGE, "x", {"n": 100}, "parameters.n", "10"),
    (IMAGE, "x", {"colour": 1}, "parameters.colour", "negative_prompt"),
    (PHOTO, "not base64!", {}, "inputs", "base64"),
    (PHOTO, [base64_of(b"x"), 3], {}, "inputs.1", "base64"),
    (PHOTO, "https://example.org/cat.png", {}, "inputs", "not fetched"),
    (PHOTO, base64_of(b"x"), {"top_k": 0}, "parameters.top_k", "1"),
    (SPEECH, [base64_of(b"x")], {}, "inputs", "base64"),
    (SPEECH, base64_of(b"x"), {"timestamps": "letter"}, "parameters.timestamps", "segment, word"),
    (SPEECH, base64_of(b"x"), {"language": "klingon"}, "parameters.language", "regex"),
]


@pytest.mark.parametrize(("model", "inputs", "parameters", "param", "said"), REFUSALS)
def test_bad_media_requests_are_refused_by_name(
    near: Server, model: str, inputs: object, parameters: dict[str, object], param: str | None, said: str
) -> None:
    """400 with the field and the alternatives, and a row in the log."""
    answer = infer(near, model, inputs, **parameters)

    assert 400 == answer.status, answer.body
    assert param == answer.body["error"]["param"]
    assert said in answer.body["error"]["message"]
    assert near.get(f"/v1/decisions/{answer.body['error']['decision_id']}").body["status"] == "refused"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(near: Server, number: str) -> None:
    """JSON has no word for them, whatever some encoders write."""
    body = f'{{"model":"{IMAGE}","inputs":"x","parameters":{{"guidance_scale":{number}}}}}'.encode()

    assert 400 == near.post("/v1/inference", body).status


def test_a_file_beyond_the_limit_is_refused_with_the_limit(near: Server) -> None:
    """413, and the message says which setting, and its value."""
    answer = infer(near, SPEECH, base64_of(bytes(9_000_000)))

    assert 413 == answer.status
    assert "server.max_body_bytes" in answer.body["error"]["message"]
    assert "10000000" in answer.body["error"]["message"]
