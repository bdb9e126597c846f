"""The native routes of inference."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from router.http.description import headers
from router.http.description.operation import EVENTS, Described, Example, Link, Told, events
from router.http.schemas import InferenceAnswer

CHAT, VECTORS = "HuggingFaceTB/SmolLM2-135M-Instruct", "sentence-transformers/all-MiniLM-L6-v2"
ZERO_SHOT, INTENT, DRAWS = "nearfar/minilm-zero-shot", "nearfar/minilm-intent", "nearfar/shapes-64"
SEES, HEARS = "google/efficientnet-lite0", "Systran/faster-whisper-tiny.en"
DECISION = {
    "decision": Link(
        to="GET /v1/decisions/{decision_id}",
        parameters={"decision_id": "$response.header.x-nearfar-decision-id"},
    ),
    "feedback": Link(
        to="POST /v1/feedback",
        body={"decision_id": "$response.header.x-nearfar-decision-id", "score": 1.0},
    ),
}
"""Where the answer of every inference leads. What was streamed has its row when the stream has ended."""

_NUMBER, _WORDS = {"type": "number"}, {"type": "string"}


def listed(items: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list of these."""
    return {"type": "array", "items": items}


def shaped(**fields: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with exactly these fields."""
    return {"type": "object", "required": [*fields], "properties": fields, "additionalProperties": False}


VECTOR = listed(_NUMBER)
LABELS = listed(shaped(label=_WORDS, score=_NUMBER))
SPAN = {"type": ["number", "null"]}
CHUNKS = listed(shaped(text=_WORDS, timestamp={"type": "array", "items": SPAN, "minItems": 2, "maxItems": 2}))
LANGUAGE = {"type": ["string", "null"]}
_ZERO_SHOT = shaped(sequence=_WORDS, labels=listed(_WORDS), scores=VECTOR)
_IMAGE = shaped(image={"type": "string", "contentEncoding": "base64"}, seed={"type": ["integer", "null"]})
RESULT = {
    "description": "By task. Listed inputs, and several images, give a list of what one gives.",
    "anyOf": [
        VECTOR | {"title": "feature-extraction"},
        listed(VECTOR),
        listed(shaped(generated_text=_WORDS)) | {"title": "text-generation"},
        LABELS | {"title": "text-classification, image-classification"},
        listed(LABELS),
        _ZERO_SHOT | {"title": "zero-shot-classification"},
        listed(_ZERO_SHOT),
        _IMAGE | {"title": "text-to-image"},
        listed(_IMAGE),
        shaped(text=_WORDS, chunks=CHUNKS, language=LANGUAGE) | {"title": "automatic-speech-recognition"},
    ],
}


class SlateCandidate(Told):
    """A candidate with its estimate and, where it may not serve, the reason. What is not known is null."""

    candidate: str
    backend: str
    provider: str
    device: str
    eligible: bool
    rejection: str | None
    loaded: bool
    latency_ms: float | None
    latency_source: str
    p95_ms: float | None
    first_token_p95_ms: float | None
    load_ms: float | None
    queue_ms: float
    cost_usd: float | None
    cost_source: str
    quality: float | None
    score: float | None
    propensity: float | None


class Slate(Told):
    """What was decided, and between whom."""

    task: str
    model: str
    policy: str
    policy_version: str
    route: str | None
    chosen: str | None
    ranked: list[str]
    reason: str
    explore_rate: float
    decide_us: float
    candidates: list[SlateCandidate]


class Reporting(Told):
    """By which id, and within how many seconds, the sender's page is to report what became of the request there."""

    decision_id: str
    within_s: float


class RouteAnswer(Slate):
    """A dry run. `report` is null unless the sender's own browser comes first."""

    success: Literal[True]
    executed: Literal[False]
    report: Reporting | None


class Reported(Told):
    """A report that was taken."""

    success: Literal[True]
    decision_id: str
    status: str


class Inference(InferenceAnswer, forbid_unknown_fields=True, kw_only=True):
    """The native answer. An unknown cost is null; `slate` is there where `routing.explain` asks for it."""

    result: Annotated[Any, Meta(extra_json_schema=RESULT)]
    slate: Slate | UnsetType = UNSET  # type: ignore[assignment]  # the same as a shape: it is read by nobody


_EVENTS = events(
    "`delta` has `text`, `progress` has `step` and `steps`, `continued` that another candidate goes on; at the end "
    "`result` has the whole answer, or `error` an error.",
    *("delta", "progress", "continued", "result", "error"),
)


_SPEED = {"per": "text", "p50_ms": 20, "p95_ms": 45, "samples": 48}
_PAGE = {
    "models": [
        {"model": VECTORS, "task": "feature-extraction", "loaded": True, "speed": _SPEED, "parity": 0.9993,
         "dtype": "q8"},
        {"model": HEARS, "task": "automatic-speech-recognition", "load_ms": 4000, "memory_bytes": 198_000_000},
    ],
    "memory_bytes": 1_000_000_000,
    "threads": 2,
}  # fmt: skip


def _task(summary: str, model: str, inputs: Any, **more: Any) -> Example:
    return Example(summary=summary, body={"model": model, "inputs": inputs, **more})


TABLE = {
    "POST /v1/inference": Described(
        answer=Inference,
        media={EVENTS: _EVENTS},
        headers=headers.INFERENCE,
        shape="native",
        links={
            "decision": Link(
                to="GET /v1/decisions/{decision_id}", parameters={"decision_id": "$response.body#/decision_id"}
            ),
            "feedback": Link(
                to="POST /v1/feedback", body={"decision_id": "$response.body#/decision_id", "score": 1.0}
            ),
        },
        examples={
            "embeddings": _task("Vectors of two texts", VECTORS, ["near", "far"]),
            "text": _task("A text, with the slate", CHAT, "Say hello.", parameters={"max_tokens": 8},
                          routing={"explain": True}),
            "streamed": _task("A text, piece by piece", CHAT, "Say hello.", parameters={"max_tokens": 8}, stream=True),
            "labels": _task("Which label fits", ZERO_SHOT, "The bill is wrong.",
                            parameters={"candidate_labels": ["billing", "weather"]}),
            "intent": _task("What a prompt wants", INTENT, "Write a function that sorts."),
            "drawing": _task("A picture", DRAWS, "a red circle", parameters={"seed": 7}),
            "unknown": Example(
                summary="A model that nobody knows", body={"model": "no/such-model", "inputs": "hello"}, status=404
            ),
        },
    ),
    "POST /v1/route": Described(
        answer=RouteAnswer,
        errors=(402, 404, 422, 503),
        shape="native",
        examples={
            "dry": _task("Who would answer, and why", CHAT, "Say hello."),
            "browser": Example(
                summary="A page that could do it itself, and keeps its inputs",
                body={"model": VECTORS, "size": {"items": 2, "input_tokens": 40}, "browser": _PAGE},
            ),
            "untested": Example(
                summary="A page whose vectors were never compared",
                body={"model": VECTORS, "inputs": "near", "browser": {"models": [
                    {"model": VECTORS, "task": "feature-extraction", "loaded": True, "speed": _SPEED}
                ]}},
            ),
            "both": Example(
                summary="Inputs and their size", body={"model": VECTORS, "inputs": "near", "size": {}}, status=400
            ),
        },
        links={
            "report": Link(
                to="POST /v1/decisions/browser",
                body={"decision_id": "$response.body#/report/decision_id", "status": "ok", "latency_ms": 40},
            )
        },
    ),
    "POST /v1/decisions/browser": Described(
        answer=Reported,
        errors=(404, 409),
        examples={
            "nobody": Example(
                summary="Of a decision that waits for no report",
                body={"decision_id": "01930000-0000-7000-8000-000000000000", "status": "ok", "latency_ms": 40.5,
                      "load_ms": 0, "input_tokens": 40, "threads": 2},
                status=404,
            ),
            "contradicts": Example(
                summary="Loading took longer than all of it",
                body={"decision_id": "none", "status": "error", "latency_ms": 1, "load_ms": 2,
                      "failure": "out_of_memory"},
                status=400,
            ),
        },
    ),
}  # fmt: skip
