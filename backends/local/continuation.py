"""What the runtimes of a language model share: its tokenizer, a prompt, and the talk with whoever waits.

Knows no weights and no library that computes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from backends.errors import InvalidInput
from backends.local.detokenizer import Detokenizer
from backends.local.sampling import Sampling
from backends.types import Delta

if TYPE_CHECKING:
    from backends.extras import Choice
    from backends.local.types import Control
    from backends.types import GenerationInput


class Told(Struct, frozen=True):
    """How an answer is told where more than text is asked: its place among several, and each token's probability."""

    number: int = 0
    likely: bool = False


class Prompt(Struct, frozen=True):
    """A prompt in tokens, how the next token is chosen, and how many there may be.

    `context` are the last tokens of an answer that is gone on with. `told` is None where text alone is asked.
    """

    tokens: list[int]
    wanted: Sampling
    room: int
    stop: tuple[str, ...]
    context: tuple[int, ...] = ()
    told: Told | None = None


class Generated(Struct, frozen=True):
    """What came of a prompt."""

    text: str
    tokens: int
    stopped: bool
    likelihood: float | None = None  # the geometric mean of its tokens' probabilities
    likely: tuple[dict[str, Any], ...] = ()  # its tokens with theirs, where they are asked for

    @property
    def finish_reason(self) -> Literal["stop", "length"]:
        """Why it ended."""
        return "stop" if self.stopped else "length"

    def choice(self, index: int) -> Choice:
        """It as one of several answers."""
        message = {"role": "assistant", "content": self.text}
        likely = {"logprobs": {"content": list(self.likely)}} if self.likely else {}
        return {"index": index, "message": message, **likely, "finish_reason": self.finish_reason}


class LanguageModel(ABC):
    """A loaded language model, whatever computes it. Used from its worker's thread only.

    Attributes:
        defaults: The model's own `GenerationConfig`.
        context_length: Tokens of prompt and answer together; None when the model does not say.
        end_tokens: Any of them ends an answer.
    """

    def __init__(self, tokenizer: Any, defaults: Any, context_length: int | None, device: str, dtype: str) -> None:
        self.tokenizer = tokenizer
        self.defaults = defaults
        self.context_length = context_length
        self.device = device
        self.dtype = dtype
        self.runtime = "torch"
        ends = defaults.eos_token_id
        self.end_tokens = frozenset([ends] if isinstance(ends, int) else ends or ())

    def encode(self, payload: GenerationInput) -> list[int]:
        """The prompt's tokens; a chat is written out by the model's own template.

        Raises:
            InvalidInput: A chat was given and the model has no template, or there is nothing to continue.
        """
        if payload.messages:
            if not self.tokenizer.chat_template:
                raise InvalidInput("this model has no chat template: give it a prompt instead of messages")
            chat = [{"role": message.role, "content": message.content} for message in payload.messages]
            encoded = self._chat(chat, payload.partial)
        else:
            encoded = self.tokenizer((payload.prompt or "") + payload.partial, verbose=False)
        tokens: list[int] = encoded["input_ids"]
        if not tokens:
            raise InvalidInput("the prompt is empty")
        return tokens

    def _chat(self, chat: list[dict[str, str]], partial: str) -> Any:
        """A chat with the model's own template, up to where its answer begins, and what it has said of that already."""
        if not partial:
            return self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
        text = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return self.tokenizer(text + partial, add_special_tokens=False, verbose=False)

    def decode(self, tokens: list[int]) -> str:
        """The text of the tokens; special ones have none."""
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def text_of(self, token: int) -> str:
        """What one token stands for; half a character is a replacement character."""
        text: str = self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    @abstractmethod
    def generate(self, prompt: Prompt, conversation: Conversation) -> None:
        """Compute token after token, tell each to `conversation`, and stop once it is over."""


class Conversation:
    """Takes each token, passes its text on as soon as it is sure, and knows when to stop."""

    def __init__(
        self,
        model: LanguageModel,
        stop: tuple[str, ...],
        control: Control,
        context: tuple[int, ...] = (),
        told: Told | None = None,
    ) -> None:
        self._told = told
        self._text_of = model.text_of
        self._likely: list[dict[str, Any]] = []  # tokens whose text has gone out
        self._held: list[dict[str, Any]] = []  # and those whose text has not
        self._control = control
        self._ends = model.end_tokens
        self._detokenizer = Detokenizer(model.decode, stop, context)
        self._pieces: list[str] = []
        self._logs: list[float] = []
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether an end token or a stop string came, or nobody waits any more."""
        return self._ended or self._detokenizer.stopped or self._control.cancelled.is_set()

    def take(self, token: int, log_probability: float | None = None) -> None:
        """The next token. The end token counts, and has no text; what a runtime computes after the end does not.

        `log_probability` is its natural logarithm as the model gave it, before temperature and cuts; None: not told.
        """
        if self.over:
            return
        if log_probability is not None:
            self._logs.append(log_probability)
        self._ended = token in self._ends
        if self._told is not None and self._told.likely and log_probability is not None and not self._ended:
            text = self._text_of(token)
            self._held.append({"token": text, "logprob": log_probability, "bytes": None, "top_logprobs": []})
        self._pass_on(self._detokenizer.push(token))

    def generated(self) -> Generated:
        """After the last token: the whole text, and whether the model or a stop string ended it."""
        self._pass_on(self._detokenizer.finish())
        stopped = self._ended or self._detokenizer.stopped
        text, counted = "".join(self._pieces), self._detokenizer.tokens
        return Generated(text, counted, stopped, self._likelihood(), tuple(self._likely))

    def _likelihood(self) -> float | None:
        """None unless every token told its probability."""
        if not self._logs or len(self._logs) < self._detokenizer.tokens:
            return None
        return math.exp(min(0.0, math.fsum(self._logs) / len(self._logs)))

    def _pass_on(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self._control.emit(self._delta(piece))

    def _delta(self, piece: str) -> Delta:
        if self._told is None:
            return Delta(piece)
        part: Choice = {"index": self._told.number, "delta": {"content": piece}}
        if self._held:
            part["logprobs"] = {"content": self._held}
        self._likely += self._held
        self._held = []
        return Delta("" if self._told.number else piece, choices=(part,))
