"""What the fake answers: a function of the model, the script and the payload, and marked wherever a mark can stand."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from array import array
from typing import TYPE_CHECKING

from backends import media
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    Delta,
    DrawingInput,
    DrawingOutput,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    LabelScore,
    PhotoInput,
    Progress,
    Span,
    SpeechInput,
    TranscriptOutput,
    Usage,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from backends.fake.script import Script
    from backends.types import Output, Payload, Piece

MARK = "[fake]"
LABELS = ("POSITIVE", "NEUTRAL", "NEGATIVE")
PHOTO_LABELS = (f"{MARK} cat", f"{MARK} dog", f"{MARK} bicycle")
WORDS = ("near", "far", "quick", "cheap", "warm", "cold", "small", "large")
SIDE = 8  # pixels of a drawing that asks for no size
BYTES_PER_S = 16_000  # of a recording that says nothing itself


def answer(payload: Payload, model: str, script: Script) -> tuple[Output, Usage]:
    """The whole answer, and what it pretends to have used. Tokens are words."""
    return _ANSWERS[type(payload)](payload, model, script)


def pieces(output: Output, usage: Usage) -> list[Piece]:
    """What a stream of this output yields: words, the one segment of a transcript, the steps of a drawing."""
    match output:
        case GenerationOutput():
            return [Delta(word) for word in re.findall(r" ?[^ ]+", output.text)]
        case TranscriptOutput():
            return [Delta(segment.text) for segment in output.segments]
        case DrawingOutput():
            steps = _steps(output, usage)
            return [Progress(step, steps) for step in range(1, steps + 1)]
    return []


def tokens(piece: Piece) -> int:
    """How many tokens of the script this piece is."""
    return len(piece.text.split()) if isinstance(piece, Delta) else 1


def png(width: int, height: int, colour: tuple[int, int, int], comment: str = MARK) -> bytes:
    """A picture of one colour: a palette of one entry, one bit a pixel, and a comment."""
    rows = (b"\0" + bytes((width + 7) // 8)) * height
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)),
        (b"PLTE", bytes(colour)),
        (b"tEXt", b"Comment\0" + comment.encode("latin-1", "replace")),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _embeddings(payload: EmbeddingInput, model: str, script: Script) -> tuple[Output, Usage]:
    vectors = tuple(_vector(model, text, payload, script) for text in payload.texts)
    return EmbeddingOutput(vectors), _read(payload.texts)


def _classified(payload: ClassificationInput, model: str, script: Script) -> tuple[Output, Usage]:  # noqa: ARG001 -- as all
    rows = tuple(_labels(LABELS, model, _bytes(text))[: payload.top_k] for text in payload.texts)
    return ClassificationOutput(rows), _read(payload.texts)


def _zero_shot(payload: ZeroShotInput, model: str, script: Script) -> tuple[Output, Usage]:  # noqa: ARG001 -- as all
    rows = tuple(
        _labels(payload.candidate_labels, model, _bytes(text), alone=payload.multi_label) for text in payload.texts
    )
    return ClassificationOutput(rows), _read(payload.texts)


def _photos(payload: PhotoInput, model: str, script: Script) -> tuple[Output, Usage]:  # noqa: ARG001 -- as all
    rows = tuple(_labels(PHOTO_LABELS, model, image)[: payload.top_k] for image in payload.images)
    return ClassificationOutput(rows), Usage(images=len(payload.images))


def _generation(payload: GenerationInput, model: str, script: Script) -> tuple[Output, Usage]:
    prompt = payload.prompt or "\n".join(f"{message.role}: {message.content}" for message in payload.messages)
    said = _count(payload.partial)
    text = _sentence(min(script.tokens, said + payload.max_tokens), model, _bytes(prompt))
    if not text.startswith(payload.partial):  # somebody else's words: its own follow, as many as were to come
        text = " " + _sentence(min(max(0, script.tokens - said), payload.max_tokens), model, _bytes(prompt))
    text = text.removeprefix(payload.partial)
    ends = [at for stop in payload.stop if (at := text.find(stop)) >= 0]
    if ends:
        output = GenerationOutput(text[: min(ends)], "stop", script.confidence)
    else:
        cut = said + payload.max_tokens < script.tokens
        output = GenerationOutput(text, "length" if cut else "stop", script.confidence)
    read = (payload.prompt or "", *(message.content for message in payload.messages))
    return output, Usage(prompt_tokens=_count(*read), completion_tokens=_count(output.text))


def _drawing(payload: DrawingInput, model: str, script: Script) -> tuple[Output, Usage]:
    width, height = payload.width or SIDE, payload.height or SIDE
    first = payload.seed
    if first is None:  # not a random one: the fake answers the same each time
        first = int.from_bytes(_hash(model, _bytes(payload.prompt))[:4], "big")
    seeds = tuple(range(first, first + payload.images))
    said = _bytes(f"{payload.prompt}\0{payload.negative_prompt or ''}")
    colours = [_hash(model, said, str(seed).encode())[:3] for seed in seeds]
    drawn = tuple(png(width, height, (red, green, blue)) for red, green, blue in colours)
    steps = script.tokens if payload.steps is None else payload.steps
    usage = Usage(
        prompt_tokens=_count(payload.prompt, payload.negative_prompt or ""),
        images=payload.images,
        steps=payload.images * steps,
        pixel_steps=payload.images * width * height * steps,
    )
    return DrawingOutput(drawn, seeds), usage


def _transcript(payload: SpeechInput, model: str, script: Script) -> tuple[Output, Usage]:
    seconds = media.wav_seconds(payload.audio)
    seconds = len(payload.audio) / BYTES_PER_S if seconds is None else seconds
    text = _sentence(script.tokens, model, payload.audio)
    words = text.split() if payload.timestamps == "word" else []
    each = seconds / max(len(words), 1)
    output = TranscriptOutput(
        text=text,
        language=payload.language or "en",
        segments=(Span(text, 0.0, seconds),) if text else (),
        words=tuple(Span(word, at * each, (at + 1) * each) for at, word in enumerate(words)),
        confidence=script.confidence,
    )
    return output, Usage(completion_tokens=_count(text), audio_s=seconds)


_ANSWERS: dict[type[Payload], Callable[..., tuple[Output, Usage]]] = {
    EmbeddingInput: _embeddings,
    ClassificationInput: _classified,
    ZeroShotInput: _zero_shot,
    GenerationInput: _generation,
    DrawingInput: _drawing,
    PhotoInput: _photos,
    SpeechInput: _transcript,
}


def _steps(output: DrawingOutput, usage: Usage) -> int:
    """The steps of all images together, which are drawn one after the other."""
    width, height = media.png_size(output.images[0]) or (1, 1) if output.images else (1, 1)
    return (usage.pixel_steps or 0) // (width * height)


def _sentence(count: int, model: str, about: bytes) -> str:
    bits = hashlib.shake_128(_hash(model, about)).digest(max(count, 1))
    return " ".join([MARK, *(WORDS[bit % len(WORDS)] for bit in bits)][:count])


def _vector(model: str, text: str, payload: EmbeddingInput, script: Script) -> array[float]:
    size = script.dimensions
    bits = hashlib.shake_128(_hash(model, _bytes(text))).digest(4 * size)
    vector = struct.unpack(f"<{size}i", bits)[: payload.dimensions]
    length = math.hypot(*vector)
    return array("f", [component / length for component in vector])


def _labels(labels: Iterable[str], model: str, about: bytes, *, alone: bool = False) -> tuple[LabelScore, ...]:
    """Best first; `alone` scores need not sum to 1."""
    weighed = [(label, _hash(model, about, _bytes(label))) for label in labels]
    weights = [(label, int.from_bytes(bits[:4], "big") / 2**32) for label, bits in weighed]
    total = 1.0 if alone else math.fsum(weight for _, weight in weights) or 1.0
    return tuple(sorted((LabelScore(label, weight / total) for label, weight in weights), key=lambda one: -one.score))


def _hash(model: str, *about: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join((_bytes(model), *about)), digest_size=16).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _read(texts: tuple[str, ...]) -> Usage:
    return Usage(prompt_tokens=_count(*texts), completion_tokens=0)


def _count(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)
