"""Whichever worker is asked for `/metrics` tells those of all: each figure under its worker's name, so sums are true.

A worker's counters only ever rise, until it is started again, as Prometheus expects of whatever it scrapes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from router.workers.peers import Begun, asked, is_private, target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

    from router.telemetry.exchanges import App, Message, Receive, Scope, Send

PATH = "/metrics"
PATIENCE_S = 5.0
LABEL = "worker"
OWNERS = frozenset({"nearfar_log_replaced", "nearfar_log_memory_bytes"})
"""What is the log's and not a worker's: each tells what its owner said, and it is told once."""


class Together:
    """An application whose metrics are those of all workers."""

    def __init__(self, app: App, name: str, others: Mapping[str, Path]) -> None:
        self._app, self._name, self._others = app, name, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve; whoever may not see this worker's metrics sees nobody's."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET" or is_private(scope):
            await self._app(scope, receive, send)
            return
        own = _Kept()
        await self._app(scope, receive, own)
        if own.status == 200:
            found = await asyncio.gather(*(_of(path, scope) for path in self._others.values()))
            told = {self._name: own.body, **dict(zip(self._others, found, strict=True))}
            own.replace(await asyncio.to_thread(together, told))
        for message in own.messages:
            await send(message)


class _Kept:
    """An answer that is held back."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"]) if self.messages else 0

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def replace(self, body: bytes) -> None:
        start = self.messages[0]
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        whole = {**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
        self.messages = [whole, {"type": "http.response.body", "body": body, "more_body": False}]


async def _of(path: Path, scope: Scope) -> bytes | None:
    """What another worker tells whoever asks here; None where it does not answer."""
    status, body = 0, bytearray()
    try:
        async with asyncio.timeout(PATIENCE_S), asked(path) as peer:
            peer.begin("GET", target_of(scope), scope["headers"])
            async for event in peer.events():
                if isinstance(event, Begun):
                    status = event.status
                else:
                    body += event
    except (OSError, TimeoutError):
        return None
    return bytes(body) if status == 200 else None


def together(told: Mapping[str, bytes | None]) -> bytes:
    """One exposition of several, by worker. Of one that told nothing only that it did not is told."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(told))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, told: Mapping[str, bytes | None]) -> None:
        self._told = told

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("nearfar_worker_up", "1 where this worker told its metrics.", labels=[LABEL])
        families: dict[str, Metric] = {}
        for worker, exposition in self._told.items():
            up.add_metric([worker], 0 if exposition is None else 1)
            for family in _read(exposition):
                if family.name not in OWNERS:
                    family.samples = [_of_worker(sample, worker) for sample in family.samples]
                known = families.setdefault(family.name, family)
                if known is not family and family.name not in OWNERS:
                    known.samples += family.samples
        yield up
        yield from families.values()


def _read(exposition: bytes | None) -> Iterable[Metric]:
    return () if exposition is None else text_string_to_metric_families(exposition.decode())


def _of_worker(sample: Sample, worker: str) -> Sample:
    return sample._replace(labels={**sample.labels, LABEL: worker})
