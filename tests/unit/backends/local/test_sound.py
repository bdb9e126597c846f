"""Encoded recordings: every format, every kind of damage, and where long ones are cut."""

from __future__ import annotations

import io
import struct
import sys

import pytest

from backends.errors import InvalidInput, Unavailable
from backends.local import sound
from tests.unit.backends.local import recordings
from tests.unit.backends.local.recordings import CODECS, encode, silence, tone

av = pytest.importorskip("av")
np = pytest.importorskip("numpy")

each_format = pytest.mark.parametrize("kind", CODECS)


def crossings(samples):
    """How often a sound changes its sign: twice its frequency each second."""
    return int((np.diff(np.signbit(samples.astype(np.int32))) != 0).sum())


@each_format
def test_every_format_is_heard(kind):
    """Two seconds at 440 Hz, as loud as they were."""
    heard = sound.decode(encode(tone(2), kind))

    assert pytest.approx(2, abs=0.1) == heard.seconds
    assert np.int16 == heard.samples.dtype
    assert pytest.approx(2 * 440 * 2, rel=0.05) == crossings(heard.samples)
    assert pytest.approx(0.3 * 32767, rel=0.25) == float(np.abs(heard.samples.astype(np.int32)).max())


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_becomes_ours(rate):
    """Nothing is played faster or slower."""
    heard = sound.decode(encode(tone(2, rate=rate), "wav", rate))

    assert pytest.approx(2, abs=0.01) == heard.seconds
    assert pytest.approx(2 * 440 * 2, rel=0.02) == crossings(heard.samples)


def test_channels_are_mixed():
    """A sound on the left alone is heard, as is one on the right."""
    left, right = tone(1), tone(1, hertz=880)
    both = sound.decode(wav(np.stack([left, right], axis=1).reshape(-1), channels=2))
    spectrum = np.abs(np.fft.rfft(both.samples))

    assert pytest.approx(1, abs=0.01) == both.seconds
    assert {440, 880} == {int(at) for at in spectrum.argsort()[-2:]}


def wav(samples, channels=1, rate=16_000, riff_bytes=None):
    """A WAV file by hand; `riff_bytes` overrides what it says its length is."""
    body = samples.tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    length = 36 + len(body) if riff_bytes is None else riff_bytes
    data_bytes = len(body) if riff_bytes is None else min(riff_bytes, 0xFFFF_FFFF)
    return struct.pack("<4sI4s", b"RIFF", length, b"WAVE") + form + struct.pack("<4sI", b"data", data_bytes) + body


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_streamed_wav_file_does_not_know_its_length(length):
    """What is there is heard."""
    assert 1.0 == sound.decode(wav(tone(1), riff_bytes=length)).seconds


def test_a_tag_may_come_first():
    """Of ID3, with a picture in it, before MP3 and before FLAC."""
    tag = b"ID3\x03\0\0" + bytes([0, 0, 39, 16]) + bytes(39 * 128 + 16)

    assert [pytest.approx(1, abs=0.1)] * 2 == [
        sound.decode(tag + encode(tone(1), kind)).seconds for kind in ("mp3", "flac")
    ]


def test_recordings_that_were_joined_are_heard_to_the_end():
    """MP3 files one after the other, of different rates: players read on."""
    halves = encode(tone(1), "mp3"), encode_mp3_at(44_100)

    assert pytest.approx(2, abs=0.2) == sound.decode(b"".join(halves)).seconds


def encode_mp3_at(rate):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([tone(1, rate=rate)] * 2), format="s16p", layout="stereo")
        frame.sample_rate = rate
        for piece in (frame, None):
            container.mux(stream.encode(piece))
    return buffer.getvalue()


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"x", b"hello, world", b"\x89PNG\r\n\x1a\n" + bytes(99), b"RIFF0000WEBP", bytes(99)]
)
def test_what_is_no_recording_is_told_which_are(data):
    """Nothing, text, pictures, zeros."""
    with pytest.raises(InvalidInput, match=r"in no format .* \(\d+ bytes\): send WAV, FLAC, MP3, Ogg, WebM or M4A"):
        sound.decode(data)


