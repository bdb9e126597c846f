"""A Whisper model that CTranslate2 computes, through faster-whisper: less than half the time of torch on a CPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable
from backends.local.transcript import Heard
from backends.types import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backends.local.types import Opening

BEAMS = 5  # as faster-whisper's own default, so that the words are those its users know
_NEEDS = "this speech model needs faster-whisper: pip install 'nearfar[speech]'"
_NOT_THE_FILES = ("memory", "cuda", "cublas", "cudnn")  # words of CTranslate2 on what is no fault of the weights


class CTranslate2Whisper:
    """A loaded model. Used from its worker's thread only."""

    runtime = "ctranslate2"
    stretch_s = 300.0  # the spectrum of a stretch, and what it is made of, take 220 MB

    def __init__(self, model: Any, device: str) -> None:
        self.device = device
        self.dtype: str = model.model.compute_type.partition("_")[0]  # int8_float32 computes the rest in float32
        self.languages: tuple[str, ...] = tuple(model.supported_languages)
        self.tells_word_times = True
        self._model = model

    def listen(
        self, samples: Any, language: str | None, *, words: bool, check: Callable[[], None]
    ) -> tuple[str, Iterator[Heard]]:
        """The language that is spoken, and what is said as it is recognised. `check` is called for every 30 seconds.

        Args:
            samples: float32 at 16 kHz.
            language: None to find out.
            words: Whether the time of each word is wanted.
            check: Raises to stop.
        """
        self._model.check = check
        segments, about = self._model.transcribe(
            samples, language=language, beam_size=BEAMS, word_timestamps=words, vad_filter=False
        )
        return about.language, map(_heard, segments)


def made_for(directory: Path) -> bool:
    """Whether the directory holds a model as CTranslate2 writes it: numbers, and no code in spite of the name."""
    return directory.joinpath("model.bin").is_file() and any(directory.glob("vocabulary.*"))


def _heard(segment: Any) -> Heard:
    words = tuple(Span(word.word.strip(), float(word.start), float(word.end)) for word in segment.words or ())
    likelihood = math.exp(min(0.0, segment.avg_logprob)) * (1 - segment.no_speech_prob)
    return Heard(segment.text, float(segment.start), float(segment.end), words, len(segment.tokens), likelihood)


def load(opening: Opening) -> CTranslate2Whisper:
    """Load the model in the directory, from these files only: 8-bit on a CPU, 16-bit on a GPU.

    Raises:
        Unavailable: faster-whisper is not installed, or the files are damaged.
    """
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise Unavailable(_NEEDS) from error

    class Interruptible(WhisperModel):  # type: ignore[misc]  # untyped
        """Looks whether anybody waits before each window of 30 seconds; silent ones give no segment to look after."""

        check: Callable[[], None] = staticmethod(lambda: None)

        def encode(self, features: Any) -> Any:
            self.check()
            return super().encode(features)

    if not opening.directory.joinpath("tokenizer.json").is_file():  # faster-whisper would look for it on the hub
        raise Unavailable("the speech model's files are incomplete: tokenizer.json is missing")
    kind, _, index = opening.device.partition(":")
    on_gpu = kind == "cuda"
    try:
        model = Interruptible(
            str(opening.directory),
            device="cuda" if on_gpu else "cpu",
            device_index=int(index or 0),
            compute_type="float16" if on_gpu else "int8",
            cpu_threads=opening.threads,
            local_files_only=True,
        )
    except (RuntimeError, LookupError) as error:
        if any(word in str(error).lower() for word in _NOT_THE_FILES):
            raise
        raise Unavailable("the speech model's files are damaged or incomplete") from error
    return CTranslate2Whisper(model, opening.device if on_gpu else "cpu")
