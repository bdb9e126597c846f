"""BERT in plain torch without padding: linear layers on the tokens of all texts at once, attention text by text."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from backends.errors import Unavailable
from backends.local.encoders import pipeline
from backends.local.encoders.batches import in_order, plan
from backends.local.encoders.spare_cores import SpareCores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_BERTS = ("bert", "roberta", "xlm-roberta", "camembert")  # one architecture: they differ in how positions count
_BUDGET = 4096  # tokens of a batch: its activations are 25 MB for 384 dimensions
_ANY_RATIO = float("inf")


class _Group(Struct, frozen=True):
    """Texts of one length that stand one after the other."""

    start: int  # token at which the first one begins
    length: int  # tokens of each
    count: int


class _Layer(Struct, frozen=True):
    """A transformer layer: four linear layers, and the scale and shift after each of its two halves."""

    queries_keys_values: Callable[[Any], Any]
    attended: Callable[[Any], Any]
    attended_norm: tuple[Any, Any]
    inner: Callable[[Any], Any]
    outer: Callable[[Any], Any]
    outer_norm: tuple[Any, Any]


def supports(directory: Path) -> str | None:
    """Why the model in `directory` cannot be computed here; None when it can."""
    found = pipeline.read(directory)
    if isinstance(found, str):
        return found
    config = pipeline.config(found.weights)
    if config.get("model_type") not in _BERTS:
        return f"it is a {config.get('model_type')} model, not one of {', '.join(_BERTS)}"
    if config.get("position_embedding_type", "absolute") != "absolute" or config.get("hidden_act") != "gelu":
        return "its positions or its activation are not plain BERT's"
    if not (found.weights / "model.safetensors").is_file():
        return "there is no model.safetensors"
    return None


class PackedEncoder:
    """A BERT-like model in float32 on the CPU. Used from one thread only."""

    name = "packed"
    device = "cpu"
    dtype = "float32"
    lanes = 1

    def __init__(self, directory: Path, threads: int = 1) -> None:
        """Read the weights in `directory`; `threads` at most are used, fewer while other processes use the cores.

        Raises:
            Unavailable: The model is not supported.
        """
        if (reason := supports(directory)) is not None:
            raise Unavailable(f"{directory.name}: {reason}")
        found = pipeline.read(directory)
        assert isinstance(found, pipeline.Pipeline)  # noqa: S101 -- `supports` read the same
        config = pipeline.config(found.weights)
        self._pipeline = found
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])
        self._filler = None if config["model_type"] == "bert" else int(config["pad_token_id"])
        weights = _weights(found.weights / "model.safetensors")
        self._words = weights["embeddings.word_embeddings.weight"]
        kinds = weights["embeddings.token_type_embeddings.weight"]
        self._positions = weights["embeddings.position_embeddings.weight"] + kinds[0]
        self._norm = _pair(weights, "embeddings.LayerNorm")
        self._layers = [_layer(weights, f"encoder.layer.{i}.") for i in range(config["num_hidden_layers"])]
        self._spare = SpareCores(threads)

    def encode(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As `Encoder.encode`."""
        import torch

        torch.set_num_threads(self._spare.threads())
        batches = plan([len(sequence) for sequence in sequences], _BUDGET, _ANY_RATIO, padding=False)
        with torch.inference_mode():
            return in_order([self._forward([sequences[i] for i in batch]).numpy() for batch in batches], batches)

    def _forward(self, batch: list[Sequence[int]]) -> Any:
        """Vectors of texts that are sorted by length: (texts, dimensions)."""
        groups = _groups([len(sequence) for sequence in batch])
        hidden = self._embedded(batch)
        for layer in self._layers:
            attended = self._attention(layer.queries_keys_values(hidden), groups)
            hidden = self._normed(layer.attended(attended).add_(hidden), layer.attended_norm)
            hidden = self._normed(layer.outer(layer.inner(hidden)).add_(hidden), layer.outer_norm)
        return self._pooled(hidden, groups)

    def _embedded(self, batch: list[Sequence[int]]) -> Any:
        """Word and position embeddings of all tokens, normed: (tokens, dimensions)."""
        import torch
        from torch.nn import functional

        tokens = torch.tensor([token for sequence in batch for token in sequence])
        places = torch.tensor([place for sequence in batch for place in self._places(sequence)])
        hidden = functional.embedding(tokens, self._words).add_(functional.embedding(places, self._positions))
        return self._normed(hidden, self._norm)

    def _places(self, sequence: Sequence[int]) -> Sequence[int]:
        """BERT counts from 0; RoBERTa from behind the padding token's id, and does not count padding tokens."""
        if self._filler is None:
            return range(len(sequence))
        counted = accumulate(token != self._filler for token in sequence)
        pairs = zip(sequence, counted, strict=True)
        return [self._filler + (count if token != self._filler else 0) for token, count in pairs]

    def _attention(self, projected: Any, groups: list[_Group]) -> Any:
        """Attention inside each text: (tokens, 3 x dimensions) to (tokens, dimensions)."""
        from torch.nn import functional

        dimensions = projected.shape[1] // 3
        attended = projected.new_empty((projected.shape[0], dimensions))
        for group in groups:
            rows = slice(group.start, group.start + group.length * group.count)
            parts = projected[rows].view(group.count, group.length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2]).transpose(1, 2)
            attended[rows].view(group.count, group.length, self._heads, -1).copy_(mixed)
        return attended

    def _normed(self, hidden: Any, norm: tuple[Any, Any]) -> Any:
        from torch.nn import functional

        return functional.layer_norm(hidden, hidden.shape[-1:], *norm, self._epsilon)

    def _pooled(self, hidden: Any, groups: list[_Group]) -> Any:
        import torch
        from torch.nn import functional

        texts = [
            hidden[group.start : group.start + group.length * group.count].view(group.count, group.length, -1)
            for group in groups
        ]
        first = self._pipeline.pooling == "cls"
        pooled = torch.cat([text[:, 0] if first else text.mean(1) for text in texts])
        return functional.normalize(pooled, dim=1) if self._pipeline.normalize else pooled


