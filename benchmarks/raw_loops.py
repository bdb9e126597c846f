"""What the libraries do without a server, in a process of its own: `python raw_loops.py NAME DIR THREADS CACHE`.

NAME is `sentence-transformers`, one of our exact encoders (`torch`, `packed`, `onnx`), `gemm` (no model) or `generate`.
Says `ready`, then answers lines of JSON on standard input: {"do": "latency" | "throughput" | "vectors" | ...}.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.local.embedder import unit
from backends.local.encoders.choice import open_encoder
from backends.local.tokens import Tokens
from router.settings import tame_libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SENTENCE_TRANSFORMERS = "sentence-transformers"
GEMMS = ((1920, 384, 1536), (2048, 2048, 2048))
ABOUT_S = 0.25  # how long one figure of a GEMM is taken from


class Embedding:
    """A loop over texts. `encode` takes texts and the batch size."""

    def __init__(self, encode: Callable[[Sequence[str], int], Any]) -> None:
        self._encode = encode

    def latency(self, texts: Sequence[str], seconds: float) -> dict[str, float]:
        """One text at a time."""
        taken: list[float] = []
        for text in texts[:5]:
            self._encode([text], 1)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(taken) < 20:
            started = time.perf_counter()
            self._encode([texts[len(taken) % len(texts)]], 1)
            taken.append((time.perf_counter() - started) * 1000)
        ranked = sorted(taken)
        return {"p50_ms": statistics.median(taken), "p95_ms": ranked[int(0.95 * len(ranked))], "calls": len(taken)}

    def throughput(self, texts: Sequence[str], batch: int, seconds: float) -> dict[str, float]:
        """All texts over and over, whole passes only, so that every length weighs as in the set."""
        self._encode(texts[:batch], batch)
        passes, started = 0, time.perf_counter()
        while not passes or time.perf_counter() - started < seconds:
            self._encode(texts, batch)
            passes += 1
        return {"texts_per_s": passes * len(texts) / (time.perf_counter() - started), "passes": passes}

    def vectors(self, texts: Sequence[str]) -> dict[str, Any]:
        """One vector a text."""
        return {"vectors": [[float(x) for x in row] for row in self._encode(texts, 32)]}


def sentence_transformers(directory: Path, threads: int) -> Embedding:
    """As its users call it: `encode` sorts the texts by length and cuts them into batches."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(str(directory), device="cpu", local_files_only=True)
    return Embedding(lambda texts, batch: model.encode(list(texts), batch_size=batch, show_progress_bar=False))


def ours(name: str, directory: Path, threads: int, cache: Path) -> Embedding:
    """Tokenise, encode, scale to length 1, `batch` texts at a time in the order they come."""
    tame_libraries()
    tokens = Tokens(directory)
    encoder = open_encoder(name, directory, "cpu", "float32", threads, cache)

    def encode(texts: Sequence[str], batch: int) -> list[Any]:
        rows: list[Any] = []
        for at in range(0, len(texts), batch):
            rows.extend(unit(encoder.encode(tokens.ids(texts[at : at + batch], truncate=True))))
        return rows

    return Embedding(encode)


class Gemm:
    """The machine's own speed."""

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    def gemm(self) -> dict[str, float]:
        """GFLOP/s of fp32 matrix products, by shape: the median of five."""
        return {"x".join(map(str, shape)): statistics.median(self._rate(*shape) for _ in range(5)) for shape in GEMMS}

    def _rate(self, m: int, k: int, n: int) -> float:
        import torch

        a, b = torch.randn(m, k), torch.randn(k, n)
        out = a @ b
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < ABOUT_S:
            torch.mm(a, b, out=out)
            count += 1
        return 2 * m * k * n * count / elapsed / 1e9


class Generating:
    """transformers' own `generate`, greedy, of the same files with the same threads."""

    def __init__(self, directory: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self._tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(str(directory), dtype=torch.float32, local_files_only=True)
        self._model = model.eval()

    def generate(self, prompt: str, max_tokens: int) -> dict[str, float]:
        """Seconds from the text of the chat to all its tokens, and to the first."""
        import torch

        first: list[float] = []

        class Watch:
            def put(self, _tokens: Any) -> None:
                first.append(time.perf_counter())

            def end(self) -> None: ...

        started = time.perf_counter()
        encoded = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        with torch.inference_mode():
            done = self._model.generate(**encoded, do_sample=False, max_new_tokens=max_tokens, streamer=Watch())
        tokens = int(done.shape[1] - encoded["input_ids"].shape[1])
        total_s = time.perf_counter() - started
        return {"tokens": tokens, "total_s": total_s, "first_s": first[1] - started, "threads": torch.get_num_threads()}


def opened(name: str, directory: Path, threads: int, cache: Path) -> Any:
    """What answers the questions."""
    if name == "gemm":
        return Gemm(threads)
    if name == "generate":
        tame_libraries()
        return Generating(directory, threads)
    if name == SENTENCE_TRANSFORMERS:
        return sentence_transformers(directory, threads)
    return ours(name, directory, threads, cache)


def main() -> None:
    """Answer until standard input ends."""
    name, directory, threads, cache = sys.argv[1:]
    loop = opened(name, Path(directory), int(threads), Path(cache))
    print("ready", flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answer = getattr(loop, question.pop("do"))(**question)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
