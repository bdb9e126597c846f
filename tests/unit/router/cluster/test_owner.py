"""The owner through its door, over TCP and a Unix socket: what it keeps, whom it lets in, and what it grants."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
import uvicorn

from router.budgets import bounds
from router.cli.state import _check, _listen
from router.cluster.app import create_owner_app
from router.cluster.board import STAGGER_S, Board
from router.cluster.demand import Demand
from router.cluster.link import Link
from router.cluster.owner import Owner
from router.cluster.store import Store
from router.cluster.wire import CATALOGUE, KEYS, AccountId, Change, Document, Exchange, News, Row
from router.errors import OwnerAway, SettingsError
from router.sections import BudgetEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "a secret that they share"
DAY = BudgetEntry(limit_usd=10.0)


@contextmanager
def serving(where: str, path: Path | None, secret: str | None = SECRET) -> Iterator[str]:
    """An owner that runs as `nearfar state` runs it; its address."""
    owner = Owner([DAY], Store(path), 60.0, time.time, time.monotonic)
    listener = _listen(where)
    server = uvicorn.Server(uvicorn.Config(create_owner_app(owner, secret), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield where if where.startswith("unix:") else f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        owner.close()


def today() -> AccountId:
    return AccountId("global", "day", "near", int(bounds("day", time.time())[0]))


def said(number: int, *rows: Row, node: str = "a", **more) -> Exchange:
    return Exchange(node=node, holder=f"{node}-1", number=number, rows=list(rows), **more)


def wants(usd: int, **more) -> Row:
    return Row(account=today(), needed=Fraction(usd), enough=Fraction(usd), wanted=Fraction(usd), **more)


@pytest.fixture(params=["tcp", "unix"])
def where(request, tmp_path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/s"


def test_what_was_granted_is_known_after_a_restart(where, tmp_path) -> None:
    """Also over the connection that was there before; and over a socket that nobody has taken away."""
    path = tmp_path / "state.sqlite"
    with serving(where, path) as address:
        link = Link(address, SECRET)
        [first] = link.exchange(said(1, wants(8))).rows
        made = link.change(KEYS, Change(0, "some keys"))
        port = address.rpartition(":")[2]
    with serving(where if where.startswith("unix:") else f"127.0.0.1:{port}", path):
        [again] = link.exchange(said(2, wants(8))).rows
        [other] = link.exchange(said(1, wants(8), node="b")).rows

        assert (Fraction(8), Fraction(8), Fraction(0)) == (first.granted, again.granted, other.granted)
        assert made == link.document(KEYS)
        assert made.version > 0
    with pytest.raises(OwnerAway, match="does not answer"):
        link.exchange(said(3))
    link.close()


def test_only_who_knows_the_secret_is_let_in(where) -> None:
    """Whoever else asks is told no more than that."""
    with serving(where, None) as address:
        for secret in (None, "", "another", SECRET + "x"):
            link = Link(address, secret)
            with pytest.raises(OwnerAway, match="NEARFAR_CLUSTER_SECRET"):
                link.exchange(said(1))
            link.close()
        link = Link(address, SECRET)
        assert 1 == link.exchange(said(1)).routers
        link.close()


def test_a_door_that_anybody_reaches_needs_a_secret() -> None:
    """On this machine it may do without one."""
    for where in ("0.0.0.0:8090", "192.0.2.7:1", "[::]:1", "example.org:1", ":8090"):
        with pytest.raises(SettingsError, match="NEARFAR_CLUSTER_SECRET must be set"):
            _check(where, None)
        _check(where, SECRET)
    for where in ("127.0.0.1:0", "localhost:1", "[::1]:8090", "unix:/run/nearfar"):
        _check(where, None)


def test_nobody_listens_where_somebody_does(tmp_path) -> None:
    """A file that a killed owner left is replaced; one that is in use is not."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    first = _listen(f"unix:{tmp_path}/s")
    with pytest.raises(SettingsError, match="cannot listen"):
        _listen(f"unix:{tmp_path}/s")
    first.close()


