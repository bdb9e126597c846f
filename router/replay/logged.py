"""What the log tells of a window: every decision with its slate, its attempts and how it ended. Judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from router.slate import BROWSER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.decision_log.queries import LogReader
    from router.decision_log.windows import Found, Window

FEW_TENANTS = 20


class Shown(Struct, frozen=True, kw_only=True, gc=False):
    """A candidate as the policy saw it. Units as in the log; None is unknown."""

    candidate_id: str
    backend: str
    provider: str
    device: str
    near: bool
    eligible: bool
    warm: bool
    load_ms: float
    queue_ms: float
    pred_ms: float
    code: str | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    cost_usd: float | None = None
    quality: float | None = None
    propensity: float | None = None

    @property
    def in_page(self) -> bool:
        """Whether it is a page's own work: each page has a machine of its own."""
        return self.backend == BROWSER

    @property
    def queues(self) -> bool:
        """Whether requests to it wait for each other on one machine, this one."""
        return self.near and not self.in_page

    @property
    def service_ms(self) -> float:
        """Predicted milliseconds that the request itself takes, once loaded and at its turn."""
        return max(0.0, self.pred_ms - self.load_ms - self.queue_ms)


class Tried(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt. `begun_ms` counts from 1970."""

    candidate_id: str
    role: str
    status: str
    begun_ms: float
    total_ms: float
    queue_ms: float | None = None
    load_ms: float | None = None
    service_ms: float | None = None
    batch_size: int | None = None
    cost_usd: float | None = None


class Agreement(Struct, frozen=True, kw_only=True, gc=False):
    """How well a shadow's answer agrees with the one that was given, in 0..1."""

    candidate_id: str
    agreement: float


class Logged(Struct, frozen=True, kw_only=True):
    """One decision and all that became of it.

    Attributes:
        at_ms: When it was decided, since 1970.
        chosen: Who was put first; None where nobody was eligible.
        propensity: With which probability; None where the log does not say.
        status: How the request ended; None where the log does not know (still running, or lost with its process).
        cost_usd: Of all its attempts together, fallbacks and hedges included; None when unknown.
        score: What was said of its answer afterwards, in 0..1.
    """

    at_ms: float
    slate: list[Shown]
    attempts: list[Tried]
    shadows: list[Agreement]
    deadline_ms: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    private: bool = False
    policy: str | None = None
    version: str | None = None
    chosen: str | None = None
    propensity: float | None = None
    tenant: str | None = None
    session: str | None = None
    status: str | None = None
    latency_ms: float | None = None
    overhead_ms: float | None = None
    cost_usd: float | None = None
    score: float | None = None

    @property
    def own(self) -> list[Tried]:
        """The attempts made for its sender: a shadow is nobody's."""
        return [attempt for attempt in self.attempts if attempt.role != "shadow"]


class Traffic(Struct, frozen=True, kw_only=True):
    """A window's decisions, oldest first.

    Attributes:
        held: How many decisions the window holds; more than `requests` when only the newest were read.
        clusters: For each request the number of its cluster: what belongs together and so may go wrong together.
        clustered_by: `session`, `tenant` or `request`.
    """

    requests: list[Logged]
    held: int
    clusters: list[int]
    clustered_by: str


def read(reader: LogReader, window: Window, tick: Callable[[], None]) -> Traffic:
    """The window's decisions; `tick` is called for each, and may raise to stop.

    Reads at most `window.max_rows`, the newest: a random sample would thin the queues that event replay is about. They
    take some 3 kB each in memory.

    Raises:
        LogError: the log cannot be read.
    """
    decode = msgspec.json.Decoder(Logged).decode
    requests = []
    with reader.window(window) as (found, lines):
        for line in lines:
            requests.append(decode(line))
            tick()
    return traffic(requests, found)


def traffic(requests: list[Logged], found: Found | None = None) -> Traffic:
    """Requests as one value, with their clusters."""
    by, clusters = _clusters(requests)
    return Traffic(
        requests=requests, held=len(requests) if found is None else found.held, clusters=clusters, clustered_by=by
    )


def _clusters(requests: Sequence[Logged]) -> tuple[str, list[int]]:
    """Sessions where there are any, else tenants where there are enough of them, else each request by itself.

    One tenant's requests are taken as independent where there are fewer than 20 tenants: an interval from fewer
    clusters says nothing.
    """
    tenants = {one.tenant for one in requests if one.tenant is not None}
    by_tenant = len(tenants) >= FEW_TENANTS
    by_session = any(one.session is not None for one in requests)
    numbers: dict[object, int] = {}

    def unit(n: int, one: Logged) -> object:
        if one.session is not None:
            return "session", one.session
        return ("tenant", one.tenant) if by_tenant and one.tenant is not None else n

    clusters = [numbers.setdefault(unit(n, one), len(numbers)) for n, one in enumerate(requests)]
    return "session" if by_session else "tenant" if by_tenant else "request", clusters
