"""Batches at a running server, over its own API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, BinaryIO

from router.batches.types import MOVES
from router.cli.client import download, get, post, upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK_S = 0.5
ENDED = frozenset(state for state, others in MOVES.items() if not others)
PAGE = 100


async def run(server: str, file: Path, wanted: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Send the file, make a batch of it, and watch; its states, until it has ended."""
    sent = await asyncio.to_thread(upload, server, "/v1/files", file, {"purpose": "batch"})
    told = await asyncio.to_thread(post, server, "/v1/batches", wanted | {"input_file_id": sent["id"]})
    yield told
    while told["status"] not in ENDED:
        await asyncio.sleep(LOOK_S)
        told = await asyncio.to_thread(get, server, f"/v1/batches/{told['id']}")
        yield told


class Reader:
    """Looks at a server's batches. Everything raises `RouterError` where the server refuses or is not there."""

    def __init__(self, server: str) -> None:
        self._server = server

    def every(self) -> list[dict[str, Any]]:
        """All batches, newest first."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            after = f"&after={found[-1]['id']}" if found else ""
            page = get(self._server, f"/v1/batches?limit={PAGE}{after}")
            found += page["data"]
            more = page["has_more"]
        return found

    def one(self, batch_id: str) -> dict[str, Any]:
        """One batch."""
        return get(self._server, f"/v1/batches/{batch_id}")

    def copy(self, file_id: str, target: BinaryIO) -> None:
        """Write a file's content."""
        download(self._server, f"/v1/files/{file_id}/content", target)

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Begin no further line of it."""
        return post(self._server, f"/v1/batches/{batch_id}/cancel", {})