def test_there_is_one_owner_of_a_file(tmp_path) -> None:
    """A second one is refused, and a file of something else as well."""
    first = Store(tmp_path / "state.sqlite")
    with pytest.raises(SettingsError, match="another owner may have it"):
        Store(tmp_path / "state.sqlite")
    first.close()
    Store(tmp_path / "state.sqlite").close()
    (tmp_path / "other").write_bytes(b"no database at all, and long enough to be taken for one" * 100)
    with pytest.raises(SettingsError, match="cannot be opened"):
        Store(tmp_path / "other")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/cluster/exchange", b"{", 400),
        ("POST", "/cluster/exchange", b'{"node": "a", "holder": "b", "number": 1, "rows": [{"account": 1}]}', 400),
        ("POST", "/cluster/exchange", b'{"node": "a", "holder": "b", "number": 1, "rows": [{"spent": "x/0"}]}', 400),
        ("GET", "/cluster/documents/other", None, 404),
        ("PUT", "/cluster/documents/other", b'{"version": 0, "body": ""}', 404),
        ("PUT", "/cluster/documents/keys", b'{"version": 7, "body": ""}', 409),
        ("GET", "/cluster/state", None, 200),
        ("GET", "/health/live", None, 200),
    ],
)
def test_what_is_no_message_is_refused(method, path, body, status) -> None:
    """And whoever looks after it can see how it stands."""
    with serving("127.0.0.1:0", None, None) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"))
        connection.request(method, path, body)
        response = connection.getresponse()

        assert status == response.status
        assert isinstance(json.loads(response.read()), dict)
        connection.close()


def test_of_two_who_change_a_document_at_once_one_is_told() -> None:
    """Versions follow the clock: an owner who has lost what it kept is behind nobody."""
    clock = iter(range(1_000, 10_000)).__next__
    owner = Owner([], Store(None), 60.0, clock, clock)
    first = owner.change(CATALOGUE, Change(0, "one"))

    assert first is not None
    assert owner.change(CATALOGUE, Change(0, "two")) is None
    assert Document(first.version, "one") == owner.document(CATALOGUE)
    later = Owner([], Store(None), 60.0, clock, clock).change(CATALOGUE, Change(0, "three"))
    assert later is not None
    assert later.version > first.version


def test_a_clock_that_is_wrong_is_told_and_grants_nothing() -> None:
    """A minute is forgiven."""
    noon = bounds("day", 1_760_000_000.0)[0] + 43_200
    owner = Owner([DAY], Store(None), 60.0, lambda: noon, lambda: noon)
    wrong = Row(account=AccountId("global", "day", "near", int(noon + 43_200)), needed=Fraction(1), wanted=Fraction(1))
    answer = owner.exchange(said(1, wrong))

    assert [] == answer.rows
    assert "clock" in answer.problems[0]
    owner = Owner([DAY], Store(None), 60.0, lambda: noon + 43_200 - 59, lambda: noon)
    assert Fraction(1) == owner.exchange(said(1, wrong)).rows[0].granted


def test_an_exchange_that_comes_again_grants_no_more() -> None:
    """What it said of figures is known, and what was news is none."""
    owner = Owner([DAY], Store(None), 60.0, lambda: time.time(), lambda: 1.0)  # noqa: PLW0108 - a day may begin
    once = said(1, wants(1), news=[News("far:x", 5.0, "why")], asked={"alice": 3})
    later = said(2, wants(2), news=[News("far:x", None)])
    for exchange in (once, later, once, once):
        answer = owner.exchange(exchange)

    assert Fraction(2) == answer.rows[0].granted
    assert [News("far:x", None)] == owner.exchange(said(1, node="b")).news


# --- limits and breakers ---------------------------------------------------------------------------


def test_the_parts_of_a_limit_follow_who_is_asked() -> None:
    """They are one altogether; whoever is not asked keeps a small one, and what is long ago counts for nothing."""
    demand = Demand()
    demand.note("a", {"alice": 30, "bob": 1}, 0.0)
    demand.note("b", {"alice": 10}, 0.0)
    parts = [demand.parts(holder, ("a", "b")) for holder in ("a", "b")]

    assert {"alice": pytest.approx(0.05 + 0.9 * 0.75), "bob": pytest.approx(0.95)} == parts[0]
    assert {"alice": pytest.approx(0.05 + 0.9 * 0.25)} == parts[1]
    assert {"alice": pytest.approx(1.0), "bob": pytest.approx(1.0)} == demand.parts("a", ("a",))
    demand.note("b", {"alice": 10}, 1000.0)
    assert {} == demand.parts("a", ("a", "b"))
    assert {"alice": pytest.approx(0.95)} == demand.parts("b", ("a", "b"))


def test_the_others_hear_of_a_breaker_each_at_a_time_of_its_own() -> None:
    """Who saw it fail hears nothing of it, and probes first."""
    board = Board()
    board.post("a", [News("far:x", 10.0, "why")], 100.0)
    heard = {name: board.since(0, name, ("a", "b", "c"), 104.0) for name in ("a", "b", "c")}

    assert [] == heard["a"]
    assert [News("far:x", 6.0 + STAGGER_S, "why")] == heard["b"]
    assert [News("far:x", 6.0 + 2 * STAGGER_S, "why")] == heard["c"]
    assert [] == board.since(board.number, "b", ("a", "b"), 104.0)
    board.post("b", [News("far:x", None)], 110.0)
    assert [News("far:x", None)] == board.since(1, "a", ("a", "b", "c"), 110.0)
