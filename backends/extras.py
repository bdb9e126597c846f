"""What a request asks beyond its plain task: validated once at the door, carried whole, and sent on unchanged.

No layer between the door and the wire reads these fields one by one. A candidate says which of them it can do
(`Status.features`); whoever speaks OpenAI's protocol is sent them as they came, and its choices come back as it gave
them.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

N: Final = "n"
TOKEN_IDS: Final = "input"  # noqa: S105 -- a field's name
"""The field of texts to embed, where they are given as numbers of the model's vocabulary."""

COMPLETION_LOGPROBS: Final = "logprobs (of completions)"
"""Those of `/v1/completions` have a shape of their own, with the likeliest other tokens."""

FEATURES: Final = frozenset({
    "tools", "tool_choice", "parallel_tool_calls", "response_format", "logprobs", "top_logprobs", N,
    "frequency_penalty", "presence_penalty", "logit_bias", "reasoning_effort", "verbosity", "messages", TOKEN_IDS,
    COMPLETION_LOGPROBS,
})  # fmt: skip
"""Everything that can be asked, by OpenAI's names; `messages` are messages that are more than text."""

NEAR_FEATURES: Final = frozenset({N, "logprobs", TOKEN_IDS})
"""What is done near: several answers, one by one; the probabilities of the tokens chosen; ids by the model's own
tokenizer."""

Choice = dict[str, Any]
"""One of several answers (`message` or `text`, `logprobs`, `finish_reason`), or a part (`delta`); with its `index`."""


class Extras(Struct, frozen=True, kw_only=True):
    """What a generation is asked beyond plain text, in the words of OpenAI's protocol.

    Attributes:
        fields: The protocol's fields as they go over the wire; only those that ask for something.
        messages: The whole conversation as it goes over the wire, where a message is more than text.
    """

    fields: dict[str, Any] = {}
    messages: tuple[dict[str, Any], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The names of all that is asked, in the order in which they were given."""
        given = (*self.fields, *(("messages",) if self.messages else ()))
        if type(self.fields.get("logprobs")) is int:  # completions say how many, in a shape of their own
            return tuple(COMPLETION_LOGPROBS if name == "logprobs" else name for name in given)
        return given

    @property
    def answers(self) -> int:
        """How many answers are wanted."""
        return int(self.fields.get(N, 1))


def answers_of(extras: Extras | None) -> int:
    """How many answers are wanted: one where nothing is said."""
    return 1 if extras is None else extras.answers


def lacking(asked: tuple[str, ...], features: frozenset[str]) -> tuple[str, ...]:
    """What of it somebody cannot do who can do `features`."""
    return tuple(name for name in asked if name not in features)


def parts_of(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """Whole choices as the parts of a stream that says each of them at once, without its finish."""
    return tuple(_part(choice) for choice in choices)


def _part(choice: Choice) -> Choice:
    part = {name: value for name, value in choice.items() if name in {"index", "text", "logprobs"}}
    delta = {name: value for name, value in choice.get("message", {}).items() if name != "role" and value is not None}
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": index} | call for index, call in enumerate(delta["tool_calls"])]
    return part | ({"delta": delta} if delta else {})
