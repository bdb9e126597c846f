"""A file in the place of another: whole or not at all."""

from __future__ import annotations

import os

import pytest

from backends.writing import replace_whole


def test_the_new_one_stands_there_alone_and_is_its_owners(tmp_path) -> None:
    """Nothing is left beside it."""
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    replace_whole(path, b"new")

    assert b"new" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())
    assert 0 == path.stat().st_mode & 0o077


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_it_leaves_the_old_one(tmp_path, monkeypatch, fault) -> None:
    """A full disk, or Ctrl-C, and no half of a file."""
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def ended(_: int) -> None:
        raise fault

    monkeypatch.setattr(os, "fsync", ended)
    with pytest.raises(type(fault)):
        replace_whole(path, b"new")

    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())
