"""Rows that go to the log's owner over a socket: each is committed once, whatever breaks between the two."""

from __future__ import annotations

import asyncio
import random
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from backends.frames import framed
from router.decision_log.spill import spill_of
from router.errors import LogError
from router.shipping.shipper import ShippingState
from router.workers.wire import reached
from tests.unit.router.workers.conftest import Relay, decided

if TYPE_CHECKING:
    from tests.unit.router.workers.conftest import World


def test_rows_of_two_processes_are_in_one_log(world: World) -> None:
    """Each counts by itself, without a gap, under one node's name; what is acknowledged is committed."""
    owned = world.own()
    one, two = world.worker(), world.worker("worker-1")
    sent = [decided(one, 30), decided(two, 20)]
    one.flush()
    two.flush()

    assert sent == world.seqs(one, two)
    assert {owned.node_id} == {one.node_id, two.node_id}
    assert one.boot_id != two.boot_id
    assert (30, 0, 20) == (one.stats().committed, one.stats().queued, two.stats().committed)


def test_a_row_waits_for_its_commit_while_nobody_owns_the_log(world: World) -> None:
    """`committed`, which a request in strict durability waits for, returns when the owner has committed; no sooner."""

    async def go() -> None:
        log = world.worker(durability="strict")
        [number] = decided(log, 1)
        waiting = asyncio.create_task(log.committed())
        await asyncio.wait([waiting], timeout=0.2)

        assert not waiting.done()
        assert 1 == log.stats().queued

        await asyncio.to_thread(world.own)
        await waiting

        assert [[number]] == world.seqs(log)

    asyncio.run(go())


def test_an_owner_that_comes_back_has_every_row_once(world: World) -> None:
    """Rows come while it goes and comes, over and over."""
    world.own()
    log = world.worker()
    numbers: list[int] = []
    for _ in range(5):
        numbers += decided(log, 40)
        world.disown()
        numbers += decided(log, 20)
        world.own()
    log.flush()

    assert [numbers] == world.seqs(log)


def test_no_row_is_doubled_where_only_its_acknowledgement_was_lost(world: World) -> None:
    """The owner committed it, and the connection broke before it could say so."""
    world.own()
    between = Relay(world.socket, world.socket.with_name("relay"), after=lambda: 30)  # a welcome, and not all of an ack
    log = world.worker(at=between.path)
    numbers = decided(log, 50)
    assert between.broken.wait(30)
    between.after = lambda: None
    log.flush()

    assert [numbers] == world.seqs(log)


def test_a_connection_that_breaks_anywhere_costs_and_doubles_nothing(world: World) -> None:
    """Cut after any number of bytes, either way, again and again."""
    chance = random.Random(7)
    world.own()
    breaks = [3, 20, 60, 300, 900]
    between = Relay(world.socket, world.socket.with_name("relay"), after=lambda: chance.choice(breaks))
    log = world.worker(at=between.path)
    numbers: list[int] = []
    for _ in range(15):
        numbers += decided(log, 10)
        log.flush()

    assert [numbers] == world.seqs(log)
    assert log.stats().failed_commits > 3


def test_what_memory_does_not_hold_waits_on_disk(world: World) -> None:
    """The queue is bounded; the spill file takes the rest, and is empty once the owner has it all."""
    log = world.worker(queue_rows=10)
    numbers = decided(log, 200)
    stats = log.stats()
    world.own()
    log.flush()

    assert (10, 190) == (stats.queued, stats.spill_pending)
    assert [numbers] == [sorted(seqs) for seqs in world.seqs(log)]
    assert 0 == log.stats().spill_pending


def test_what_could_not_be_sent_is_sent_by_the_next_in_its_place(world: World) -> None:
    """A worker that ends while nobody owns the log leaves its rows beside it."""
    log = world.worker()
    numbers = decided(log, 20)
    log.close()
    left = spill_of(world.path, "worker-0")

    assert 20 == len(left.read_bytes().splitlines())

    world.own()
    again = world.worker()
    more = decided(again, 5)
    again.flush()

    assert [numbers, more] == world.seqs(log, again)


