"""What a line may be: every fault has a code, the line's number, and words that help."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.batches.lines import Reading, raws, surveyed
from router.batches.types import Fault, Line
from tests.unit.router.batches.lives import ENDPOINT, line

LONGEST = 200


def written(custom_id, method="POST", url=ENDPOINT) -> bytes:
    return json.dumps({"custom_id": custom_id, "method": method, "url": url, "body": {}}).encode()


@pytest.fixture
def read(tmp_path):
    """Every line of a file, as requests and faults."""

    def reading(content: bytes) -> list[Line | Fault]:
        path = tmp_path / "in.jsonl"
        path.write_bytes(content)
        reader = Reading(ENDPOINT, LONGEST)
        return [reader.line(raw) for raw in raws(path, LONGEST)]

    return reading


def test_lines_are_numbered_as_an_editor_does(read) -> None:
    """Empty ones count; a byte order mark, CRLF and a missing last line break do not matter."""
    found = read(b"\xef\xbb\xbf" + line("a").encode() + b"\r\n\r\n  \n" + line("b").encode())

    assert [(1, "a"), (4, "b")] == [(each.number, each.custom_id) for each in found]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"not json", "invalid_line", "Line 1: JSON is malformed"),
        (b"[1]", "invalid_line", "Expected `object`, got `array`"),
        (json.dumps({"custom_id": "x", "method": "POST", "url": ENDPOINT}).encode(), "invalid_line", "field `body`"),
        (written(7, "POST", ENDPOINT), "invalid_line", "custom_id"),
        (written("", "POST", ENDPOINT), "invalid_line", "length"),
        (written("x", "GET", ENDPOINT), "invalid_line", "'GET'"),
        (written("x", "POST", "/v1/other"), "mismatched_url", ENDPOINT),
        (line("x", stream=True).encode(), "stream_not_allowed", "stream must be false"),
        (b'{"custom_id": "x", "more": 1}', "invalid_line", "unknown field `more`"),
        (b'{"a":' * 30, "invalid_line", "Line 1"),
        (line("x", text="y" * LONGEST).encode(), "too_large", f"{LONGEST} bytes"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_with_its_number(read, content, code, words) -> None:
    """And the line after it is read all the same."""
    fault, after = read(content + b"\n" + line("b").encode())

    assert (code, 1) == (fault.code, fault.line)
    assert words in fault.message
    assert (2, "b") == (after.number, after.custom_id)


def test_a_second_line_of_the_same_name_is_refused(read) -> None:
    """The first one stands, also where it was refused itself for another reason."""
    first, second, other, third = read("\n".join([line("a"), line("a"), line("b", stream=True), line("b")]).encode())

    assert (1, "duplicate_custom_id") == (first.number, second.code)
    assert ("stream_not_allowed", "duplicate_custom_id") == (other.code, third.code)


def test_stream_false_is_no_stream(read) -> None:
    """Clients say so when they mean nothing by it."""
    assert [Line, Line] == [
        type(each) for each in read(f"{line('a', stream=False)}\n{line('b', stream=None)}".encode())
    ]


def test_a_bad_line_tells_its_name_where_it_can_be_read(read) -> None:
    """So that whoever sent it finds it."""
    [fault] = read(b'{"custom_id": "mine", "method": "POST"}')

    assert "mine" == fault.custom_id


@pytest.mark.parametrize(
    ("content", "code", "number"),
    [
        (b"", "empty_file", None),
        (b"\n \n", "empty_file", None),
        (b'{"a": 1}\n\xff\n', "invalid_encoding", 2),
        (b"1\n2\n3\n4\n", "too_many_lines", 4),
    ],
)
def test_a_file_that_is_no_batch_says_why(tmp_path, content, code, number) -> None:
    """Nothing of it is begun."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    found = surveyed(path, LONGEST, 3)

    assert (code, number) == (found.code, found.line)


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 30))
def test_no_more_of_a_file_is_ever_held_than_the_longest_line(tmp_path_factory, contents, longest) -> None:
    """Whatever the bytes: each line that says something comes once, whole or not at all."""
    path = tmp_path_factory.mktemp("lines") / "in.jsonl"
    contents = [content.replace(b"\n", b"").removeprefix(b"\xef\xbb\xbf") for content in contents]
    path.write_bytes(b"\n".join(contents))
    found = list(raws(path, longest))
    expected = [
        (number, content.strip() if len(content) <= longest else None)
        for number, content in enumerate(contents, start=1)
        if content.strip() or len(content) > longest
    ]

    assert expected == [tuple(each) for each in found]
