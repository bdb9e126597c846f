"""Offline, everything that needs nobody else works; and nothing leaves this machine, as seen from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.alone import namespace

SCRIPT = textwrap.dedent(
    """
    import asyncio, json, sys
    from pathlib import Path

    def forbid(event, args):
        if event in {"socket.getaddrinfo", "socket.gethostbyname"} or (
            event == "socket.connect" and isinstance(args[1], tuple)
        ):
            raise AssertionError(f"{event} {args}")

    sys.addaudithook(forbid)

    from backends.types import ClassificationInput, EmbeddingInput, GenerationInput, InferenceRequest, Message, Task
    from router.house import open_house
    from router.decision_log.log import DecisionLog
    from router.request import Call, Routing
    from router.sections import Settings
    from router.settings import Secrets, tame_libraries
    import time

    REQUESTS = [
        ("sentence-transformers/all-MiniLM-L6-v2", Task.FEATURE_EXTRACTION, EmbeddingInput(texts=("hello",))),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", Task.TEXT_GENERATION, GenerationInput(
            messages=(Message("user", "What is the capital of France?"),), max_tokens=8)),
        ("nearfar/minilm-intent", Task.TEXT_CLASSIFICATION, ClassificationInput(texts=("What is 3 times 4?",))),
    ]

    async def main():
        tame_libraries()
        log = DecisionLog.open(Path("log.duckdb"))
        # A token is configured, so nothing but the policy keeps requests near.
        async with open_house(Settings(), Secrets(hf_token="hf_never_sent"), log) as house:
            for model, task, payload in REQUESTS:
                request = InferenceRequest(task=task, model=model, payload=payload)
                routing = Routing(policy="local-only")
                call = Call(request=request, routing=routing, surface="test", received=time.monotonic())
                outcome = await house.dispatcher.infer(call)
                rejected = [r.code for r in outcome.plan.decision.rejections]
                print(json.dumps({"task": task.value, "status": outcome.status, "backend": outcome.winner.backend,
                                  "rejected": rejected}))

    asyncio.run(main())
    """
)


REPORTS = ("HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY")


def talkative(**more: str) -> dict[str, str]:
    """The environment of somebody who never told a library to be quiet, as the tests' own does."""
    path = os.environ.get("PYTHONPATH", str(Path.cwd()))
    return {name: value for name, value in os.environ.items() if name not in REPORTS} | {"PYTHONPATH": path} | more


def test_onnxruntime_is_not_made_to_report_to_anybody(tmp_path: Path) -> None:
    """Its reports lie in the user's cache until they are sent, natively: here nothing is ever written there.

    Not only offline. They would tell models' names and hashes; where it may be had, no network is there to send them.
    """
    pytest.importorskip("onnxruntime")
    code = "import router.settings as s; s.tame_libraries(); import onnxruntime as o; o.get_available_providers()"
    subprocess.run(
        [*(namespace() or []), sys.executable, "-W", "ignore", "-c", code],
        env=talkative(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)),
        check=True,
    )

    assert [] == [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]


def test_local_only_answers_with_every_socket_forbidden(tmp_path: Path) -> None:
    """Embeddings, chat and intent are answered in a process that may neither connect nor look up a name.

    Where the system allows it the process also has a network namespace of its own, without any interface that is up,
    which holds for code that is not Python too.
    """
    unshare = shutil.which("unshare")
    alone: list[str] = []
    if unshare and subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode == 0:
        alone = [unshare, "-rn"]
    done = subprocess.run(
        [*alone, sys.executable, "-W", "ignore", "-c", SCRIPT],
        cwd=tmp_path,
        env=talkative(PYTHONPATH=str(Path.cwd())),
        capture_output=True,
        text=True,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert 0 == done.returncode, done.stderr
    assert [
        ("feature-extraction", "ok", "local"),
        ("text-generation", "ok", "local"),
        ("text-classification", "ok", "local"),
    ] == [(a["task"], a["status"], a["backend"]) for a in answers]
    assert ["policy"] == answers[0]["rejected"]


SENT = re.compile(r"^\d+\s+(connect|sendto|sendmsg|sendmmsg)\(.*?sa_family=AF_INET6?,.*$", re.MULTILINE)
OWN = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "(::1|::ffff:127\.[\d.]+)"')


def left(trace: str) -> list[str]:
    """Of a trace of system calls, those that would reach somebody else, by address or by name."""
    return [call.group() for call in SENT.finditer(trace) if not OWN.search(call.group())]


def test_a_trace_is_read_right() -> None:
    """What a resolver and a client do is found, what stays on the machine is not."""
    trace = textwrap.dedent(
        """
        41 connect(5, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
        41 connect(5, {sa_family=AF_UNIX, sun_path="/run/x"}, 11) = -1 ENOENT
        41 sendto(5, "GET /", 5, MSG_NOSIGNAL, NULL, 0) = 5
        42 connect(6, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.53")}, 16) = 0
        42 sendmmsg(6, [{msg_hdr={msg_name={sa_family=AF_INET6, sin6_port=htons(53), inet_pton(AF_INET6, "2001:db8::1",
        43 connect(6, {sa_family=AF_INET6, sin6_port=htons(80), inet_pton(AF_INET6, "::1", &sin6_addr)}, 28) = 0
        43 connect(6, {sa_family=AF_UNSPEC, sa_data="..."}, 16) = 0
        """
    )

    assert ["42", "42"] == [call.split()[0] for call in left(trace)]


def asked(tmp_path: Path, *which: str) -> tuple[dict[str, Any], list[str] | None]:
    """What became of everything offline, and the sockets that led elsewhere; None where nobody could look.

    Where it is allowed it happens in a network namespace with nothing but loopback, under a trace of system calls.
    """
    strace, trace = shutil.which("strace"), tmp_path / "trace.txt"
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    looking = [strace, "-f", "-qq", "--seccomp-bpf", "-e", calls, "-o", str(trace)] if strace else []
    if looking and subprocess.run([*looking, "true"], capture_output=True, check=False).returncode:
        looking = []
    done = subprocess.run(
        [
            *(namespace() or []),
            *looking,
            sys.executable,
            "-m",
            "tests.e2e.offline_features",
            str(tmp_path / "s"),
            *which,
        ],
        env=talkative(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr[-4000:]
    return json.loads(done.stdout), left(trace.read_text(encoding="utf-8")) if looking else None


@pytest.mark.parametrize("which", [(), pytest.param(("near",), marks=pytest.mark.slow)])
def test_offline_everything_works_and_nothing_leaves(which, tmp_path) -> None:
    """Every task, route and command: each does its work or says why it cannot, no socket leads elsewhere, none tries.

    The guard counts nothing, so nobody even wanted to leave; and the kernel saw nobody do what the guard cannot hear.
    """
    found, sockets = asked(tmp_path, *which)

    assert {} == {what: status for what, status in (found["tasks"] | found["routes"]).items() if status != 200}
    assert {"unlisted": 404, "far": 422} == found["abroad"]
    assert [] == found["foreign"]
    assert {"sealed": True, "denied": {"connect": 0, "send": 0, "lookup": 0}} == found["egress"]
    assert {"models refresh": 1} == {verb: code for verb, code in found["verbs"].items() if code}
    assert "ok" == found["guard"]["state"]
    assert "refused (0 so far)" in found["guard"]["detail"]
    if sockets is None:
        pytest.skip("no strace here: what left the process natively was not looked at")
    assert [] == sockets
