"""Messages in a stream of bytes: wherever it is cut, they come out as they went in."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.frames import MOST_BYTES, BadFrame, Frames, framed

messages = st.lists(st.binary(max_size=300), max_size=12)


@given(messages, st.data())
def test_messages_are_whole_wherever_the_stream_was_cut(sent, data) -> None:
    """Any split of the bytes: within a length, within a message, several messages at once."""
    stream = b"".join(map(framed, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    frames, came = Frames(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += frames.feed(stream[start:end])

    assert sent == came


@given(messages, st.binary(min_size=1, max_size=300), st.data())
def test_a_message_is_not_given_before_its_last_byte(sent, last, data) -> None:
    """What a broken connection cut short is nobody's message."""
    stream = b"".join(map(framed, sent)) + framed(last)
    end = len(stream) - data.draw(st.integers(1, len(last)))

    assert sent == list(Frames().feed(stream[:end]))


@given(messages)
def test_whoever_stops_reading_loses_nothing(sent) -> None:
    """One message at a time, with nothing new between: each comes once."""
    frames, came = Frames(), []
    fed = b"".join(map(framed, sent))
    for _ in sent:
        came.append(next(frames.feed(fed)))
        fed = b""

    assert (sent, []) == (came, list(frames.feed(b"")))


def test_another_protocol_is_not_waited_for() -> None:
    """A length that no message has is refused before a byte of it is kept, after those that were whole."""
    came = Frames().feed(framed(b"one") + struct.pack(">I", MOST_BYTES + 1))

    assert b"one" == next(came)
    with pytest.raises(BadFrame):
        next(came)
