"""What others say of a request, without the request: far sides like to repeat in an error what they did not like.

Blotted out of a message are: an input as a whole; any stretch of an input of 23 letters or more (of 16, where chance
has it so); and words with a digit or an @ in them that an input holds too, such as names of accounts and keys. Spaces
count as one, as they do in the messages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends.types import Payload

MARK = "[input]"
SHORTEST_WHOLE = 4
STRETCH, STRIDE = 16, 8
_TELLING = re.compile(r"[^\s'\"`<>(),;:\[\]{}]*[\d@][^\s'\"`<>(),;:\[\]{}]*")
_SHORTEST_WORD = 6
_VALUE = re.compile(r"(Invalid enum value )'.*'", re.DOTALL)


def without_inputs(message: str, payload: Payload) -> str:
    """The message with nothing of the inputs in it that anybody could recognise."""
    inputs = [" ".join(text.split()) for text in _texts(payload)]
    inputs = [text for text in inputs if len(text) >= SHORTEST_WHOLE]
    if not inputs or not message:
        return message
    hidden = bytearray(len(message))  # 1 where a letter is of an input
    for text in inputs:
        _hide(hidden, message, text)
    for found in _TELLING.finditer(message):
        if len(found[0]) >= _SHORTEST_WORD and any(found[0] in text for text in inputs):
            hidden[found.start() : found.end()] = b"\1" * len(found[0])
    for start in range(0, len(message) - STRETCH + 1, STRIDE):
        for text in inputs:
            _hide_stretch(hidden, message, start, text)
    return _blotted(message, hidden)


def without_values(message: str) -> str:
    """Why a body was refused, without the word that was sent where one of a few is expected: it may be anything."""
    return _VALUE.sub(rf"\1{MARK}", message)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a payload; what is chosen from a few words (a role, say) is too short to be looked for."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _texts(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _texts(item)


def _hide(hidden: bytearray, message: str, text: str) -> None:
    at = message.find(text)
    while at >= 0:
        hidden[at : at + len(text)] = b"\1" * len(text)
        at = message.find(text, at + len(text))


def _hide_stretch(hidden: bytearray, message: str, start: int, text: str) -> None:
    """Hide the stretch that message and text share around this place, where there is one."""
    end = start + STRETCH
    if all(hidden[start:end]):
        return
    there = text.find(message[start:end])
    if there < 0:
        return
    after = there + STRETCH
    while start and there and message[start - 1] == text[there - 1]:
        start, there = start - 1, there - 1
    while end < len(message) and after < len(text) and message[end] == text[after]:
        end, after = end + 1, after + 1
    hidden[start:end] = b"\1" * (end - start)


def _blotted(message: str, hidden: bytearray) -> str:
    kept: list[str] = []
    for at, letter in enumerate(message):
        if not hidden[at]:
            kept.append(letter)
        elif not at or not hidden[at - 1]:
            kept.append(MARK)
    return "".join(kept)
