"""A causal language model that torch computes, through transformers' `generate`: the reference of every runtime."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backends.local.continuation import Conversation, LanguageModel, Prompt
from backends.local.sampling import Choice, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.local.types import Opening


class CausalLM(LanguageModel):
    """A language model in torch. Used from its worker's thread only."""

    def __init__(self, model: Any, tokenizer: Any, device: str, dtype: str) -> None:
        context_length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        super().__init__(tokenizer, model.generation_config, context_length, device, dtype)
        self.model = model

    def generate(self, prompt: Prompt, conversation: Conversation) -> None:
        """Compute token after token, tell each to `conversation`, and stop once it is over."""
        import torch

        inputs = torch.tensor([prompt.tokens], device=self.device)
        watched = _Probabilities()
        listener = _Listener(conversation, watched)
        with torch.inference_mode(), watched.of_model(self.model):
            self.model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                generation_config=_config(self, prompt.wanted, prompt.room),
                logits_processor=[] if prompt.wanted.temperature is None else [Choice(prompt.wanted)],
                stopping_criteria=[listener],
                streamer=listener,
            )


class _Probabilities:
    """Remembers what the model gave before each token was chosen, ahead of penalties and temperature."""

    def __init__(self) -> None:
        self._scores: Any = None

    @contextmanager
    def of_model(self, model: Any) -> Iterator[None]:
        """Watch the model inside."""
        hook = model.register_forward_hook(self._remember)
        try:
            yield
        finally:
            hook.remove()

    def _remember(self, _model: Any, _inputs: Any, output: Any) -> None:
        self._scores = output.logits[0, -1]

    def of(self, token: int) -> float:
        """The logarithm of the probability of the token that was chosen: two passes over the scores."""
        return float(self._scores[token].float() - self._scores.float().logsumexp(dim=-1))


class _Listener:
    """What `generate` talks to: a streamer (`put`, `end`) and a stopping criterion (`__call__`) in one."""

    def __init__(self, conversation: Conversation, watched: _Probabilities) -> None:
        self._conversation = conversation
        self._watched = watched
        self._prompt_seen = False

    def put(self, tokens: Any) -> None:
        """Called with the prompt first, then with each token."""
        if self._prompt_seen:
            for token in tokens.flatten().tolist():
                self._conversation.take(token, self._watched.of(token))
        self._prompt_seen = True

    def end(self) -> None:
        """Called after the last token."""

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        """Whether to stop; asked after each token."""
        import torch

        return torch.full((input_ids.shape[0],), self._conversation.over, dtype=torch.bool, device=input_ids.device)


def load(opening: Opening) -> CausalLM:
    """Load the model in torch, from its own files only; a lone gguf is unpacked while it is read."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = opening.directory
    files: dict[str, Any] = {"local_files_only": True}
    ggufs = sorted(directory.glob("*.gguf"))
    if ggufs and not any(directory.glob("*.safetensors")):
        files["gguf_file"] = ggufs[0].name
    tokenizer = AutoTokenizer.from_pretrained(str(directory), **files)
    safe = {} if "gguf_file" in files else {"use_safetensors": not opening.pickles}
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=getattr(torch, opening.dtype), **safe, **files)
    return CausalLM(model.to(opening.device).eval(), tokenizer, opening.device, opening.dtype)


def _config(model: CausalLM, wanted: Sampling, max_new_tokens: int) -> Any:
    """The model's own generation defaults, greedy: `Choice` draws where drawing is wanted."""
    config = copy.deepcopy(model.model.generation_config)
    config.update(do_sample=False, temperature=None, top_p=None, top_k=None, typical_p=None, min_p=None, num_beams=1)
    config.update(max_new_tokens=max_new_tokens, max_length=None)
    if wanted.repetition_penalty is not None:
        config.repetition_penalty = wanted.repetition_penalty
    if config.pad_token_id is None and model.end_tokens:
        config.pad_token_id = min(model.end_tokens)
    return config
