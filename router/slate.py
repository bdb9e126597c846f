"""The slate of one request: its candidates with their state, its size, and the plan made of them. Values only."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from backends.types import InferenceResult, Limits, Status, Target, Task
from policies.base import Policy
from policies.types import Decision, Estimate
from router.errors import RouterError
from router.request import Call
from router.section_of_routing import OnStreamFailure
from router.sections import Price

CACHE = "cache"
"""The backend and provider of answers that were given before."""

BROWSER = "browser"
"""The backend and provider of what its sender's own page computes."""


class Candidate(Struct, frozen=True, kw_only=True):
    """One backend, provider, model and device that could serve a request.

    Attributes:
        id: Unique among a model's candidates, and stable: `local:MODEL`, `PROVIDER:MODEL`; with `#RUNTIME` behind
            it where one is asked for by name.
        target: Whom the backend would ask.
        near: True when the request would not leave this machine, or its sender's own.
        status: The target's state when the slate was made.
        price: Declared price; None for the near side, and for a far one nobody priced.
        quality: In 0..1, for what the request wants; None when unknown.
        quality_source: What it rests on: `prior`, `feedback`, `agreement`, joined by `+`; None when unknown.
        vector_space: What embeddings must share to be interchangeable.
        listed_as: The catalogue's id of its model.
        account: Who pays: what credits and tokens are shared with; empty where nothing is paid.
        context_length: Tokens it reads and writes together, where known.
        limits: Time limits of its own.
        through: The far side that is asked for it: a router, or the provider itself, as where it is empty.
        served_prices: What each provider charges that may serve it, where the candidate leaves that to its router.
        first_token_s: As its router measured it for all its users; None when nobody said.
        tokens_per_s: Likewise.
        fallback: Its place among an alias' fallbacks, from 1; 0 for those the policy ranks.
        lacks: The request's fields that ask for what it cannot do.
        deterministic: Whether the same generation gives the same text there again.
        answer: What it gave before to the same request, where that is all it is (`router.caching`).
    """

    id: str
    target: Target
    near: bool
    status: Status
    price: Price | None = None
    quality: float | None = None
    quality_source: str | None = None
    vector_space: str = ""
    listed_as: str = ""
    account: str = ""
    through: str = ""
    context_length: int | None = None
    limits: Limits = Limits()
    served_prices: dict[str, Price] = {}
    first_token_s: float | None = None
    tokens_per_s: float | None = None
    fallback: int = 0
    lacks: tuple[str, ...] = ()
    deterministic: bool = False
    answer: InferenceResult | None = None

    @property
    def unsupported(self) -> str | None:
        """What of the request it cannot do, in words; None when it can do everything."""
        return f"cannot do what is asked by: {', '.join(self.lacks)}" if self.lacks else None

    @property
    def continues(self) -> bool:
        """Whether it goes on from the beginning of an assistant's message, instead of answering anew."""
        return self.near or self.target.continues

    @property
    def cached(self) -> bool:
        """Whether it is an answer that was given before: nobody is asked."""
        return self.answer is not None


class Size(Struct, frozen=True, kw_only=True):
    """How large a request is, in the units of its task; None for units it has none of, and for what is not known.

    Attributes:
        items: Texts, images or recordings.
        output_tokens: Expected; None for tasks that generate no text.
        max_output_tokens: The request's own limit.
        images: Images to draw or to look at.
        pixels: Of one drawing; None leaves it to the model.
        steps: Of one drawing; None leaves it to the model.
        pixel_steps: Of all drawings together: pixels times steps; None while the model's own are not known.
        audio_s: Seconds of sound.
    """

    items: int
    input_tokens: int | None
    output_tokens: int | None = None
    max_output_tokens: int | None = None
    images: int | None = None
    pixels: int | None = None
    steps: int | None = None
    pixel_steps: int | None = None
    audio_s: float | None = None


class PromptIntent(NamedTuple):
    """The likeliest intent of a prompt (`unknown` when it is like none), and its probability in 0..1."""

    label: str
    probability: float


class Plan(Struct, frozen=True, kw_only=True):
    """One request, decided: everything the attempts need and the log keeps.

    Attributes:
        decision_id: UUIDv7.
        ts_us: Microseconds since 1970 at the decision.
        intent: What the prompt wants, where somebody was asked and could say.
        decide_us: What finding, estimating and deciding cost.
        deadline_s: Seconds allowed for the whole chain, from `call.received`.
        on_stream_failure: What happens when a stream breaks after its first piece.
        refusal: Why nothing is tried, where that is more than that nobody is eligible.
        route: The name of the configured route that it falls under; None where none matches.
        policy: Whose decision it is, with the share that it leaves to chance.
        kept_as: Keyed hash that its answer is kept under; None where it is not to be kept.
    """

    decision_id: str
    ts_us: int
    call: Call
    size: Size
    candidates: list[Candidate]
    estimates: list[Estimate]
    decision: Decision
    policy: Policy
    decide_us: int
    deadline_s: float
    intent: PromptIntent | None = None
    on_stream_failure: OnStreamFailure = "error"
    refusal: RouterError | None = None
    route: str | None = None
    kept_as: bytes | None = None

    @property
    def deadline(self) -> float:
        """Monotonic seconds after which nobody waits."""
        return self.call.received + self.deadline_s

    @property
    def generates(self) -> bool:
        """Whether the answer is a text that takes as long as it is."""
        return self.call.request.task is Task.TEXT_GENERATION

    def estimate(self, candidate_id: str) -> Estimate:
        """What was expected of a candidate."""
        return next(estimate for estimate in self.estimates if estimate.candidate_id == candidate_id)

    def ranked(self) -> list[Candidate]:
        """The candidates in the order in which they are tried."""
        by_id = {candidate.id: candidate for candidate in self.candidates}
        return [by_id[candidate_id] for candidate_id in self.decision.ranked]
