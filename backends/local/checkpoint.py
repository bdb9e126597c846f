"""A transformers checkpoint read whole, or not at all. Knows no task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backends.errors import Unavailable

if TYPE_CHECKING:
    from backends.local.types import Opening


def read_whole(kind: Any, opening: Opening, complaint: str, **files: Any) -> Any:
    """The model of transformers' class `kind` in `opening.directory`, with all of its own weights, still on the CPU.

    Raises:
        Unavailable: Weights are missing, which transformers would fill with random ones: `complaint`, with their
            `{count}` and the name of the `{first}`.
    """
    import torch

    model, report = kind.from_pretrained(
        str(opening.directory),
        dtype=getattr(torch, opening.dtype),
        use_safetensors=None if opening.pickles else True,
        output_loading_info=True,
        **files,
    )
    lacking = sorted((*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])))
    if lacking:
        raise Unavailable(complaint.format(count=len(lacking), first=lacking[0]))
    return model
