"""What every route shares: bodies and how they are refused, the words for routing, and the native answer."""

from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from backends.types import Task
from router.errors import InvalidRequest, TooLarge
from router.request import Routing
from router.section import FINITE

PositiveInt = Annotated[int, Meta(ge=1)]
Probability = Annotated[float, Meta(gt=0, le=1)]
Temperature = Annotated[float, Meta(ge=0, le=100)]
Positive = Annotated[float, Meta(gt=0, le=FINITE)]  # form fields and command lines can say `inf`
NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=256)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of every request body: a field nobody knows is refused."""


class RoutingBody(Body, kw_only=True, forbid_unknown_fields=True):
    """How a request may be routed."""

    policy: str | None = None
    backend: Literal["local", "ray", "remote", "fake", "browser", "any"] = "any"
    only: list[str] = []
    ignore: list[str] = []
    order: list[str] = []
    max_cost_usd: NonNegative | None = None
    max_latency_ms: Positive | None = None
    deadline_ms: Positive | None = None
    min_quality: Annotated[float, Meta(ge=0, le=1)] | None = None
    allow_fallbacks: bool = True
    private: bool = False
    explain: bool = False
    explore: bool = True
    on_stream_failure: Literal["continue", "error", "hold"] | None = None
    session: Name = ""
    tags: Annotated[list[Tag], Meta(max_length=16)] = []
    cache: bool = True


class ProviderBody(Body, kw_only=True, forbid_unknown_fields=True):
    """The same wishes in OpenRouter's words."""

    only: list[str] = []
    ignore: list[str] = []
    order: list[str] = []
    allow_fallbacks: bool = True
    sort: Literal["price", "latency", "throughput"] | None = None


class Asked(Body, kw_only=True, forbid_unknown_fields=True):
    """What the native requests share beside their inputs. `modelId` is accepted for `model`."""

    model: Name | None = None
    modelId: Name | None = None  # noqa: N815 -- the field's name on the wire
    task: Name | None = None
    parameters: dict[str, Any] = {}
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    stream: bool = False


class InferenceBody(Asked, kw_only=True, forbid_unknown_fields=True):
    """The native request, for any task. `modelId` is accepted for `model`."""

    inputs: str | list[Any]


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
    usage: dict[str, int | float | None]
    attempts: list[AttemptAnswer]
    success: bool = True
    slate: dict[str, Any] | UnsetType = UNSET


def task_named(name: str) -> Task:
    """The task of this name.

    Raises:
        InvalidRequest: nobody knows it.
    """
    if name not in set(Task):
        raise InvalidRequest(f"Unknown task {name!r}; one of: {', '.join(Task)}.", param="task")
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


def path_name(path: str) -> str:
    """The name in a route's last part, which may hold slashes."""
    return str(path).removeprefix("/")


def check_within(name: str, given: int, least: int, most: int) -> None:
    """See that a parameter of a query lies between these.

    Raises:
        InvalidRequest: it does not.
    """
    if not least <= given <= most:
        raise InvalidRequest(f"{name}: must be between {least} and {most}.", param=name)


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


def invalid(error: msgspec.ValidationError, shape: type[Struct], prefix: str = "") -> InvalidRequest:
    """The refusal that a failed conversion to `shape` means: names the field by its path, and its alternatives."""
    what, _, path = str(error).partition(" - at `")
    path = path.rstrip("`").replace("[...]", "[*]").removeprefix("$").removeprefix(".data")
    steps = [step for step in path.split(".") if step]
    named = what.split("`")[1] if " field `" in what else None
    param = ".".join([*([prefix] if prefix else []), *steps, *([named] if named else [])])
    if named == "data" and not steps:
        return InvalidRequest("The body is empty; a JSON object is expected.")
    known = ""
    if "unknown field" in what:
        known = f"; known: {', '.join(_fields_at(shape, steps))}"
    elif what.startswith("Invalid enum value") and steps:
        known = f"; one of: {', '.join(_choices(_hint_at(shape, steps)))}"
    return InvalidRequest(f"{param or 'body'}: {what}{known}.", param=param or None)


def _fields_at(shape: type[Struct], steps: list[str]) -> list[str]:
    """Names of the fields of the struct found by walking `steps` down from `shape`; none where that ends outside."""
    inner = _struct_in(_hint_at(shape, steps)) if steps else shape
    return [] if inner is None else list(inner.__struct_fields__)


def _hint_at(shape: type[Struct], steps: list[str]) -> Any:
    """The type of the field found by walking `steps` down from `shape`; None where they lead outside."""
    *above, last = steps
    for step in above:
        inner = _struct_in(get_type_hints(shape).get(step.partition("[")[0]))
        if inner is None:
            return None
        shape = inner
    return get_type_hints(shape).get(last.partition("[")[0])


def _struct_in(hint: Any) -> type[Struct] | None:
    """The struct of a field that is one, or may be one."""
    for choice in get_args(hint) or (hint,):
        if isinstance(choice, type) and issubclass(choice, Struct):
            return choice
    return None


def _choices(hint: Any) -> list[str]:
    """The words that a field allows, wherever in its type they are listed."""
    if get_origin(hint) is Literal:
        return [str(word) for word in get_args(hint)]
    return [word for part in get_args(hint) for word in _choices(part)]