def _groups(lengths: list[int]) -> list[_Group]:
    groups, start = [], 0
    for length, run in groupby(lengths):
        count = len(list(run))
        groups.append(_Group(start, length, count))
        start += length * count
    return groups


def _weights(file: Path) -> dict[str, Any]:
    """The tensors of a file in float32, without the prefix that some files put before their names."""
    import torch
    from safetensors.torch import load_file  # noqa: PLC0415 -- as heavy as torch

    loaded = load_file(str(file))
    marker = "embeddings.word_embeddings.weight"
    prefix = next(name for name in loaded if name.endswith(marker)).removesuffix(marker)
    return {name.removeprefix(prefix): tensor.to(torch.float32) for name, tensor in loaded.items()}


def _pair(weights: dict[str, Any], name: str) -> tuple[Any, Any]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _layer(weights: dict[str, Any], prefix: str) -> _Layer:
    import torch

    parts = [_pair(weights, f"{prefix}attention.self.{part}") for part in ("query", "key", "value")]
    joined = (torch.cat([weight for weight, _ in parts]), torch.cat([bias for _, bias in parts]))
    return _Layer(
        queries_keys_values=_linear(joined),
        attended=_linear(_pair(weights, f"{prefix}attention.output.dense")),
        attended_norm=_pair(weights, f"{prefix}attention.output.LayerNorm"),
        inner=_linear(_pair(weights, f"{prefix}intermediate.dense"), gelu=True),
        outer=_linear(_pair(weights, f"{prefix}output.dense")),
        outer_norm=_pair(weights, f"{prefix}output.LayerNorm"),
    )


def _linear(pair: tuple[Any, Any], *, gelu: bool = False) -> Callable[[Any], Any]:
    """A linear layer, and GELU behind it if asked: in one step, on reordered weights, where torch has oneDNN."""
    import torch
    from torch.nn import functional

    weight, bias = pair
    if not _has_onednn():
        return lambda x: (
            functional.gelu(functional.linear(x, weight, bias)) if gelu else functional.linear(x, weight, bias)
        )
    reordered = torch.ops.mkldnn._reorder_linear_weight(weight)  # noqa: SLF001 -- what torch's own compiler calls
    fused = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    after, algorithm = ("gelu", "none") if gelu else ("none", "")
    return lambda x: fused(x, reordered, bias, after, [], algorithm)


def _has_onednn() -> bool:
    import torch

    names = ("_reorder_linear_weight", "_linear_pointwise")
    return bool(torch.backends.mkldnn.is_available()) and all(hasattr(torch.ops.mkldnn, name) for name in names)
