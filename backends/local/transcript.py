"""What a speech model hears becomes one text, piece by piece, with its times. Knows no model and no library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from backends.types import Span, TranscriptOutput

if TYPE_CHECKING:
    from backends.local.sound import Sound


class Heard(NamedTuple):
    """A segment as a model gives it: seconds from the start of what it listened to, its text with leading space."""

    text: str
    start_s: float
    end_s: float
    words: tuple[Span, ...]
    tokens: int
    likelihood: float | None = None  # the geometric mean of its tokens' probabilities, times that of being speech


class Transcript:
    """Grows by segments; the pieces that `add` gives out join to `output().text`."""

    def __init__(self, sound: Sound) -> None:
        self.language: str | None = None
        self.tokens = 0
        self._sound = sound
        self._text = ""
        self._segments: list[Span] = []
        self._words: list[Span] = []
        self._likelihoods: list[tuple[float | None, int]] = []  # with how many tokens they are of

    def add(self, heard: Heard, offset_s: float) -> str:
        """Take a segment of the part that starts at `offset_s`; the text that it adds.

        Whisper also writes words where there is none: beyond the end, and where nothing sounds. Those add nothing.
        """
        self.tokens += heard.tokens
        span = self._placed(Span(heard.text, heard.start_s, heard.end_s), offset_s)
        if not span.text or self._sound.silent(span.start_s, span.end_s or span.start_s):
            return ""
        piece = heard.text.rstrip() if self._text else span.text
        self._text += piece
        self._segments.append(span)
        self._likelihoods.append((heard.likelihood, heard.tokens))
        self._words += [self._placed(word, offset_s) for word in heard.words]
        return piece

    def output(self) -> TranscriptOutput:
        """All that was said."""
        segments, words = tuple(self._segments), tuple(self._words)
        return TranscriptOutput(
            text=self._text,
            language=self.language,
            segments=segments,
            words=words,
            confidence=self._confidence(),
        )

    def _confidence(self) -> float | None:
        """The geometric mean over the tokens of all segments; None where one of them is not known, or there is none."""
        known = [(each, tokens) for each, tokens in self._likelihoods if each is not None and tokens]
        if not known or len(known) < len(self._likelihoods):
            return None
        if any(each <= 0 for each, _ in known):
            return 0.0
        logs = math.fsum(math.log(each) * tokens for each, tokens in known)
        return math.exp(logs / sum(tokens for _, tokens in known))

    def _placed(self, span: Span, offset_s: float) -> Span:
        """Counted from the start of the sound, and not beyond its end."""
        limit = self._sound.seconds
        end_s = span.start_s if span.end_s is None else span.end_s
        start_s, end_s = min(offset_s + span.start_s, limit), min(offset_s + end_s, limit)
        return Span(span.text.strip(), round(start_s, 3), round(max(start_s, end_s), 3))
