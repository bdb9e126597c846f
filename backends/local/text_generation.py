"""text-generation: a causal language model continues a prompt or a chat, token by token."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from backends.errors import ContextLengthExceeded, Unavailable
from backends.local import causal_lm, cuda_graphs, llama_cpp
from backends.local.continuation import Conversation, Generated, LanguageModel, Prompt, Told
from backends.local.sampling import nth, sampling
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import GenerationInput, GenerationOutput, Task, Usage

if TYPE_CHECKING:
    from backends.local.types import Control, Opening

logger = logging.getLogger("nearfar")
CONTEXT = 4  # tokens of a partial answer that the text of the next one may depend on


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


def load(opening: Opening) -> LanguageModel:
    """Load the model in the runtime that was measured to be best; in torch where none was, or it serves no more.

    On a GPU that is torch, which replays recorded kernels there. One that is asked for by name serves, or nobody does.
    """
    if opening.runtime == llama_cpp.NAME:
        return llama_cpp.load(opening)
    measured = opening.runtimes.get("runtime") if opening.runtime is None else None
    if opening.device == "cpu" and measured == llama_cpp.NAME:
        try:
            return llama_cpp.load(opening)
        except Unavailable as error:
            logger.warning("runtime '%s' does not serve here any more (%s): calibrate anew", llama_cpp.NAME, error)
    return cuda_graphs.load(opening) if opening.device.startswith("cuda") else causal_lm.load(opening)


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
