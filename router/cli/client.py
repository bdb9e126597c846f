"""A small client for `--server`: asks a running Nearfar over its own API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
from pyreqwest.client import SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from backends import outward
from router.errors import RouterError

TIMEOUT = timedelta(minutes=10)


def post(server: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a body, and return the answer's.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    return _ask("POST", server, path, body)


def get(server: str, path: str) -> dict[str, Any]:
    """Fetch a document.

    Raises:
        RouterError: nobody answers there, or the answer is an error.
    """
    return _ask("GET", server, path, None)


def _ask(method: str, server: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    outward.announce(urlsplit(server).hostname or "", urlsplit(server).port)
    try:
        with SyncClientBuilder().timeout(TIMEOUT).follow_redirects(enable=False).build() as client:
            request = client.request(method, server.rstrip("/") + path)
            if body is not None:
                request = request.header("content-type", "application/json").body_bytes(msgspec.json.encode(body))
            response = request.build().send()
            status, answer = response.status, msgspec.json.decode(bytes(response.bytes()))
    except (PyreqwestError, msgspec.DecodeError) as error:
        raise RouterError(f"{server} does not answer as a Nearfar server ({type(error).__name__}).") from error
    if not isinstance(answer, dict):
        raise RouterError(f"{server} does not answer as a Nearfar server.")
    if status >= 400:
        raise RouterError(f"{server} answered {status}: {answer.get('error', {}).get('message', 'no message')}")
    return answer
