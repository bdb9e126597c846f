"""The parser gives the same events however the bytes were cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import RemoteError
from backends.remote.sse import MAX_LINE_BYTES, Event, SseParser


def parsed(*chunks):
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.finish()


def cut(data, places):
    """`data` cut at the given places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


LINES = st.sampled_from(
    [
        "data: {}",
        "data: a",
        "data:b",
        "data",
        "data:  two",
        ": comment",
        ":",
        "event: error",
        "event:",
        "id: 7",
        "",
        "é",
        "data: 雪ß",
    ]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=12), st.lists(st.integers(0, 400), max_size=30))
def test_any_chunking_gives_the_same_events(lines, places):
    """Cut between CR and LF, inside a character, byte by byte: nothing changes."""
    data = "".join(line + end for line, end in lines).encode()

    assert parsed(data) == parsed(*cut(data, places))
    assert parsed(data) == parsed(*(bytes([byte]) for byte in data))


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_no_bytes_crash_it(chunks):
    """Whatever arrives, the parser gives events or nothing."""
    assert parsed(b"".join(chunks)) == parsed(*chunks)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_ends_a_line(end):
    """LF, CRLF and CR all work, and so does a mixture of them over time."""
    assert [Event("a"), Event("b")] == parsed(b"data: a" + end + end + b"data: b" + end + end)


def test_data_lines_of_one_event_are_joined():
    """Several data lines are one text with newlines."""
    assert [Event("a\n\nb")] == parsed(b"data: a\ndata:\ndata: b\n\n")


def test_comments_and_unknown_fields_are_skipped():
    """Keep-alives and ids say nothing to us."""
    assert [Event("a")] == parsed(b": ping\n\nid: 3\nretry: 10\ndata: a\n\n: ping\n\n")


def test_an_event_name_holds_for_one_event():
    """The name is forgotten with its event, also where that had no data."""
    assert [Event("x", "error"), Event("y"), Event("z")] == parsed(
        b"event: error\ndata: x\n\ndata: y\n\nevent: lost\n\ndata: z\n\n"
    )


def test_only_one_leading_space_is_taken_off():
    """Text that begins with spaces keeps them."""
    assert [Event("  a ")] == parsed(b"data:   a \n\n")


def test_a_byte_order_mark_is_skipped():
    """Some servers begin with one."""
    assert [Event("a")] == parsed(b"\xef\xbb\xbfdata: a\n\n")


def test_a_stream_may_end_without_a_blank_line():
    """`transformers serve` and others just close."""
    assert [Event("[DONE]")] == parsed(b"data: [DONE]")
    assert [Event("a")] == parsed(b"data: a\r")


def test_bytes_that_are_no_utf8_are_replaced():
    """A broken character does not break the stream."""
    assert [Event("a\ufffd")] == parsed(b"data: a\xff\n\n")


@pytest.mark.parametrize(
    "chunks",
    [
        [b"data: " + b"x" * MAX_LINE_BYTES + b"\n\n"],
        [b"x" * 65536] * 17,
        [b"data: " + b"x" * 65536 + b"\n"] * 17,
    ],
    ids=["one line", "a line that never ends", "an event that never ends"],
)
def test_an_endless_event_is_refused(chunks):
    """A far side cannot fill our memory."""
    with pytest.raises(RemoteError, match="more than 1048576 bytes"):
        parsed(*chunks)
