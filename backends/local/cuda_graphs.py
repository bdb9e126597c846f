"""A language model on a GPU whose next token is one recording of kernels, which takes less time than launching them.

A small model's hundreds of kernels for a token are over before the next one is launched. They are recorded once as a
CUDA graph (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs) over transformers' static cache, whose
keys, values and length keep their places, and replayed for each token.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from backends.local import causal_lm
from backends.local.causal_lm import CausalLM
from backends.local.sampling import Choice, unlike

if TYPE_CHECKING:
    from backends.local.continuation import Conversation, Prompt
    from backends.local.types import Opening

logger = logging.getLogger("nearfar")
SHORTEST = 512  # tokens of prompt and answer that the smallest recording has room for; others have powers of two
KEPT = 2  # recordings of different lengths: each holds a cache of its own
WARM_UPS = 3  # runs before a recording: libraries choose their kernels and take their memory in the first ones


class GraphedLM(CausalLM):
    """A language model in torch that replays what a token takes. Used from its worker's thread only."""

    def __init__(self, model: Any, tokenizer: Any, device: str, dtype: str) -> None:
        super().__init__(model, tokenizer, device, dtype)
        self._steps: OrderedDict[int, Steps | None] = OrderedDict()

    def generate(self, prompt: Prompt, conversation: Conversation) -> None:
        """Compute token after token, tell each to `conversation`, and stop once it is over."""
        import torch

        steps = self._of_length(len(prompt.tokens) + prompt.room)
        if steps is None:
            super().generate(prompt, conversation)
            return
        with torch.inference_mode():
            chooser = _Chooser(self, prompt)
            scores = steps.read(prompt.tokens)
            for left in range(prompt.room, 0, -1):
                token, log_probability = chooser.next(scores)
                conversation.take(token, log_probability)
                if left == 1 or conversation.over:
                    return
                scores = steps.next(token)

    def warm(self) -> bool:
        """Make the smallest recording, which shows whether there can be any."""
        return self._of_length(1) is not None

    def _of_length(self, tokens: int) -> Steps | None:
        """The recording with room for so many; the one that was used longest ago makes room for a new one.

        None where it cannot be made, whatever of the model's own code that is: then kernels are launched.
        """
        import torch

        length = max(SHORTEST, 1 << (tokens - 1).bit_length())
        if length not in self._steps:
            while len(self._steps) >= KEPT:
                self._steps.popitem(last=False)
            try:
                with torch.inference_mode():
                    self._steps[length] = Steps(self.model, length, self.device)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                logger.warning("a text of %d tokens is not recorded: %s", length, type(error).__name__)
                self._steps[length] = None
        self._steps.move_to_end(length)
        return self._steps[length]


class Steps:
    """One token after another, with room for `length` of them: recorded where `device` is a CUDA device."""

    def __init__(self, model: Any, length: int, device: str) -> None:
        import torch
        from transformers import StaticCache

        self._model = model
        self._cache = StaticCache(config=model.config, max_cache_len=length)
        self._token = torch.zeros((1, 1), dtype=torch.long, device=device)
        self._graph: Any = None
        self.read([0])  # the cache takes its place with the first token
        if device.startswith("cuda"):
            self._record()

    def read(self, tokens: list[int]) -> Any:
        """Read a prompt, from an empty cache: the scores of the token after it, of shape (1, vocabulary)."""
        import torch

        self._cache.reset()
        return self._forward(torch.tensor([tokens], device=self._token.device))

    def next(self, token: int) -> Any:
        """Go on with this token: the scores of the one after it. They are overwritten by the next call."""
        self._token.fill_(token)
        if self._graph is None:
            return self._forward(self._token)
        self._graph.replay()
        return self._scores

    def _forward(self, tokens: Any) -> Any:
        said = self._model(input_ids=tokens, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
        return said.logits[:, -1].float()

    def _record(self) -> None:
        import torch

        aside = torch.cuda.Stream(self._token.device)
        aside.wait_stream(torch.cuda.current_stream(self._token.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._forward(self._token)
        torch.cuda.current_stream(self._token.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other models' threads may go on meanwhile: what they do is not recorded, and does not break the recording.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            self._scores = self._forward(self._token)
        self._graph = graph


class _Chooser:
    """Chooses each token as `generate` does: the penalty first, then drawn or the most likely."""

    def __init__(self, model: CausalLM, prompt: Prompt) -> None:
        import torch
        from transformers import RepetitionPenaltyLogitsProcessor

        wanted = prompt.wanted
        penalty = wanted.repetition_penalty or model.defaults.repetition_penalty or 1.0
        self._processors: list[Any] = []
        if penalty != 1.0:
            self._processors.append(RepetitionPenaltyLogitsProcessor(penalty))
        if wanted.temperature is not None:
            self._processors.append(Choice(wanted))
        self._tokens = torch.tensor([prompt.tokens + [0] * prompt.room], device=model.device)
        self._known = len(prompt.tokens)

    def next(self, scores: Any) -> tuple[int, float]:
        """The token, and the logarithm of its probability ahead of penalties and temperature; waits for the device."""
        import torch

        changed = scores
        for processor in self._processors:
            changed = processor(self._tokens[:, : self._known], changed)
        token = changed.argmax(dim=-1)
        self._tokens[:, self._known] = token
        self._known += 1
        log_probability = scores[0, token] - scores.logsumexp(dim=-1)
        number, log = torch.stack((token.double(), log_probability.double())).flatten().tolist()
        return int(number), log


def load(opening: Opening) -> CausalLM:
    """Load the model; where its tokens cannot be recorded, as the reference that launches every kernel.

    Raises:
        torch.OutOfMemoryError: There is no room for it on the device.
    """
    model = causal_lm.load(opening)
    reason = unfit(model)
    if reason is None:
        graphed = GraphedLM(model.model, model.tokenizer, model.device, model.dtype)
        if graphed.warm():
            return graphed
        reason = "recording failed"
    logger.info("a token's kernels are launched one by one: %s", reason)
    return model


def unfit(model: CausalLM) -> str | None:
    """Why a model's tokens cannot be recorded; None where they can, as far as its library says."""
    from transformers.cache_utils import StaticCache, StaticLayer

    if not getattr(model.model, "_can_compile_fullgraph", False):
        return "its code is not of one piece"
    layers = StaticCache(config=model.model.config, max_cache_len=1).layers
    if any(type(layer) is not StaticLayer for layer in layers):
        return "not all of its layers read the whole text"
    return unlike(model.defaults)
