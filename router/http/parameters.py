"""Each task's parameters, and the request that inputs and parameters mean. Does not know what a model can do."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from backends.types import (
    ClassificationInput,
    DrawingInput,
    EmbeddingInput,
    GenerationInput,
    InferenceRequest,
    Message,
    Payload,
    PhotoInput,
    SpeechInput,
    Task,
    ZeroShotInput,
)
from router.errors import InvalidRequest
from router.http.media import file_of, files_of
from router.http.schemas import Body, InferenceBody, PositiveInt, Probability, Seed, Temperature, invalid, texts_of

MAX_NEW_TOKENS = 256
TOP_LABELS = 5  # of the hundreds an image model knows, where nobody says how many; transformers' own default
STREAMED = frozenset({Task.TEXT_GENERATION, Task.TEXT_TO_IMAGE, Task.AUTOMATIC_SPEECH_RECOGNITION})

Pixels = Annotated[int, Meta(ge=1, le=8192)]
Steps = Annotated[int, Meta(ge=1, le=1000)]
Guidance = Annotated[float, Meta(ge=0, le=100)]
Images = Annotated[int, Meta(ge=1, le=10)]
Language = Annotated[str, Meta(pattern="^[a-z]{2,3}$")]
Granularity = Literal["segment", "word"]


class EmbeddingParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `feature-extraction`."""

    normalize: bool = True
    truncate: bool = False
    dimensions: PositiveInt | None = None


class ClassificationParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `text-classification`."""

    top_k: PositiveInt | None = None
    truncate: bool = False


class ZeroShotParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `zero-shot-classification`."""

    candidate_labels: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1000)]
    multi_label: bool = False
    hypothesis_template: str | None = None
    truncate: bool = False


class GenerationParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `text-generation`; `max_new_tokens` is accepted for `max_tokens`."""

    max_tokens: PositiveInt | None = None
    max_new_tokens: PositiveInt | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: PositiveInt | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Seed | None = None
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=16)] = ()


class DrawingParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `text-to-image`; `num_inference_steps` is accepted for `steps`, `num_images` for `n`."""

    negative_prompt: str | None = None
    width: Pixels | None = None
    height: Pixels | None = None
    steps: Steps | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    seed: Seed | None = None
    n: Images | None = None
    num_images: Images | None = None


class PhotoParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `image-classification`; a `top_k` of null gives every label."""

    top_k: PositiveInt | None = TOP_LABELS


class SpeechParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `automatic-speech-recognition`; `return_timestamps` is the hub's word for `timestamps`."""

    language: Language | None = None
    timestamps: Granularity | None = None
    return_timestamps: bool | Granularity | None = None


PARAMETERS: dict[Task, type[Body]] = {
    Task.FEATURE_EXTRACTION: EmbeddingParameters,
    Task.TEXT_CLASSIFICATION: ClassificationParameters,
    Task.ZERO_SHOT_CLASSIFICATION: ZeroShotParameters,
    Task.TEXT_GENERATION: GenerationParameters,
    Task.TEXT_TO_IMAGE: DrawingParameters,
    Task.IMAGE_CLASSIFICATION: PhotoParameters,
    Task.AUTOMATIC_SPEECH_RECOGNITION: SpeechParameters,
}


def request_of(body: InferenceBody, model: str, task: Task, max_items: int) -> InferenceRequest:
    """The inference request of a native body.

    Raises:
        InvalidRequest: inputs or parameters do not fit the task.
    """
    parameters = parameters_of(task, body.parameters)
    if body.stream and task not in STREAMED:
        raise InvalidRequest(f"{task.value} cannot be streamed.", param="stream")
    payload = payload_of(body.inputs, parameters, max_items)
    return InferenceRequest(task=task, model=model, payload=payload, stream=body.stream)


def payload_for(task: Task, inputs: str | list[Any], given: dict[str, Any], max_items: int) -> Payload:
    """The payload of a task's inputs and parameters as a native body has them. Raises as `request_of` does."""
    return payload_of(inputs, parameters_of(task, given), max_items)


def parameters_of(task: Task, given: dict[str, Any]) -> Body:
    """The task's parameters.

    Raises:
        InvalidRequest: one is unknown or has a value it cannot have.
    """
    try:
        return msgspec.convert(given, PARAMETERS[task])
    except msgspec.ValidationError as error:
        raise invalid(error, PARAMETERS[task], "parameters") from error


