"""Chooses what computes a language model: torch, the reference, or llama.cpp where it is faster and says the same.

Agreement is the share of equal next tokens under teacher forcing: torch continues fixed prompts greedily, llama.cpp is
given the same tokens before each one, and names the one it would choose.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from backends.errors import BackendError, Unavailable
from backends.local import causal_lm, llama_cpp
from backends.local.continuation import Conversation, Prompt
from backends.local.errors import translated
from backends.local.sampling import Sampling
from backends.local.types import Control, Flag
from backends.types import GenerationInput, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.local.continuation import LanguageModel
    from backends.local.llama_cpp import LlamaModel
    from backends.local.types import Opening

logger = logging.getLogger("nearfar")
REFERENCE = "torch"
FLOOR: Final = 0.98  # of next tokens equal; float16 weights reach 1.00, the packaged 4-bit ones 0.978 as they are
WORTH = 0.10  # the share of a request's seconds that llama.cpp must save
READ, WRITTEN = 128, 64  # tokens of the request they are compared on
ANSWER = 24  # tokens of each continuation
ROUNDS = 3  # measurements; the fastest is kept, since other processes only ever add to it

_PROMPTS: Final = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Explain in two sentences what a router does.",
    "Write a Python function that adds two numbers.",
    "List three fruits.",
    "Who wrote Romeo and Juliet?",
    "Summarize: the meeting was moved from Monday to Wednesday because the room was taken.",
    "Translate to German: Good morning.",
    "What is 12 + 30?",
    "Why is the sky blue?",
    "Name the planets of the solar system.",
    "Write a polite email that declines an invitation.",
)
_STORY = "Once upon a time there was a lighthouse keeper who wrote a letter to the sea every single evening. "


class Speed(Struct, frozen=True, kw_only=True):
    """What was measured of a runtime.

    Attributes:
        agreement: The share of next tokens that are the reference's.
        read_s: Seconds until the first token after `READ` tokens.
        token_s: Seconds for each further token.
    """

    name: str
    agreement: float
    read_s: float
    token_s: float

    @property
    def request_s(self) -> float:
        """Seconds for `READ` tokens read and `WRITTEN` written."""
        return self.read_s + WRITTEN * self.token_s

    def __str__(self) -> str:
        return f"{self.name} reads {READ / self.read_s:.0f} and writes {1 / self.token_s:.1f} tokens/s"


def choose(reference: Speed, other: Speed) -> dict[str, str | int]:
    """Which of the two serves, as `runtime`, and `why`."""
    share = f"{other.name} chooses {other.agreement:.1%} of tokens as {reference.name} does"
    if not other.agreement >= FLOOR:
        return {"runtime": reference.name, "why": f"{share}, fewer than {FLOOR:.0%}"}
    faster = other.request_s <= (1 - WORTH) * reference.request_s
    return {"runtime": (other if faster else reference).name, "why": f"{other}, {reference}; {share}"}


def calibrate(opening: Opening) -> dict[str, str | int]:
    """Measure what can compute the model of `opening` here, and choose. Blocks for about a minute for a small model.

    A runtime that fails is named in the log and left out; only the reference must not.
    """
    reason = llama_cpp.supports(opening)
    if reason is not None:
        logger.info("%s: %s is left out: %s", opening.directory.name, llama_cpp.NAME, reason)
        return {"runtime": REFERENCE, "why": f"{llama_cpp.NAME}: {reason}"}
    reference = causal_lm.load(opening)
    try:
        with translated(opening.directory.name):
            other = llama_cpp.load(opening)
            _same_context(reference, other)
            alike = agreement(reference, other)
            chosen = choose(_measured(reference, 1.0), _measured(other, alike))
    except BackendError as error:
        logger.warning("%s is left out: %s", llama_cpp.NAME, error, exc_info=error)
        return {"runtime": REFERENCE, "why": f"{llama_cpp.NAME}: {error}"}
    logger.info("%s: %s: %s", opening.directory.name, chosen["runtime"], chosen["why"])
    return chosen


def agreement(reference: LanguageModel, other: LlamaModel) -> float:
    """The share of the reference's greedy tokens that the other would choose too, given all tokens before each."""
    chats = bool(reference.tokenizer.chat_template)
    equal = total = 0
    for text in _PROMPTS:
        payload = GenerationInput(messages=(Message("user", text),)) if chats else GenerationInput(prompt=text)
        prompt = reference.encode(payload)
        answer = continued(reference, prompt, ANSWER).tokens
        equal += sum(one == two for one, two in zip(answer, other.forced(prompt, answer), strict=True))
        total += len(answer)
    return equal / total


def measure(model: LanguageModel, clock: Callable[[], float] = time.perf_counter) -> tuple[float, float]:
    """Seconds until the first token after `READ` tokens, and for each further one."""
    prompt = model.encode(GenerationInput(prompt=_STORY * READ))[:READ]
    continued(model, prompt, 2)
    first, further = [], []
    for _ in range(ROUNDS):
        started = clock()
        times = continued(model, prompt, WRITTEN // 2, clock).times
        first.append(times[0] - started)
        further.append((times[-1] - times[0]) / max(1, len(times) - 1))
    return min(first), min(further)


def _same_context(reference: LanguageModel, other: LanguageModel) -> None:
    if reference.context_length != other.context_length:
        raise Unavailable(f"it would read {other.context_length} tokens, not {reference.context_length}")


def _measured(model: LanguageModel, alike: float) -> Speed:
    read_s, token_s = measure(model)
    return Speed(name=model.runtime, agreement=alike, read_s=read_s, token_s=token_s)


class Heard(Conversation):
    """Only remembers the tokens, and when each came."""

    def __init__(self, model: LanguageModel, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(model, (), Control(Flag(), lambda _piece: None))
        self._clock = clock
        self.tokens: list[int] = []
        self.times: list[float] = []

    def take(self, token: int, log_probability: float | None = None) -> None:
        """The next token, now."""
        self.times.append(self._clock())
        self.tokens.append(token)
        super().take(token, log_probability)


def continued(
    model: LanguageModel, prompt: list[int], room: int, clock: Callable[[], float] = time.perf_counter
) -> Heard:
    """Let the model continue a prompt greedily, with nothing penalised."""
    greedy = Sampling(temperature=None, top_p=None, top_k=None, repetition_penalty=1.0, seed=None)
    heard = Heard(model, clock)
    model.generate(Prompt(prompt, greedy, room, ()), heard)
    return heard
