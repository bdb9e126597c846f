"""OpenAI's route for speech: a form with a recording in, its words out, at once or as they are understood."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.response import Stream
from msgspec import Meta

from backends.types import Delta, InferenceRequest, Piece, SpeechInput, Task, TranscriptOutput
from router.errors import InvalidRequest, RouterError
from router.http import documents, headers, transcripts
from router.http.answers import Answer, answer_of, answered, opened
from router.http.errors import body_of
from router.http.forms import MULTIPART, form_of
from router.http.openai_schemas import refuse_unserved
from router.http.parameters import Granularity, Language
from router.http.schemas import Body, Name, ProviderBody, RoutingBody, invalid, routing_of
from router.http.services import call_of, model_and_routing, request_id
from router.outcome import Begun, Outcome
from router.rules import AUTO

encode = msgspec.json.encode
Subtitles = Callable[[TranscriptOutput, float | None], str]


class TranscriptionForm(Body, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/audio/transcriptions`."""

    file: Annotated[bytes, Meta(min_length=1)]
    model: Name | None = None
    language: Language | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    timestamp_granularities: tuple[Granularity, ...] = ()
    stream: bool = False
    routing: RoutingBody | None = None
    provider: ProviderBody | None = None
    # Known, and refused unless they ask for nothing.
    temperature: float | None = None
    prompt: str | None = None
    include: tuple[str, ...] = ()
    chunking_strategy: Any = None
    keywords: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    known_speaker_names: tuple[str, ...] = ()
    known_speaker_references: tuple[str, ...] = ()


_NEUTRAL: dict[str, tuple[object, ...]] = {
    "temperature": (None, 0),
    "prompt": (None, ""),
    "include": ((),),
    "chunking_strategy": (None, "", "auto"),  # long recordings are cut by the model's own rules in any case
    "keywords": ((),),
    "languages": ((),),
    "known_speaker_names": ((),),
    "known_speaker_references": ((),),
}
_TEXT: dict[str, Subtitles] = {
    "text": lambda output, _: transcripts.plain(output),
    "srt": transcripts.srt,
    "vtt": transcripts.vtt,
}


DOCUMENT = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": documents.FILE,
        "model": {"type": "string"},
        "language": {"type": "string", "description": "ISO 639-1; left out, the model finds out."},
        "response_format": {"enum": ["json", "text", "srt", "verbose_json", "vtt"]},
        "timestamp_granularities[]": {"type": "array", "items": {"enum": ["segment", "word"]}},
        "stream": {"type": "boolean"},
        "routing": {"type": "string", "description": "The `routing` object, as JSON."},
    },
}


@post(
    "/v1/audio/transcriptions",
    status_code=200,
    opt={"inference": True, "bodies": (MULTIPART,)},
    summary="Write down a recording",
    operation_class=documents.taking({MULTIPART: DOCUMENT}),
)
async def transcriptions(request: Request[Any, Any, Any]) -> Response[Any]:
    """A form with a `file` (WAV, FLAC, MP3, Ogg or WebM); with `stream`, server-sent events with each segment."""
    form = _converted(await form_of(request, "file"))
    given = form.model or AUTO
    model, routing = model_and_routing(request, given, routing_of(form.routing, form.provider))
    call = call_of(request, _request(form, model), routing)
    if call.request.stream:
        begun, pieces = await opened(request, call)
        said = headers.of_stream(begun, request_id(request))
        return Stream(_events(pieces), media_type="text/event-stream", headers=said)
    answer = await answered(request, call)
    said = headers.of_outcome(answer.outcome, request_id(request))
    seconds = answer.result.usage.audio_s
    if form.response_format in _TEXT:
        text = _TEXT[form.response_format](_transcript(answer), seconds)
        return Response(text, media_type="text/plain; charset=utf-8", headers=said)
    body: dict[str, Any] = {"text": _transcript(answer).text}
    if form.response_format == "verbose_json":
        body = transcripts.verbose(_transcript(answer), seconds, form.timestamp_granularities)
    return Response(body | _usage(answer), headers=said)


def _converted(tree: dict[str, Any]) -> TranscriptionForm:
    """The form; its fields are text, so numbers and truth values are read out of it."""
    for name in ("routing", "provider"):
        if isinstance(tree.get(name), str):
            try:
                tree[name] = msgspec.json.decode(tree[name])
            except msgspec.DecodeError as error:
                raise InvalidRequest(f"{name}: is not JSON.", param=name) from error
    try:
        return msgspec.convert(tree, TranscriptionForm, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, TranscriptionForm) from error


def _request(form: TranscriptionForm, model: str) -> InferenceRequest:
    refuse_unserved(form, _NEUTRAL)
    if form.timestamp_granularities and form.response_format != "verbose_json":
        said = "timestamp_granularities: response_format must be verbose_json."
        raise InvalidRequest(said, param="timestamp_granularities")
    if form.stream and form.response_format != "json":
        raise InvalidRequest("stream: comes as events of json; response_format must be json.", param="stream")
    timestamps: Granularity = "word" if "word" in form.timestamp_granularities else "segment"
    return InferenceRequest(
        task=Task.AUTOMATIC_SPEECH_RECOGNITION,
        model=model,
        stream=form.stream,
        payload=SpeechInput(audio=form.file, language=form.language, timestamps=timestamps),
    )


async def _events(pieces: AsyncGenerator[Begun | Piece | Outcome, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Delta):
                yield _event({"type": "transcript.text.delta", "delta": piece.text})
            elif isinstance(piece, Outcome):
                yield _last(piece)


def _last(outcome: Outcome) -> bytes:
    try:
        answer = answer_of(outcome)
    except RouterError as error:
        return _event(body_of(error))
    return _event({"type": "transcript.text.done", "text": _transcript(answer).text, **_usage(answer)})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + encode(body) + b"\n\n"


def _usage(answer: Answer) -> dict[str, Any]:
    """OpenAI's usage by duration, and what it cost; nothing where nobody measured the recording."""
    seconds = answer.result.usage.audio_s
    if seconds is None:
        return {}
    return {"usage": {"type": "duration", "seconds": seconds, "cost": answer.outcome.cost.usd}}


def _transcript(answer: Answer) -> TranscriptOutput:
    output = answer.result.output
    if not isinstance(output, TranscriptOutput):
        raise TypeError(f"speech recognition gave {type(output).__name__}")
    return output