@pytest.mark.parametrize("data", [b"#EXTM3U\n#EXTINF:1,\n{}\n", b"ffconcat version 1.0\nfile {}\n", b"v=0\r\n"])
def test_a_playlist_opens_no_file(tmp_path, data):
    """FFmpeg would read what it names; it is not even asked."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(tone(1)))

    with pytest.raises(InvalidInput, match="in no format"):
        sound.decode(data.replace(b"{}", str(secret).encode()))


@each_format
def test_noise_after_a_signature_is_refused(kind):
    """The first bytes are right, and nothing else."""
    noise = np.random.default_rng(0).bytes(5000)
    for start in (4, 12, 40):
        with pytest.raises(InvalidInput):
            sound.decode(encode(tone(1), kind)[:start] + noise)


@pytest.mark.parametrize("kind", ["wav", "flac", "webm", "m4a"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.8])
def test_half_a_recording_is_refused(kind, part):
    """Where the file says how long it should be, half of it is not passed off as the whole."""
    data = encode(tone(10), kind)

    with pytest.raises(InvalidInput, match=r"cut short|damaged"):
        sound.decode(data[: int(len(data) * part)])


def test_a_promise_is_named():
    """What the header says, and what is there."""
    data = encode(tone(10), "flac")

    with pytest.raises(InvalidInput, match=r"its FLAC header promises 10\.0 s, [0-9.]+ s are there"):
        sound.decode(data[: len(data) // 2])


def test_a_few_damaged_packets_are_left_out_and_many_are_refused():
    """What follows a damaged one is still heard."""
    whole = bytearray(encode(np.random.default_rng(0).integers(-9000, 9000, 20 * 16_000).astype(np.int16), "flac"))
    scratched = bytes(whole[: len(whole) // 2]) + bytes(40) + bytes(whole[len(whole) // 2 + 40 :])
    torn = bytearray(whole)
    for at in range(9000, len(torn) - 100, 9000):
        torn[at : at + 60] = bytes(60)

    assert pytest.approx(20, abs=0.7) == sound.decode(scratched).seconds
    with pytest.raises(InvalidInput, match=r"damaged: \d+ of its \d+ packets|cut short"):
        sound.decode(bytes(torn))


@pytest.mark.parametrize("seconds", [0, 0.001, 0.05])
def test_too_short_a_recording_is_refused(seconds):
    """Zero length too."""
    with pytest.raises(InvalidInput, match=r"lasts 0\.0\d+ s; at least 0\.1 s are needed"):
        sound.decode(wav(tone(seconds)))


def test_too_long_a_recording_is_refused_before_it_is_decoded(monkeypatch):
    """By what its header says."""
    monkeypatch.setattr(sound, "MAX_S", 3600.0)
    monkeypatch.setattr(sound, "_samples", None)
    five_hours = sound.silent_wav(5 * 3600)

    with pytest.raises(InvalidInput, match=r"lasts 5\.0 h; at most 1 h are taken"):
        sound.decode(five_hours)


def test_a_header_that_says_nothing_does_not_help(monkeypatch):
    """Decoding stops at the limit."""
    monkeypatch.setattr(sound, "MAX_S", 2.0)
    flac = bytearray(encode(silence(4), "flac"))
    flac[21] &= 0xF0  # the number of samples, in 36 bits: unknown
    flac[22:26] = bytes(4)

    with pytest.raises(InvalidInput, match="lasts more than the"):
        sound.decode(bytes(flac))


@pytest.mark.parametrize("rate", [1, 999, 768_001, 1_800_000_000])
def test_an_absurd_rate_is_refused(rate):
    """One block at 1 Hz would become hours, and a filter from 1 GHz gigabytes."""
    with pytest.raises(InvalidInput, match=r"samples a second; 1000 to 768000 are taken|lasts [\d.]+ h"):
        sound.decode(wav(tone(1), rate=rate))


def test_a_film_without_sound_is_refused():
    """It holds other streams, and says so."""
    with pytest.raises(InvalidInput, match="holds no sound"):
        sound.decode(recordings.film())


def test_without_pyav_the_extra_is_named(monkeypatch):
    """As for every library that may be missing."""
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(Unavailable, match=r"pip install 'nearfar\[speech\]'"):
        sound.decode(b"")


# --- parts --------------------------------------------------------------------------------------


def test_a_short_sound_is_one_stretch():
    """As long as it is, up to the limit."""
    assert [(0.0, 10.0)] == list(sound.stretches(sound.Sound(tone(10)), 40))
    assert [(0.0, 40.0)] == list(sound.stretches(sound.Sound(tone(40)), 40))


def test_a_long_sound_is_cut_where_it_is_quiet():
    """In its pauses, and every sample belongs to one stretch."""
    pauses = [34.0, 68.0, 101.0]
    long = sound.Sound(np.concatenate([part for _ in range(4) for part in (tone(33.5), silence(0.5))]))
    stretches = list(sound.stretches(long, 40))

    assert (0.0, long.seconds) == (stretches[0][0], stretches[-1][1])
    assert [end for _, end in stretches[:-1]] == [start for start, _ in stretches[1:]]
    assert [pytest.approx(at, abs=1.1) for at in pauses] == [end for _, end in stretches[:-1]]
    for _, end in stretches[:-1]:
        assert long.silent(end - 0.05, end + 0.05)


@pytest.mark.parametrize("make", [tone, silence])
def test_a_sound_without_pauses_is_cut_all_the_same(make):
    """No stretch is longer than asked, and none so short that it never ends."""
    lengths = [end - start for start, end in sound.stretches(sound.Sound(make(200)), 40)]

    assert max(lengths) <= 40
    assert min(lengths[:-1]) > 9
    assert pytest.approx(200) == sum(lengths)


def test_silence_is_told_from_a_whisper():
    """By its loudest sample; a part beyond the end is silent."""
    quiet, whisper = sound.Sound(tone(1, level=0.0005)), sound.Sound(tone(1, level=0.01))

    assert [True, False, True] == [quiet.silent(0, 1), whisper.silent(0.2, 0.4), whisper.silent(3, 4)]


def test_the_silence_to_warm_up_with_is_silent():
    """And as long as asked."""
    heard = sound.decode(sound.silent_wav(31))

    assert (31.0, True) == (heard.seconds, heard.silent(0, 31))
