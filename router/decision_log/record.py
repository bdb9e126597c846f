"""The rows of the decision log, as the router makes them. The log stores them as they are.

One request makes one `DecisionRow` when it is decided, one `AttemptRow` per backend call, and one `OutcomeRow`
when it ends. Whatever repeats (prices, policies, the machine) is a snapshot the rows name by id.
Units: `_ms` milliseconds, `_usd` US dollars, None = not known (never 0).
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from router.decision_log.comparison_rows import CompareRunRow, CompareTrialRow

Mode = Literal["policy", "refused", "pinned"]
OutcomeStatus = Literal["ok", "error", "refused", "cancelled"]
AttemptRole = Literal["primary", "retry", "fallback", "hedge", "continuation", "escalation", "shadow"]
AttemptStatus = Literal["ok", "error", "cancelled"]
CostSource = Literal["measured", "declared", "priced", "estimated", "cached", "client", "unknown"]


class CandidateRow(Struct, frozen=True, kw_only=True):
    """One candidate as the policy saw it, eligible or not."""

    candidate_id: str
    backend: str
    provider: str
    model: str
    device: str
    eligible: bool
    reason: str | None  # why it was rejected; None when eligible
    warm: bool
    queued: int
    load_ms: float
    queue_ms: float
    pred_ms: float
    pred_source: str
    pred_cost_usd: float | None
    pred_cost_source: str
    pred_quality: float | None
    score: float | None  # the policy's own unit, lower is better; None when rejected
    near: bool = False  # a request to it would not leave this machine
    code: str | None = None  # which kind of rejection `reason` is; None when eligible
    p90_ms: float | None = None  # of the distribution whose middle is pred_ms, like the next two
    p95_ms: float | None = None
    p99_ms: float | None = None
    first_token_ms: float | None = None  # the middle of its distribution; of streamed answers only
    first_token_p95_ms: float | None = None
    propensity: float | None = None  # with which it was put first, after everything hard; None when rejected


class DecisionRow(Struct, frozen=True, kw_only=True, tag="decision"):
    """One request, at the instant it was decided (or refused)."""

    decision_id: str  # UUIDv7
    ts_us: int  # microseconds since 1970, UTC
    seq: int  # gapless per boot: proves no row was lost
    surface: str  # the route's pattern, `cli`, or `compare`
    request_id: str | None
    mode: Mode
    reason: str
    price_book: str | None  # -> price_books
    task: str | None
    model: str | None
    input_bytes: int | None
    # What follows is not known of a request that was refused before a policy was asked.
    policy: str | None = None
    policy_version: str | None = None
    input_tokens: int | None = None
    output_tokens_est: int | None = None
    batch_items: int = 0
    stream: bool = False
    deadline_ms: float | None = None
    max_cost_usd: float | None = None
    max_latency_ms: float | None = None
    min_quality: float | None = None
    private: bool = False
    payload_hash: str | None = None  # keyed, of the inputs; no content
    candidates: list[CandidateRow] = []
    chosen: str | None = None  # candidate_id the policy ranked first; None when nothing was eligible
    decide_us: int = 0
    intent: str | None = None  # what the prompt wants, by `routing.intents`
    intent_probability: float | None = None
    tenant: str | None = None  # whose request it is
    session: str | None = None  # keyed hash of the sender's session: what belongs together
    route: str | None = None  # which of the configured routes it took
    explore_rate: float = 0.0  # share of decisions left to chance
    draw: float | None = None  # what chance said
    explored: bool = False  # another candidate was put first than the policy would have
    propensity: float | None = None  # of `chosen`
    catalog: str | None = None  # -> catalogs


class AttemptRow(Struct, frozen=True, kw_only=True, tag="attempt"):
    """One call of a backend. Every fact is final; a row is never changed."""

    decision_id: str
    attempt: int  # 1-based
    ts_us: int
    role: AttemptRole
    candidate_id: str
    backend: str
    provider: str
    model: str
    device: str
    status: AttemptStatus
    error_class: str | None
    error: str | None
    censored: bool  # total_ms is only a lower bound (cancelled, timed out)
    won: bool
    total_ms: float
    queue_ms: float | None
    load_ms: float | None
    service_ms: float | None
    first_token_ms: float | None
    batch_size: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    occupancy_ms: float | None  # device time attributed to this request
    cost_usd: float | None
    cost_source: CostSource
    provider_request_id: str | None
    pre_ms: float | None = None  # tokenising or decoding the input
    post_ms: float | None = None
    images: int | None = None
    audio_s: float | None = None
    cached_tokens: int | None = None  # of prompt_tokens
    compute_ms: float | None = None  # as the far side states it
    usage_raw: str | None = None  # the far side's own words on usage, or the page's on itself, JSON
    from_char: int | None = None  # where its text begins in an answer that several attempts gave
    cost_occupancy_usd: float | None = None  # near, on three bases; cost_usd is one of the first two
    cost_marginal_usd: float | None = None
    cost_amortised_usd: float | None = None
    energy_j: float | None = None
    energy_source: str | None = None  # `rapl`, `nvml`, `watts`
    confidence: float | None = None  # how sure its model is of the answer, where it tells
    replica: str | None = None  # which of the candidate's servers was asked, by its number; no address


class OutcomeRow(Struct, frozen=True, kw_only=True, tag="outcome"):
    """How one request ended, as its sender saw it. Exactly one per decision."""

    decision_id: str
    ts_us: int
    status: OutcomeStatus
    error_class: str | None
    error: str | None
    cost_usd: float | None  # all attempts together; None when any of them is unknown
    cost_source: CostSource
    # What follows stays empty where nobody was asked, or nobody answered.
    backend: str | None = None
    provider: str | None = None
    model_served: str | None = None
    device: str | None = None
    attempts: int = 0
    latency_ms: float = 0.0
    overhead_ms: float = 0.0  # latency_ms less the time spent in attempts
    first_token_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class InputRow(Struct, frozen=True, kw_only=True, tag="input"):
    """What was sent in. Written only with log.store_inputs, read only by its tenant, and deleted on time."""

    decision_id: str
    ts_us: int
    tenant: str  # empty where nobody is asked who they are
    body: str  # JSON


class PriceBookRow(Struct, frozen=True, kw_only=True, tag="price_book"):
    """A snapshot of every price in force, local rate included. Written once per distinct content."""

    price_book: str  # hash of the body
    ts_us: int
    body: str  # JSON


class CatalogRow(Struct, frozen=True, kw_only=True, tag="catalog"):
    """The whole catalogue from one instant on: models, aliases and routes. One row per change."""

    catalog: str  # hash of the body
    ts_us: int
    author: str | None  # who changed it; None where nobody is asked who they are
    change: str  # what was done, in a few words
    body: str  # JSON


class PolicyRow(Struct, frozen=True, kw_only=True, tag="policy"):
    """A policy with its parameters. Written once per distinct version."""

    policy_version: str
    policy: str
    ts_us: int
    body: str  # JSON


class NodeRow(Struct, frozen=True, kw_only=True, tag="node"):
    """This machine and its software at one boot of the router."""

    boot_id: str
    node_id: str
    ts_us: int
    hardware: str  # JSON
    software: str  # JSON


class FeedbackRow(Struct, frozen=True, kw_only=True, tag="feedback"):
    """What somebody said of an answer afterwards."""

    decision_id: str
    ts_us: int
    source: str  # who says so: `user`, or a program's name
    metric: str  # what is judged: `score`
    value: float  # 0..1
    label: str | None = None  # the right answer, where it is a label
    weight: float = 1.0


class ShadowRow(Struct, frozen=True, kw_only=True, tag="shadow"):
    """How well a near answer that nobody waited for agrees with the far one that was given."""

    decision_id: str
    attempt: int  # -> attempts: the shadow itself
    ts_us: int
    candidate_id: str  # who was run for comparison
    reference: str  # candidate_id whose answer was given
    metric: str  # `cosine`, `label`, `wer`, `exact`
    agreement: float  # 0..1


class PredictorRow(Struct, frozen=True, kw_only=True, tag="predictor"):
    """What was learnt of one candidate's latency, so that it outlives the process. The newest counts."""

    candidate_id: str
    ts_us: int
    state: str  # JSON


Row = (
    DecisionRow
    | AttemptRow
    | OutcomeRow
    | InputRow
    | PriceBookRow
    | CatalogRow
    | PolicyRow
    | NodeRow
    | FeedbackRow
    | ShadowRow
    | PredictorRow
    | CompareRunRow
    | CompareTrialRow
)

KINDS: dict[type, str] = {row: row.__struct_config__.tag for row in get_args(Row)}
"""What each kind of row is called."""
