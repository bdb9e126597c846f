"""Speech recognition in both protocols: a recording to send, and answers into transcripts. Opens no connection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from backends import media
from backends.errors import InvalidInput, RemoteError
from backends.remote.call import File, form_call
from backends.remote.huggingface_wire import file_call
from backends.remote.openai_wire import converted, usage_of
from backends.types import Span, TranscriptOutput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backends.remote.call import Call
    from backends.types import SpeechInput, Usage

MOST_AUDIO_S = 24 * 3600.0
"""No recording here is longer; a far side that says so is not believed."""

# OpenAI's servers name languages in English; the codes (ISO 639-1) of those most spoken.
_CODES = {
    "arabic": "ar", "bengali": "bn", "chinese": "zh", "czech": "cs", "danish": "da", "dutch": "nl", "english": "en",
    "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "hebrew": "he", "hindi": "hi", "hungarian": "hu",
    "indonesian": "id", "italian": "it", "japanese": "ja", "korean": "ko", "malay": "ms", "norwegian": "no",
    "persian": "fa", "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "spanish": "es",
    "swahili": "sw", "swedish": "sv", "tamil": "ta", "thai": "th", "turkish": "tr", "ukrainian": "uk", "urdu": "ur",
    "vietnamese": "vi",
}  # fmt: skip


class _Chunk(Struct):
    """Hugging Face's: a piece of the text, and when it is spoken; the last one's end may be open."""

    text: str
    timestamp: tuple[float | None, float | None]


class _Heard(Struct):
    text: str
    chunks: list[_Chunk] | None = None


class _Segment(Struct):
    text: str
    start: float
    end: float | None = None


class _Word(Struct):
    word: str
    start: float
    end: float | None = None


class _Transcription(Struct):
    text: str
    language: str | None = None
    duration: Any = None  # some servers send it as a string
    segments: list[_Segment] | None = None
    words: list[_Word] | None = None


def hub_call(payload: SpeechInput, model: str) -> Call:
    """Hugging Face's: the raw recording, or base64 where a language or the times of words are asked for.

    Raises:
        InvalidInput: The first bytes are no recording's.
    """
    parameters: dict[str, Any] = {}
    if payload.timestamps == "word":
        parameters["return_timestamps"] = "word"
    if payload.language is not None:
        parameters["generation_parameters"] = {"language": payload.language}
    return file_call(payload.audio, "audio", parameters, model)


def openai_call(payload: SpeechInput, model: str) -> Call:
    """OpenAI's: a form whose verbose answer has the segments by itself, and the words where they are asked for.

    Segments are named only beside words: some servers (`transformers serve`) refuse the field altogether.

    Raises:
        InvalidInput: The first bytes are no recording's.
    """
    kind = media.content_type(payload.audio) or ""
    if not kind.startswith("audio/"):
        msg = f"the file of {len(payload.audio)} bytes does not begin like any known audio format"
        raise InvalidInput(msg)
    fields = [("model", model), ("response_format", "verbose_json")]
    if payload.timestamps == "word":
        fields += [("timestamp_granularities[]", "segment"), ("timestamp_granularities[]", "word")]
    if payload.language is not None:
        fields.append(("language", payload.language))
    return form_call("/audio/transcriptions", fields, File(payload.audio, f"audio.{kind.removeprefix('audio/')}", kind))


def parse_hub(answer: Any, payload: SpeechInput) -> TranscriptOutput:
    """The text, and its chunks as words or segments, whichever were asked for; a server may give none.

    Raises:
        RemoteError: Another shape, or times that are none.
    """
    heard = converted(answer, _Heard)
    spans = _spans((chunk.text, chunk.timestamp[0] or 0.0, chunk.timestamp[1]) for chunk in heard.chunks or ())
    words = payload.timestamps == "word"
    return TranscriptOutput(
        text=heard.text.strip(),
        language=payload.language,
        segments=() if words else spans,
        words=spans if words else (),
    )


def parse_openai(answer: Any, payload: SpeechInput) -> TranscriptOutput:
    """The text, with the segments and words the server gives.

    Raises:
        RemoteError: Another shape, or times that are none.
    """
    said = converted(answer, _Transcription)
    words = said.words or () if payload.timestamps == "word" else ()
    return TranscriptOutput(
        text=said.text.strip(),
        language=payload.language or _code(said.language),
        segments=_spans((segment.text, segment.start, segment.end) for segment in said.segments or ()),
        words=_spans((word.word, word.start, word.end) for word in words),
    )


def usage_for(answer: Any, payload: SpeechInput) -> Usage:
    """The recording's length by its own header, else as the far side says; None where neither tells."""
    said = answer if isinstance(answer, dict) else {}
    tokens = usage if isinstance(usage := said.get("usage"), dict) else {}
    audio_s = media.wav_seconds(payload.audio)
    if audio_s is None:
        audio_s = _seconds(tokens.get("seconds"), said.get("duration"))
    return replace(usage_of(tokens), audio_s=audio_s)


def _spans(given: Iterable[tuple[str, float, float | None]]) -> tuple[Span, ...]:
    spans = tuple(Span(text.strip(), start_s, end_s) for text, start_s, end_s in given)
    for span in spans:
        end_s = span.start_s if span.end_s is None else span.end_s
        if not (0 <= span.start_s < math.inf and 0 <= end_s < math.inf):
            msg = "the far side gave times that are negative or not finite"
            raise RemoteError(msg)
    return spans


def _seconds(*values: Any) -> float | None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            continue
        try:
            seconds = float(value)
        except ValueError:
            continue
        if 0 < seconds <= MOST_AUDIO_S:
            return seconds
    return None


def _code(language: str | None) -> str | None:
    said = (language or "").strip().lower()
    return said if len(said) == 2 and said.isalpha() else _CODES.get(said)
