"""What the description allows, and what it forbids, is answered as it says: generated requests, and chains of them.

Not among the checks: that everything valid by shape is accepted. Much of what makes a request right is not shape (is
there such a model, does it do this task, is the SQL a SELECT), and is refused with 400 by name.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from router.http.description.tables import OPERATIONS, PUBLIC
from tests.surface.leaks import leaks

if TYPE_CHECKING:
    from schemathesis import BaseSchema, Case, CheckContext, Response

    from tests.surface.conftest import Keyed

SHORT, LONG = 4, 250  # examples an operation: of more than 20 operations, so 250 are 5,000 and more


def as_promised(ctx: CheckContext, response: Response, case: Case) -> None:
    """No bug, and nothing that fails without anybody having asked for it: 504 only where a deadline was given."""
    asked = "deadline_ms" in str(case.body) or "max_latency_ms" in str(case.body)

    assert response.status_code < 500 or (504 == response.status_code and asked), response.text


def tells_nothing_of_the_inside(ctx: CheckContext, response: Response, case: Case) -> None:
    """No path, no trace, no token."""
    assert [] == leaks(response.content.decode(errors="replace"))


def refuses_what_is_wrong(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """But for a list without items in a form: nothing of it is sent, so nothing is wrong with what is."""
    empty = isinstance(case.body, dict) and [] in case.body.values()
    if empty and case.media_type == "multipart/form-data":
        return None
    return checks.negative_data_rejection(ctx, response, case)


CHECKS = [
    as_promised,
    tells_nothing_of_the_inside,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    refuses_what_is_wrong,
    checks.use_after_free,
    checks.ensure_resource_availability,
    checks.unsupported_method,
]
PATIENCE_S = 120  # the first set of intents that is fitted waits for its encoder to be loaded
LENIENT = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # a failure is told as it was found: shrinking takes minutes
    database=None,
)


@pytest.fixture(scope="session")
def described(keyed: Keyed) -> BaseSchema:
    """The operations of the server's own document, which anybody may read, without what it says of credentials.

    Those are sent with every request here, so a request without them is not what it was made to be.
    """
    document = keyed.server.ask("GET", "/schema/openapi.json").body
    for said in (document, *(operation for path in document["paths"].values() for operation in path.values())):
        said.pop("security", None)
    found = schemathesis.openapi.from_dict(document)
    found.config.update(base_url=keyed.server.url)
    return found


@pytest.mark.parametrize("operation", OPERATIONS)
def test_generated_requests_are_answered_as_described(operation: str, described: BaseSchema, keyed: Keyed) -> None:
    """Some of what is valid and some of what is not, of every operation."""
    _asked(described, keyed, operation, SHORT)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_many_generated_requests_are_answered_as_described(operation: str, described: BaseSchema, keyed: Keyed) -> None:
    """5,000 and more."""
    _asked(described, keyed, operation, LONG)


def test_chains_of_requests_are_answered_as_described(described: BaseSchema, keyed: Keyed) -> None:
    """What links lead to, and what generated requests leave behind."""
    _chains(described, keyed, rounds=1, steps=6)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_chains_of_requests_are_answered_as_described(described: BaseSchema, keyed: Keyed) -> None:
    """The same, for longer."""
    _chains(described, keyed, rounds=20, steps=20)


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - PUBLIC))
def test_whoever_has_no_key_is_not_answered(operation: str, keyed: Keyed) -> None:
    """401 by every operation. Who guesses too often waits: schemathesis' own check takes that 429 for a failure."""
    method, path = operation.split(" ", 1)
    body = b"{}" if method in {"POST", "PATCH", "PUT"} else None

    without = keyed.server.ask(method, path, body)
    guessed = keyed.server.ask(method, path, body, {"authorization": "Bearer nf_guessed"})

    assert 401 == without.status
    assert guessed.status in {401, 429}


def _headers(keyed: Keyed, case: Case) -> dict[str, str]:
    """An admin's, but where that admin could take away their own key."""
    return keyed.reader if "/keys/" in case.operation.path else keyed.admin


def _asked(described: BaseSchema, keyed: Keyed, operation: str, examples: int) -> None:
    """Send so many requests of an operation, half of them wrong where that can be."""
    method, path = operation.split(" ", 1)
    found = described[path][method]
    for mode in GenerationMode:

        @settings(LENIENT, max_examples=examples // 2)
        @given(case=found.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            case.call_and_validate(checks=CHECKS, headers=_headers(keyed, case), timeout=PATIENCE_S)

        try:
            ask()
        except Unsatisfiable:
            if mode is GenerationMode.POSITIVE:
                raise  # only of what is wrong may there be nothing


def _chains(described: BaseSchema, keyed: Keyed, *, rounds: int, steps: int) -> None:
    class Links(described.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": _headers(keyed, case), "timeout": PATIENCE_S}

        def validate_response(self, response: Response, case: Case, **more: Any) -> None:
            case.validate_response(response, checks=CHECKS, headers=_headers(keyed, case))

    for _ in range(rounds):
        # What the server answers decides what is drawn next, so a chain that is begun again may go on in another way;
        # the generator minds and ends its round. A check that fails is another error.
        with contextlib.suppress(FlakyStrategyDefinition):
            Links.run(settings=settings(LENIENT, max_examples=5, stateful_step_count=steps))
