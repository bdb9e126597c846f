"""Writes a sentence-transformers model as one ONNX graph, fused for CPUs and packed. Runs in a process of its own.

The export takes several times the model's memory and changes global state of torch: neither should stay.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backends.errors import Unavailable
from backends.local.encoders.onnx_packing import pack
from backends.local.encoders.reference import load

FORMAT = 2  # of the exported graph: raise it when this file or `onnx_packing` changes what is written
OPSET = 17  # the first with a layer norm of its own
INPUTS = ("input_ids", "attention_mask")
_LIBRARIES = ("torch", "transformers", "sentence-transformers", "onnxruntime")
_CHUNK = 1 << 20
_PROGRAM = """
import sys
from pathlib import Path
sys.path[:] = sys.argv[3:]
from backends.local.encoders.onnx_export import export
export(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def exported(directory: Path, cache_dir: Path) -> Path:
    """The graph of the model in `directory`, made unless `cache_dir` has it: about 10 s for a small model.

    Raises:
        Unavailable: The export failed.
    """
    file = cache_dir / "onnx" / f"{fingerprint(directory)}.onnx"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        _export_apart(directory, file)
    return file


def fingerprint(directory: Path) -> str:
    """Of the weights, the settings and the libraries: what the graph is made of."""
    digest = sha256(repr((FORMAT, OPSET, [version(name) for name in _LIBRARIES])).encode())
    files = [*directory.rglob("*.safetensors"), *directory.rglob("*.bin"), *directory.rglob("config.json")]
    for file in sorted({*files, directory / "modules.json"}):
        digest.update(str(file.relative_to(directory)).encode())
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()[:32]


def _export_apart(directory: Path, file: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(directory.resolve()), str(file.resolve()), *sys.path]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- ourselves
    if finished.returncode != 0:
        last = (finished.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise Unavailable(f"{directory.name}: the ONNX export failed with {finished.returncode}: {last}")


def export(directory: Path, file: Path) -> None:
    """Write the graph to `file`, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch, warnings.catch_warnings():
        raw, fused = Path(scratch) / "raw.onnx", Path(scratch) / "fused.onnx"
        warnings.simplefilter("ignore")  # the tracer doubts constants; `parity` compares the vectors
        config = _trace(directory, raw)
        _fuse(raw, fused, config)
        _pack(fused)
        os.replace(fused, file)  # noqa: PTH105 -- `replace` of a path reads like that of a string


def _trace(directory: Path, file: Path) -> Any:
    """Record the whole pipeline on a padded batch; returns the transformer's configuration."""
    import torch

    model = load(directory, "cpu", "float32", attn_implementation="eager")

    class Pipeline(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model({INPUTS[0]: ids, INPUTS[1]: mask})["sentence_embedding"]

    ids = torch.arange(5, 38).view(3, 11)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    shape = {0: "texts", 1: "tokens"}
    with torch.no_grad():
        torch.onnx.export(
            Pipeline(),
            (ids, mask),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=["vectors"],
            dynamic_axes={INPUTS[0]: shape, INPUTS[1]: shape, "vectors": {0: "texts"}},
        )
    return model[0].auto_model.config


def _fuse(raw: Path, fused: Path, config: Any) -> None:
    """Join what onnxruntime computes in one step; but its joined residual and layer norm is slower than the two."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    options = FusionOptions("bert")
    options.enable_skip_layer_norm = False
    options.enable_embed_layer_norm = False
    graph = optimize_model(
        str(raw),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=options,
        opt_level=0,
    )
    graph.save_model_to_file(str(fused))


def _pack(file: Path) -> None:
    """Take the padding out, where the graph is of the make that this is known of."""
    import onnx

    model = onnx.load(str(file))
    if pack(model, INPUTS[1]):
        onnx.save(model, str(file))
