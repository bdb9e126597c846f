"""What holds for every test: a scrubbed environment, no network beyond loopback, and versions in the report's head."""

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, MutableMapping
from importlib import metadata
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from router.settings import cache_dir

SECRETS = ("NEARFAR_", "HF_", "HUGGING_FACE_")
SHOWN = ("duckdb", "litestar", "msgspec", "torch")
_data = os.environ.get("NEARFAR_DATA")
DATA = Path(_data) if _data else None  # public data sets, for the tests that need them; read before it is scrubbed
_home = tempfile.mkdtemp(prefix="nearfar-no-hub-")
_cache = tempfile.mkdtemp(prefix="nearfar-cache-")


def scrub(environ: MutableMapping[str, str]) -> None:
    """Take out whatever configures us, holds a token or leads around loopback; the hub's home is an empty folder.

    The cache is a folder of its own, too: weights are this machine's, but what was measured or derived here is not.
    """
    for name in list(environ):
        if name.upper().startswith(SECRETS) or name.upper().endswith("_PROXY"):
            del environ[name]
    environ.update({
        "HF_HOME": _home,
        "XDG_CACHE_HOME": _cache,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    })  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", help="a folder for the pictures of the README, which are made anew")


def pytest_configure(config: pytest.Config) -> None:
    """Scrub before anything is imported: the hub's client reads its variables once, and sessions' servers copy them.

    `make test` looks at few examples of each property, the same ones every time: who runs it sees what the last one
    saw. `make test-all` looks at more, and at others every time.
    """
    weights = cache_dir() / "models" / "packages"
    weights.mkdir(parents=True, exist_ok=True)
    own = Path(_cache, "nearfar", "models")
    own.mkdir(parents=True)
    (own / "packages").symlink_to(weights.resolve())
    scrub(os.environ)
    # No deadline: how busy a machine is says nothing of us.
    hypothesis.settings.register_profile("all", deadline=None, max_examples=100)
    hypothesis.settings.register_profile("quick", deadline=None, max_examples=25, derandomize=True)
    hypothesis.settings.load_profile("quick" if config.option.markexpr == "not slow" else "all")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """As it was: an offline house sets some of it for libraries, and must not speak for the next test's servers."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes that are given whole files are given whole servers."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.distribution import ByServer

    return ByServer(config, log)


def pytest_unconfigure() -> None:
    for folder in (_home, _cache):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header() -> str:
    return "with " + ", ".join(f"{name} {_version(name)}" for name in SHOWN)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Each test begins with the scrubbed environment, and none can leave a variable behind for the next."""
    before = dict(os.environ)
    scrub(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def is_loopback(sock: socket.socket, address: object) -> bool:
    """True when a connection to this address stays on this machine; a Unix socket always does."""
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Whatever connects beyond loopback through Python's sockets fails its test. Subprocesses are not seen."""
    with pytest.MonkeyPatch.context() as patch:
        for method in ("connect", "connect_ex"):
            patch.setattr(socket.socket, method, _guarded(method))
        yield


def _guarded(method: str):
    original = getattr(socket.socket, method)

    def connect(self: socket.socket, address: object):
        assert is_loopback(self, address), f"a test tried to connect to {address!r}"
        return original(self, address)

    return connect
