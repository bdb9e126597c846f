"""The routes of files and of batches, in OpenAI's shapes."""

from typing import Any, Literal

from router.batches.types import State
from router.http.batches import MOST_LISTED
from router.http.description.inference import CHAT
from router.http.description.operation import Described, Example, Link, Told
from router.http.files import MOST_FILES
from router.http.forms import MULTIPART

BYTES = "application/octet-stream"
_LINE = (
    '{"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": '
    f'{{"model": "{CHAT}", "messages": [{{"role": "user", "content": "Say hello."}}], "max_tokens": 8}}}}\n'
)


class FileTold(Told):
    """A file that is kept. Times are seconds since 1970."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"]
    status_details: None


class Files(Told):
    """A page of files; `has_more` where `after=last_id` gives another."""

    object: Literal["list"]
    data: list[FileTold]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FileDeleted(Told):
    """What is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchFault(Told):
    """What is wrong with the file, or with a line of it, counted from 1."""

    code: str
    message: str
    line: int | None
    param: str | None


class BatchFaults(Told):
    """Why the whole of it failed."""

    object: Literal["list"]
    data: list[BatchFault]


class RequestCounts(Told):
    """Lines: how many there are, and what became of them so far."""

    total: int
    completed: int
    failed: int


class BatchCost(Told):
    """What only we say: US dollars spent so far, answers whose cost nobody knows, and what was asked for."""

    cost_usd: float
    unpriced: int
    max_cost_usd: float | None
    routing: dict[str, Any] | None


class BatchTold(Told):
    """A batch. Times are seconds since 1970, null for what has not happened; files are named once there."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchFaults | None
    input_file_id: str
    completion_window: str
    status: State
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    expires_at: int
    in_progress_at: int | None
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    metadata: dict[str, str] | None
    nearfar: BatchCost


class BatchPage(Told):
    """A page of batches; `has_more` where `after=last_id` gives another."""

    object: Literal["list"]
    data: list[BatchTold]
    first_id: str | None
    last_id: str | None
    has_more: bool


_NO_FILE = "file-000000000000000000000000"
_NO_BATCH = "batch_000000000000000000000000"
_FILE_LINKS = {
    "one": Link(to="GET /v1/files/{file_id}", parameters={"file_id": "$response.body#/id"}),
    "content": Link(to="GET /v1/files/{file_id}/content", parameters={"file_id": "$response.body#/id"}),
    "batch": Link(
        to="POST /v1/batches", body={"input_file_id": "$response.body#/id", "endpoint": "/v1/chat/completions"}
    ),
}
_BATCH_LINKS = {
    "one": Link(to="GET /v1/batches/{batch_id}", parameters={"batch_id": "$response.body#/id"}),
    "cancel": Link(to="POST /v1/batches/{batch_id}/cancel", parameters={"batch_id": "$response.body#/id"}),
}


def _none(summary: str, **parameters: Any) -> dict[str, Example]:
    return {"none": Example(summary=summary, parameters=parameters, status=404)}


TABLE = {
    "POST /v1/files": Described(
        answer=FileTold,
        links=_FILE_LINKS,
        examples={
            "line": Example(summary="One request", media=MULTIPART, body={"file": _LINE, "purpose": "batch"}),
            "hour": Example(
                summary="Kept for an hour",
                media=MULTIPART,
                body={
                    "file": _LINE,
                    "purpose": "batch",
                    "expires_after[anchor]": "created_at",
                    "expires_after[seconds]": 3600,
                },
            ),
        },
    ),
    "GET /v1/files": Described(
        answer=Files,
        parameters={"limit": {"minimum": 1, "maximum": MOST_FILES}},
        examples={"last": Example(summary="The last ten", parameters={"limit": 10})},
    ),
    "GET /v1/files/{file_id}": Described(answer=FileTold, examples=_none("No file of yours", file_id=_NO_FILE)),
    "GET /v1/files/{file_id}/content": Described(
        media={BYTES: {"type": "string", "format": "binary"}}, examples=_none("No file of yours", file_id=_NO_FILE)
    ),
    "DELETE /v1/files/{file_id}": Described(answer=FileDeleted, examples=_none("No file of yours", file_id=_NO_FILE)),
    "POST /v1/batches": Described(
        answer=BatchTold,
        errors=(404,),
        links=_BATCH_LINKS,
        examples={
            "none": Example(
                summary="Of a file that is not yours",
                body={"input_file_id": _NO_FILE, "endpoint": "/v1/chat/completions", "max_cost_usd": 1.0},
                status=404,
            ),
            "endpoint": Example(
                summary="An endpoint that takes no batches",
                body={"input_file_id": _NO_FILE, "endpoint": "/v1/system"},
                status=400,
            ),
        },
    ),
    "GET /v1/batches": Described(
        answer=BatchPage,
        parameters={"limit": {"minimum": 1, "maximum": MOST_LISTED}},
        examples={"last": Example(summary="The last ten", parameters={"limit": 10})},
    ),
    "GET /v1/batches/{batch_id}": Described(answer=BatchTold, examples=_none("No batch of yours", batch_id=_NO_BATCH)),
    "POST /v1/batches/{batch_id}/cancel": Described(
        answer=BatchTold, examples=_none("No batch of yours", batch_id=_NO_BATCH)
    ),
}
