"""Where a message ends is known whether it says its length or comes in chunks, however it is cut on its way."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import load

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;name=value\r\n0\r\n\r\nworld\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("message", [SIZED, EMPTY, CHUNKED])
def test_a_message_ends_with_its_last_byte(message):
    """No sooner, also where its body looks like an end; and what follows is the next one's."""
    cut = [load.message_end(message[:length]) for length in range(len(message))]

    assert [None] * len(message) == cut
    assert len(message) == load.message_end(message)
    assert len(message) == load.message_end(message + SIZED)
