"""Encoded recordings become 16 kHz mono samples, and long ones are cut where they are quiet.

Knows PyAV; knows nothing of models. FFmpeg is never let guess what a file is: some of its formats open other files.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from backends import media
from backends.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

FORMATS = "WAV, FLAC, MP3, Ogg, WebM or M4A"
RATE = 16_000  # samples a second: what Whisper was trained on
MAX_S = 4 * 3600.0  # 460 MB of samples
MIN_S = 0.1
SEARCH_S = 30.0  # a stretch may end this much earlier, where it is quietest
PAUSE_S = 0.2
QUIET = 32  # of 32768: a peak below -60 dB of full scale, where nobody speaks
_MIN_RATE, _MAX_RATE = 1000, 768_000  # one block at 1 Hz would fill 18 hours; resampling from 1 GHz takes 2 GB
_MAX_DAMAGE = 0.05  # of the packets of a recording
_TOLERANCE_S = 1.0  # of a length that the file's header promises
_SLACK_BYTES = 16_000  # the same, of a WAV file: a second of telephone speech
_UNKNOWN_BYTES = 0x7FFF_0000  # sizes from here on are written by who streams a WAV file, as is 0
_ID3_BYTES = 10  # of the header of a tag, whose last four hold its length, seven bits each
_KINDS = {  # what FFmpeg calls it, and what people do
    "audio/wav": ("wav", "WAV"),
    "audio/flac": ("flac", "FLAC"),
    "audio/mpeg": ("mp3", "MP3"),
    "audio/ogg": ("ogg", "Ogg"),
    "audio/webm": ("matroska", "WebM"),
    "audio/mp4": ("mp4", "M4A"),
}
_NEEDS = "reading recordings needs PyAV: pip install 'nearfar[speech]'"


class Sound(NamedTuple):
    """Samples at `RATE`: a numpy array of int16, one channel."""

    samples: Any

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / RATE

    def between(self, start_s: float, end_s: float) -> Any:
        """The samples of a part; what lies outside is left out."""
        return self.samples[max(0, int(start_s * RATE)) : max(0, int(end_s * RATE))]

    def floats(self, start_s: float, end_s: float) -> Any:
        """The samples of a part as float32 in -1..1."""
        import numpy as np

        return self.between(start_s, end_s).astype(np.float32) / 32768

    def silent(self, start_s: float, end_s: float) -> bool:
        """True where a part, which may be empty, holds nothing that could be heard."""
        part = self.between(start_s, end_s)
        return len(part) == 0 or (int(part.max()) < QUIET and int(part.min()) > -QUIET)


def decode(data: bytes) -> Sound:
    """The sound of an encoded recording, its channels mixed. Memory is bounded by `MAX_S`, whatever the file claims.

    Raises:
        InvalidInput: It is no recording of a known format, damaged, cut short, too long, too short, or has no sound.
        Unavailable: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise Unavailable(_NEEDS) from error

    known = _kind(data)
    if known is None:
        raise InvalidInput(f"the recording is in no format that can be read here ({len(data)} bytes): send {FORMATS}")
    kind, name = known
    try:
        with av.open(io.BytesIO(data), format=kind, metadata_errors="ignore") as container:
            promised_s = _promised_s(container, kind, data)
            sound = Sound(_samples(container))
    except (av.FFmpegError, ValueError) as error:
        raise InvalidInput(f"the recording is damaged: its {name} data cannot be decoded; send {FORMATS}") from error
    if promised_s is not None and sound.seconds + max(_TOLERANCE_S, 0.02 * promised_s) < promised_s:
        there = f"its {name} header promises {promised_s:.1f} s, {sound.seconds:.1f} s are there"
        raise InvalidInput(f"the recording is cut short: {there}")
    if sound.seconds < MIN_S:
        raise InvalidInput(f"the recording lasts {sound.seconds:.3f} s; at least {MIN_S} s are needed")
    return sound


def stretches(sound: Sound, longest_s: float) -> Iterator[tuple[float, float]]:
    """Start and end, in seconds, of parts that together are the sound; `longest_s` is more than `SEARCH_S`."""
    start_s = 0.0
    while sound.seconds - start_s > longest_s:
        end_s = _quietest_s(sound, start_s + longest_s - SEARCH_S, start_s + longest_s)
        yield start_s, end_s
        start_s = end_s
    yield start_s, sound.seconds


