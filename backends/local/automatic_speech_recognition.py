"""automatic-speech-recognition: a Whisper model writes down a recording, segment by segment.

Knows which runtime a directory is for; what is said comes from `whisper_ctranslate2` or `whisper_transformers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from backends.errors import InvalidInput
from backends.local import sound, whisper_ctranslate2, whisper_transformers
from backends.local.transcript import Transcript
from backends.local.types import Answer, LocalFamily, LocalTask, Unit
from backends.types import Delta, SpeechInput, Task, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from backends.local.sound import Sound
    from backends.local.transcript import Heard
    from backends.local.types import Control, Opening

_WELL_KNOWN = ("en", "de", "es", "fr", "hi", "ja", "zh")  # named where one that is not known was asked for


class SpeechModel(Protocol):
    """What both runtimes offer.

    Attributes:
        stretch_s: The longest sound it listens to at once.
        languages: ISO 639-1 codes, a few of three letters; ("en",) where it knows no other.
    """

    device: str
    dtype: str
    runtime: str
    languages: tuple[str, ...]
    tells_word_times: bool
    stretch_s: float

    def listen(
        self, samples: Any, language: str | None, *, words: bool, check: Callable[[], None]
    ) -> tuple[str, Iterator[Heard]]:
        """The language, and the segments as they are recognised."""
        ...


class Recording(NamedTuple):
    """What the core needs to know of a request."""

    sound: Sound
    language: str | None
    words: bool


def load(opening: Opening) -> SpeechModel:
    """Load the Whisper model in the directory: CTranslate2's where it is one, a transformers one otherwise.

    Raises:
        Unavailable: A library is missing, the files are damaged, or of no Whisper model.
    """
    if whisper_ctranslate2.made_for(opening.directory):
        return whisper_ctranslate2.load(opening)
    return whisper_transformers.load(opening)


def pre(model: SpeechModel, payload: SpeechInput) -> list[Unit]:
    """Decode the recording: one unit.

    Raises:
        InvalidInput: The model does not know the language or word times, or the recording cannot be taken.
    """
    words = payload.timestamps == "word"
    if payload.language is not None:
        _check_language(payload.language, model.languages)
    if words and not model.tells_word_times:
        raise InvalidInput("this speech model does not tell the times of words: ask for those of segments")
    return [Unit(Recording(sound.decode(payload.audio), payload.language, words))]


def _check_language(language: str, known: tuple[str, ...]) -> None:
    if language in known:
        return
    if known == ("en",):
        raise InvalidInput(f"this speech model knows English (en) only, not '{language}'")
    some = ", ".join(code for code in _WELL_KNOWN if code in known)
    raise InvalidInput(f"this speech model knows no language '{language}', but {len(known)} others, such as {some}")


def core(model: SpeechModel, contents: list[Any], control: Control) -> list[Any]:
    """A `Transcript` for each recording; each segment is emitted as soon as it is recognised.

    Raises:
        Cancelled: Nobody waits any more; looked at before every 30 seconds of sound.
    """
    return [_written(model, recording, control) for recording in contents]


def _written(model: SpeechModel, recording: Recording, control: Control) -> Transcript:
    transcript = Transcript(recording.sound)
    transcript.language = recording.language
    for start_s, end_s in sound.stretches(recording.sound, model.stretch_s):
        control.check()
        samples = recording.sound.floats(start_s, end_s)
        transcript.language, segments = model.listen(
            samples, transcript.language, words=recording.words, check=control.check
        )
        for heard in segments:
            control.check()
            piece = transcript.add(heard, start_s)
            if piece:
                control.emit(Delta(piece))
    return transcript


def post(_model: SpeechModel, _payload: SpeechInput, units: list[Unit], results: list[Any]) -> Answer:
    """The text, its segments, and its words where they were asked for."""
    (unit,), (transcript,) = units, results
    usage = Usage(audio_s=unit.content.sound.seconds, completion_tokens=transcript.tokens)
    return Answer(transcript.output(), usage)


FAMILY = LocalFamily(load=load, core=core, budget=0)
TASK = LocalTask(
    task=Task.AUTOMATIC_SPEECH_RECOGNITION,
    family="speech",
    pre=pre,
    post=post,
    warm_ups=(SpeechInput(audio=sound.silent_wav(1.0)), SpeechInput(audio=sound.silent_wav(31.0))),
)
