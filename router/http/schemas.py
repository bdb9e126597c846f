"""What the native routes accept and answer. Converts bodies to requests; decides nothing."""

from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from backends.types import (
    ClassificationInput,
    ClassificationOutput,
    EmbeddingInput,
    EmbeddingOutput,
    GenerationInput,
    GenerationOutput,
    InferenceRequest,
    LabelScore,
    Message,
    Output,
    Payload,
    Task,
    ZeroShotInput,
)
from router.catalog import KNOWN_TASKS
from router.errors import InvalidRequest, TooLarge
from router.request import Routing

PositiveInt = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=100)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=256)]
MAX_NEW_TOKENS = 256


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of every request body: a field nobody knows is refused."""


class RoutingBody(Body, kw_only=True, forbid_unknown_fields=True):
    """How a request may be routed."""

    policy: str | None = None
    backend: Literal["local", "remote", "fake", "any"] = "any"
    only: list[str] = []
    ignore: list[str] = []
    order: list[str] = []
    max_cost_usd: Annotated[float, Meta(ge=0)] | None = None
    max_latency_ms: Annotated[float, Meta(gt=0)] | None = None
    deadline_ms: Annotated[float, Meta(gt=0)] | None = None
    min_quality: Annotated[float, Meta(ge=0, le=1)] | None = None
    allow_fallbacks: bool = True
    private: bool = False
    explain: bool = False


class ProviderBody(Body, kw_only=True, forbid_unknown_fields=True):
    """The same wishes in OpenRouter's words."""

    only: list[str] = []
    ignore: list[str] = []
    order: list[str] = []
    allow_fallbacks: bool = True
    sort: Literal["price", "latency", "throughput"] | None = None


class InferenceBody(Body, kw_only=True, forbid_unknown_fields=True):
    """The native request, for any task. `modelId` is accepted for `model`."""

    inputs: str | list[Any]
    model: Name | None = None
    modelId: Name | None = None  # noqa: N815 -- the field's name on the wire
    task: Name | None = None
    parameters: dict[str, Any] = {}
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    stream: bool = False


class EmbeddingParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `feature-extraction`."""

    normalize: bool = True
    truncate: bool = True
    dimensions: PositiveInt | None = None


class ClassificationParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `text-classification`."""

    top_k: PositiveInt | None = None


class ZeroShotParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `zero-shot-classification`."""

    candidate_labels: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=1000)]
    multi_label: bool = False
    hypothesis_template: str | None = None


class GenerationParameters(Body, kw_only=True, forbid_unknown_fields=True):
    """Parameters of `text-generation`; `max_new_tokens` is accepted for `max_tokens`."""

    max_tokens: PositiveInt | None = None
    max_new_tokens: PositiveInt | None = None
    temperature: Temperature | None = None
    top_p: Probability | None = None
    top_k: PositiveInt | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    seed: Seed | None = None
    stop: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)] = []


PARAMETERS: dict[Task, type[Body]] = {
    Task.FEATURE_EXTRACTION: EmbeddingParameters,
    Task.TEXT_CLASSIFICATION: ClassificationParameters,
    Task.ZERO_SHOT_CLASSIFICATION: ZeroShotParameters,
    Task.TEXT_GENERATION: GenerationParameters,
}


class AttemptAnswer(Struct, kw_only=True):
    """One attempt, as told to the sender."""

    candidate: str
    status: str
    latency_ms: float
    cost_usd: float | None
    error: str | None = None


class InferenceAnswer(Struct, kw_only=True):
    """The native response. An unknown cost is null."""

    result: Any
    task: str
    model: str
    backend: str
    provider: str
    device: str
    decision_id: str
    policy: str
    reason: str
    latency_ms: float
    queue_ms: float | None
    cost_usd: float | None
    cost_credits: float | None
    cost_source: str
    usage: dict[str, int | None]
    attempts: list[AttemptAnswer]
    success: bool = True
    slate: dict[str, Any] | UnsetType = UNSET


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        InvalidRequest: nobody knows it, or it is known but not served yet.
    """
    served = ", ".join(task.value for task in Task)
    if name in KNOWN_TASKS and name not in set(Task):
        raise InvalidRequest(f"Task {name!r} is not served by this version; served: {served}.", param="task")
    if name not in set(Task):
        raise InvalidRequest(f"Unknown task {name!r}; one of: {served}.", param="task")
    return Task(name)


def routing_of(routing: RoutingBody | None, provider: ProviderBody | None = None) -> Routing:
    """The routing a body asks for.

    Raises:
        InvalidRequest: both `routing` and `provider` are given.
    """
    if provider is None:
        return Routing() if routing is None else msgspec.convert(msgspec.to_builtins(routing), Routing)
    if routing is not None:
        raise InvalidRequest("Give either `routing` or `provider`, not both.", param="provider")
    policy = {None: None, "price": "cheapest", "latency": "fastest", "throughput": "fastest"}[provider.sort]
    return Routing(
        policy=policy,
        only=tuple(provider.only),
        ignore=tuple(provider.ignore),
        order=tuple(provider.order),
        allow_fallbacks=provider.allow_fallbacks,
    )


