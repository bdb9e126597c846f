"""With every socket forbidden, the near side answers all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

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
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
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