def payload_of(inputs: str | list[Any], parameters: Body, max_items: int) -> Payload:
    """The payload that these inputs and parameters mean.

    Raises:
        InvalidRequest: the inputs are empty, too many, or of the wrong type.
    """
    match parameters:
        case EmbeddingParameters() | ClassificationParameters() | ZeroShotParameters():
            return _of_texts(texts_of(inputs, "inputs", max_items), parameters)
        case GenerationParameters():
            return _generation(inputs, parameters)
        case DrawingParameters():
            return _drawing(inputs, parameters)
        case PhotoParameters():
            return PhotoInput(images=files_of(inputs, "inputs", max_items), top_k=parameters.top_k)
        case SpeechParameters():
            asked = (parameters.timestamps, parameters.return_timestamps)
            timestamps: Granularity = "word" if "word" in asked else "segment"
            audio = file_of(inputs, "inputs")
            return SpeechInput(audio=audio, language=parameters.language, timestamps=timestamps)
        case _:
            raise AssertionError(f"no payload for {type(parameters).__name__}")


def prompt_of(inputs: object, param: str) -> str:
    """What should be drawn.

    Raises:
        InvalidRequest: it is not one text, or says nothing.
    """
    if not isinstance(inputs, str):
        raise InvalidRequest(f"`{param}` must be one text: what should be drawn.", param=param)
    if not inputs.strip():
        raise InvalidRequest(f"`{param}` must not be empty.", param=param)
    return inputs


def either(parameters: Body, name: str, other: str) -> Any:
    """The value of a parameter that goes by two names.

    Raises:
        InvalidRequest: both are given, with two values.
    """
    values = [value for value in (getattr(parameters, name), getattr(parameters, other)) if value is not None]
    if len(values) == 2 and values[0] != values[1]:
        raise InvalidRequest(
            f"parameters.{other}: is another word for `{name}`; give one.", param=f"parameters.{other}"
        )
    return values[0] if values else None


def _of_texts(
    texts: tuple[str, ...], parameters: EmbeddingParameters | ClassificationParameters | ZeroShotParameters
) -> Payload:
    match parameters:
        case EmbeddingParameters():
            return EmbeddingInput(
                texts=texts,
                normalize=parameters.normalize,
                dimensions=parameters.dimensions,
                truncate=parameters.truncate,
            )
        case ClassificationParameters():
            return ClassificationInput(texts=texts, top_k=parameters.top_k, truncate=parameters.truncate)
        case ZeroShotParameters():
            return ZeroShotInput(
                texts=texts,
                candidate_labels=tuple(parameters.candidate_labels),
                multi_label=parameters.multi_label,
                hypothesis_template=_template(parameters.hypothesis_template),
                truncate=parameters.truncate,
            )


def _generation(inputs: str | list[Any], parameters: GenerationParameters) -> GenerationInput:
    messages: tuple[Message, ...] = ()
    if not isinstance(inputs, str):
        try:
            messages = msgspec.convert(inputs, tuple[Message, ...])
        except msgspec.ValidationError as error:
            raise invalid(error, Body, "inputs") from error
    if not (messages if not isinstance(inputs, str) else inputs.strip()):
        raise InvalidRequest("`inputs` must not be empty.", param="inputs")
    return GenerationInput(
        prompt=inputs if isinstance(inputs, str) else None,
        messages=messages,
        max_tokens=parameters.max_tokens or parameters.max_new_tokens or MAX_NEW_TOKENS,
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        top_k=parameters.top_k,
        repetition_penalty=parameters.repetition_penalty,
        seed=parameters.seed,
        stop=parameters.stop,
    )


def _drawing(inputs: object, parameters: DrawingParameters) -> DrawingInput:
    return DrawingInput(
        prompt=prompt_of(inputs, "inputs"),
        negative_prompt=parameters.negative_prompt,
        width=parameters.width,
        height=parameters.height,
        steps=either(parameters, "steps", "num_inference_steps"),
        guidance_scale=parameters.guidance_scale,
        seed=parameters.seed,
        images=either(parameters, "n", "num_images") or 1,
    )


def _template(template: str | None) -> str | None:
    if template is not None and "{}" not in template:
        raise InvalidRequest(
            "parameters.hypothesis_template: needs a {} where the label goes.", param="parameters.hypothesis_template"
        )
    return template
