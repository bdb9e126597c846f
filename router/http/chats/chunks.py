"""The events of a streamed chat or completion, in OpenAI's shapes."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from backends.types import Delta, Piece
from router.errors import RouterError
from router.http import headers
from router.http.answers import Answer, answer_of
from router.http.chats.telling import answers_in, ends, text_of, usage_of
from router.http.errors import body_of
from router.outcome import Begun, Outcome

encode = msgspec.json.encode


class ChatChunks:
    """Writes the events of one chat."""

    prefix, kind = "chatcmpl", "chat.completion.chunk"

    def __init__(self, begun: Begun, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._answers = answers_in(begun.plan.call.request)
        self._common = {
            "id": f"{self.prefix}-{begun.plan.decision_id}",
            "object": self.kind,
            "created": int(time.time()),
            "model": begun.model,
        }

    def speaks(self, begun: Begun) -> None:
        """Another candidate goes on: from here on the chunks carry its model."""
        self._common["model"] = begun.model

    def first(self) -> bytes:
        """Says whose role it is; nobody says it again."""
        role = {"role": "assistant", "content": ""}
        return self.event([{"index": index, "delta": role, "finish_reason": None} for index in range(self._answers)])

    def delta(self, piece: Delta) -> bytes:
        """What a piece adds: text, or the parts that whoever answers gave."""
        parts = piece.choices or ({"index": 0, "delta": {"content": piece.text}},)
        return self.event([{"delta": {}} | part | {"finish_reason": None} for part in parts])

    def finish(self, index: int, reason: str) -> dict[str, Any]:
        """The end of one answer."""
        return {"index": index, "delta": {}, "finish_reason": reason}

    def event(self, choices: list[dict[str, Any]], nearfar: dict[str, Any] | None = None) -> bytes:
        """One event; what only we know stands beside the rest."""
        usage = {"usage": None} if self._include_usage else {}
        ours = {} if nearfar is None else {"nearfar": nearfar}
        return b"data: " + encode(self._common | {"choices": choices} | usage | ours) + b"\n\n"

    def end(self, answer: Answer) -> bytes:
        """The finish of every answer, what was used where that is asked for, and `[DONE]`."""
        if answer.outcome.splices:  # whoever went on may have had nothing to add, and has the last word all the same
            self._common["model"] = answer.winner.model
        choices = [self.finish(*each) for each in ends(text_of(answer.result.output))]
        last = self.event(choices, headers.trailer(answer.outcome))
        if self._include_usage:
            last += b"data: " + encode(self._common | {"choices": [], "usage": usage_of(answer)}) + b"\n\n"
        return last + b"data: [DONE]\n\n"


class TextChunks(ChatChunks):
    """Writes the events of one completion."""

    prefix, kind = "cmpl", "text_completion"

    def first(self) -> bytes:
        """A completion has no role to tell."""
        return b""

    def delta(self, piece: Delta) -> bytes:
        """What a piece adds."""
        parts = piece.choices or ({"index": 0, "text": piece.text},)
        return self.event([_as_text(part) for part in parts])

    def finish(self, index: int, reason: str) -> dict[str, Any]:
        """The end of one answer."""
        return {"index": index, "text": "", "logprobs": None, "finish_reason": reason}


async def events(
    pieces: AsyncGenerator[Begun | Piece | Outcome, None], chunks: ChatChunks
) -> AsyncGenerator[bytes, None]:
    """The whole stream; a failure is told in band and without `[DONE]`, so that nobody takes it for success."""
    if first := chunks.first():
        yield first
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Delta):
                yield chunks.delta(piece)
            elif isinstance(piece, Begun):
                chunks.speaks(piece)
            elif isinstance(piece, Outcome):
                yield _last(piece, chunks)


def _last(outcome: Outcome, chunks: ChatChunks) -> bytes:
    try:
        return chunks.end(answer_of(outcome))
    except RouterError as error:
        return b"data: " + encode(body_of(error)) + b"\n\n"


def _as_text(part: dict[str, Any]) -> dict[str, Any]:
    text = part.get("text") or part.get("delta", {}).get("content") or ""
    return {"index": part["index"], "text": text, "logprobs": part.get("logprobs"), "finish_reason": None}
