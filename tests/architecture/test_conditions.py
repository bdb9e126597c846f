"""What every test relies on: no secrets, no proxies, no hub login, and no network beyond loopback."""

import os
import socket
from pathlib import Path

import pytest

SECRETS = {"HF_TOKEN": "hf_x", "NEARFAR_SERVER__PORT": "1", "HUGGING_FACE_HUB_TOKEN": "x", "https_proxy": "http://x"}


@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_cannot_leave_a_variable_behind(turn) -> None:
    """Whatever one test sets, the next begins without it."""
    assert {} == {name: os.environ[name] for name in SECRETS if name in os.environ}

    os.environ.update(SECRETS)


def test_the_hub_finds_no_login_and_reports_nothing() -> None:
    """Its home is an empty folder."""
    assert "1" == os.environ["HF_HUB_DISABLE_TELEMETRY"]
    assert [] == [path for path in Path(os.environ["HF_HOME"]).rglob("*") if path.name == "token"]


@pytest.mark.parametrize(
    ("family", "address"),
    [
        (socket.AF_INET, ("192.0.2.1", 80)),
        (socket.AF_INET, ("example.org", 443)),
        (socket.AF_INET6, ("2001:db8::1", 80, 0, 0)),
    ],
)
@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_a_connection_beyond_loopback_fails_its_test(family, address, method) -> None:
    """It is refused before a single packet, as no OSError that the code under test might forgive."""
    with socket.socket(family, socket.SOCK_STREAM) as sock, pytest.raises(AssertionError, match="tried to connect"):
        getattr(sock, method)(address)


def test_a_connection_to_loopback_is_free() -> None:
    """Tests talk to servers of their own."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert server.getsockname() == client.getpeername()
