"""The Hugging Face inference protocol: request bodies, and its many answer shapes into our types. Opens no socket."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec import Struct, structs

from backends import media
from backends.errors import InvalidInput, ModelNotFound, RemoteError
from backends.remote import openai_wire, vectors
from backends.remote.call import Call
from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    EmbeddingInput,
    GenerationInput,
    LabelScore,
    PhotoInput,
    ZeroShotInput,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backends.types import EmbeddingOutput

_WRAPPERS = ("embeddings", "results", "predictions", "outputs")


class _Labels(Struct):
    """Zero-shot as transformers' pipeline prints it."""

    labels: list[str]
    scores: list[float]


def generation_call(payload: GenerationInput, model: str, *, stream: bool) -> Call:
    """The chat (or completion) route under the model; it also takes `top_k` and `repetition_penalty`."""
    call = openai_wire.generation_call(payload, model, stream=stream, extended=True)
    return structs.replace(call, path=f"{model_path(model)}/v1{call.path}")


def embeddings_call(payload: EmbeddingInput, model: str) -> Call:
    """Feature extraction: its parameters stand at the root of the body, not under `parameters`."""
    body: dict[str, Any] = {
        "inputs": list(payload.texts),
        "normalize": payload.normalize,
        "truncate": payload.truncate,
    }
    if payload.dimensions is not None:
        body["dimensions"] = payload.dimensions
    return Call(f"{model_path(model)}/pipeline/feature-extraction", body)


def classification_call(payload: ClassificationInput | ZeroShotInput, model: str) -> Call:
    """A classification; one text is sent bare, as the hub's own client does."""
    texts = payload.texts
    body: dict[str, Any] = {"inputs": texts[0] if len(texts) == 1 else list(texts)}
    if isinstance(payload, ZeroShotInput):
        body["parameters"] = {
            "candidate_labels": list(payload.candidate_labels),
            "multi_label": payload.multi_label,
        } | ({} if payload.hypothesis_template is None else {"hypothesis_template": payload.hypothesis_template})
    elif payload.top_k is not None:
        body["parameters"] = _top_k(payload.top_k)
    return Call(model_path(model), body)


def photo_calls(payload: PhotoInput, model: str) -> list[Call]:
    """One request a photo: its bytes as they are, or base64 beside `top_k`; without it the server chooses how many.

    Raises:
        InvalidInput: A file whose first bytes are no image's.
    """
    return [file_call(image, "image", _top_k(payload.top_k), model) for image in payload.images]


def file_call(file: bytes, family: str, parameters: dict[str, Any], model: str) -> Call:
    """A file alone goes as raw bytes of its own type; one with parameters as base64 in JSON, as the protocol asks.

    Raises:
        InvalidInput: The file is not of that family of media types (`image`, `audio`).
    """
    kind = media.content_type(file) or ""
    if not kind.startswith(f"{family}/"):
        msg = f"the file of {len(file)} bytes does not begin like any known {family} format"
        raise InvalidInput(msg)
    if not parameters:
        return Call(model_path(model), file, content_type=kind)
    return Call(model_path(model), {"inputs": b64encode(file).decode(), "parameters": parameters})


def parse_embeddings(answer: Any, payload: EmbeddingInput) -> EmbeddingOutput:
    """Vectors from a nested list, a flat one for a single text, or either inside a wrapper.

    Raises:
        RemoteError: Anything else, also a vector a token: nothing says how those should be pooled.
    """
    if isinstance(answer, dict) and "data" in answer:
        return openai_wire.parse_embeddings(answer, payload)
    rows = _list(_unwrapped(answer))
    if len(payload.tokens or payload.texts) == 1 and rows and _is_number(rows[0]):
        rows = [rows]
    if any(isinstance(row, list) and row and isinstance(row[0], list) for row in rows):
        msg = "the far side gave one vector a token, not one a text"
        raise RemoteError(msg)
    return vectors.output(rows, payload)


def parse_classification(answer: Any, payload: ClassificationInput | ZeroShotInput) -> ClassificationOutput:
    """Each text's labels, best first, from `[{label, score}]`, `[[...]]`, `{labels, scores}` or a wrapper of these.

    Raises:
        RemoteError: Anything else, or not one list of labels a text.
    """
    top_k = payload.top_k if isinstance(payload, ClassificationInput) else None
    return ClassificationOutput(_classified(answer, len(payload.texts), top_k))


def parse_photos(answers: Sequence[Any], payload: PhotoInput) -> ClassificationOutput:
    """Each photo's labels, best first, from one answer a photo in the shapes of a classification.

    Raises:
        RemoteError: An answer is none of them.
    """
    rows = [_classified(answer, 1, payload.top_k)[0] for answer in answers]
    return ClassificationOutput(tuple(rows))


def _classified(answer: Any, items: int, top_k: int | None) -> tuple[tuple[LabelScore, ...], ...]:
    rows = _label_rows(_unwrapped(answer), items)
    if len(rows) != items:
        msg = f"the far side classified {len(rows)} inputs of {items}"
        raise RemoteError(msg)
    return tuple(_best_first(_labels(row), top_k) for row in rows)


def _top_k(top_k: int | None) -> dict[str, Any]:
    return {} if top_k is None else {"top_k": top_k}


def _label_rows(answer: Any, texts: int) -> list[Any]:
    """One entry a text."""
    rows = [answer] if isinstance(answer, dict) else _list(answer)
    if rows and all(isinstance(row, dict) and "label" in row for row in rows):
        return [rows] if texts == 1 else [[row] for row in rows]  # flat: all of one text, or the best of each
    return rows


def _labels(row: Any) -> list[LabelScore]:
    if isinstance(row, dict) and "labels" in row:
        pair = openai_wire.converted(row, _Labels)
        if len(pair.labels) != len(pair.scores):
            msg = f"the far side gave {len(pair.labels)} labels and {len(pair.scores)} scores"
            raise RemoteError(msg)
        return [LabelScore(label, score) for label, score in zip(pair.labels, pair.scores, strict=True)]
    return openai_wire.converted([row] if isinstance(row, dict) else row, list[LabelScore])


def _best_first(labels: list[LabelScore], top_k: int | None) -> tuple[LabelScore, ...]:
    if not labels or not all(math.isfinite(label.score) for label in labels):
        msg = "the far side gave no labels, or scores that are not finite"
        raise RemoteError(msg)
    return tuple(sorted(labels, key=lambda label: -label.score)[:top_k])


def _unwrapped(answer: Any) -> Any:
    if isinstance(answer, dict):
        return next((answer[name] for name in _WRAPPERS if name in answer), answer)
    return answer


def _list(answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        msg = f"the far answer has an unknown shape: {type(answer).__name__} instead of a list"
        raise RemoteError(msg)
    return answer


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def model_path(model: str) -> str:
    """Where the model is asked, under the provider's base_url.

    Raises:
        ModelNotFound: The name would lead elsewhere.
    """
    if any(part in {"", ".", ".."} for part in model.split("/")):
        msg = f"{model!r} is no model id"
        raise ModelNotFound(msg)
    return f"/models/{quote(model, safe='/')}"
