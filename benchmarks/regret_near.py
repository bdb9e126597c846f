"""What the near chat model takes here, measured through a real house: the near place of `policy_regret.py`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from regret_world import Place

from backends.types import GenerationInput, InferenceRequest, Message, Task
from router.decision_log.log import DecisionLog
from router.house import open_house
from router.request import Call, Routing
from router.sections import Settings
from router.settings import Secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regret_world import Request

    from backends.types import InferenceResult

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
WORDS = "the river ran past mills and farms and under the old stone bridge where boats had waited for the tide "


def measured(requests: Sequence[Request], *, usd_per_hour: float) -> Place:
    """A place that takes what the near model takes for requests of these sizes, one at a time.

    Seconds = first + per input token + per output token, by least squares over what was used; the ratios of what was
    seen to that are its noise.
    """
    import numpy as np

    seen = asyncio.run(_asked(requests))
    used = np.array([[1.0, one.usage.prompt_tokens or 0, one.usage.completion_tokens or 0] for one in seen])
    taken = np.array([one.timings.service_s or 0.0 for one in seen])
    weights = 1 / taken  # relative errors count, as ratios are what is kept
    figures, *_ = np.linalg.lstsq(used * weights[:, None], taken * weights, rcond=None)
    first, per_input, per_output = (max(float(figure), 0.0) for figure in figures)
    expected = used @ np.array([first, per_input, per_output])
    return Place(
        name="near",
        near=True,
        first_s=first,
        per_input_s=per_input,
        per_output_s=per_output,
        usd_per_hour=usd_per_hour,
        noise=tuple(float(ratio) for ratio in taken / expected),
    )


def messages(request: Request) -> tuple[Message, ...]:
    """A prompt of about as many tokens as the request's, which begins with its number."""
    words = WORDS.split()
    said = " ".join(words[i % len(words)] for i in range(max(1, int(request.input_tokens * 0.9))))
    return (Message("user", f"[#{request.number}] Continue this story at length: {said}"),)


async def _asked(requests: Sequence[Request]) -> list[InferenceResult]:
    async with open_house(Settings(), Secrets(), DecisionLog.open(Path(":memory:"))) as house:
        await house.dispatcher.warm(MODEL, thorough=True)  # in the runtime that is fastest here
        results = []
        for request in requests:
            payload = GenerationInput(messages=messages(request), max_tokens=request.output_tokens)
            asked = InferenceRequest(task=Task.TEXT_GENERATION, model=MODEL, payload=payload)
            call = Call(request=asked, routing=Routing(backend="local"), surface="benchmark", received=time.monotonic())
            outcome = await house.dispatcher.infer(call)
            if outcome.result is None:
                raise RuntimeError(f"the near model did not answer: {outcome.error}")
            results.append(outcome.result)
        return results
