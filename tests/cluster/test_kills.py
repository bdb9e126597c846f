"""Two routers, the owner of their state, an engine of two servers and a shared folder: kill -9 of any, under load."""

from __future__ import annotations

import math
import signal
from collections import Counter
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import openai
import pytest

from router.shipping.checking import checked
from router.shipping.places import place_of
from router.shipping.reading import Segments
from tests.cluster.nodes import FAR_AND_NEAR, MODEL, budget
from tests.cluster.test_state import CALLERS, Load, spent
from tests.e2e import test_engines
from tests.e2e.conftest import MINILM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cluster.nodes import Cluster
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow
LIMIT_USD = 150.0
RETRIES = 30  # of a client, which waits for 8 s at most before each: longer than any start takes
TEXTS = [f"{word} is what this one is about" for word in ("weather", "money", "music", "chess", "bread", "Paris")]
CHAT = [{"role": "user", "content": "hi"}]


class Clients(Load):
    """OpenAI's own clients, which ask again by themselves: for a text's vector, and for a chat that costs a dollar.

    Attributes:
        answered: By decision, how often it answered.
        served: By backend, how many vectors came from it.
        wrong: Texts that got a vector which is not theirs.
        failed: What a client raised after all its retries.
    """

    def __init__(self, vectors: list[list[float]], *servers: Server) -> None:
        self._vectors = vectors
        self.answered: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.failed: list[str] = []
        super().__init__(*servers)

    def _call(self, server: Server) -> None:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=RETRIES) as client:
            for number in count():
                if self._stop.is_set():
                    return
                try:
                    self._embed(client, number % len(TEXTS))
                    self._chat(client)
                except openai.OpenAIError as error:
                    with self._lock:
                        self.failed.append(repr(error))

    def _embed(self, client: openai.OpenAI, number: int) -> None:
        ask = client.embeddings.with_raw_response.create
        answer = ask(model=MINILM, input=[TEXTS[number]], encoding_format="float")
        found = answer.parse().data[0].embedding
        with self._lock:
            self.answered[answer.headers["x-nearfar-decision-id"]] += 1
            self.served[answer.headers["x-nearfar-backend"]] += 1
            if math.dist(found, self._vectors[number]) > 1e-3:
                self.wrong.append(TEXTS[number])

    def _chat(self, client: openai.OpenAI) -> None:
        answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=CHAT, max_tokens=2)  # type: ignore[call-overload]
        with self._lock:
            self.answered[answer.headers["x-nearfar-decision-id"]] += 1
            dear = answer.headers["x-nearfar-cost-source"] == "priced"  # nobody knows what the near one costs
            self.far += dear
            self.near += not dear
            self._lock.notify_all()


def shipped(folder: Path) -> str:
    """The section of routers that ship their logs to one folder in this one."""
    return f'[log.ship]\nto = "{folder / "shared"}"\nevery_s = 0.2\n'


def kill(server: Server) -> None:
    server.stop(signal.SIGKILL)


def test_every_process_is_killed_once_under_load_and_nobody_notices(
    cluster: Callable[[str], Cluster], serve: Callable[..., Server], tmp_path: Path
) -> None:
    """No wrong vector, no failed request, every acknowledged row in the shared folder once, no budget overspent."""
    engines = [serve(folder=f"engine{number}") for number in (1, 2)]
    asked = {"model": MINILM, "input": TEXTS, "encoding_format": "float"}
    vectors = [row["embedding"] for row in engines[0].post("/v1/embeddings", asked).body["data"]]
    there = cluster(
        FAR_AND_NEAR
        + shipped(tmp_path)
        + test_engines.fleet_of("nearfar", *(engine.url for engine in engines))
        + test_engines.entry(MINILM, "feature-extraction")
        + budget(LIMIT_USD)
    )
    load = Clients(vectors, there.node("one"), there.node("two"))
    load.more(20)
    kill(engines[0])
    load.more(20)
    engines[0].again()
    load.more(20)
    router_and_owner_killed(there, load)
    for node in there.nodes:
        test_engines.until(node, lambda replicas: test_engines.states(replicas) == ["ready"] * 2)
    ended(there, load)
    assert ([], []) == (load.failed, load.wrong)
    in_the_shared_folder_once(there, load)


def router_and_owner_killed(there: Cluster, load: Clients) -> None:
    """One after the other; each comes back where it was."""
    kill(there.nodes[0])
    load.more(20)
    there.nodes[0].again()
    load.more(20)
    there.owner.kill()
    load.more(20)
    there.owner.start()
    load.more(20)


def ended(there: Cluster, load: Clients) -> None:
    """Nobody asks any more, and every router has ended by itself."""
    load.until(lambda load: load.far + load.near > LIMIT_USD + 50)  # there is not money for all of it
    load.finish()
    for node in there.nodes:
        assert 0 == node.stop()


def in_the_shared_folder_once(there: Cluster, load: Clients) -> None:
    """Every acknowledged decision; a router was started again once, and no budget was overspent."""
    assert 0 < load.far <= spent(there) <= LIMIT_USD
    shared = place_of(str(there.folder / "shared"))
    assert [] == [one for one in checked(shared) if one.missing or one.doubled]
    with closing(Segments(shared)) as segments:
        query = "SELECT decision_id::VARCHAR, boot_id::VARCHAR, seq, status FROM decisions"
        rows = segments.reader().sql(query, max_rows=100_000).rows
    ids, boots = Counter(row[0] for row in rows), Counter(row[1] for row in rows)
    served = sum(row[3] == "ok" for row in rows)
    assert {1} == set(load.answered.values()) == set(ids.values())
    assert set() == load.answered.keys() - ids.keys()
    assert len(load.answered) <= served <= len(load.answered) + CALLERS  # what the killed router was about to tell
    assert 3 == len(boots)
    assert boots == {boot: max(row[2] for row in rows if row[1] == boot) for boot in boots}
