"""How long a body may take: whoever sends on has time, and whoever does not has none."""

import asyncio

import pytest

from router.errors import BodyTimeout
from router.http.door import SLOWEST_BYTES_S, Door

LIMIT_S = 0.2


async def read(messages, pauses_s) -> int:
    """How many bytes an application behind the door reads of such a body, each piece after its pause."""
    coming = iter(zip(messages, pauses_s, strict=True))
    sizes = []

    async def receive():
        message, pause_s = next(coming)
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": message, "more_body": message != b""}

    async def app(_scope, receive, _send) -> None:
        while piece := (await receive()).get("body"):
            sizes.append(len(piece))

    await Door(app, LIMIT_S)({"type": "http", "path": "/v1/files", "state": {}}, receive, None)
    return sum(sizes)


def test_a_large_body_has_the_time_that_its_size_needs() -> None:
    """A second more for each 64 KiB: a file comes in over a line that takes longer than the limit."""
    large = bytes(SLOWEST_BYTES_S * 60)

    assert len(large) == asyncio.run(read([large, b""], [0, 2 * LIMIT_S]))


def test_a_byte_now_and_then_gains_no_time() -> None:
    """What trickles is refused as what does not come at all."""
    with pytest.raises(BodyTimeout, match=r"0\.2 s, and 1 s for each 64 KiB"):
        asyncio.run(read([b"x"] * 1000, [LIMIT_S / 10] * 1000))
