"""The API's description is complete: nobody can add a route and leave out what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest

from router.app import create_app
from router.decision_log.log import DecisionLog
from router.http.description import refusals
from router.http.description.document import described, operations
from router.http.description.tables import OPERATIONS
from router.sections import Settings
from router.settings import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from litestar import Litestar

LOOSE = ({}, {"type": "object"}, {"type": "object", "additionalProperties": {}})


@pytest.fixture(scope="module")
def app() -> Iterator[Litestar]:
    log = DecisionLog.open(Path(":memory:"))
    yield create_app(Settings(), Secrets(), log)
    log.close()


@pytest.fixture(scope="module")
def document(app: Litestar) -> dict[str, Any]:
    return described(app, app.openapi_schema.to_schema(), asks=True)


def test_every_operation_says_what_it_answers(app: Litestar, document: dict[str, Any]) -> None:
    """An operation's 2xx answer has content, and its schema says more than that it is an object."""
    silent = []
    for path, method, handler in operations(app):
        answer = document["paths"][path][method]["responses"][str(handler.status_code)]
        schemas = [content["schema"] for content in answer.get("content", {}).values()]
        if not schemas or any(schema in LOOSE for schema in schemas):
            silent.append(f"{method.upper()} {path}")

    assert [] == silent, "give it an entry in router/http/description"


def test_every_entry_of_the_tables_is_of_an_operation(app: Litestar) -> None:
    """No table describes what does not exist."""
    assert set(OPERATIONS) <= {f"{method.upper()} {path}" for path, method, _ in operations(app)}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """A component that is referred to is there, and every operation that is linked to."""
    ids = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}

    assert [] == [ref for ref in _values(document, "$ref") if not _leads(document, ref)]
    assert ids >= set(_values(document["paths"], "operationId"))


def test_every_operation_with_a_body_or_parameters_has_an_example_or_needs_none(document: dict[str, Any]) -> None:
    """Whatever must be given has an example."""
    without = [
        f"{method} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if ("requestBody" in operation or any(p["required"] for p in operation["parameters"]))
        and not list(_values(operation, "examples"))
    ]

    assert [] == without


def test_examples_fit_their_schemas(document: dict[str, Any]) -> None:
    """A request that is shown is valid by the schema it is shown beside."""
    wrong = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            shown = [*operation.get("requestBody", {}).get("content", {}).values(), *operation["parameters"]]
            for part in shown:
                validator = jsonschema_rs.validator_for(part["schema"] | {"components": document["components"]})
                wrong += [
                    f"{method} {path}: {error.message}"
                    for example in part.get("examples", {}).values()
                    for error in validator.iter_errors(example["value"])
                ]

    assert [] == wrong


def test_senders_are_asked_only_where_the_server_asks(app: Litestar, document: dict[str, Any]) -> None:
    """With `auth.mode = "none"` the description asks for no key; else all but health do."""
    unasked = described(app, app.openapi_schema.to_schema(), asks=False)

    assert [] == unasked["security"]
    assert "401" not in unasked["paths"]["/v1/inference"]["post"]["responses"]
    assert [{"bearer": []}] == document["security"]
    assert "401" in document["paths"]["/v1/inference"]["post"]["responses"]
    assert [] == document["paths"]["/health/live"]["get"]["security"]


def test_every_status_of_the_table_of_errors_has_a_meaning() -> None:
    """What `router.http.errors` can answer with is described, but for the 500 of a bug."""
    from router.http.errors import TABLE

    assert {told.status for _, told in TABLE} - {500} <= set(refusals.MEANINGS)


def test_bounds_are_those_that_are_enforced(document: dict[str, Any]) -> None:
    """Shapes are drawn by whoever enforces them: a bound of 0 is one, and null has none."""
    temperature = document["components"]["schemas"]["ChatBody"]["properties"]["temperature"]

    assert {"type": "number", "minimum": 0, "maximum": 100} in temperature["anyOf"]


def _values(tree: Any, key: str) -> Iterator[Any]:
    """What stands under a key, wherever it is; of a link's operation its id."""
    if isinstance(tree, dict):
        if key in tree:
            yield tree[key]
        for value in tree.values():
            yield from _values(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from _values(value, key)


def _leads(document: dict[str, Any], ref: str) -> bool:
    place: Any = document
    for step in ref.removeprefix("#/").split("/"):
        place = place.get(step) if isinstance(place, dict) else None
    return place is not None
