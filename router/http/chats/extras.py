"""What OpenAI's clients may ask of a generation beyond text: checked here, and then carried as it came.

The near models do some of it (`backends.extras`); the rest is for far ones, and a candidate that cannot is none.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from backends.extras import Extras
from router.errors import InvalidRequest
from router.http.chats.generating import Generating
from router.http.schemas import Body

MOST_TOOLS = 128
MOST_BIASES = 1024

Answers = Annotated[int, Meta(ge=1, le=16)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Biases = Annotated[dict[Annotated[str, Meta(pattern="^[0-9]{1,9}$")], Bias], Meta(max_length=MOST_BIASES)]
FunctionName = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
SchemaName = Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]


class Function(Body, kw_only=True, forbid_unknown_fields=True):
    """A function that the model may want called; `parameters` is a JSON schema."""

    name: FunctionName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body, kw_only=True, forbid_unknown_fields=True):
    """A tool: a function."""

    function: Function
    type: Literal["function"] = "function"


class NamedFunction(Body, kw_only=True, forbid_unknown_fields=True):
    """A function by its name."""

    name: FunctionName


class NamedTool(Body, kw_only=True, forbid_unknown_fields=True):
    """The one tool that must be used."""

    function: NamedFunction
    type: Literal["function"] = "function"


class NamedSchema(Body, kw_only=True, forbid_unknown_fields=True):
    """A JSON schema that the answer must follow."""

    name: SchemaName
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(Body, kw_only=True, forbid_unknown_fields=True):
    """The form of the answer. `value` is a schema in the hub's own words, as its client sends it."""

    type: Literal["text", "json_object", "json_schema", "json"]
    json_schema: NamedSchema | None = None
    value: dict[str, Any] | None = None


class CalledFunction(Body, kw_only=True, forbid_unknown_fields=True):
    """What was called: `arguments` is JSON as the model wrote it."""

    name: FunctionName
    arguments: str = ""


class ToolCall(Body, kw_only=True, forbid_unknown_fields=True):
    """A call that the assistant asked for."""

    id: Annotated[str, Meta(max_length=256)]
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None


class Asking(Generating, kw_only=True, forbid_unknown_fields=True):
    """What both may ask beyond it."""

    n: Answers | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: Biases | None = None


class ChatAsking(Asking, kw_only=True, forbid_unknown_fields=True):
    """Those of chats."""

    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Meta(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


_NOTHING: dict[str, tuple[object, ...]] = {
    "n": (1,), "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},), "verbosity": ("medium",),
}  # fmt: skip


def shared_fields(body: Asking) -> dict[str, Any]:
    """Those of the shared fields that ask for something."""
    return _asking(body, ("n", "frequency_penalty", "presence_penalty", "logit_bias"))


def chat_fields(body: ChatAsking) -> dict[str, Any]:
    """All fields of a chat that ask for something, as they go over the wire.

    Raises:
        InvalidRequest: one makes no sense without another.
    """
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequest("top_logprobs: only with `logprobs`.", param="top_logprobs")
    probable = {"logprobs": True, "top_logprobs": body.top_logprobs or None} if body.logprobs else {}
    named = _asking(body, ("reasoning_effort", "verbosity"))
    fields = {**_tools(body), **_format(body.response_format), **probable, **shared_fields(body), **named}
    return {name: value for name, value in fields.items() if value is not None}


def extras_of(fields: dict[str, Any], messages: tuple[dict[str, Any], ...] = ()) -> Extras | None:
    """All that is asked beyond text; None for nothing."""
    return Extras(fields=fields, messages=messages) if fields or messages else None


def _asking(body: Body, names: tuple[str, ...]) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in names}
    return {name: value for name, value in given.items() if value is not None and value not in _NOTHING.get(name, ())}


def _tools(body: ChatAsking) -> dict[str, Any]:
    names = [tool.function.name for tool in body.tools or ()]
    if isinstance(body.tool_choice, NamedTool) and body.tool_choice.function.name not in names:
        known = ", ".join(names) or "none"
        raise InvalidRequest(
            f"tool_choice: no function {body.tool_choice.function.name!r} among `tools`; there are: {known}.",
            param="tool_choice",
        )
    if body.tool_choice == "required" and not names:
        raise InvalidRequest("tool_choice: 'required' needs `tools`.", param="tool_choice")
    if not body.tools:
        return {}
    return {
        "tools": [wire(tool) for tool in body.tools],
        "tool_choice": wire(body.tool_choice) if isinstance(body.tool_choice, NamedTool) else body.tool_choice,
        "parallel_tool_calls": body.parallel_tool_calls,
    }


def _format(asked: ResponseFormat | None) -> dict[str, Any]:
    """The form in OpenAI's words, whoever's were used."""
    if asked is None or asked.type == "text":
        return {}
    if asked.type == "json_schema" and asked.json_schema is None:
        param = "response_format.json_schema"
        raise InvalidRequest(f"{param}: required for this type.", param=param)
    if asked.type == "json_schema":
        return {"response_format": {"type": "json_schema", "json_schema": wire(asked.json_schema)}}
    if asked.value is not None:
        schema = {"name": "answer", "schema": asked.value}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    return {"response_format": {"type": "json_object"}}


def wire(value: Any) -> Any:
    """A checked part of a body as it came, without the fields that were left out."""
    if isinstance(value, Body):
        given = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: wire(inner) for name, inner in given.items() if inner is not None}
    return [wire(inner) for inner in value] if isinstance(value, list) else value