def test_what_nobody_sends_any_more_is_taken_in_by_the_next_owner(world: World) -> None:
    """The server was started with fewer workers, or with one process."""
    log = world.worker("worker-3")
    numbers = decided(log, 20)
    log.close()
    world.own().gather()

    assert [numbers] == world.seqs(log)
    assert not spill_of(world.path, "worker-3").exists()


def test_what_was_committed_and_lies_in_the_spill_file_still_comes_once(world: World) -> None:
    """A worker that was killed after its spilled rows were committed, and before it could forget them."""
    log = world.worker()
    numbers = decided(log, 20)
    log.close()
    left = spill_of(world.path, "worker-0")
    lines = left.read_bytes()
    owned = world.own()
    again = world.worker()
    again.flush()
    again.close()
    left.write_bytes(lines)

    assert owned._is_owed()  # settled rows would not be found again, so none are settled until then

    third = world.worker()
    third.flush()

    assert [numbers] == world.seqs(log)
    assert not owned._is_owed()


def test_a_broken_row_is_refused_and_the_others_go_in(world: World) -> None:
    """As in a log of one process; the worker hears how many were."""
    world.own()
    log = world.worker()
    log.append(object())  # type: ignore[arg-type]
    numbers = decided(log, 3)
    log.flush()

    assert [numbers] == world.seqs(log)
    assert 1 == log.stats().rejected


def test_whoever_reads_finds_what_any_worker_has_answered(world: World) -> None:
    """A reader in one process sees the rows of another at once, though their batch is not due for a minute."""
    world.own()
    slow, other = world.worker(), world.worker("worker-1")
    slow._flush_s = 60.0
    until_heard(world, 2)
    numbers = decided(slow, 3)
    found = other.reader().sql("SELECT seq FROM decisions ORDER BY seq").rows

    assert [[number] for number in numbers] == found


def test_a_worker_that_hangs_holds_no_reader_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not say that its rows are there is not waited for again until it connects anew."""
    monkeypatch.setattr("router.workers.owner.FLUSHED_IN_S", 0.05)
    world.own()
    log = world.worker()
    until_heard(world, 1)
    hung = reached(world.socket, 0.0)
    hung.send(LISTENING)
    until_heard(world, 2)

    assert [] == log.reader().sql("SELECT seq FROM decisions").rows
    assert 1 == len(world._owner._listeners)

    hung.close()


def test_only_this_user_can_connect(world: World) -> None:
    """The socket is its owner's alone, and is gone with it."""
    world.own()
    mode = stat.S_IMODE(world.socket.stat().st_mode)
    world.disown()

    assert 0o600 == mode
    assert not world.socket.exists()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", framed(b"\xc1"), framed(b"\x80"), b"\0\0\0\5ab"])
def test_a_stranger_ends_nothing(world: World, said: bytes) -> None:
    """Whoever speaks something else is left alone with it."""
    world.own()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(world.socket))
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)

        assert b"" == stranger.recv(100)
    log = world.worker()
    numbers = decided(log, 3)
    log.flush()

    assert [numbers] == world.seqs(log)


def test_how_the_log_is_shipped_is_known_where_it_is_sent_from(world: World) -> None:
    """By its owner's last word, which is older with every second."""
    world.shipping = ShippingState(
        kind="folder", rows=3, segments=2, waiting_segments=1, waiting_bytes=10, lag_s=5.0, failed=4, error="away"
    )
    world.own()
    log = world.worker()
    decided(log, 1)
    log.flush()
    told = log.shipping()

    assert told is not None
    assert told.lag_s >= 5.0
    assert world.shipping == replace(told, lag_s=5.0)

    world.shipping = None
    decided(log, 1)
    log.flush()

    assert log.shipping() is None


def test_without_an_owner_a_question_has_no_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time in which it would be there again."""
    monkeypatch.setattr("router.workers.remote_reader.REACHED_IN_S", 0.0)
    log = world.worker()

    with pytest.raises(LogError, match="cannot be reached"):
        log.reader().predictors()


LISTENING = b"\x81\xa4type\xa9Listening"


def until_heard(world: World, listeners: int) -> None:
    """Wait until so many have said that they want to hear when somebody reads."""
    owner = world._owner
    assert owner is not None
    with owner._lock:
        assert owner._lock.wait_for(lambda: len(owner._listeners) >= listeners, 30)
