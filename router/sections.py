"""The shapes of the configuration, section by section: what may be set, and what it is when nobody sets it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field, structs

from router.section import (
    MOST,
    AuthSettings,
    BatchSettings,
    CacheSettings,
    ClusterSettings,
    Days,
    Fraction,
    NonNegative,
    Positive,
    Section,
    ServerSettings,
    TelemetrySettings,
    Unit,
)


class WeightSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `balanced` weighs: of the first three only the ratios matter; `lateness` is against all of them together."""

    latency: NonNegative = 1.0
    cost: NonNegative = 1.0
    quality: NonNegative = 1.0
    lateness: NonNegative = 4.0  # the chance of an answer after the deadline, against all of the others together


class WorthSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the policy `budget` takes time and quality to be worth, in US dollars."""

    second_usd: NonNegative = 0.001  # a second less of waiting
    quality_usd: NonNegative = 0.01  # the whole way from quality 0 to 1
    pacing_gain: NonNegative = 20.0  # how sharply it reacts to money that is spent faster than the day passes


class HedgingSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second attempt beside a first one that is slower than usual. The first good answer wins; both are paid."""

    to: Literal["off", "near", "any"] = "near"  # `any` may ask a second far candidate
    share: Annotated[float, Meta(ge=0, le=1)] = 0.05  # of all requests that may be hedged; up to ten are saved up
    costly: bool = False  # also where the work is not the same every time: text, pictures, speech


OnStreamFailure = Literal["continue", "error", "hold"]


class QualitySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the catalogue's word on a model's quality is weighed against what is heard of its answers."""

    prior_weight: Positive = 20.0  # as how many judged answers the catalogue's figure counts
    least: Annotated[int, Meta(ge=1)] = (
        10  # judged answers from which a quality is known where the catalogue has no figure
    )
    shadow_weight: Unit = 0.25  # of a comparison with a far answer; a judgement weighs 1
    half_life_days: Positive | None = 90.0  # in which a judgement loses half its weight; None: it never does


class CascadeSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the policy `cascade` asks further: where a near answer is less sure than a threshold, which is learnt.

    `threshold` stands until there are `min_pairs` answers of whose confidence and rightness something is known.
    """

    target_quality: Fraction = 0.9  # share of the near answers given that are to be right
    threshold: Unit = 0.8
    min_pairs: Annotated[int, Meta(ge=1)] = 50
    risk: Annotated[float, Meta(gt=0, lt=1)] = 0.1  # that the threshold learnt misses the target after all
    unsaid: Literal["escalate", "keep"] = "escalate"  # what becomes of an answer that says no confidence


class RoutingSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are decided when they say nothing themselves."""

    policy: str = "balanced"
    offline: bool = False
    weights: WeightSettings = WeightSettings()
    slo_target: Annotated[float, Meta(gt=0, lt=1)] = 0.95  # the chance of an answer in time that `slo` asks for
    worth: WorthSettings = WorthSettings()
    hysteresis: Annotated[float, Meta(ge=0, lt=1)] = 0.05  # how much better another must be than who was first before
    session_ttl_s: Positive = 3600.0  # how long a silent session is remembered
    deadline_ms: Positive = 300_000.0
    max_attempts: Annotated[int, Meta(ge=1)] = 4
    on_stream_failure: OnStreamFailure | None = None  # None: `continue` where an alias declares fallbacks, else `error`
    hedging: HedgingSettings = HedgingSettings()
    queue_share: Fraction = 0.6  # of a request's time that it may wait for its turn, while there is anybody else
    admission: bool = True  # give each far candidate no more at once than its latency shows it can take
    exploration: Unit = 0.0  # share of decisions left to chance, so that replay can judge others; 0.05 is enough
    shadow: Unit = 0.0  # share of requests answered far that an idle machine runs near as well, to compare
    quality: QualitySettings = QualitySettings()
    cascade: CascadeSettings = CascadeSettings()
    refresh_hours: Positive | None = None  # how often far sides are asked what they serve and charge; None: never
    listings_dir: str | None = None  # where their answers are kept
    intents: str | None = (
        None  # the set of intents that says what a prompt wants, in the log and to whoever routes by it
    )


class ShipSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the log is shipped to, so that the logs of all nodes can be read as one; None: it stays here alone.

    A folder that all nodes share, or a URL that fsspec knows. Rows are there after `every_s` at the latest, as files
    that never change. Until they are, they wait on this machine's disk, up to `most_waiting_bytes` as files and the
    others in the log itself: no retention deletes what was not taken out yet. Stored inputs stay here.
    """

    to: str | None = None
    every_s: Positive = 30.0
    most_waiting_bytes: Annotated[int, Meta(gt=0, le=MOST)] = 10_737_418_240


class LogSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision log. In `strict` an answer waits until its rows are on disk.

    Decisions older than `retention_days` are deleted, with what was added up of them; None keeps them. Inputs are kept
    only where `store_inputs` asks for it, and for so many days; of a tenant with 0 days, and of whatever is private,
    they are never kept. What a log that is shipped still has to ship is deleted by no retention.

    Whoever asks for decisions, analytics or a replay is answered from this log; `read_from` "segments" answers from
    what all nodes have shipped.
    """

    path: str = "nearfar.duckdb"
    durability: Literal["batch", "strict"] = "batch"
    store_inputs: bool = False
    inputs_retention_days: Days = 30.0
    inputs_retention_by_tenant: dict[str, Annotated[float, Meta(ge=0, le=36_500)]] = field(default_factory=dict)
    queue_rows: Annotated[int, Meta(gt=0)] = 100_000
    retention_days: Days | None = None
    ship: ShipSettings = ShipSettings()
    read_from: Literal["log", "segments"] = "log"


class LocalSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The near side. `rate_usd_per_hour` None means the published default for this hardware (router/pricing.py)."""

    models_dir: str | None = None
    memory_fraction: Fraction = 0.7
    rate_usd_per_hour: NonNegative | None = None
    downloads: bool = False
    warm: tuple[str, ...] = ()  # models to load at start, in the background; what that measures is the first estimate
    threads: Annotated[int, Meta(ge=1)] | None = None
    max_queue: Annotated[int, Meta(ge=1)] = 64
    pickles: bool = False  # may weights be read from files that can run code; safetensors and gguf cannot
    credits_per_usd: Positive = 1.0
    cost_mode: Literal["occupancy", "marginal"] = "occupancy"  # what a near request costs to a policy and in `cost_usd`
    electricity_usd_per_kwh: NonNegative | None = None  # None: the published default of router/pricing.py
    watts: Positive | None = None  # what the device takes while it is busy; goes before any meter of this machine
    carbon_g_per_kwh: NonNegative | None = None  # of this machine's electricity, CO2 equivalents; None: nobody says


class ReplicasEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one candidate's deployment has; what is absent is as `[ray]` says."""

    min_replicas: Annotated[int, Meta(ge=0)] | None = None
    max_replicas: Annotated[int, Meta(ge=1)] | None = None
    num_cpus: Positive | None = None
    num_gpus: NonNegative | None = None
    target_ongoing_requests: Positive | None = None
    max_ongoing_requests: Annotated[int, Meta(ge=1)] | None = None
    max_queue: Annotated[int, Meta(ge=1)] | None = None


class RaySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cluster that candidates of backend `ray` run in, and what each one's deployment has.

    `local` is a cluster of this machine's own, which nobody else can join; all others are far: `auto` is the one that
    this machine is a node of, and HOST:PORT the one with that head.
    """

    address: Annotated[str, Meta(pattern="^(local|auto|[^/:]+:[0-9]+)$")] = "local"
    namespace: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")] = "nearfar"  # routers with the same share deployments
    min_replicas: Annotated[int, Meta(ge=0)] = 1  # 0 lets a deployment sleep; a request wakes it
    max_replicas: Annotated[int, Meta(ge=1)] = 1
    num_cpus: Positive = 1.0
    num_gpus: NonNegative = 0.0  # of a replica; a fraction shares a GPU
    target_ongoing_requests: Positive = 2.0  # more than that at once, and another replica is started
    max_ongoing_requests: Annotated[int, Meta(ge=1)] = 64  # that a replica is given at once: the most of a batch
    max_queue: Annotated[int, Meta(ge=1)] = 256  # requests that wait at this router for a replica to take them
    models_dir: str | None = None  # on the machines of the cluster; None: as here
    cpu_usd_per_core_hour: NonNegative | None = None  # None: the published default of router/pricing.py
    gpu_usd_per_hour: NonNegative | None = None  # likewise


class IntentEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A label's example texts, and what they want in a few words."""

    examples: tuple[str, ...]
    description: str = ""


class IntentSetEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Intents to tell apart: here in `labels`, or in a TOML `file` with a table a label (and `unknown`, an array)."""

    name: str
    file: str | None = None
    labels: dict[str, IntentEntry] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


class IntentsSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sets of intents, and where they are kept once fitted: by default in `nearfar-intents` beside the log."""

    dir: str | None = None
    sets: tuple[IntentSetEntry, ...] = ()


BaseUrl = Annotated[str, Meta(pattern="^https?://[^/]+")]


class ProviderSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A far side. `protocol` says which shapes it speaks; the key is read from the variable `api_key_env`, else a file.

    The file `api_key_file` holds the key alone, and is read again whenever it changes.
    Several servers of the same are `base_urls`, the first of which it is known by, or with `dns` every address of
    base_url's host. An `engine` is asked how it is, by its own names.
    """

    name: Annotated[str, Meta(min_length=1)]
    protocol: Literal["openai", "huggingface"]
    base_url: BaseUrl = ""  # needed unless there are base_urls
    base_urls: tuple[BaseUrl, ...] = ()
    dns: bool = False
    dns_every_s: Positive = 30.0
    engine: Literal["vllm", "tgi", "tei", "sglang", "llama.cpp", "dynamo", "kserve", "ollama", "nearfar"] | None = None
    watch_every_s: Positive = 2.0  # how often an engine is asked
    usd_per_hour: NonNegative | None = None  # of one server of an engine, for models that have no price of their own
    api_key_env: str | None = None
    api_key_file: str | None = None
    connect_timeout_s: Positive = 5.0
    first_token_timeout_s: Positive = 60.0
    idle_timeout_s: Positive = 60.0
    total_timeout_s: Positive = 300.0

    def __post_init__(self) -> None:
        if not self.base_url and not self.base_urls:
            raise ValueError("Object missing required field `base_url`")
        if not self.base_url:
            structs.force_setattr(self, "base_url", self.base_urls[0])


class Price(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate costs, by unit. Every unit that is absent is not charged; no unit at all is an unknown price."""

    input_per_1m_usd: NonNegative | None = None
    output_per_1m_usd: NonNegative | None = None
    per_request_usd: NonNegative | None = None
    per_image_usd: NonNegative | None = None
    per_audio_minute_usd: NonNegative | None = None
    cached_input_per_1m_usd: NonNegative | None = None  # absent: cached tokens cost what other input does
    per_second_usd: NonNegative | None = None  # of compute, as the far side states it
    per_step_usd: NonNegative | None = None
    as_of: str | None = None
    source: str = "settings"

    @property
    def known(self) -> bool:
        """True when at least one unit has a price."""
        return (  # spelt out: it is asked of every candidate of every request
            self.input_per_1m_usd is not None
            or self.output_per_1m_usd is not None
            or self.per_request_usd is not None
            or self.per_image_usd is not None
            or self.per_audio_minute_usd is not None
            or self.per_second_usd is not None
            or self.per_step_usd is not None
        )


class LimitsEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Time limits of one candidate, shorter than its provider's; what is absent follows from what it took before."""

    first_token_timeout_s: Positive | None = None
    idle_timeout_s: Positive | None = None
    total_timeout_s: Positive | None = None


class CandidateEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place where a model can run."""

    backend: Literal["local", "ray", "remote", "fake"]
    provider: str | None = None
    model: str | None = None
    source: str | None = None
    revision: str | None = None
    runtime: str | None = None  # local: what computes it (torch, packed, onnx, llama.cpp); null takes the fastest
    head: str | None = None  # local text-classification: the set of intents it tells apart
    ray: ReplicasEntry = ReplicasEntry()  # ray: what its deployment has otherwise than `[ray]` says
    price: Price | None = None
    deterministic: bool = False  # remote: the same request, greedy or with a seed, has the same text there again
    continues: bool = False  # remote: goes on from the beginning of an assistant's message (vLLM and its kin do)
    limits: LimitsEntry = LimitsEntry()
    script: dict[str, str | int | float | bool] = field(default_factory=dict)


class ModelEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of the catalogue, and the candidates that can serve it."""

    id: Annotated[str, Meta(min_length=1)]
    task: str
    candidates: tuple[CandidateEntry, ...] = ()
    context_length: Annotated[int, Meta(gt=0, le=MOST)] | None = None
    parameters: Annotated[int, Meta(gt=0, le=MOST)] | None = None
    quality: Unit | dict[str, Unit] | None = None  # 0..1; by intent, `default` for the others
    description: str = ""
    enabled: bool = True  # false: it stays known, and nobody may be asked for it


class AliasEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name for several models of one task: `policy` ranks `models`; `fallbacks` follow in their order.

    Either may name other aliases, whose models then stand in their place.
    """

    name: Annotated[str, Meta(min_length=1)]
    models: Annotated[tuple[str, ...], Meta(min_length=1)]
    fallbacks: tuple[str, ...] = ()
    policy: str | None = None
    on_stream_failure: OnStreamFailure | None = None
    enabled: bool = True  # false: as if it was not there


Names = str | tuple[str, ...]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class MatchEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests a route takes: all that is given must hold; of several names one is enough."""

    task: Names | None = None
    model: Names | None = (
        None  # the name that was asked for: a model's, an alias', `auto`; `*`, `?`, `[...]` as in globs
    )
    alias: Names | None = None  # likewise, but exactly, and aliases only
    tenant: Names | None = None
    tag: Names | None = None  # one of the request's `routing.tags`
    intent: Names | None = None  # of the set `routing.intents`; a prompt that nobody judged matches none
    min_input_tokens: Annotated[int, Meta(ge=0, le=MOST)] | None = None  # both estimated, inclusive
    max_input_tokens: Annotated[int, Meta(ge=0, le=MOST)] | None = None
    hours: str | None = None  # "09:00-18:00", the end not included; "22:00-06:00" goes over midnight
    days: tuple[Day, ...] | None = None  # on which the hours begin; without hours, the whole days
    zone: str = "UTC"  # of the IANA's time zone database


class UseEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a route gives its requests: candidates, a policy, limits. The stricter of its limits and theirs counts."""

    alias: str | None = None
    models: tuple[str, ...] = ()
    backend: Literal["local", "ray", "remote", "fake", "browser", "any"] = "any"
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    policy: str | None = None
    max_latency_ms: Positive | None = None
    deadline_ms: Positive | None = None
    max_cost_usd: NonNegative | None = None
    min_quality: Unit | None = None
    private: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The alias or the models that it gives; none where it leaves them open."""
        return (self.alias,) if self.alias is not None else self.models


class RouteEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule. The first that matches a request decides how it is routed."""

    name: str = ""  # `route 3` where it is the third and has none
    match: MatchEntry = MatchEntry()
    use: UseEntry = UseEntry()
    enabled: bool = True  # false: it takes no request


class BudgetEntry(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be spent far. `scope`: `global`, `key:NAME`, `model:ID` or `provider:NAME`; periods are UTC's.

    Spent: `near` leaves the near candidates, `refuse` refuses the request, `warn` (a soft budget) only says so.
    """

    limit_usd: NonNegative
    scope: str = "global"
    period: Literal["day", "month"] = "day"
    on_exceeded: Literal["near", "refuse", "warn"] = "near"


class Settings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be configured."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    routing: RoutingSettings = RoutingSettings()
    log: LogSettings = LogSettings()
    cache: CacheSettings = CacheSettings()
    local: LocalSettings = LocalSettings()
    ray: RaySettings = RaySettings()
    intents: IntentsSettings = IntentsSettings()
    batches: BatchSettings = BatchSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    cluster: ClusterSettings = ClusterSettings()
    providers: tuple[ProviderSettings, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    aliases: tuple[AliasEntry, ...] = ()
    routes: tuple[RouteEntry, ...] = ()
    budgets: tuple[BudgetEntry, ...] = ()
