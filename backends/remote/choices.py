"""The choices of a far generation as the far side gave them: whole, or put together from the parts of a stream.

Text alone needs none of this. Whoever asked for tools, several answers or log-probabilities gets what was said, in the
protocol's own shape: nothing is dropped but what would be told twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.errors import ContentRefused, RemoteError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.extras import Choice

_TOLD = ("role",)
"""Said once at the beginning of a stream, by whoever passes it on: clients add up what comes again."""


class Choices:
    """So many choices, each by its index."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._found: dict[int, Choice] = {}

    def feed(self, said: Sequence[dict[str, Any]]) -> tuple[Choice, ...]:
        """Take the choices of an answer or of a chunk of one; gives the parts that they add, without their finish.

        Raises:
            RemoteError: There is one more than was asked for.
        """
        return tuple(part for choice in said if (part := self._take(choice)) is not None)

    @property
    def finished(self) -> bool:
        """Whether every choice that is wanted has come to its end."""
        return len(self._found) == self._wanted and all(choice["finish_reason"] for choice in self._found.values())

    def whole(self) -> tuple[Choice, ...]:
        """All of them, in order.

        Raises:
            ContentRefused: The provider's filter ended one.
        """
        choices = tuple(map(_unnumbered, (self._found[index] for index in sorted(self._found))))
        if any(choice["finish_reason"] == "content_filter" for choice in choices):
            msg = "the provider's content filter ended the generation"
            raise ContentRefused(msg)
        return choices

    def _take(self, said: dict[str, Any]) -> Choice | None:
        index = said.get("index") or 0
        if not 0 <= index < self._wanted:
            msg = f"the far side gave a choice {index}; {self._wanted} were asked for"
            raise RemoteError(msg)
        found = self._found.setdefault(index, {"index": index, "finish_reason": None})
        found["finish_reason"] = said.get("finish_reason") or found["finish_reason"]
        message, delta, text, logprobs = (said.get(name) for name in ("message", "delta", "text", "logprobs"))
        part: Choice = {"index": index}
        if delta := _news(message or delta or {}):
            _add(found.setdefault("message", {"role": "assistant", "content": None}), delta)
            part["delta"] = delta
        elif message is not None:
            found["message"] = {"role": "assistant", "content": message.get("content")}
        if text:
            found["text"] = found.get("text", "") + text
            part["text"] = text
        if logprobs:
            _add(found.setdefault("logprobs", {}), logprobs)
            part["logprobs"] = logprobs
        return part if len(part) > 1 else None


def _unnumbered(choice: Choice) -> Choice:
    """A whole answer's tool calls are in their order; only a stream's parts are numbered."""
    message = choice.get("message")
    if message is None or "tool_calls" not in message:
        return choice
    calls = [{name: value for name, value in call.items() if name != "index"} for call in message["tool_calls"]]
    return choice | {"message": message | {"tool_calls": calls}}


def _news(delta: dict[str, Any]) -> dict[str, Any]:
    """What of it says something new."""
    return {name: value for name, value in delta.items() if name not in _TOLD and value not in (None, "", [])}


def _add(whole: dict[str, Any], more: dict[str, Any]) -> None:
    """Texts and lists go on, tool calls by their index; anything else is as it was said last."""
    for name, value in more.items():
        known = whole.get(name)
        if name == "tool_calls":
            whole[name] = known or []
            for place, call in enumerate(value):
                _add_call(whole[name], call, place)
        elif isinstance(value, str | list) and isinstance(known, type(value)):
            whole[name] = known + value  # type: ignore[operator]  # both are the one or the other
        elif value is not None:
            whole[name] = value


def _add_call(calls: list[dict[str, Any]], more: dict[str, Any], place: int) -> None:
    """A tool call's id, type and name come once; its arguments go on."""
    index = more.get("index")
    at = next((each for each in calls if each["index"] == index), None) if index is not None else None
    if at is None:
        calls.append({"index": place if index is None else index, "type": "function"} | _call(more))
        return
    function = more.get("function") or {}
    at["id"] = at.get("id") or more.get("id")
    at["function"]["name"] = at["function"].get("name") or function.get("name")
    at["function"]["arguments"] += function.get("arguments") or ""


def _call(said: dict[str, Any]) -> dict[str, Any]:
    function = said.get("function") or {}
    whole = function | {"arguments": function.get("arguments") or ""}
    return {name: value for name, value in said.items() if value is not None and name != "index"} | {"function": whole}
