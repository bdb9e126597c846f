"""The hub's request and answer shapes, as `huggingface_hub.InferenceClient` sends and reads them, task by task."""

from typing import Any

import msgspec

from backends.types import (
    ClassificationOutput,
    DrawingInput,
    GenerationInput,
    InferenceRequest,
    PhotoInput,
    SpeechInput,
    Task,
    TranscriptOutput,
    ZeroShotInput,
)
from router.errors import InvalidRequest
from router.http.answers import Answer
from router.http.chats.telling import text_of
from router.http.parameters import TOP_LABELS, request_of
from router.http.results import labels_of, result_of
from router.http.schemas import Body, InferenceBody, ProviderBody, RoutingBody, invalid

# Words of the hub's clients for what is done here in any case: the values that ask for nothing else.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "truncation_direction": ("right",),
    "encoding_format": ("float",),
    "best_of": (1,),
    "decoder_input_details": (False,),
    "top_n_tokens": (0,),
    "watermark": (False,),
}
_GENERATION = ("do_sample", "return_full_text", "details")
_ANSWERS = ("return_full_text", "details")


class HubBody(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /models/{id}`. The client sends the parameters of feature extraction beside `inputs`, others inside."""

    inputs: str | list[Any]
    parameters: dict[str, Any] | None = None
    stream: bool | None = None
    options: dict[str, Any] | None = None  # of the old API (`wait_for_model`, `use_cache`): without effect
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: str | None = None
    dimensions: int | None = None
    encoding_format: str | None = None
    prompt_name: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request, and what the hub's word for it says of the answer."""

    request: InferenceRequest
    listed: bool = False
    full_text: bool = False
    details: bool = False
    timestamps: bool = False


def body_of(raw: bytes) -> HubBody:
    """The JSON body.

    Raises:
        InvalidRequest: it is not JSON, or a field is wrong.
    """
    try:
        return msgspec.json.decode(raw, type=HubBody)
    except msgspec.ValidationError as error:
        raise invalid(error, HubBody) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from error


def wanted(body: HubBody, model: str, task: Task, max_items: int) -> Wanted:
    """What a JSON body asks of a model.

    Raises:
        InvalidRequest: inputs or parameters do not fit the task, or the answer would not fit the hub's shape.
    """
    given = _parameters(body)
    asked = {name: given.pop(name, None) for name in _GENERATION} if task is Task.TEXT_GENERATION else {}
    if asked.get("do_sample") is False:
        given["temperature"] = 0.0
    if body.stream and task is not Task.TEXT_GENERATION:
        raise InvalidRequest(f"{task.value} cannot be streamed here; POST /v1/inference can.", param="stream")
    native = InferenceBody(inputs=body.inputs, parameters=given, stream=bool(body.stream))
    request = request_of(native, model, task, max_items)
    if isinstance(request.payload, DrawingInput) and request.payload.images > 1:
        raise InvalidRequest("parameters.n: an answer here is one image; POST /v1/inference gives more.", param="n")
    return Wanted(
        request=request,
        listed=isinstance(body.inputs, list),
        full_text=asked.get("return_full_text") is True,
        details=asked.get("details") is True,
        timestamps=bool(given.get("return_timestamps") or given.get("timestamps")),
    )


def in_openais_words(given: dict[str, Any]) -> dict[str, Any]:
    """A completion's body, where the hub's client mixes in its own words for what to generate."""
    body = {name: value for name, value in given.items() if value is not None and value not in _NEUTRAL.get(name, ())}
    longest, sampled = body.pop("max_new_tokens", None), body.pop("do_sample", None)
    if sampled is False:
        body["temperature"] = 0.0
    told = {name: value for name, value in body.items() if name not in _ANSWERS or value is not False}
    return told if longest is None else {"max_tokens": longest} | told


def wanted_of_file(file: bytes, model: str, task: Task) -> Wanted:
    """What a body asks that is an image or a recording, and nothing besides.

    Raises:
        InvalidRequest: the model does not read files, or the file is empty.
    """
    if task not in {Task.IMAGE_CLASSIFICATION, Task.AUTOMATIC_SPEECH_RECOGNITION}:
        raise InvalidRequest(f"{model} does {task.value}: the body must be JSON, with content-type: application/json.")
    if not file:
        raise InvalidRequest("The body is empty; a file is expected.")
    payload: PhotoInput | SpeechInput = SpeechInput(audio=file)
    if task is Task.IMAGE_CLASSIFICATION:
        payload = PhotoInput(images=(file,), top_k=TOP_LABELS)
    return Wanted(request=InferenceRequest(task=task, model=model, payload=payload))


def answer_of(answer: Answer, asked: Wanted) -> Any:
    """The answer as the hub's client reads it. An image is not among them: it goes out as it is."""
    request, output = asked.request, answer.result.output
    native = result_of(output, request, listed=asked.listed)
    match output:
        case ClassificationOutput() if request.task is Task.TEXT_CLASSIFICATION:
            return native if asked.listed else [native]  # the client takes the first of a list of lists
        case ClassificationOutput() if isinstance(request.payload, ZeroShotInput):
            rows = [labels_of(labels) for labels in output.labels]
            return rows if asked.listed else rows[0]
        case TranscriptOutput() if not asked.timestamps:
            return {"text": output.text}
    if request.task is Task.TEXT_GENERATION:
        generated: dict[str, Any] = {"generated_text": text_in(answer, asked)}
        return [generated | ({"details": details_of(answer, request)} if asked.details else {})]
    return native


def text_in(answer: Answer, asked: Wanted) -> str:
    """The generated text, behind its prompt where that was asked for."""
    payload = asked.request.payload
    prompt = payload.prompt if isinstance(payload, GenerationInput) and asked.full_text else None
    return (prompt or "") + text_of(answer.result.output).text


def details_of(answer: Answer, request: InferenceRequest) -> dict[str, Any]:
    """How a generation ended, in the words of text-generation-inference. Tokens one by one are not known here."""
    payload = request.payload
    stops = payload.stop if isinstance(payload, GenerationInput) else ()
    stopped = "stop_sequence" if stops else "eos_token"
    return {
        "finish_reason": stopped if text_of(answer.result.output).finish_reason == "stop" else "length",
        "generated_tokens": answer.result.usage.completion_tokens,
        "input_length": answer.result.usage.prompt_tokens,
        "seed": payload.seed if isinstance(payload, GenerationInput) else None,
        "prefill": [],
        "tokens": [],
    }


def _parameters(body: HubBody) -> dict[str, Any]:
    """All parameters in one place, without those that ask for nothing."""
    beside = ("normalize", "truncate", "truncation_direction", "dimensions", "encoding_format", "prompt_name")
    given = {name: getattr(body, name) for name in beside} | (body.parameters or {})
    return {name: value for name, value in given.items() if value is not None and value not in _NEUTRAL.get(name, ())}
