"""Servers that Nearfar's embeddings are compared with, each in its own environment.

`python embedding_peers.py NAME DIR`, where NAME is:
`naive`: one request, one forward, one at a time. `litserve`: LitServe with its own batching. `infinity`: infinity-emb's
own server. All print their URL, then serve the sentence-transformers model in DIR at POST /v1/embeddings.
`install` makes the environments; what is not installed is not measured.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

MODEL_NAME = "model"
ENVIRONMENTS = {
    "infinity": ("infinity-emb[server]==0.0.78", "numpy<2", "transformers==4.57.6", "sentence-transformers==3.4.1"),
    "litserve": ("litserve==0.2.19", "transformers=={transformers}", "sentence-transformers=={sentence-transformers}"),
}
PACKAGES = {"infinity": "infinity-emb", "litserve": "litserve"}
ROOT = Path(__file__).parents[1]


def install(folder: Path) -> None:
    """Make the environment of every peer that has none yet. Asks the package index.

    Raises:
        CalledProcessError: One could not be made.
    """
    for name, requirements in ENVIRONMENTS.items():
        home = folder / name
        if (home / "complete").exists():
            continue
        ours = {package: metadata.version(package) for package in ("transformers", "sentence-transformers")}
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run(["sh", ".ci/install_torch.sh", str(home / "bin")], cwd=ROOT, check=True)
        wanted = [requirement.format(**ours) for requirement in requirements]
        subprocess.run([str(home / "bin" / "pip"), "install", "--quiet", *wanted], check=True)
        (home / "complete").touch()


def python_of(name: str, folder: Path | None) -> str | None:
    """The interpreter that has this peer; None where it is not installed."""
    if name == "naive":
        return sys.executable
    python = folder / name / "bin" / "python" if folder is not None else None
    return str(python.absolute()) if python is not None and python.exists() else None


def version_of(name: str, python: str) -> str:
    """What version of the peer the interpreter has."""
    if name not in PACKAGES:
        return ""
    code = f"from importlib.metadata import version; print(version({PACKAGES[name]!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


# --- what runs in the children ------------------------------------------------------------------


def naive(directory: str) -> None:
    """A minimal app: a thread encodes one request's text at a time."""
    import uvicorn  # noqa: PLC0415 -- what a peer needs is only in its own environment
    from litestar import Litestar, post  # noqa: PLC0415
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(directory, device="cpu", local_files_only=True)
    thread = ThreadPoolExecutor(1)

    def encode(text: str) -> str:
        return base64.b64encode(model.encode([text], show_progress_bar=False)[0].astype("<f4").tobytes()).decode()

    @post("/v1/embeddings", status_code=200)
    async def embeddings(data: dict[str, str]) -> dict[str, Any]:
        encoded = await asyncio.get_running_loop().run_in_executor(thread, encode, data["input"])
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": encoded}]}

    uvicorn.run(Litestar([embeddings]), host="127.0.0.1", port=_announced(), log_level="warning")


def litserve(directory: str) -> None:
    """LitServe with its own batching."""
    from litserve_app import serve  # noqa: PLC0415 -- only in its own environment

    serve(directory, _announced())


def infinity(directory: str) -> None:
    """infinity-emb's own command, torch engine, its own defaults."""
    port = _announced()
    options = ["--model-id", directory, "--served-model-name", MODEL_NAME, "--engine", "torch", "--device", "cpu"]
    options += ["--host", "127.0.0.1", "--port", str(port), "--url-prefix", "/v1", "--log-level", "warning"]
    command = str(Path(sys.executable).with_name("infinity_emb"))
    os.execv(command, [command, "v2", *options])


def _announced() -> int:
    """A free port, told on standard output, where nothing more is written: nobody reads it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    os.dup2(2, 1)
    return port


if __name__ == "__main__":
    {"naive": naive, "litserve": litserve, "infinity": infinity}[sys.argv[1]](sys.argv[2])
