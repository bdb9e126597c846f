"""text-generation: a causal language model continues a prompt or a chat, token by token."""

from __future__ import annotations

import copy
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backends.errors import ContextLengthExceeded, Unavailable
from backends.local import llama_cpp
from backends.local.continuation import Conversation, Generated, LanguageModel, Prompt, Told
from backends.local.sampling import Choice, Sampling, nth, sampling
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import GenerationInput, GenerationOutput, Task, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.local.types import Control, Opening

logger = logging.getLogger("nearfar")
CONTEXT = 4  # tokens of a partial answer that the text of the next one may depend on


class CausalLM(LanguageModel):
    """A language model that torch computes, through transformers' `generate`: the reference."""

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


def pre(model: LanguageModel, payload: GenerationInput) -> list[Unit]:
    """Tokenise the prompt.

    Raises:
        ContextLengthExceeded: The prompt leaves no room for a single token.
        InvalidInput: A parameter is out of range, or the model cannot chat.
    """
    wanted = sampling(payload, model.defaults)
    tokens = model.encode(payload)
    limit = model.context_length
    if limit is not None and len(tokens) + 1 > limit:
        raise ContextLengthExceeded(f"the prompt has {len(tokens)} tokens; the model reads {limit}, answer included")
    room = payload.max_tokens if limit is None else min(payload.max_tokens, limit - len(tokens))
    context = tuple(tokens[-CONTEXT:]) if payload.partial else ()
    if payload.extras is None:
        return [Unit(Prompt(tokens, wanted, room, payload.stop, context))]
    likely = "logprobs" in payload.extras.fields
    return [
        Unit(Prompt(tokens, nth(wanted, number), room, payload.stop, context, Told(number, likely)))
        for number in range(payload.extras.answers)
    ]


def core(model: LanguageModel, contents: list[Prompt], control: Control) -> list[Generated]:
    """Continue each prompt; each piece of text is emitted as soon as it is sure. The end token counts as a token."""
    return [_continued(model, prompt, control) for prompt in contents]


def post(_model: LanguageModel, payload: GenerationInput, units: list[Unit], results: list[Generated]) -> Answer:
    """The whole text, and why it ended; of several answers each."""
    first = results[0]
    choices = () if payload.extras is None else tuple(each.choice(index) for index, each in enumerate(results))
    output = GenerationOutput(first.text, first.finish_reason, first.likelihood, choices)
    written = sum(each.tokens for each in results)
    return Answer(output, Usage(prompt_tokens=len(units[0].content.tokens), completion_tokens=written))


def _continued(model: LanguageModel, prompt: Prompt, control: Control) -> Generated:
    conversation = Conversation(model, prompt.stop, control, prompt.context, prompt.told)
    control.check()
    model.generate(prompt, conversation)
    control.check()
    return conversation.generated()


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


def load(opening: Opening) -> LanguageModel:
    """Load the model in the runtime that was measured to be best; in torch where none was, or it serves no more.

    One that is asked for by name serves, or nobody does.
    """
    if opening.runtime is not None:
        return llama_cpp.load(opening) if opening.runtime == llama_cpp.NAME else load_reference(opening)
    if opening.device == "cpu" and opening.runtimes.get("runtime") == llama_cpp.NAME:
        try:
            return llama_cpp.load(opening)
        except Unavailable as error:
            logger.warning("runtime '%s' does not serve here any more (%s): calibrate anew", llama_cpp.NAME, error)
    return load_reference(opening)


def load_reference(opening: Opening) -> CausalLM:
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


_SENTENCE = "The quick brown fox jumps over the lazy dog near the river bank."

FAMILY = LocalFamily(load=load, core=core)
TASK = LocalTask(
    task=Task.TEXT_GENERATION,
    family="causal-lm",
    pre=pre,
    post=post,
    warm_ups=(
        GenerationInput(prompt=_SENTENCE, max_tokens=2, temperature=0.0),
        GenerationInput(prompt=_SENTENCE, max_tokens=16, temperature=0.0),
        GenerationInput(prompt=" ".join([_SENTENCE] * 20), max_tokens=16, temperature=0.0),
    ),
)
