"""The reference: sentence-transformers' own modules, fed with token ids. Any model, any device."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from backends.local.encoders.batches import in_order, padded, plan
from backends.local.encoders.spare_cores import SpareCores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_GPU_BUDGET = 16_384  # padded tokens of a batch on a GPU, which wants more at once than a processor's caches hold


class TorchEncoder:
    """A sentence-transformers model as it is: transformer, pooling and whatever follows. Used from one thread only."""

    name = "torch"
    lanes = 1

    def __init__(self, directory: Path, device: str, dtype: str, threads: int = 1) -> None:
        """Load the model in `directory`, from these files only."""
        self._model = load(directory, device, dtype)
        self.device = device
        self.dtype = dtype
        self._flat = type(self._model[0]).__name__ == "StaticEmbedding"
        tokenizer = self._model.tokenizer
        self._filler = getattr(tokenizer, "pad_token_id", None) or 0
        self._left = getattr(tokenizer, "padding_side", "right") == "left"
        self._stream = _stream(device)
        self._spare = SpareCores(threads) if device == "cpu" else None

    def encode(self, sequences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """As `Encoder.encode`: in batches of like length, each padded to its longest."""
        import torch

        if self._spare is not None:
            torch.set_num_threads(self._spare.threads())
        lengths = [len(sequence) for sequence in sequences]
        batches = plan(lengths) if self._stream is None else plan(lengths, _GPU_BUDGET)
        with torch.inference_mode(), self._on_stream():
            vectors = [self._forward([sequences[index] for index in batch]) for batch in batches]
            return in_order([each.to("cpu", torch.float32).numpy() for each in vectors], batches)

    def _forward(self, batch: list[Sequence[int]]) -> Any:
        features = self._features(batch)
        return self._model(features)["sentence_embedding"]

    def _features(self, batch: list[Sequence[int]]) -> dict[str, Any]:
        import torch

        if self._flat:  # one list of tokens, and where each text begins
            starts = torch.tensor([0] + [len(sequence) for sequence in batch[:-1]]).cumsum(0)
            tokens = torch.tensor([token for sequence in batch for token in sequence])
            return {"input_ids": self._moved(tokens), "offsets": self._moved(starts)}
        ids, mask = padded(batch, self._filler, left=self._left)
        return {
            "input_ids": self._moved(torch.from_numpy(ids)),
            "attention_mask": self._moved(torch.from_numpy(mask)),
        }

    def _moved(self, tensor: Any) -> Any:
        """On the device; to a GPU from pinned memory, so that the copy waits for nothing."""
        if self._stream is None:
            return tensor.to(self.device)
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def _on_stream(self) -> AbstractContextManager[Any]:
        import torch

        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def load(directory: Path, device: str, dtype: str, **model_kwargs: Any) -> Any:
    """The model as sentence-transformers reads it, ready for inference; from safetensors where there are any."""
    import torch
    from sentence_transformers import SentenceTransformer

    if any(directory.rglob("*.safetensors")):
        model_kwargs["use_safetensors"] = True
    model_kwargs["dtype"] = getattr(torch, dtype)
    model = SentenceTransformer(str(directory), device=device, local_files_only=True, model_kwargs=model_kwargs)
    return model.eval()


def _stream(device: str) -> Any:
    import torch

    return torch.cuda.Stream(device) if device.startswith("cuda") else None
