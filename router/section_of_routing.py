"""The shapes of the configuration's section `routing`: how requests are decided when they say nothing themselves."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from router.section import Fraction, NonNegative, Positive, Section, Unit


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
