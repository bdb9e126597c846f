"""A transcript in the formats of OpenAI's clients: json, verbose_json, and subtitles as SRT and WebVTT."""

import html
from collections.abc import Sequence
from typing import Any

from backends.types import Span, TranscriptOutput

# What Whisper's own decoder tells of a segment and nobody tells us: null, not a number that looks measured.
_UNKNOWN = dict.fromkeys(("seek", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob"))


def plain(output: TranscriptOutput) -> str:
    """The text alone, as a line."""
    return output.text.strip() + "\n"


def srt(output: TranscriptOutput, seconds: float | None) -> str:
    """SubRip subtitles; `seconds` is the recording's length, for a last segment whose end nobody knows."""
    cues = [
        f"{number}\n{_clock(span.start_s, ',')} --> {_clock(end, ',')}\n{_line(span)}\n"
        for number, (span, end) in enumerate(_ended(output.segments, seconds), start=1)
    ]
    return "\n".join(cues)


def vtt(output: TranscriptOutput, seconds: float | None) -> str:
    """WebVTT subtitles; `seconds` as for `srt`."""
    cues = [
        f"{_clock(span.start_s, '.')} --> {_clock(end, '.')}\n{html.escape(_line(span), quote=False)}\n"
        for span, end in _ended(output.segments, seconds)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def verbose(output: TranscriptOutput, seconds: float | None, granularities: Sequence[str]) -> dict[str, Any]:
    """The text with its language, its length, and segments and words as far as `granularities` ask for them."""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": output.language,
        "duration": seconds,
        "text": output.text,
    }
    if "segment" in granularities or not granularities:
        body["segments"] = [
            {"id": number, "start": span.start_s, "end": end, "text": span.text, "tokens": [], **_UNKNOWN}
            for number, (span, end) in enumerate(_ended(output.segments, seconds))
        ]
    if "word" in granularities:
        body["words"] = [
            {"word": span.text.strip(), "start": span.start_s, "end": end}
            for span, end in _ended(output.words, seconds)
        ]
    return body


def _ended(spans: Sequence[Span], seconds: float | None) -> list[tuple[Span, float]]:
    """Each span with its end: its own, else the next one's start, else the recording's end, else its start."""
    following = [span.start_s for span in spans[1:]] + [seconds]
    ends = [span.end_s if span.end_s is not None else after for span, after in zip(spans, following, strict=False)]
    return [
        (span, span.start_s if end is None else max(end, span.start_s)) for span, end in zip(spans, ends, strict=True)
    ]


def _line(span: Span) -> str:
    """Its text in one line: an empty line would end a subtitle."""
    return " ".join(span.text.split())


def _clock(seconds: float, point: str) -> str:
    """Hours, minutes, seconds and, after `point`, milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}{point}{milliseconds:03}"
