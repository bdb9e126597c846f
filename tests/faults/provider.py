"""A scripted provider on loopback: OpenAI's chat and embeddings, as badly as the asked model's name says.

`cut.streamed.near` is served by the script `cut` of `tests.faults.scripts`; what follows the dot tells apart who asks,
so that each has counts, a breaker and a history of its own. It lives in a thread of its own and keeps a record of what
it saw: `python -m tests.faults.provider` runs it alone, on a free port, until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.faults import scripts
from tests.integration.far_side import FarSide, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.faults.scripts import Script

PATIENCE_S = 20.0


class Provider(FarSide):
    """Answers each request by the script of its model; any thread may look at what it saw."""

    def __init__(self, given: Mapping[str, Script] = scripts.ALL) -> None:
        super().__init__()
        self.departures: list[tuple[Request, float]] = []
        self._scripts = given
        self._asked: Counter[str] = Counter()
        self._news = threading.Condition()

    def reply_to(self, request: Request) -> Reply:
        """What the script says of the n-th request to this model."""
        name = model_of(request)
        number = self._asked[name]
        self._asked[name] += 1
        reply = self._scripts[name.partition(".")[0]](number, request)
        with self._news:
            self._news.notify_all()
        return reply

    def left(self, request: Request) -> None:
        """Keep when the client of this request went away."""
        super().left(request)
        with self._news:
            self.departures.append((request, time.monotonic()))
            self._news.notify_all()

    def asked(self, model: str) -> list[Request]:
        """The requests to this model so far, in the order of their arrival."""
        return [request for request in list(self.requests) if model_of(request) == model]

    def left_at(self, model: str) -> list[float]:
        """When clients of this model went away before their answer was complete."""
        with self._news:
            return [at for request, at in self.departures if model_of(request) == model]

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Return when it is true; looked at whenever a request comes or a client leaves.

        Raises:
            AssertionError: it does not become true.
        """
        with self._news:
            assert self._news.wait_for(true, PATIENCE_S), f"not within {PATIENCE_S:g} s"


def model_of(request: Request) -> str:
    """The model that is asked; nothing where the request is none of ours, such as one that followed a redirect."""
    return str(request.body["model"]) if isinstance(request.body, dict) else ""


def partial_of(request: Request) -> str | None:
    """The beginning of an answer that the request asks to go on from; None where its last message is another's."""
    last: dict[str, Any] = request.body["messages"][-1]
    return last["content"] if last["role"] == "assistant" else None


@contextmanager
def running(provider: Provider) -> Iterator[Provider]:
    """Serve in a thread of its own until the block ends."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        async with provider:
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="provider")
    thread.start()
    try:
        assert ready.wait(PATIENCE_S), "the provider does not listen"
        yield provider
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


async def _serve(provider: Provider) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with provider:
        print(provider.url, flush=True)  # noqa: T201 -- whoever started it reads where it listens
        await stopped.wait()


def main() -> None:
    """Serve until told to stop: `mixed-5` fails 5 % of its requests, and takes its time for the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0,1,5,20", help="percent of requests that fail, one model each")
    parser.add_argument("--median-s", type=float, default=0.15, help="of the time to the first token")
    parser.add_argument("--sigma", type=float, default=0.5, help="of that time's logarithm")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    pace = scripts.Pace(median_s=given.median_s, sigma=given.sigma, seed=given.seed)
    shares = [float(text) for text in given.shares.split(",")]
    asyncio.run(_serve(Provider({f"mixed-{share:g}": scripts.mixed(share / 100, pace) for share in shares})))


if __name__ == "__main__":
    main()
