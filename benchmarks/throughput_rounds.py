"""One run of `local_throughput.py`: the children it needs, and what is measured of them, in rounds of random order.

What is compared is measured in the same block of a round, back to back: the two see the same machine.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from load import Plan, measure
from raw_loops import SENTENCE_TRANSFORMERS

if TYPE_CHECKING:
    from children import Child, Server
    from embedding_texts import TextSet

Cell = dict[str, Any]
Step = Callable[[], Cell]
NEARFAR = "nearfar"
BATCH, ST_BATCHES = 32, (8, 32, 64, 128)
PROBES = 24  # texts whose vectors are compared
ENDLESS = 1_000_000
SPIN = (sys.executable, "-c", "while True: pass")
PROMPT = "Write a long story about a river, a bridge and the people who cross it every morning."
MAX_TOKENS = 64


class Options(NamedTuple):
    """What to measure, and for how long."""

    concurrency: list[int]
    rounds: int
    seconds: float
    seed: int
    generation: bool


class Party(NamedTuple):
    """Who takes part: servers, raw loops by name, the machine itself, and the raw `generate` loop."""

    servers: dict[str, Server]
    raw: dict[str, Child]
    gemm: Child
    generate: Child | None
    chat_model: str

    @property
    def everybody(self) -> list[Child]:
        """All of them."""
        last = [] if self.generate is None else [self.generate]
        return [*self.servers.values(), *self.raw.values(), self.gemm, *last]


class Rounds:
    """The measurements of one run."""

    def __init__(self, options: Options, party: Party, sets: dict[str, TextSet]) -> None:
        self._options = options
        self._party = party
        self._sets = sets

    @property
    def steps(self) -> int:
        """How many cells there will be."""
        return self._options.rounds * sum(len(block) for block in self._blocks())

    def cells(self) -> Iterator[Cell]:
        """Every cell of every round."""
        dice = random.Random(self._options.seed)
        for number in range(1, self._options.rounds + 1):
            blocks = self._blocks()
            for block in dice.sample(blocks, len(blocks)):
                for step in dice.sample(block, len(block)):
                    yield {"round": number, **step()}

    def warm(self) -> None:
        """Let the chat model be loaded before it is measured; embeddings are warm from `agreement`."""
        if self._options.generation:
            self._generated()
            self._raw_generated()

    def agreement(self) -> dict[str, float]:
        """The smallest cosine with sentence-transformers' vectors, by raw loop and by server."""
        mixed = self._sets["mixed"].texts[:PROBES]
        vectors = {name: child.ask(do="vectors", texts=mixed)["vectors"] for name, child in self._party.raw.items()}
        for name, server in self._party.servers.items():
            with server.awake():
                vectors[name] = [_vector(server.post("/v1/embeddings", server.body(text))) for text in mixed]
        reference = vectors[SENTENCE_TRANSFORMERS]
        return {name: min(map(_cosine, reference, own)) for name, own in vectors.items() if own is not reference}

    # --- the plan -------------------------------------------------------------------------------

    def _blocks(self) -> list[list[Step]]:
        blocks = []
        for name, at_once in itertools.product(self._sets, self._options.concurrency):
            block: list[Step] = [self._served(each, name, at_once) for each in self._party.servers]
            if at_once == BATCH:
                block += [self._raw(each, name, batch) for each in self._party.raw for batch in _batches(each)]
                block.append(self._ceiling(name))
            if at_once == 1 and name == "short":
                block += [self._latency(each) for each in self._party.raw]
                block.append(self._served(NEARFAR, name, at_once, burner=True))
            blocks.append(block)
        if self._options.generation:
            blocks.append([self._generated, self._raw_generated])
        return blocks

    def _served(self, name: str, set_name: str, at_once: int, *, burner: bool = False) -> Step:
        def step() -> Cell:
            server = self._party.servers[name]
            seconds = self._options.seconds
            plan = Plan(
                url=f"{server.url}/v1/embeddings", concurrency=at_once, requests=ENDLESS, warm_up=2 * at_once,
                seconds=seconds,
            )  # fmt: skip
            bodies = [server.body(text) for text in self._sets[set_name].texts]
            with server.awake(), _burning(on=burner):
                before = _cpu(server)
                found = measure(plan, *bodies)
                used = [after - first for after, first in zip(_cpu(server), before, strict=True)]
            server.sent += found.sent
            return {
                "what": "burner" if burner else "server", "name": name, "set": set_name, "concurrency": at_once,
                "texts_per_s": found.rps, "p50_ms": found.quantile_ms(0.5), "p95_ms": found.quantile_ms(0.95),
                "p99_ms": found.quantile_ms(0.99), "sent": found.sent, "errors": found.errors,
                "answered": len(found.latencies_us), "cores": used[0] / used[2], "busy_cores": used[1] / used[2],
            }  # fmt: skip

        return step

    def _raw(self, name: str, set_name: str, batch: int) -> Step:
        def step() -> Cell:
            seconds = self._options.seconds / len(_batches(name))
            texts = self._sets[set_name].texts
            found = self._party.raw[name].ask(do="throughput", texts=texts, batch=batch, seconds=seconds)
            return {"what": "raw", "name": name, "set": set_name, "batch": batch, **found}

        return step

    def _latency(self, name: str) -> Step:
        def step() -> Cell:
            texts = self._sets["short"].texts
            found = self._party.raw[name].ask(do="latency", texts=texts, seconds=self._options.seconds / 2)
            return {"what": "latency", "name": name, "set": "short", **found}

        return step

    def _ceiling(self, set_name: str) -> Step:
        return lambda: {"what": "gemm", "name": "gemm", "set": set_name, "gflops": self._party.gemm.ask(do="gemm")}

    def _generated(self) -> Cell:
        server = self._party.servers[NEARFAR]
        with server.awake():
            return {"what": "generation", "name": NEARFAR, **streamed(server, self._party.chat_model)}

    def _raw_generated(self) -> Cell:
        assert self._party.generate is not None
        found = self._party.generate.ask(do="generate", prompt=PROMPT, max_tokens=MAX_TOKENS)
        return {"what": "generation", "name": "generate", **found}


