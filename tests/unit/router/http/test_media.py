"""Files inside JSON: what is taken for base64, and what is not."""

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequest, TooLarge
from router.http.media import file_of, files_of


@given(st.binary(min_size=1, max_size=200))
def test_every_file_comes_back_as_it_was(file) -> None:
    """Plain, with the line breaks of a shell's `base64`, and as a data URL."""
    text = base64.b64encode(file).decode()

    assert file == file_of(text, "inputs")
    assert file == file_of(base64.encodebytes(file).decode(), "inputs")
    assert file == file_of(f"data:image/png;base64,{text}", "inputs")
    assert file == file_of(f"DATA:;charset=x;BASE64,{text}", "inputs")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "empty"),
        ("not base64!", "is not base64"),
        ("aGk", "is not base64"),
        ("aG-_", "is not base64"),
        ("data:image/png,abc", "base64,"),
        ("data:image/png;base64", "base64,"),
        ("data:;base64,", "empty"),
        ("https://example.org/cat.png", "not fetched"),
        ("HTTP://example.org/cat.png", "not fetched"),
        (3, "base64 text"),
        (None, "base64 text"),
        (["aGk="], "base64 text"),
    ],
)
def test_what_is_no_file_is_refused_by_its_field(value, said) -> None:
    """Nothing is guessed and no address is fetched; the refusal does not repeat what was sent."""
    with pytest.raises(InvalidRequest, match=said) as refusal:
        file_of(value, "inputs")

    assert "inputs" == refusal.value.param
    assert "example.org" not in str(refusal.value)


def test_several_files_name_the_one_that_is_wrong() -> None:
    """By its place; none and too many are refused."""
    good = base64.b64encode(os.urandom(9)).decode()

    assert 2 == len(files_of([good, good], "inputs", 2))
    with pytest.raises(InvalidRequest, match="not base64") as refusal:
        files_of([good, "?"], "inputs", 2)
    assert "inputs.1" == refusal.value.param
    with pytest.raises(InvalidRequest, match="empty"):
        files_of([], "inputs", 2)
    with pytest.raises(TooLarge, match="3 items"):
        files_of([good] * 3, "inputs", 2)
