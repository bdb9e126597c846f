"""text-generation: a causal language model continues a prompt or a chat, token by token."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from backends.errors import ContextLengthExceeded, InvalidInput
from backends.local.detokenizer import Detokenizer
from backends.local.sampling import Choice, sampling
from backends.local.types import Answer
from backends.types import GenerationOutput, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from backends.local.sampling import Sampling
    from backends.local.types import Control
    from backends.types import GenerationInput


class CausalLM:
    """A loaded language model and its tokenizer. Used from its worker's thread only."""

    def __init__(self, model: Any, tokenizer: Any, device: str, dtype: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.device = device
        self.dtype = dtype
        text_config = model.config.get_text_config()
        self.context_length: int | None = getattr(text_config, "max_position_embeddings", None)
        ends = model.generation_config.eos_token_id
        self.end_tokens = frozenset([ends] if isinstance(ends, int) else ends or ())

    def encode(self, payload: GenerationInput) -> Any:
        """The prompt's tokens; a chat is written out by the model's own template.

        Raises:
            InvalidInput: A chat was given and the model has no template, or there is nothing to continue.
        """
        if payload.messages:
            if not self.tokenizer.chat_template:
                raise InvalidInput("this model has no chat template: give it a prompt instead of messages")
            chat = [{"role": message.role, "content": message.content} for message in payload.messages]
            encoded = self.tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            )
        else:
            encoded = self.tokenizer(payload.prompt or "", return_tensors="pt", verbose=False)
        if encoded["input_ids"].shape[-1] == 0:
            raise InvalidInput("the prompt is empty")
        return encoded.to(self.device)

    def decode(self, tokens: list[int]) -> str:
        """The text of the tokens; special ones have none."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


class Conversation:
    """What `generate` talks to while it runs: takes each token, passes its text on, and says when to stop.

    A streamer (`put`, `end`) and a stopping criterion (`__call__`) in one, because a stop string is found in the text.
    """

    def __init__(self, model: CausalLM, payload: GenerationInput, control: Control) -> None:
        self._control = control
        self._ends = model.end_tokens
        self._detokenizer = Detokenizer(model.decode, payload.stop)
        self._prompt_seen = False
        self._pieces: list[str] = []
        self._ended = False

    def put(self, tokens: Any) -> None:
        """Called by `generate` with the prompt first, then with each token."""
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for token in tokens.flatten().tolist():
            self._ended = token in self._ends
            self._pass_on(self._detokenizer.push(token))

    def end(self) -> None:
        """Called by `generate` after the last token."""
        self._pass_on(self._detokenizer.finish())

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        """True once a stop string came or nobody waits any more; asked after each token."""
        import torch

        over = self._detokenizer.stopped or self._control.cancelled.is_set()
        return torch.full((input_ids.shape[0],), over, dtype=torch.bool, device=input_ids.device)

    def answer(self, prompt_tokens: int) -> Answer:
        """The whole text, and why it ended."""
        stopped = self._ended or self._detokenizer.stopped
        output = GenerationOutput(text="".join(self._pieces), finish_reason="stop" if stopped else "length")
        return Answer(output, Usage(prompt_tokens=prompt_tokens, completion_tokens=self._detokenizer.tokens))

    def _pass_on(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._control.emit(piece)


def run(model: CausalLM, payload: GenerationInput, control: Control) -> Answer:
    """Continue the prompt; each piece of text is emitted as soon as it is sure. The end token counts as a token.

    Raises:
        ContextLengthExceeded: The prompt leaves no room for a single token.
        InvalidInput: A parameter is out of range, or the model cannot chat.
    """
    import torch

    wanted = sampling(payload, model.model.generation_config)
    encoded = model.encode(payload)
    prompt_tokens = int(encoded["input_ids"].shape[-1])
    limit = model.context_length
    if limit is not None and prompt_tokens + 1 > limit:
        raise ContextLengthExceeded(f"the prompt has {prompt_tokens} tokens; the model reads {limit}, answer included")
    room = payload.max_tokens if limit is None else min(payload.max_tokens, limit - prompt_tokens)
    conversation = Conversation(model, payload, control)
    control.check()
    with torch.inference_mode():
        model.model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            generation_config=_config(model, wanted, room),
            logits_processor=[] if wanted.temperature is None else [Choice(wanted)],
            stopping_criteria=[conversation],
            streamer=conversation,
        )
    control.check()
    return conversation.answer(prompt_tokens)


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


def load(directory: Path, device: str, dtype: str) -> CausalLM:
    """Load the model in `directory`, from these files only; a lone gguf is unpacked while it is read."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files: dict[str, Any] = {"local_files_only": True}
    ggufs = sorted(directory.glob("*.gguf"))
    if ggufs and not any(directory.glob("*.safetensors")):
        files["gguf_file"] = ggufs[0].name
    tokenizer = AutoTokenizer.from_pretrained(str(directory), **files)
    safe = {} if "gguf_file" in files else {"use_safetensors": True}
    model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=getattr(torch, dtype), **safe, **files)
    return CausalLM(model.to(device).eval(), tokenizer, device, dtype)