def streamed(server: Server, model: str) -> dict[str, float]:
    """One greedy chat over HTTP: tokens, seconds to the first piece of text, and to the end."""
    body = {
        "model": model, "messages": [{"role": "user", "content": PROMPT}], "max_tokens": MAX_TOKENS, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    started, first_s, tokens = time.perf_counter(), 0.0, 0
    with server.answer("/v1/chat/completions", json.dumps(body).encode()) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if not first_s and any(choice["delta"].get("content") for choice in event["choices"]):
                first_s = time.perf_counter() - started
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    return {"tokens": tokens, "total_s": time.perf_counter() - started, "first_s": first_s}


def _batches(name: str) -> tuple[int, ...]:
    return ST_BATCHES if name == SENTENCE_TRANSFORMERS else (BATCH,)


@contextmanager
def _burning(*, on: bool) -> Iterator[None]:
    """Another process takes a core meanwhile."""
    if not on:
        yield
        return
    burner = subprocess.Popen(SPIN, process_group=0)
    try:
        yield
    finally:
        burner.kill()
        burner.wait()


def _cpu(server: Server) -> tuple[float, float, float]:
    """CPU seconds of the server with its processes, of the whole machine, and the clock."""
    own = server.cpu_s()
    machine = psutil.cpu_times()
    busy = machine.user + machine.system + getattr(machine, "nice", 0.0) + getattr(machine, "steal", 0.0)
    return own, busy, time.perf_counter()


def _vector(answer: dict[str, Any]) -> tuple[float, ...]:
    data = base64.b64decode(answer["data"][0]["embedding"])
    return struct.unpack(f"<{len(data) // 4}f", data)


def _cosine(one: list[float], other: list[float]) -> float:
    dot, ones, others = (sum(map(float.__mul__, x, y)) for x, y in ((one, other), (one, one), (other, other)))
    return float(dot / (ones * others) ** 0.5)
