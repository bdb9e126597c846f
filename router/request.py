"""One call of the router: the inference request, and how its sender wants it routed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from backends.types import InferenceRequest, Target
from policies.types import Constraints
from router.page import Page
from router.section_of_routing import OnStreamFailure

if TYPE_CHECKING:
    from collections.abc import Container


class Routing(Struct, frozen=True, kw_only=True):
    """How one request wants to be routed; None leaves it to the settings. Units as named.

    Attributes:
        session: What its sender calls the conversation it is part of; empty for none.
        tags: Words for the routes of the configuration to match.
        within: Sets of providers or backends, one of each of which must serve it: what its route allows.
        cache: Whether an answer given before may be its answer, and its own be kept for others.
    """

    policy: str | None = None
    backend: str = "any"
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    deadline_ms: float | None = None
    min_quality: float | None = None
    allow_fallbacks: bool = True
    private: bool = False
    explain: bool = False
    explore: bool = True
    on_stream_failure: OnStreamFailure | None = None
    session: str = ""
    tags: tuple[str, ...] = ()
    within: tuple[tuple[str, ...], ...] = ()
    cache: bool = True

    def constraints(
        self, *, offline: bool, deadline_s: float, queue_share: float = 0.6, gives_up: bool = False
    ) -> Constraints:
        """The hard limits of this request under the given configuration; `deadline_s` is what is left of its time."""
        return Constraints(
            offline=offline,
            private=self.private,
            backend=self.backend,
            only=self.only,
            ignore=self.ignore,
            order=self.order,
            max_cost_usd=self.max_cost_usd,
            max_latency_s=None if self.max_latency_ms is None else self.max_latency_ms / 1000,
            min_quality=self.min_quality,
            deadline_s=deadline_s,
            queue_share=queue_share,
            within=self.within,
            gives_up=gives_up,
        )


class Measures(Struct, frozen=True, kw_only=True):
    """How large a request is whose inputs stay with its sender; what its task has none of is None."""

    items: int = 1
    input_tokens: int | None = None
    audio_s: float | None = None


class Call(Struct, frozen=True, kw_only=True):
    """A request with its routing and where it came from.

    Attributes:
        request: What is asked.
        routing: How it may be routed.
        surface: The route's pattern, `cli`, or `compare`.
        request_id: The sender's own id, echoed.
        input_bytes: Size of the body as received.
        received: Monotonic seconds when it came in.
        traceparent: The header that its sender sent, empty without one; None where no traces are kept.
        page: The browser that could serve it itself; None where its sender is no page, or offers nothing.
        measures: How large it is, where only that was sent and its payload is empty.
        pinned: Whom it is for, and nobody else, to be measured: no route, policy or answer given before stands between,
            and nothing is learnt of it.
    """

    request: InferenceRequest
    routing: Routing
    surface: str
    received: float
    request_id: str | None = None
    input_bytes: int | None = None
    traceparent: str | None = None
    page: Page | None = None
    measures: Measures | None = None
    pinned: Target | None = None


def split_suffix(model: str, routing: Routing, providers: Container[str]) -> tuple[str, Routing]:
    """Take `:local`, `:remote`, `:fastest`, `:cheapest` or `:PROVIDER` off a model's name, and into its routing.

    A suffix that is none of these is left on the name: it may be part of it.
    """
    name, colon, suffix = model.rpartition(":")
    if not colon or not name:
        return model, routing
    if suffix in {"local", "remote"}:
        return name, replace(routing, backend=suffix)
    if suffix in {"fastest", "cheapest"}:
        return name, replace(routing, policy=suffix)
    if suffix in providers:
        return name, replace(routing, only=(suffix,))
    return model, routing
