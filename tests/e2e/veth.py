"""Two network namespaces and the one pair of interfaces between them, which can be cut and healed.

Whoever calls `beside` has a namespace of its own (`tests.e2e.alone`); the command that it starts gets another one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.alone import namespace

MOST_S = 240.0  # of all of it
HERE, THERE = "10.77.0.1", "10.77.0.2"
_HERE_IF, _THERE_IF = "near0", "far0"


def told(module: str, *arguments: str) -> Any:
    """What a module says, as JSON, that runs in a namespace of its own."""
    alone = namespace()
    if alone is None or shutil.which("ip") is None:
        pytest.skip("needs `ip`, and network namespaces that this user may make")
    done = subprocess.run(
        [*alone, sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd()))},
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_S,
    )

    assert 0 == done.returncode, done.stderr[-4000:]
    return json.loads(done.stdout)


def beside(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A module in a namespace beside this one, once it says that it is `there`. It ends when its input does."""
    command = [shutil.which("unshare") or "unshare", "-n", sys.executable, "-m", "tests.e2e.alone"]
    command += [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert "ready" == _line(process)
    _ip("link", "add", _HERE_IF, "type", "veth", "peer", "name", _THERE_IF, "netns", str(process.pid))
    _ip("addr", "add", f"{HERE}/24", "dev", _HERE_IF)
    heal()
    assert "there" == ask(process)
    return process


def connected() -> None:
    """In the other namespace: wait until there is an interface, and use it."""
    print("ready", flush=True)  # noqa: T201 -- whoever started it reads it
    sys.stdin.readline()
    _ip("addr", "add", f"{THERE}/24", "dev", _THERE_IF)
    _ip("link", "set", _THERE_IF, "up")


def there(answer: str = "there") -> bool:
    """In the other namespace: say something, and wait for a line; False where there is none any more."""
    print(answer, flush=True)  # noqa: T201 -- likewise
    return bool(sys.stdin.readline())


def ask(process: subprocess.Popen[str]) -> str:
    """Send a line to the other namespace, and wait for its answer."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return _line(process)


def cut() -> None:
    """Nothing goes through any more, and nobody is told."""
    _ip("link", "set", _HERE_IF, "down")


def heal() -> None:
    """As it was."""
    _ip("link", "set", _HERE_IF, "up")


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _ip(*words: str) -> None:
    subprocess.run([shutil.which("ip") or "ip", *words], check=True, capture_output=True)
