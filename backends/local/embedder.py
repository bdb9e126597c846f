"""A loaded sentence-transformers model: texts in, float32 vectors out. Knows nothing of labels, requests or HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from backends.local.types import Control

T = TypeVar("T")
CHUNK = 128  # texts between two looks at the cancellation sign
_BATCH = 32


class Embedder:
    """Three tasks share one of these. Used from its worker's thread only."""

    def __init__(self, model: Any, device: str, dtype: str) -> None:
        self._model = model
        self._built: dict[str, Any] = {}
        self.device = device
        self.dtype = dtype
        self.dimensions = int(model.get_embedding_dimension())
        self.max_tokens: int | None = model.max_seq_length

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, special tokens included, before anything is cut off."""
        if not texts:
            return []
        encoded = self._model.tokenizer(list(texts), truncation=False, padding=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def read(self, texts: Sequence[str]) -> int:
        """Tokens the model reads of all texts: what is past its limit is not read."""
        limit = self.max_tokens
        return sum(count if limit is None else min(count, limit) for count in self.count(texts))

    def vectors(self, texts: Sequence[str], control: Control | None = None) -> Any:
        """One row a text, a float32 tensor in RAM, as the model's own pipeline ends: some models scale to length 1."""
        import torch

        rows = [torch.empty((0, self.dimensions))]
        with torch.inference_mode():
            for start in range(0, len(texts), CHUNK):
                if control is not None:
                    control.check()
                chunk = list(texts[start : start + CHUNK])
                encoded = self._model.encode(chunk, batch_size=_BATCH, show_progress_bar=False, convert_to_tensor=True)
                rows.append(encoded.to("cpu", torch.float32))
            return torch.cat(rows)

    def unit_vectors(self, texts: Sequence[str], control: Control | None = None) -> Any:
        """Vectors of length 1, whose products are cosines."""
        return unit(self.vectors(texts, control))

    def built(self, name: str, build: Callable[[Embedder], T]) -> T:
        """What `build` makes of this model, made once and kept as long as the model."""
        if name not in self._built:
            self._built[name] = build(self)
        made: T = self._built[name]
        return made


def unit(vectors: Any) -> Any:
    """Scale every row to length 1; a row of zeros stays."""
    import torch

    return torch.nn.functional.normalize(vectors, dim=1)


def load(directory: Path, device: str, dtype: str) -> Embedder:
    """Load the model in `directory`; from these files only."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(directory),
        device=device,
        local_files_only=True,
        model_kwargs={"dtype": getattr(torch, dtype), "use_safetensors": True},
    )
    return Embedder(model.eval(), device, dtype)
