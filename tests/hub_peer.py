"""A model hub on loopback, as far as its client asks it for models: lists, single files in whole or in ranges."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

SHA = "0123456789abcdef0123456789abcdef01234567"


def safetensors(count: int, dtype: str = "F32", size: int = 4) -> bytes:
    """A whole safetensors file with one tensor of zeros."""
    header = json.dumps({"weight": {"dtype": dtype, "shape": [count], "data_offsets": [0, count * size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(count * size)


class Hub(ThreadingHTTPServer):
    """Offers `models`: by id the files, by name; `cards` holds what else their list says."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.cards: dict[str, dict[str, Any]] = {}
        self.sizes: dict[str, int] = {}  # what a list says of a file, where that is not the truth
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self) -> list[str]:
        """The files that were asked for, headers of weights (ranges) not counted."""
        return [path for method, path in self.asked if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if listed := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            self._send(self._card(listed[1]), body=body)
        elif tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
            self._send(self._tree(tree[1]), body=body)
        elif file := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self._file(file[1], file[2], body=body)
        else:
            self._send(None, body=body)

    def _card(self, model: str) -> bytes | None:
        files = self.server.models.get(model)
        if files is None:
            return None
        siblings = [
            {"rfilename": name, "size": self.server.sizes.get(name, len(content))} for name, content in files.items()
        ]
        return json.dumps({"id": model, "sha": SHA, "siblings": siblings} | self.server.cards.get(model, {})).encode()

    def _tree(self, model: str) -> bytes:
        files = self.server.models[model]
        return json.dumps(
            [{"type": "file", "path": n, "size": len(c), "oid": _etag(c)} for n, c in files.items()]
        ).encode()

    def _file(self, model: str, name: str, *, body: bool) -> None:
        content = self.server.models.get(model, {}).get(name)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if content is None or not wanted:
            if body:
                self.server.asked.append(("GET", name))
            self._send(content, body=body)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        self.server.asked.append(("RANGE", name))
        self._send(content[start : end + 1], body=body, span=f"bytes {start}-{end}/{len(content)}", whole=content)

    def _send(self, content: bytes | None, *, body: bool, span: str = "", whole: bytes | None = None) -> None:
        answer = json.dumps({"error": "Repository not found"}).encode() if content is None else content
        self.send_response(404 if content is None else 206 if span else 200)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        if span:
            self.send_header("content-range", span)
        self.send_header("etag", f'"{_etag(whole if whole is not None else answer)}"')
        self.send_header("x-repo-commit", SHA)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if body:
            self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quiet: the tests look at `asked`."""


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers until the end of the block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
