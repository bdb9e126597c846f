"""Turns tokens into text as they come: whole characters only, and nothing from a stop string on.

Knows nothing of models: how tokens become text comes in as a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"


class Detokenizer:
    """Feed it tokens with `push`; the pieces it returns, with the last one of `finish`, are the whole text."""

    def __init__(
        self, decode: Callable[[list[int]], str], stop: Sequence[str] = (), context: Sequence[int] = ()
    ) -> None:
        """`context` are tokens told before: some tokenizers write a text's first word unlike the others."""
        self._decode = decode
        self._stop = tuple(stop)
        self._tokens: list[int] = list(context)
        self._context = len(self._tokens)
        self._window = 0  # where the tokens begin that the next piece depends on
        self._told = self._context  # tokens whose text has been taken
        self._held = ""  # text that may be the beginning of a stop string
        self.stopped = False

    @property
    def tokens(self) -> int:
        """How many tokens came."""
        return len(self._tokens) - self._context

    def push(self, token: int) -> str:
        """Take a token; the text that is now sure, often none."""
        self._tokens.append(token)
        return self._released(self._new_text(final=False))

    def finish(self) -> str:
        """The text that was held back: what looked like the beginning of a stop string was none."""
        piece = self._released(self._new_text(final=True))
        if not self.stopped:
            piece, self._held = piece + self._held, ""
        return piece

    def _new_text(self, *, final: bool) -> str:
        """Decode from a little before the new tokens, since a token's text depends on its neighbour's."""
        before = self._decode(self._tokens[self._window : self._told])
        now = self._decode(self._tokens[self._window :])
        if len(now) <= len(before) or (now.endswith(_INCOMPLETE) and not final):
            return ""
        self._window, self._told = self._told, len(self._tokens)
        return now[len(before) :]

    def _released(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        sure = len(text) - self._suspicious(text)
        self._held = text[sure:]
        return text[:sure]

    def _suspicious(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stop):
                return length
        return 0
