"""The guard of an offline process: what it refuses, what it lets pass, and what it tells."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from uvloop import Loop

from backends import outward
from backends.errors import Unavailable
from backends.remote.backend import RemoteBackend
from backends.remote.provider import Provider
from backends.types import GenerationInput, InferenceRequest, Target, Task
from router.cli import main
from router.egress.addresses import is_own, stays
from router.egress.guard import GUARD, EgressDenied
from router.egress.loop import sealed_loop
from router.settings import load, tame_libraries
from tests.unit.router.house import chat, chat_model, fake, opened

CANARY = "hf-canary-4711.example.org"
ABROAD = "192.0.2.1"


@pytest.fixture
def sealed():
    """This process, sealed; what is counted is counted from here."""
    with GUARD.sealed():
        before = GUARD.state().denied
        yield lambda: {
            kind: count - before[kind] for kind, count in GUARD.state().denied.items() if count > before[kind]
        }


@given(st.ip_addresses())
def test_of_all_addresses_only_loopback_ones_stay(address) -> None:
    """Whatever the address, it is this machine's own where the standard library says loopback, or maps it into IPv6."""
    mapped = getattr(address, "ipv4_mapped", None)

    assert (mapped or address).is_loopback == is_own(str(address))


@pytest.mark.parametrize(
    ("family", "address", "own"),
    [
        (socket.AF_UNIX, "/run/some.sock", True),
        (socket.AF_INET, ("127.0.0.1", 80), True),
        (socket.AF_INET, ("127.8.9.1", 80), True),
        (socket.AF_INET, ("localhost", 80), True),
        (socket.AF_INET6, ("::1", 80, 0, 0), True),
        (socket.AF_INET6, ("::ffff:127.0.0.1", 80, 0, 0), True),
        (socket.AF_INET6, ("::ffff:192.0.2.1", 80, 0, 0), False),
        (socket.AF_INET6, ("fe80::1%eth0", 80, 0, 2), False),
        (socket.AF_INET, ("0.0.0.0", 80), False),
        (socket.AF_INET, ("", 80), False),
        (socket.AF_INET, ("localhost.example.org", 80), False),
        (socket.AF_INET, ("127.0.0.1.example.org", 80), False),
        (socket.AF_INET, ("2130706433", 80), False),
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, (), False),
        (40, (2, 80), False),
    ],
)
def test_what_stays_on_this_machine(family, address, own) -> None:
    """Loopback, local sockets and `localhost` stay; a name that only looks like them, and another family, does not."""
    assert own == stays(family, address)


def _socket(kind: int) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)


def _connect(sock: socket.socket, address) -> None:
    """As the interpreter's own sockets do: those of the tests are guarded already (tests/conftest.py)."""
    super(socket.socket, sock).connect(address)


def _tried(action) -> None:
    with pytest.raises(EgressDenied, match="nothing may leave this machine"):
        action()


def test_whatever_python_sends_is_refused_before_it_goes(sealed) -> None:
    """Connecting, sending datagrams, looking up names either way: each is a network that is not there, and counted."""
    with _socket(socket.SOCK_STREAM) as tcp, _socket(socket.SOCK_DGRAM) as udp:
        _tried(lambda: _connect(tcp, (ABROAD, 443)))
        _tried(lambda: _connect(udp, (ABROAD, 53)))
        _tried(lambda: udp.sendto(b"x", (ABROAD, 53)))
        _tried(lambda: udp.sendmsg([b"x"], [], 0, (ABROAD, 53)))
    _tried(lambda: socket.getaddrinfo(CANARY, 443))
    _tried(lambda: socket.gethostbyname(CANARY))
    _tried(lambda: socket.gethostbyaddr(ABROAD))
    _tried(lambda: socket.getnameinfo((ABROAD, 80), 0))
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{CANARY}/", timeout=1)

    assert {"connect": 2, "send": 2, "lookup": 5} == sealed()


