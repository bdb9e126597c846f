"""How a generation is told in OpenAI's shapes: usage, and choices as text or as whoever answered gave them."""

import json
from typing import Any

from backends.extras import answers_of
from backends.types import GenerationInput, GenerationOutput, InferenceRequest, Output
from router.http.answers import Answer

DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def usage_of(answer: Answer) -> dict[str, Any]:
    """Token counts as OpenAI's clients require them (0 where nobody counted), and the cost beside them."""
    usage = answer.result.usage
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    counts: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + completion}
    if usage.completion_tokens is not None:
        counts["completion_tokens"] = completion
    return counts | details_of(usage.raw) | {"cost": answer.outcome.cost.usd}


def details_of(raw: str | None) -> dict[str, dict[str, int]]:
    """What the far side counted apart (tokens it had read before, tokens of reasoning): its counts, nothing else."""
    said = {} if raw is None or "_details" not in raw else json.loads(raw)
    found = {name: said.get(name) for name in DETAILS} if isinstance(said, dict) else {}
    return {
        name: {key: value for key, value in detail.items() if type(value) is int and value >= 0}
        for name, detail in found.items()
        if isinstance(detail, dict)
    }


def answers_in(request: InferenceRequest) -> int:
    """How many answers a request wants."""
    payload = request.payload
    return answers_of(payload.extras) if isinstance(payload, GenerationInput) else 1


def text_of(output: Output) -> GenerationOutput:
    """What was generated."""
    if not isinstance(output, GenerationOutput):
        raise TypeError(f"text generation gave {type(output).__name__}")
    return output


def chat_choices(output: GenerationOutput) -> list[dict[str, Any]]:
    """The answers of a chat: one that is text alone, or each as it was given."""
    if not output.choices:
        message = {"role": "assistant", "content": output.text, "refusal": None}
        return [{"index": 0, "message": message, "logprobs": None, "finish_reason": output.finish_reason}]
    nothing = {"role": "assistant", "content": None, "refusal": None}
    return [
        {"index": each["index"], "message": nothing | each.get("message", {}), "logprobs": each.get("logprobs")}
        | {"finish_reason": finish_of(each["finish_reason"])}
        for each in output.choices
    ]


def text_choices(output: GenerationOutput, first: int = 0) -> list[dict[str, Any]]:
    """The answers of a completion, numbered from `first`."""
    if not output.choices:
        return [{"index": first, "text": output.text, "logprobs": None, "finish_reason": output.finish_reason}]
    return [
        {"index": first + each["index"], "text": _text(each), "logprobs": each.get("logprobs")}
        | {"finish_reason": finish_of(each["finish_reason"])}
        for each in output.choices
    ]


def ends(output: GenerationOutput) -> list[tuple[int, str]]:
    """The index of each answer, and why it ended."""
    if not output.choices:
        return [(0, output.finish_reason)]
    return [(each["index"], finish_of(each["finish_reason"])) for each in output.choices]


def finish_of(said: str) -> str:
    """A far side's word for why an answer ended, in OpenAI's."""
    return {"eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop", "max_tokens": "length"}.get(said, said)


def _text(choice: dict[str, Any]) -> str:
    text = choice.get("text")
    return str(text if text is not None else choice.get("message", {}).get("content") or "")