def request_of(body: InferenceBody, model: str, task: Task, max_items: int) -> InferenceRequest:
    """The inference request of a native body.

    Raises:
        InvalidRequest: inputs or parameters do not fit the task.
    """
    try:
        parameters = msgspec.convert(body.parameters, PARAMETERS[task])
    except msgspec.ValidationError as error:
        raise invalid(error, PARAMETERS[task], "parameters") from error
    if body.stream and task is not Task.TEXT_GENERATION:
        raise InvalidRequest(f"{task.value} cannot be streamed.", param="stream")
    payload = payload_of(body.inputs, parameters, max_items)
    return InferenceRequest(task=task, model=model, payload=payload, stream=body.stream)


def payload_of(inputs: str | list[Any], parameters: Body, max_items: int) -> Payload:
    """The payload that these inputs and parameters mean.

    Raises:
        InvalidRequest: the inputs are empty, too many, or of the wrong type.
    """
    match parameters:
        case EmbeddingParameters():
            return EmbeddingInput(
                texts=texts_of(inputs, "inputs", max_items),
                normalize=parameters.normalize,
                dimensions=parameters.dimensions,
                truncate=parameters.truncate,
            )
        case ClassificationParameters():
            return ClassificationInput(texts=texts_of(inputs, "inputs", max_items), top_k=parameters.top_k)
        case ZeroShotParameters():
            return ZeroShotInput(
                texts=texts_of(inputs, "inputs", max_items),
                candidate_labels=tuple(parameters.candidate_labels),
                multi_label=parameters.multi_label,
                hypothesis_template=_template(parameters.hypothesis_template),
            )
        case GenerationParameters():
            return _generation(inputs, parameters)
        case _:
            raise AssertionError(f"no payload for {type(parameters).__name__}")


def texts_of(inputs: str | list[Any], param: str, max_items: int) -> tuple[str, ...]:
    """One text or a list of texts, none of them empty.

    Raises:
        InvalidRequest: naming the field, and what was wrong with it.
    """
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    if not texts:
        raise InvalidRequest(f"`{param}` must not be empty.", param=param)
    if len(texts) > max_items:
        raise TooLarge(f"`{param}` has {len(texts)} items; at most {max_items} are allowed.", param=param)
    for text in texts:
        if not isinstance(text, str):
            raise InvalidRequest(f"`{param}` must be text or a list of texts.", param=param)
        if not text.strip():
            raise InvalidRequest(f"`{param}` must not hold an empty text.", param=param)
    return texts


def result_of(output: Output, request: InferenceRequest, *, listed: bool) -> object:
    """The output in the native shape of its task; `listed` inputs give a list, one text gives one answer."""
    match output:
        case EmbeddingOutput():
            vectors = [list(vector) for vector in output.vectors]
            return vectors if listed else vectors[0]
        case GenerationOutput():
            return [{"generated_text": output.text}]
        case ClassificationOutput():
            rows = [_labels(labels, request, index) for index, labels in enumerate(output.labels)]
            return rows if listed else rows[0]


def invalid(error: msgspec.ValidationError, shape: type[Body], prefix: str = "") -> InvalidRequest:
    """The refusal that a failed conversion to `shape` means: names the field by its path, and its alternatives."""
    what, _, path = str(error).partition(" - at `")
    steps = [step for step in path.rstrip("`").removeprefix("$").removeprefix(".data").split(".") if step]
    named = what.split("`")[1] if " field `" in what else None
    param = ".".join([*([prefix] if prefix else []), *steps, *([named] if named else [])])
    if named == "data" and not steps:
        return InvalidRequest("The body is empty; a JSON object is expected.")
    known = f"; known: {', '.join(_fields_at(shape, steps))}" if "unknown field" in what else ""
    return InvalidRequest(f"{param or 'body'}: {what}{known}.", param=param or None)


def _fields_at(shape: type[Body], steps: list[str]) -> list[str]:
    """Names of the fields of the struct found by walking `steps` down from `shape`; none where that ends outside."""
    for step in steps:
        hints = get_type_hints(shape)
        choices = get_args(hints.get(step.partition("[")[0])) or (hints.get(step),)
        inner = [choice for choice in choices if isinstance(choice, type) and issubclass(choice, Body)]
        if not inner:
            return []
        shape = inner[0]
    return list(shape.__struct_fields__)


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
        stop=tuple(parameters.stop),
    )


def _template(template: str | None) -> str | None:
    if template is not None and "{}" not in template:
        raise InvalidRequest(
            "parameters.hypothesis_template: needs a {} where the label goes.", param="parameters.hypothesis_template"
        )
    return template


def _labels(labels: tuple[LabelScore, ...], request: InferenceRequest, index: int) -> object:
    if not isinstance(request.payload, ZeroShotInput):
        return [{"label": label.label, "score": label.score} for label in labels]
    return {
        "sequence": request.payload.texts[index],
        "labels": [label.label for label in labels],
        "scores": [label.score for label in labels],
    }
