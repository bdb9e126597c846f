"""The routes about this server itself: intents, health and metrics."""

from typing import Any, Literal

from msgspec import UNSET, UnsetType

from backends.hardware import Now, Probe
from backends.local.intents.definition import Intent
from backends.local.intents.fitting import Confusion
from backends.remote.engines.replica import ReplicaState
from router.availability import BreakerState
from router.budgets import BudgetState
from router.cluster.told import ClusterState
from router.decision_log.taking import LogStats
from router.drift import PriceDrift
from router.egress.guard import EgressState
from router.http.description.operation import TEXT, Described, Example, Link, Told
from router.pricing import LocalRates
from router.reloading.reloader import Reloaded
from router.shipping.shipper import ShippingState
from router.telemetry.traces import Delivery
from router.token_health import TokenReport

_NAMED = {"name": "$response.body#/name"}
_SET = {
    "name": "example",
    "intents": {
        "greeting": {"examples": ["hello there", "good morning", "hi, how are you", "hey"]},
        "weather": {"examples": ["will it rain", "is it sunny", "how cold is it", "snow tomorrow?"]},
    },
}


class IntentSet(Told):
    """A set of intents, with what was measured of it out of fold; asked for alone, with its definition."""

    name: str
    model: str
    own: bool
    configured: bool
    embedder: str
    fitted: bool
    unavailable: str | UnsetType | None = UNSET
    labels: list[str] | UnsetType = UNSET
    examples: int | UnsetType = UNSET
    accuracy: float | UnsetType = UNSET
    accuracy_interval: tuple[float, float] | UnsetType = UNSET
    ece: float | UnsetType = UNSET
    ece_uncalibrated: float | UnsetType = UNSET
    threshold: float | UnsetType = UNSET
    known_kept: float | UnsetType = UNSET
    unknown_recall: float | UnsetType | None = UNSET
    confusions: list[Confusion] | UnsetType = UNSET
    folds: int | UnsetType = UNSET
    strength: float | UnsetType = UNSET
    words: str | UnsetType = UNSET
    fit_s: float | UnsetType = UNSET
    intents: dict[str, Intent] | UnsetType = UNSET
    unknown: list[str] | UnsetType = UNSET


class IntentSets(Told):
    """Every set of this server."""

    object: Literal["list"]
    data: list[IntentSet]


class IntentHead(Told):
    """A fitted head. Arrays are little-endian float32 in base64; the operation says how they are used."""

    name: str
    model: str
    embedder: str
    labels: list[str]
    unknown: str
    weights: str
    bias: str
    centres: str
    direction: str
    temperature: float
    threshold: float
    slope: float
    energy_share: float
    probe: str
    probe_text: str


class Deleted(Told):
    """What is gone."""

    name: str
    deleted: bool


class Alive(Told):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Told):
    """Whether requests can be served and logged; `log_lag_s` is the age of the oldest row not committed."""

    status: Literal["ok", "degraded"]
    log_lag_s: float
    log_queued: int


class Issue(Told):
    """A sentence that somebody should read."""

    level: Literal["error", "warning"]
    message: str


class Device(Told):
    """A device's power while busy, as seen or assumed, and the share of time it was busy."""

    device: str
    meter: str | None
    no_meter: str | None
    watts: float | None
    watts_source: str | None
    utilisation: float | None


class Listing(Told):
    """What a far side said that it serves."""

    provider: str
    as_of: str | None
    source: str
    models: int


class Loaded(Told):
    """A model in memory."""

    candidate: str
    device: str
    queued: int
    memory_bytes: int | None


class Admission(Told):
    """What is under way at a candidate, and what may be; null where there is no limit."""

    candidate: str
    limit: int | None
    in_flight: int


class Shadowing(Told):
    """Requests run again near, to compare; since the start, but for what waits now."""

    waiting: int
    run: int
    preempted: int
    dropped: int