def test_this_machine_may_be_asked(sealed) -> None:
    """Connections and datagrams over loopback, a Unix pair, addresses written out are let pass, and not counted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port), timeout=5).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", port))
    first, second = socket.socketpair()
    first.sendall(b"x")
    first.close()
    second.close()
    socket.getaddrinfo(ABROAD, 80)  # nobody is asked for it
    socket.getaddrinfo(None, 80)

    assert {} == sealed()


def test_nothing_is_refused_where_nobody_is_sealed() -> None:
    """The hook stays in the interpreter, and looks whether it is wanted."""
    with GUARD.sealed():
        assert GUARD.state().sealed
    before = GUARD.state()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sys.audit("socket.connect", sock, (ABROAD, 9))

    assert not before.sealed
    assert before == GUARD.state()


def test_seals_lie_within_each_other() -> None:
    """The end of one house's seal leaves another's."""
    with GUARD.sealed():
        with GUARD.sealed():
            pass

        assert GUARD.holds()
    with GUARD.sealed(when=False):
        assert not GUARD.state().sealed


def test_trying_the_guard_counts_nothing(sealed) -> None:
    """What asks whether it holds is no refusal."""
    assert GUARD.holds()
    assert {} == sealed()


def test_a_refusal_is_told_once_and_names_no_name(sealed, caplog) -> None:
    """A name can carry anything out, so it is withheld; who wanted it is told, and repetition is counted only."""
    port = 10_000 + GUARD.state().total % 50_000  # nobody was told of it yet
    with caplog.at_level(logging.WARNING, "nearfar.egress"), socket.socket() as sock:
        for _ in range(3):
            _tried(lambda: _connect(sock, (ABROAD, port)))
            _tried(lambda: socket.getaddrinfo(CANARY, 443))
    told = [record.getMessage() for record in caplog.records if f"{ABROAD}:{port}" in record.getMessage()]

    assert {"connect": 3, "lookup": 3} == sealed()
    assert 1 == len(told)
    assert __name__ in told[0]
    assert CANARY not in caplog.text


def test_a_log_over_the_network_does_not_tell_of_itself(sealed) -> None:
    """A handler that sends its records abroad is refused, too, and that ends there."""
    errors = []

    class Abroad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.sendto(b"x", (ABROAD, 514))
            except OSError as error:
                errors.append(error)

    handler = Abroad()
    logging.getLogger("nearfar.egress").addHandler(handler)
    try:
        with socket.socket() as sock:
            _tried(lambda: _connect(sock, (ABROAD, 60_001)))
    finally:
        logging.getLogger("nearfar.egress").removeHandler(handler)

    assert [EgressDenied] == [type(error) for error in errors]


def test_the_server_s_loop_is_heard(sealed) -> None:
    """Uvloop opens connections natively; offline it is one that says so before it does."""

    async def go() -> list[str]:
        loop = asyncio.get_running_loop()
        found = []
        for attempt in (
            lambda: loop.create_connection(asyncio.Protocol, ABROAD, 443),
            lambda: loop.create_connection(asyncio.Protocol, CANARY, 443),
            lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(ABROAD, 53)),
            lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)),
            lambda: loop.getaddrinfo(CANARY, 443),
            lambda: loop.getnameinfo((ABROAD, 443)),
            lambda: asyncio.open_connection(ABROAD, 443),
        ):
            with pytest.raises(EgressDenied):
                await attempt()
            found.append(type(loop).__name__)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection("localhost", server.sockets[0].getsockname()[1])
        writer.close()
        server.close()
        return found

    with asyncio.Runner(loop_factory=sealed_loop) as runner:
        assert ["SealedLoop"] * 7 == runner.run(go())
    assert {"connect": 5, "lookup": 2} == sealed()
    assert issubclass(type(sealed_loop()), Loop)


def test_the_far_side_s_client_is_heard(sealed) -> None:
    """Its sockets are native, so it announces every request, also where connections are open already."""
    provider = Provider(name="abroad", protocol="openai", base_url=f"http://{CANARY}:8000/v1")
    target = Target(backend="remote", provider="abroad", model="m", task=Task.TEXT_GENERATION)
    request = InferenceRequest(task=Task.TEXT_GENERATION, model="m", payload=GenerationInput(prompt="x", max_tokens=1))

    async def go() -> str:
        backend = RemoteBackend([provider])
        with pytest.raises(Unavailable) as refused:
            await backend.infer(request, target)
        with pytest.raises(Unavailable):
            await backend.listing("abroad")
        await backend.aclose()
        return str(refused.value)

    told = asyncio.run(go())

    assert "nothing may leave this machine" in told
    assert CANARY not in told
    assert {"connect": 2} == sealed()


def test_what_is_announced_to_nobody_passes() -> None:
    """Online, announcing is speaking to an empty room."""
    outward.announce(CANARY, 443)


@pytest.mark.parametrize(
    "command",
    [
        ["--offline", "report", "--server", f"http://{CANARY}"],
        ["run", "--offline", "--server", f"http://{CANARY}", "text-classification", "hello"],
    ],
)
def test_an_offline_command_asks_no_server_elsewhere(command) -> None:
    """`--server` is refused where it names another machine, and the seal ends with the command."""
    done = CliRunner().invoke(main, command)

    assert 1 == done.exit_code
    assert "nothing may leave this machine" in done.output
    assert not GUARD.state().sealed


def test_offline_by_the_environment_seals_every_command(monkeypatch, tmp_path) -> None:
    """The variable that configures a server holds for commands that read no configuration, too."""
    monkeypatch.setenv("NEARFAR_ROUTING__OFFLINE", "true")
    done = CliRunner().invoke(main, ["report", "--server", f"http://{CANARY}"])

    assert "nothing may leave this machine" in done.output


def test_an_offline_pull_starts_no_download(monkeypatch, tmp_path) -> None:
    """Weights come through a child process, which no hook hears: it is not even started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEARFAR_LOCAL__MODELS_DIR", str(tmp_path / "models"))
    before = GUARD.state().total
    done = CliRunner().invoke(main, ["--offline", "models", "pull", "--builtin"])

    assert 1 == done.exit_code
    assert "nothing may leave this machine" in done.output
    assert before < GUARD.state().total


def test_an_offline_house_is_sealed_while_it_is_open() -> None:
    """By its settings alone, whoever opens it; and no longer."""

    async def go(*, offline: bool) -> bool:
        async with opened(chat_model(fake("a", near=True)), offline=offline) as house:
            await house.dispatcher.infer(chat())
            return GUARD.state().sealed

    assert asyncio.run(go(offline=True))
    assert not asyncio.run(go(offline=False))
    assert not GUARD.state().sealed


def test_libraries_hear_that_nobody_may_leave() -> None:
    """Whatever the user set for them; children that are ours hear it, too."""
    environ = {"HF_HUB_OFFLINE": "0", "NO_PROXY": "example.org", "ORT_DISABLE_TELEMETRY": "0"}
    tame_libraries(environ, offline=True)

    assert ("1", "*", "1") == (environ["HF_HUB_OFFLINE"], environ["NO_PROXY"], environ["PIP_NO_INDEX"])
    assert "1" == environ["ORT_DISABLE_TELEMETRY"]
    assert load(environ=environ).routing.offline