def silent_wav(seconds: float) -> bytes:
    """Silence as a small WAV file, made without any sound library: something to warm up with."""
    count = int(seconds * _MIN_RATE)
    head = struct.pack("<4sI4s", b"RIFF", 36 + count, b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _MIN_RATE, _MIN_RATE, 1, 8)
    return head + form + struct.pack("<4sI", b"data", count) + b"\x80" * count


def _kind(data: bytes) -> tuple[str, str] | None:
    """What the file says it is, looking behind a tag; None when that is no recording."""
    kind = media.content_type(data)
    if kind == "audio/mpeg" and data.startswith(b"ID3") and len(data) > _ID3_BYTES:
        length = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(data[6:_ID3_BYTES])))
        kind = media.content_type(data[_ID3_BYTES + length :]) or kind
    return _KINDS.get(kind or "")


def _promised_s(container: Any, kind: str, data: bytes) -> float | None:
    """How long the header says the sound is; None where formats only estimate it, or speak of the picture too.

    Raises:
        InvalidInput: Longer than is taken, before a sample is decoded; no sound; or a WAV file that ends too early.
    """
    if not container.streams.audio:
        raise InvalidInput("the file holds no sound, only other streams")
    seconds = None if container.duration is None else container.duration / 1e6
    if seconds is not None and seconds > MAX_S:
        raise InvalidInput(f"the recording lasts {seconds / 3600:.1f} h; at most {MAX_S / 3600:g} h are taken")
    if kind == "wav":
        (promised,) = struct.unpack_from("<I", data, 4)
        if promised < _UNKNOWN_BYTES and promised + 8 > len(data) + _SLACK_BYTES:
            there = f"its WAV header promises {promised + 8} bytes, {len(data)} are there"
            raise InvalidInput(f"the recording is cut short: {there}")
    exact = kind == "flac" or (kind == "matroska" and not container.streams.video)
    return seconds if exact else None


def _samples(container: Any) -> Any:
    """All samples, at the rate and in the form that is wanted."""
    import numpy as np

    kept = bytearray()
    for frame in _resampled(_frames(container)):
        kept += frame.to_ndarray().tobytes()
        if len(kept) > MAX_S * RATE * 2:
            raise InvalidInput(f"the recording lasts more than the {MAX_S / 3600:g} h that are taken")
    return np.frombuffer(kept, dtype=np.int16)


def _frames(container: Any) -> Iterator[Any]:
    """Decoded frames; the few packets that cannot be decoded are left out, as every player does."""
    import av

    packets = damaged = 0
    for packet in container.demux(audio=0):
        packets += 1
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            damaged += 1
            continue
        for frame in frames:
            if not _MIN_RATE <= frame.sample_rate <= _MAX_RATE:
                limits = f"{_MIN_RATE} to {_MAX_RATE} are taken"
                raise InvalidInput(f"the recording has {frame.sample_rate} samples a second; {limits}")
            yield frame
    if damaged > _MAX_DAMAGE * packets:
        raise InvalidInput(f"the recording is damaged: {damaged} of its {packets} packets cannot be decoded")


def _resampled(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames at `RATE`, mixed to one channel; recordings that were joined may change their form on the way."""
    from av.audio.resampler import AudioResampler

    resampler: Any = None
    form: tuple[str, str, int] | None = None
    for frame in frames:
        frame.pts = None
        its_form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if its_form != form:
            if resampler is not None:
                yield from resampler.resample(None)
            resampler, form = AudioResampler(format="s16", layout="mono", rate=RATE), its_form
        yield from resampler.resample(frame)
    if resampler is not None:
        yield from resampler.resample(None)


def _quietest_s(sound: Sound, start_s: float, end_s: float) -> float:
    """The middle of the pause of `PAUSE_S` with the least energy, the last of several."""
    import numpy as np

    step = RATE // 50
    part = sound.between(start_s, end_s)
    blocks = part[: len(part) // step * step].reshape(-1, step).astype(np.float32)
    energy = np.convolve((blocks**2).sum(axis=1), np.ones(int(PAUSE_S * 50)), mode="valid")
    last = len(energy) - 1 - int(energy[::-1].argmin())
    return start_s + last / 50 + PAUSE_S / 2
