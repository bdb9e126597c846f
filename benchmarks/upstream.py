"""A far side that costs next to nothing: answers any request with one static chat completion, in its own process.

`served` starts this or any other server whose first line of output holds its URL; alone it is
`python benchmarks/upstream.py`, on a free port, until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import asyncio
import json
import re
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from interruption import put_off
from load import message_end

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_S, STOP_S = 60.0, 60.0
COMMAND = (sys.executable, str(Path(__file__)))

COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "bench-chat",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It is the one that costs the least and answers in time."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 21, "completion_tokens": 13, "total_tokens": 34},
}
_BODY = json.dumps(COMPLETION).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Upstream(asyncio.Protocol):
    """One keep-alive connection: reads to the end of each request, and looks at nothing in it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._seen, self._transport = b"", transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._seen += data
        while (end := message_end(self._seen)) is not None:
            self._seen = self._seen[end:]
            self._transport.write(ANSWER)


class Served(NamedTuple):
    """A server that runs, and where it listens."""

    process: subprocess.Popen[bytes]
    url: str


@contextmanager
def served(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stderr: IO[str] | None = None,
) -> Iterator[Served]:
    """Start a server and read its URL from its first line; stop it on the way out, gently and then by force.

    It has a process group of its own: Ctrl-C reaches only the benchmark, which then stops its servers in order.

    Raises:
        RuntimeError: it ended, or said nothing for a minute.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with put_off():
            process = subprocess.Popen(
                command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=stderr, process_group=0
            )
        yield Served(process, _announced(process))
    finally:
        if process is not None:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, a minute to drain, SIGKILL. Its exit status; asking again does nothing more."""
    process.terminate()
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _announced(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline().decode() if ready else ""
    found = re.search(r"http://[\w.:\[\]-]+", line)
    if found is None:
        raise RuntimeError(f"{process.args!r} announced no URL but {line!r}, exit status {process.poll()}")
    return found[0]


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve())
