"""One HTTP request of a wire protocol, ready to be sent. Knows no provider and no socket."""

from __future__ import annotations

import secrets
from typing import Any

from msgspec import Struct

JSON = "application/json"


class Call(Struct, frozen=True):
    """What to post, where, and what to ask for.

    Attributes:
        path: Under the provider's base_url.
        body: Values to send as JSON, or bytes to send as they are.
        content_type: Of the body.
        accept: The media type wanted back; an answer of `image/...` is not read as JSON.
        traceparent: Where it stands in a trace; None sends no such header.
    """

    path: str
    body: dict[str, Any] | bytes
    content_type: str = JSON
    accept: str = JSON
    traceparent: str | None = None


class File(Struct, frozen=True):
    """A file in a form: its bytes, the name it goes by, and its media type."""

    content: bytes
    name: str
    content_type: str


def form_call(path: str, fields: list[tuple[str, str]], file: File) -> Call:
    """A form with one file in the field `file`, as `multipart/form-data` (RFC 7578).

    The boundary is random, so that no value can end its part.
    """
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode("utf-8", "replace")
        for name, value in fields
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file.name}"\r\n'
        f"Content-Type: {file.content_type}\r\n\r\n"
    )
    body = b"".join((*parts, head.encode(), file.content, f"\r\n--{boundary}--\r\n".encode()))
    return Call(path, body, content_type=f"multipart/form-data; boundary={boundary}")
