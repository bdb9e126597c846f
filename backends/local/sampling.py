"""How the next token is chosen: the request's parameters over the model's own defaults, checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from backends.errors import InvalidInput

if TYPE_CHECKING:
    from backends.types import GenerationInput

_MAX_SEED = 2**63 - 1
# What of a model's own defaults every runtime follows as `generate` does; a model with others is `generate`'s alone.
_FOLLOWED = frozenset({
    "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty",
    "max_length", "max_new_tokens", "transformers_version", "_from_model_config", "use_cache",
    "typical_p", "min_p", "num_beams",
})  # fmt: skip


class Sampling(Struct, frozen=True, kw_only=True):
    """`temperature` None is greedy; then nothing else but the repetition penalty counts."""

    temperature: float | None
    top_p: float | None
    top_k: int | None
    repetition_penalty: float | None
    seed: int | None


def sampling(payload: GenerationInput, defaults: Any) -> Sampling:
    """What the request asks for, and where it says nothing what the model's `GenerationConfig` says.

    Raises:
        InvalidInput: A parameter is not finite or out of its range.
    """
    _check(payload)
    temperature = payload.temperature
    if temperature is None and defaults.do_sample:
        temperature = 1.0 if defaults.temperature is None else float(defaults.temperature)
    own = defaults if defaults.do_sample else None
    return Sampling(
        temperature=temperature or None,
        top_p=payload.top_p if payload.top_p is not None else getattr(own, "top_p", None),
        top_k=payload.top_k if payload.top_k is not None else getattr(own, "top_k", None),
        repetition_penalty=payload.repetition_penalty,
        seed=payload.seed,
    )


def nth(wanted: Sampling, number: int) -> Sampling:
    """How the n-th of several answers is drawn: by a seed of its own, which follows from the request's."""
    return wanted if wanted.seed is None else structs.replace(wanted, seed=(wanted.seed + number) % (_MAX_SEED + 1))


def unlike(defaults: Any) -> str | None:
    """What of a model's own `GenerationConfig` only `generate` does; None where every runtime follows all of it."""
    others = {name for name, value in defaults.to_diff_dict().items() if value and name not in _FOLLOWED}
    return f"the model wants {', '.join(sorted(others))}, which is done in torch only" if others else None


def _check(payload: GenerationInput) -> None:
    for name, value, sound in (
        ("max_tokens", payload.max_tokens, payload.max_tokens >= 1),
        ("temperature", payload.temperature, (payload.temperature or 0) >= 0),
        ("top_p", payload.top_p, payload.top_p is None or 0 < payload.top_p <= 1),
        ("top_k", payload.top_k, (payload.top_k or 0) >= 0),
        ("repetition_penalty", payload.repetition_penalty, _positive(payload.repetition_penalty)),
        ("seed", payload.seed, 0 <= (payload.seed or 0) <= _MAX_SEED),
    ):
        if not sound or not math.isfinite(value or 0):
            raise InvalidInput(f"{name} is {value}, which no model can follow")
    if "" in payload.stop:
        raise InvalidInput("a stop string is empty")


def _positive(value: float | None) -> bool:
    return value is None or value > 0


class Choice:
    """A logits processor that draws the token itself, from a generator of its own, and leaves only that one.

    `generate` draws from torch's global generator, which other workers' requests would disturb: no seed would hold.
    """

    def __init__(self, wanted: Sampling) -> None:
        import torch
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self._warpers: list[Any] = [TemperatureLogitsWarper(float(wanted.temperature or 1))]
        if wanted.top_k:
            self._warpers.append(TopKLogitsWarper(wanted.top_k))
        if wanted.top_p is not None and wanted.top_p < 1:
            self._warpers.append(TopPLogitsWarper(wanted.top_p))
        self._generator = torch.Generator()
        if wanted.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(wanted.seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores in, scores out: zero for the drawn token, minus infinity for all others."""
        import torch

        for warper in self._warpers:
            scores = warper(input_ids, scores)
        probabilities = torch.softmax(scores.float(), dim=-1).cpu()
        drawn = torch.multinomial(probabilities, 1, generator=self._generator).to(scores.device)
        return torch.full_like(scores, -math.inf).scatter(1, drawn, 0.0)
