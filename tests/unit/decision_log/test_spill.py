"""The file that takes what the queue cannot."""

import os
from pathlib import Path

import pytest

from router.decision_log.spill import Backlog, Line, SpillFile


def test_lines_come_out_in_the_order_they_went_in(tmp_path: Path) -> None:
    """What was taken out is gone, what was not is still there, and an emptied file is cut."""
    spill = SpillFile(tmp_path / "s")
    spill.append([b"a", b"bb", b"ccc"])
    assert [b"a", b"bb"] == spill.peek(2)
    spill.advance(2, 5)
    assert ([b"ccc"], 1) == (spill.peek(2), spill.pending)
    spill.append([b"d"])
    spill.advance(2, 6)
    assert (0, 0) == (spill.pending, spill.path.stat().st_size)
    spill.close()
    assert not spill.path.exists()


def test_a_failed_append_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a line leaves the file as it was."""
    spill = SpillFile(tmp_path / "s")
    spill.append([b"whole"])
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 6:
            raise OSError(28, "No space left on device")
        return write(fd, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="space"):
        spill.append([b"a much longer line"])
    monkeypatch.undo()
    assert b"whole\n" == spill.path.read_bytes()
    assert 1 == spill.pending
    spill.close()


def test_what_a_dead_process_left_is_found(tmp_path: Path) -> None:
    """Lines of an earlier process count as waiting, one it could not finish as a line of its own."""
    (tmp_path / "s").write_bytes(b"a\nb\ncut sh")
    spill = SpillFile(tmp_path / "s")
    spill.append([b"new"])
    assert [b"a", b"b", b"cut sh", b"new"] == spill.peek(10)
    assert 4 == spill.pending
    spill.close()


def test_when_the_spill_file_refuses_the_queue_grows(tmp_path: Path) -> None:
    """With a full queue and a full disk a row is still kept: in memory, past the bound."""
    backlog = Backlog(1, SpillFile(tmp_path / "no" / "such" / "directory"))
    for n in range(3):
        backlog.put(Line("decision", b"%d" % n))
    assert 3 == backlog.queued
    assert [b"0", b"1", b"2"] == [line.json for line in backlog.peek(10)]
