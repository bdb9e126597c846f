"""The far places of `policy_regret.py` as a real server: OpenAI's chat completions after the seconds of its world.

`python benchmarks/regret_far.py TRACE.json` announces its URL; under `/PLACE/v1` it answers as that place. The world's
file holds the requests of the trace, each place's seconds for each of them, and the prices. A request says which one it
is by the number in its prompt, so a chooser cannot tell; how long the answer will be, only this side knows.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from load import message_end

if TYPE_CHECKING:
    from regret_world import World

NUMBER = re.compile(rb"\[#(\d+)\]")


def written(world: World, path: Path) -> None:
    """Write what this server needs of a world."""
    seconds = {
        place.name: {
            request.number: [world.service_s(place, index), request.input_tokens, request.output_tokens]
            for index, request in enumerate(world.requests)
        }
        for place in world.places
        if not place.near
    }
    path.write_text(json.dumps(seconds), encoding="utf-8")


class Connection(asyncio.Protocol):
    """One keep-alive connection; answers each request when its seconds are over."""

    def __init__(self, seconds: dict[str, dict[str, list[float]]]) -> None:
        self._seconds, self._seen = seconds, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Begin to answer a request that is complete."""
        self._seen += data
        while (end := message_end(self._seen)) is not None:
            message, self._seen = self._seen[:end], self._seen[end:]
            place = message.split(b" ", 2)[1].split(b"/")[1].decode()
            found = NUMBER.search(message)
            if found is None:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                continue
            taken_s, read, said = self._seconds[place][found[1].decode()]
            asyncio.get_running_loop().call_later(taken_s, self._answer, int(read), int(said))

    def _answer(self, read: int, said: int) -> None:
        if self._transport.is_closing():
            return
        body = json.dumps(_completion(read, said)).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _completion(read: int, said: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "word " * said}
    usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


async def _serve(seconds: dict[str, dict[str, list[float]]]) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(seconds), "127.0.0.1", 0, backlog=1024)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print("http://{}:{}".format(*server.sockets[0].getsockname()), flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
