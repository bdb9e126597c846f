"""ONNX Runtime on the CPU: the fastest for few tokens, because one call computes the whole model.

Two threads wait for each other some fifty times a text. Waiting threads that spin answer in 1.8 ms instead of 3 ms,
but take 6 to 13 ms once another process keeps a core busy; one thread always takes 3 ms. So there are two
sessions, of one thread and of all, and the wide one runs while its cores are free. The second one costs its weights
again in memory, word embeddings included: 80 MB for MiniLM.

Many texts need no such waiting: they are cut into as many batches as there are threads, or more, each computed by one
thread, which takes the next one when it is done. Nobody spins, and a core that others use does its part more slowly.
And while others compute as well, or did a moment ago, nothing runs on all threads in step.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable
from backends.local.encoders import pipeline
from backends.local.encoders.batches import RATIO, in_order, padded, plan
from backends.local.encoders.company import Company
from backends.local.encoders.onnx_export import INPUTS, exported
from backends.local.encoders.onnx_packing import PACKED
from backends.local.encoders.spare_cores import SpareCores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from backends.local.encoders.company import Met

_TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet", "electra")  # the fusions know these
_MOST_BYTES = 1_900_000_000  # a graph with its weights is one protobuf message, of less than 2 GiB
_ERRORS_ONLY = 3
_MOST_TOKENS = 512  # of a call: activations stay in a core's own cache; with 2048 a token costs a fifth more
_PACKED_RATIO = 2.0  # longest over shortest text of a call: padding costs attention only. Finite: no row may be empty
_LEAST_TOKENS = 128  # to leave a thread without work rather than cut: products of few rows are slow


def supports(directory: Path) -> str | None:
    """Why the model in `directory` cannot be computed here; None when it can."""
    missing = [name for name in ("onnxruntime", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{missing[0]} is not installed: pip install 'nearfar[onnx]'"
    found = pipeline.read(directory)
    if isinstance(found, str):
        return found
    config = pipeline.config(found.weights)
    if config.get("model_type") not in _TYPES:
        return f"it is a {config.get('model_type')} model, not one of {', '.join(_TYPES)}"
    if _float32_bytes(directory, config) > _MOST_BYTES:
        return "it is larger than an ONNX file may be"
    return None


class OnnxEncoder:
    """A sentence-transformers model as one graph in float32 on the CPU."""

    name = "onnx"
    device = "cpu"
    dtype = "float32"

    def __init__(self, directory: Path, cache_dir: Path, threads: int = 1) -> None:
        """Open the graph of the model in `directory`, which is made once and kept in `cache_dir`.

        Raises:
            Unavailable: The model is not supported, or cannot be exported.
        """
        if (reason := supports(directory)) is not None:
            raise Unavailable(f"{directory.name}: {reason}")
        found = pipeline.read(directory)
        assert isinstance(found, pipeline.Pipeline)  # noqa: S101 -- `supports` read the same
        self._filler = int(pipeline.config(found.weights).get("pad_token_id") or 0)
        graph = exported(directory, cache_dir)
        self._narrow = _session(graph, 1)
        self._wide = _session(graph, threads) if threads > 1 else self._narrow
        self._packed = PACKED in self._narrow.get_modelmeta().custom_metadata_map
        self._threads = self.lanes = threads
        self._spare = SpareCores(threads)
        self._company = Company()
        self._pool = ThreadPoolExecutor(threads, "onnx")  # starts none before it must; they end with the encoder

    def encode(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As `Encoder.encode`: in batches of like length."""
        lengths = [len(sequence) for sequence in sequences]
        ratio = _PACKED_RATIO if self._packed else RATIO
        with self._company as met:
            most = budget(sum(lengths), self._threads if met.alone else 1)
            batches = plan(lengths, most, ratio, padding=not self._packed)
            rows = self._computed([[sequences[index] for index in batch] for batch in batches], met)
        return in_order(rows, batches)

    def _computed(self, batches: list[list[Sequence[int]]], met: Met) -> list[NDArray[np.float32]]:
        """Vectors of each batch: side by side where every thread gets one, else in turn on all cores that are free."""
        if met.alone and len(batches) >= self._threads > 1:
            return list(self._pool.map(lambda batch: self._run(self._narrow, batch), batches))
        wide = met.undisturbed and self._spare.threads() == self._threads
        return [self._run(self._wide if wide else self._narrow, batch) for batch in batches]

    def _run(self, session: Any, batch: list[Sequence[int]]) -> NDArray[np.float32]:
        inputs = dict(zip(INPUTS, padded(batch, self._filler), strict=True))
        vectors: NDArray[np.float32] = session.run(None, inputs)[0]
        return vectors


def budget(tokens: int, threads: int) -> int:
    """Tokens a batch may have, so that `tokens` in all give each thread work."""
    return max(_LEAST_TOKENS, min(_MOST_TOKENS, -(-tokens // threads)))


def _session(graph: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if threads > 1 else "0")
    options.add_session_config_entry("session.force_spinning_stop", "1")  # spin within a call, not after it
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _float32_bytes(directory: Path, config: dict[str, Any]) -> int:
    """Of the weights once they are float32."""
    stored = sum(file.stat().st_size for file in directory.rglob("*.safetensors"))
    halves = str(config.get("torch_dtype") or config.get("dtype")) in {"float16", "bfloat16"}
    return stored * 2 if halves else stored
