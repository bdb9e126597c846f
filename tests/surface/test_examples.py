"""The description tells the truth: each example is sent to a real server, and what comes back is as described."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema_rs
import pytest

from router.http.description.operation import Described, Example
from router.http.description.tables import OPERATIONS

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

PLAIN = Example(summary="As it is")  # of an operation that needs nothing
CASES = [
    pytest.param(key, example, id=f"{key} {name}")
    for key, said in OPERATIONS.items()
    for name, example in (said.examples or {"plain": PLAIN}).items()
]


class Came(NamedTuple):
    """What came back."""

    status: int
    media: str
    body: bytes


@pytest.mark.parametrize(("key", "example"), CASES)
def test_an_example_is_answered_as_described(
    key: str, example: Example, faked: Server, document: dict[str, Any]
) -> None:
    """The status is the one said, and the body is of a media type and a shape that the operation names for it."""
    method, path = key.split(" ", 1)
    operation = document["paths"][path][method.lower()]

    came = _sent(faked.url, method, path, example)

    wanted = example.status or next(int(status) for status in operation["responses"] if status.startswith("2"))
    assert wanted == came.status, came.body
    _check(document, operation, came)


def test_links_lead_where_they_say(faked: Server) -> None:
    """The id in an answer's header opens its decision, and feedback on it is taken."""
    chat = OPERATIONS["POST /v1/chat/completions"].examples["chat"]
    answer = faked.post("/v1/chat/completions", chat.body)
    decision_id = answer.headers["x-nearfar-decision-id"]

    decision = faked.get(f"/v1/decisions/{decision_id}")
    judged = faked.post("/v1/feedback", {"decision_id": decision_id, "score": 1.0})

    assert (200, 200) == (decision.status, judged.status)
    assert decision_id == decision.body["decision_id"]


@pytest.mark.parametrize(
    ("key", "path"), [("GET /v1/decisions/{decision_id}", "/v1/decisions/{}"), ("POST /v1/feedback", "/v1/feedback")]
)
def test_what_links_lead_to_is_as_described(key: str, path: str, faked: Server, document: dict[str, Any]) -> None:
    """Of a decision that exists, too."""
    method, described = key.split(" ", 1)
    body = OPERATIONS["POST /v1/inference"].examples["text"].body
    decision_id = faked.post("/v1/inference", body).body["decision_id"]
    example = Example(summary="", body={"decision_id": decision_id, "score": 1.0} if method == "POST" else None)

    came = _sent(faked.url, method, path.format(decision_id), example)

    assert 200 == came.status, came.body
    _check(document, document["paths"][described][method.lower()], came)


def test_every_operation_is_sent_an_example_that_is_answered_well_or_says_why_not() -> None:
    """Only what needs something made before has no example of a 2xx."""
    made_before = {
        "GET /v1/decisions/{decision_id}",
        "POST /v1/feedback",
        "POST /v1/decisions/browser",
        "GET /v1/intents/{name}",
        "GET /v1/intents/{name}/head",
        "DELETE /v1/intents/{name}",
        "DELETE /v1/keys/{name}",
        "POST /v1/keys/{name}/rotate",
        "GET /v1/files/{file_id}",
        "GET /v1/files/{file_id}/content",
        "DELETE /v1/files/{file_id}",
        "POST /v1/batches",
        "GET /v1/batches/{batch_id}",
        "POST /v1/batches/{batch_id}/cancel",
        "GET /v1/compare/{run_id}",
        "DELETE /v1/compare/{run_id}",
        "GET /v1/catalog/snapshots/{snapshot}",
        "POST /v1/catalog/rollback",
        "DELETE /v1/models/{model_id}",
        "PUT /v1/loaded/{model_id}",
        "POST /v1/pulls",
        "DELETE /v1/aliases/{name}",
        "PUT /v1/routes/{name}",
        "PATCH /v1/routes/{name}",
        "DELETE /v1/routes/{name}",
    }

    assert made_before == {key for key, said in OPERATIONS.items() if said.examples and not _good(said)}


def _good(said: Described) -> bool:
    return any(example.status is None for example in said.examples.values())


def _sent(url: str, method: str, path: str, example: Example) -> Came:
    query = {}
    for name, value in example.parameters.items():
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", urllib.parse.quote(str(value)))
        else:
            query[name] = value
    data, headers = _encoded(example)
    request = urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(query)}", data, headers, method=method)
    if method == "POST" and data is None:
        request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return Came(response.status, response.headers.get_content_type(), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Came(error.code, error.headers.get_content_type(), error.read())


def _encoded(example: Example) -> tuple[bytes | None, dict[str, str]]:
    if example.body is None:
        return None, {}
    if example.media == "multipart/form-data":
        parts = (
            f'--edge\r\ncontent-disposition: form-data; name="{name}"{_named(name)}\r\n\r\n{value}\r\n'
            for name, value in example.body.items()
        )
        return ("".join(parts) + "--edge--\r\n").encode(), {"content-type": f"{example.media}; boundary=edge"}
    if example.media == "application/json":
        return json.dumps(example.body).encode(), {"content-type": example.media}
    return str(example.body).encode(), {"content-type": example.media}


def _named(field: str) -> str:
    return '; filename="speech.wav"' if field == "file" else ""


def _check(document: dict[str, Any], operation: dict[str, Any], came: Came) -> None:
    said = operation["responses"][str(came.status)]
    if "$ref" in said:
        said = document["components"]["responses"][said["$ref"].rsplit("/", 1)[1]]
    assert came.media in said["content"], (came.media, list(said["content"]))
    if came.media == "application/json":
        schema = said["content"][came.media]["schema"] | {"components": document["components"]}
        wrong = [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(json.loads(came.body))]
        assert [] == wrong
