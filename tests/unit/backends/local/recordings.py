"""Recordings made here, in every format that is read: samples in, files out."""

from __future__ import annotations

import io
from fractions import Fraction

RATE = 16_000
CODECS = {  # format: FFmpeg's muxer, its encoder, and the sample rate that encoder takes
    "wav": ("wav", "pcm_s16le", 16_000),
    "flac": ("flac", "flac", 16_000),
    "mp3": ("mp3", "libmp3lame", 16_000),
    "ogg": ("ogg", "libopus", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "m4a": ("ipod", "aac", 16_000),
}


def tone(seconds, hertz=440, level=0.3, rate=RATE):
    """A sine, as int16."""
    import numpy as np

    return (level * 32767 * np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * hertz / rate)).astype(np.int16)


def silence(seconds):
    import numpy as np

    return np.zeros(int(seconds * RATE), np.int16)


def encode(samples, kind, rate=RATE):
    """A file of that format, mono."""
    import av
    import numpy as np

    muxer, codec, codec_rate = CODECS[kind]
    codec_rate = rate if kind in {"wav", "flac"} else codec_rate
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=codec_rate, layout="mono")
        size = stream.codec_context.frame_size or None
        resampler = av.AudioResampler(stream.format.name, "mono", codec_rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def film(seconds=1):
    """A WebM file with a picture and no sound."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for at in range(int(seconds * 10)):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
