"""What each task answers, in the native shapes. Files are bytes here: the JSON encoder writes them as base64."""

from typing import Any

from backends.types import (
    ClassificationOutput,
    DrawingOutput,
    EmbeddingOutput,
    GenerationOutput,
    InferenceRequest,
    LabelScore,
    Output,
    Span,
    SpeechInput,
    TranscriptOutput,
    Usage,
    ZeroShotInput,
)


def result_of(output: Output, request: InferenceRequest, *, listed: bool) -> object:
    """The output in the native shape of its task; `listed` inputs give a list, one text or image gives one answer."""
    match output:
        case EmbeddingOutput():
            vectors = [list(vector) for vector in output.vectors]
            return vectors if listed else vectors[0]
        case GenerationOutput():
            return [{"generated_text": output.text}]
        case ClassificationOutput():
            rows = [_labels(labels, request, index) for index, labels in enumerate(output.labels)]
            return rows if listed else rows[0]
        case DrawingOutput():
            images = [{"image": i, "seed": s} for i, s in zip(output.images, output.seeds, strict=True)]
            return images if len(images) > 1 else images[0]
        case TranscriptOutput():
            return {"text": output.text, "chunks": chunks_of(output, request), "language": output.language}


def usage_of(usage: Usage) -> dict[str, int | float | None]:
    """Tokens, null where nobody counted; images and seconds of sound where there were any."""
    known = [count for count in (usage.prompt_tokens, usage.completion_tokens) if count is not None]
    counts: dict[str, int | float | None] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": sum(known) if known else None,
    }
    if usage.images is not None:
        counts["images"] = usage.images
    if usage.audio_s is not None:
        counts["audio_s"] = usage.audio_s
    return counts


def labels_of(labels: tuple[LabelScore, ...]) -> list[dict[str, Any]]:
    """Labels with their scores, best first."""
    return [{"label": label.label, "score": label.score} for label in labels]


def chunks_of(output: TranscriptOutput, request: InferenceRequest) -> list[dict[str, Any]]:
    """What was said when: words where the request asked for them, else segments. Seconds; an unknown end is null."""
    payload = request.payload
    spans: tuple[Span, ...] = output.segments
    if isinstance(payload, SpeechInput) and payload.timestamps == "word":
        spans = output.words
    return [{"text": span.text, "timestamp": [span.start_s, span.end_s]} for span in spans]


def _labels(labels: tuple[LabelScore, ...], request: InferenceRequest, index: int) -> object:
    if not isinstance(request.payload, ZeroShotInput):
        return labels_of(labels)
    return {
        "sequence": request.payload.texts[index],
        "labels": [label.label for label in labels],
        "scores": [label.score for label in labels],
    }
