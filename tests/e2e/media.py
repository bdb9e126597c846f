"""Files for the tests that send some, and what comes back when they are sent as they are."""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import struct
import wave
from typing import TYPE_CHECKING

from tests.e2e.conftest import START_S

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

IMAGE, PHOTO, SPEECH = "fake/image", "fake/photo", "fake/speech"
SHAPES, EFFICIENTNET, WHISPER = "nearfar/shapes-64", "google/efficientnet-lite0", "Systran/faster-whisper-tiny.en"


def wav(seconds: float = 0.5) -> bytes:
    """Silence, 16 kHz mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(2 * int(16_000 * seconds)))
    return file.getvalue()


def base64_of(file: bytes) -> str:
    return base64.b64encode(file).decode()


def png_size(file: bytes) -> tuple[int, int]:
    """Width and height that the file says it has; fails when it is no PNG."""
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", file, 16)
    return width, height


def send(server: Server, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body of a POST with exactly these headers; no content type unless it is one."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=START_S)
    with contextlib.closing(connection):
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def events(body: bytes) -> list[tuple[str, str]]:
    """The name and the data of each server-sent event; comments are left out."""
    found = []
    for block in body.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((lines.get("event", ""), lines["data"]))
    return found