class SystemModel(Told):
    """A model of the catalogue, and how many of its candidates could be asked at this moment."""

    id: str
    task: str
    candidates: int
    usable: int


class Breaker(Told):
    """A candidate's or an account's breaker, and why it must not be tried now."""

    state: BreakerState
    why: str | None


class Cached(Told):
    """The cache of answers: counts since the start, and what it holds now."""

    enabled: bool
    hits: int
    misses: int
    entries: int
    bytes: int


class Telemetry(Told):
    """In which form requests are logged, and what became of spans; null where there is none."""

    logs: Literal["text", "json"] | None
    traces: Delivery | None


class SystemHealth(Told):
    """What is known of this server here and now; asking costs nothing. What is not required is for admins."""

    version: str
    health: Literal["ok", "warning", "error"]
    hardware: Probe
    rates: LocalRates
    policy: str
    policies: list[str]  # all there are, to choose from
    offline: bool
    providers: list[str]
    listings: list[Listing]
    price_drift: list[PriceDrift]
    budgets: list[BudgetState]
    models_loaded: list[Loaded]
    started_at: str | UnsetType = UNSET
    uptime_s: float | UnsetType = UNSET
    problems: list[Issue] | UnsetType = UNSET
    now: Now | UnsetType = UNSET
    energy: list[Device] | UnsetType = UNSET
    egress: EgressState | UnsetType = UNSET
    telemetry: Telemetry | UnsetType = UNSET
    hub_token: TokenReport | UnsetType = UNSET
    models: list[SystemModel] | UnsetType = UNSET
    breakers: dict[str, Breaker] | UnsetType = UNSET
    admission: list[Admission] | UnsetType = UNSET
    cache: Cached | UnsetType = UNSET
    shadowing: Shadowing | UnsetType = UNSET
    log: LogStats | UnsetType = UNSET
    cluster: ClusterState | UnsetType | None = UNSET  # null where this server is in none
    shipping: ShippingState | UnsetType | None = UNSET  # null where the log is not shipped
    replicas: list[ReplicaState] | UnsetType = UNSET  # of providers with several servers, or a watched engine


_METRICS: dict[str, Any] = {"type": "string", "description": "Prometheus' text format, version 0.0.4."}

TABLE = {
    "POST /v1/intents": Described(
        answer=IntentSet,
        errors=(502, 503),
        links={
            "one": Link(to="GET /v1/intents/{name}", parameters=_NAMED),
            "head": Link(to="GET /v1/intents/{name}/head", parameters=_NAMED),
            "remove": Link(to="DELETE /v1/intents/{name}", parameters=_NAMED),
        },
        examples={
            "two": Example(summary="Two intents", body=_SET),
            "unnamed": Example(summary="No intents", body={"name": "nothing", "intents": {}}, status=400),
        },
    ),
    "GET /v1/intents": Described(answer=IntentSets),
    "GET /v1/intents/{name}": Described(
        answer=IntentSet,
        examples={"none": Example(summary="A set that nobody defined", parameters={"name": "nobody"}, status=404)},
    ),
    "GET /v1/intents/{name}/head": Described(
        answer=IntentHead,
        errors=(502, 503),
        examples={"none": Example(summary="A set that nobody defined", parameters={"name": "nobody"}, status=404)},
    ),
    "DELETE /v1/intents/{name}": Described(
        answer=Deleted,
        examples={"none": Example(summary="A set that nobody defined", parameters={"name": "nobody"}, status=404)},
    ),
    "GET /health/live": Described(answer=Alive),
    "GET /health/ready": Described(answer=Readiness, also={503: Readiness}),
    "GET /v1/system": Described(answer=SystemHealth),
    "POST /v1/system/token": Described(answer=TokenReport),
    "POST /v1/settings/reload": Described(
        answer=Reloaded, errors=(409,), examples={"again": Example(summary="Read it again")}
    ),
    "GET /metrics": Described(media={TEXT: _METRICS}),
}
