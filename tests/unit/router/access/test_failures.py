"""Failures by address, and the record of what admins did."""

from pathlib import Path

import pytest

from router.access.audit import AuditLog, entry
from router.access.failures import MAX_ADDRESSES, Failures
from router.errors import LogError


def test_an_address_fails_so_often_and_then_waits_while_others_do_not() -> None:
    """A whole /64 of IPv6 is one address, and IPv4 in IPv6 is what it stands for."""
    now = [0.0]
    failures = Failures(3, lambda: now[0])
    first = [failures.note("192.0.2.1") for _ in range(4)]
    same = failures.note("::ffff:192.0.2.1")
    other = failures.note("192.0.2.2")
    six = [failures.note(f"2001:db8::{n}") for n in range(1, 5)]
    now[0] += first[3]

    assert [None, None, None] == first[:3]
    assert 20 == pytest.approx(first[3])
    assert same is not None
    assert other is None
    assert [False, False, False, True] == [wait is not None for wait in six]
    assert failures.note("192.0.2.1") is None


def test_addresses_without_number_take_no_memory_without_bound() -> None:
    """The longest silent is forgotten."""
    failures = Failures(3, lambda: 0.0)
    for n in range(MAX_ADDRESSES + 10):
        failures.note(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")

    assert MAX_ADDRESSES == len(failures._buckets)


def test_actions_are_kept_in_order_newest_first_in_a_private_file() -> None:
    """Several writers add to one file; a damaged line hides none of the others."""
    path = Path("audit.jsonl")
    for n in range(3):
        AuditLog(path).add(entry("root", "keys.create", f"key{n}", "http"))
    with path.open("ab") as file:
        file.write(b'{"at": \n')
    AuditLog(path).add(entry("root", "keys.revoke", "key0", "cli", "UnknownKey"))
    newest = AuditLog(path).newest(3)

    assert [("key0", "UnknownKey"), ("key2", "ok"), ("key1", "ok")] == [(one.subject, one.result) for one in newest]
    assert 0o600 == path.stat().st_mode & 0o777


def test_no_file_is_no_action_and_memory_holds_a_log_in_memory() -> None:
    """Tests and dry runs leave nothing behind."""
    memory = AuditLog(None)
    memory.add(entry("root", "keys.create", "k", "http"))

    assert [] == AuditLog(Path("none.jsonl")).newest(5)
    assert ["k"] == [one.subject for one in memory.newest(5)]
    assert [] == list(Path().iterdir())


def test_a_name_from_outside_is_cut_and_cannot_begin_a_line_of_its_own() -> None:
    """However long it is, and whatever it holds."""
    AuditLog(Path("audit.jsonl")).add(entry("a\n{}" * 1000, "keys.create", "x", "http"))

    [only] = Path("audit.jsonl").read_bytes().splitlines()
    assert len(only) < 1000


def test_a_file_that_cannot_be_written_is_told_without_its_path() -> None:
    """An action that cannot be written down is not passed over in silence."""
    with pytest.raises(LogError, match=r"^audit\.jsonl: cannot be written"):
        AuditLog(Path("nowhere/audit.jsonl")).add(entry("root", "keys.create", "k", "http"))
