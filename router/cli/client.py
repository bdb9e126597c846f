"""A small client for `--server`: asks a running Nearfar over its own API, with the key in NEARFAR_API_KEY."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

import msgspec
from pyreqwest.client import SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.multipart import FormBuilder

from backends import outward
from router.errors import RouterError
from router.settings import api_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyreqwest.client import SyncClient

TIMEOUT = timedelta(minutes=10)


def post(server: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a body, and return the answer's.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    return send(server, "POST", path, body)


def get(server: str, path: str) -> dict[str, Any]:
    """Fetch a document.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    return send(server, "GET", path)


def send(server: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask by any method, with a body or without.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    with _exchanging(server) as client:
        request = client.request(method, server.rstrip("/") + path)
        if body is not None:
            request = request.header("content-type", "application/json").body_bytes(msgspec.json.encode(body))
        response = request.build().send()
        return _told(server, response.status, bytes(response.bytes()))


def upload(server: str, path: str, file: Path, fields: dict[str, str]) -> dict[str, Any]:
    """Send a file in a form, from disk as it goes out, and return the answer's body.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    form = FormBuilder()
    for name, value in fields.items():
        form = form.text(name, value)
    with _exchanging(server) as client:
        response = client.post(server.rstrip("/") + path).multipart(form.sync_file("file", file)).build().send()
        return _told(server, response.status, bytes(response.bytes()))


def download(server: str, path: str, target: BinaryIO) -> None:
    """Write what is there, as it comes in.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    with _exchanging(server) as client, client.get(server.rstrip("/") + path).build_streamed() as response:
        if response.status >= 400:
            _told(server, response.status, bytes(response.bytes()))
        while chunk := response.body_reader.read_chunk():
            target.write(chunk)


@contextmanager
def _exchanging(server: str) -> Iterator[SyncClient]:
    outward.announce(urlsplit(server).hostname or "", urlsplit(server).port)
    builder, key = SyncClientBuilder().timeout(TIMEOUT).follow_redirects(enable=False), api_key()
    if key is not None:
        builder = builder.default_headers({"authorization": f"Bearer {key}"})
    try:
        with builder.build() as client:
            yield client
    except PyreqwestError as error:
        raise RouterError(f"{server} does not answer as a Nearfar server ({type(error).__name__}).") from error


def _told(server: str, status: int, body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise RouterError(f"{server} does not answer as a Nearfar server ({type(error).__name__}).") from error
    if not isinstance(answer, dict):
        raise RouterError(f"{server} does not answer as a Nearfar server.")
    if status >= 400:
        said = answer.get("error")
        message = said.get("message") if isinstance(said, dict) else said
        raise RouterError(f"{server} answered {status}: {message or 'no message'}")
    return answer
