"""What the handlers need of the house, handed to them by the composition root."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import uuid_utils
from litestar import Request
from msgspec import Struct, field
from msgspec.structs import replace

from backends.base import Backend
from backends.hardware import Probe
from backends.types import InferenceRequest
from router.access.gate import Access
from router.access.limits import Place
from router.budgets import Budgets
from router.candidates import CandidateFinder
from router.catalog import Catalog
from router.decision_log.queries import LogReader
from router.decision_log.taking import Log
from router.dispatch import Dispatcher
from router.editing.in_force import InForce
from router.far_side import FarSide
from router.feedback import Feedback
from router.http.metering import estimated_tokens
from router.http.metrics import Metrics
from router.identity import ANYBODY, Identity
from router.intents.sets import IntentSets
from router.lessons import Lessons
from router.near_costs import NearCosts
from router.renewal import Refresher
from router.reported import Reported
from router.request import Call, Routing, split_suffix
from router.sections import Settings
from router.shipping.service import Shipping
from router.sizes import size_of
from router.telemetry.traces import Traces

if TYPE_CHECKING:
    from router.cluster.member import Member  # which nothing imports where there is no cluster

REQUEST_ID_LENGTH = 128
NAMED = "nearfar_identity"  # in the state of a request whose sender was found: who that is
BATCHED = "nearfar_batched"  # in the state of a request that is a line of a batch: its surface
FIRM = "nearfar_firm"  # likewise, where it was stopped for others often enough
SQL_AT_ONCE = 2


class Services(Struct, frozen=True, kw_only=True):
    """The parts of one running router."""

    far: FarSide
    refresher: Refresher
    catalog: Catalog
    finder: CandidateFinder
    backends: dict[str, Backend]
    lessons: Lessons
    budgets: Budgets
    near: NearCosts
    probe: Probe
    log: Log
    dispatcher: Dispatcher
    intents: IntentSets
    metrics: Metrics
    feedback: Feedback
    reported: Reported
    access: Access
    in_force: InForce
    traces: Traces | None = None
    cluster: "Member | None" = None
    shipping: Shipping | None = None  # of a house that is open for long
    started_at: float = field(default_factory=time.time)  # seconds since 1970
    sql_places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SQL_AT_ONCE))
    replay_place: asyncio.Lock = field(default_factory=asyncio.Lock)
    pulls: set[str] = field(default_factory=set)  # models whose weights are being fetched

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.in_force.made.settings


def services(request: Request[Any, Any, Any]) -> Services:
    """The services of the app that this request came to."""
    found: Services = request.app.state.services
    return found


def request_id(request: Request[Any, Any, Any]) -> str:
    """The sender's own id if it is printable and short, else a new one. The same one at every call per request."""
    known = request.scope["state"].get("nearfar_request_id")
    if known is None:
        given = request.headers.get("x-request-id", "")
        known = given if given.isprintable() and 0 < len(given) <= REQUEST_ID_LENGTH else str(uuid_utils.uuid7())
        request.scope["state"]["nearfar_request_id"] = known
    return str(known)


def identity(request: Request[Any, Any, Any]) -> Identity:
    """Who asks, as the guards found."""
    found: Identity = request.scope["state"].get(NAMED, ANYBODY)
    return found


def reader(request: Request[Any, Any, Any]) -> LogReader:
    """The log, or all nodes' logs, as far as whoever asks may see them: what every route reads them by."""
    house = services(request)
    return (house.shipping or house.log).reader(identity(request).sees)


def surface(request: Request[Any, Any, Any]) -> str:
    """What the log calls the door that this request came through: its route's pattern."""
    return str(request.scope["state"].get(BATCHED) or request.scope["path_template"])


def call_of(request: Request[Any, Any, Any], inference: InferenceRequest, routing: Routing) -> Call:
    """The call that this HTTP request makes, in its sender's name. Its clock started when its body was read.

    Raises:
        TooManyRequests: its sender has fewer tokens left than it may take.
    """
    length = request.headers.get("content-length", "")
    state = request.scope["state"]
    place: Place | None = state.get("nearfar_place")
    if place is not None and place.counts_tokens:
        place.reserve(estimated_tokens(size_of(inference)))
    background = BATCHED in state
    interruptible = background and FIRM not in state
    sender = identity(request)
    return Call(
        request=replace(inference, tenant=sender.tenant, background=background, interruptible=interruptible),
        routing=routing,
        surface=surface(request),
        request_id=request_id(request),
        input_bytes=int(length) if length.isdigit() else None,
        received=time.monotonic(),
        traceparent=_traceparent(request),
    )


def _traceparent(request: Request[Any, Any, Any]) -> str | None:
    """What the sender's tracer sent, empty without one; None where no traces are kept, so that nothing is passed on."""
    return None if services(request).traces is None else request.headers.get("traceparent", "")


def model_and_routing(request: Request[Any, Any, Any], model: str, routing: Routing) -> tuple[str, Routing]:
    """Take a `:suffix` off the model's name and into the routing."""
    return split_suffix(model, routing, services(request).catalog.provider_names)
