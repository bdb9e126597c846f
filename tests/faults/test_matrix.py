"""Every fault, streamed and buffered, with a far and with a near fallback.

The caller gets a whole answer, and the far side is asked as often as the fault deserves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest

from tests.e2e.conftest import SMOLLM
from tests.faults.asking import MAX_TOKENS, ask, error_of
from tests.faults.house import HEALTHY, alias, provider_of
from tests.faults.provider import partial_of
from tests.faults.scripts import ELSEWHERE, PIECES, SAID, TEXT

if TYPE_CHECKING:
    from tests.faults.asking import Told
    from tests.faults.conftest import House
    from tests.integration.far_side import Request

QUICK_S = 45.0  # no answer may take longer: the limits of the scripted provider add up to 4 s, another's to minutes


class Case(NamedTuple):
    """A fault in one mode: who completes the answer, and how often the faulty model is asked for it."""

    script: str
    mode: Literal["streamed", "buffered"]
    by: Literal["primary", "fallback", "continuation"]
    asked: int
    said: str = SAID  # what a broken stream said before


def both(script: str, by: Literal["primary", "fallback"], asked: int) -> list[Case]:
    return [Case(script, "streamed", by, asked), Case(script, "buffered", by, asked)]


def broken(script: str, said: str = SAID) -> list[Case]:
    """Streams go on after what was said; a whole answer that breaks is asked for elsewhere."""
    return [Case(script, "streamed", "continuation", 1, said), Case(script, "buffered", "fallback", 1)]


CASES = [
    *both("good", "primary", 1),
    *both("limited-once", "fallback", 1),  # there is somebody else, so nobody waits
    *both("limited-once-unsaid", "fallback", 1),
    *both("limited", "fallback", 1),
    *both("error-once", "primary", 2),
    *both("error", "fallback", 2),
    *both("overloaded", "fallback", 1),
    *both("gateway-timeout", "fallback", 1),
    *both("reset-once", "primary", 2),
    *both("reset", "fallback", 2),
    *both("silent", "fallback", 1),
    *both("slow", "fallback", 1),
    *broken("cut"),
    *broken("stall"),
    *broken("malformed"),
    *broken("unfinished", TEXT),
    Case("failing-within", "streamed", "continuation", 1),
    Case("failing-within", "buffered", "fallback", 2),  # an error in the body is a 500, whatever the status says
    Case("unended", "streamed", "primary", 1),
    Case("unended-open", "streamed", "primary", 1),
    *both("context", "fallback", 1),
    *both("unauthorized", "fallback", 1),
    *both("forbidden", "fallback", 1),
    *both("missing", "fallback", 1),
    *both("html", "fallback", 1),
    *both("junk", "fallback", 1),
    *both("bomb", "fallback", 1),
    *both("endless", "fallback", 1),
    *both("redirect", "fallback", 1),
]
CELLS = [pytest.param(case, near, id=f"{case.script}-{case.mode}-{near}") for case in CASES for near in ("far", "near")]


@pytest.mark.parametrize(("case", "fallback"), CELLS)
def test_a_whole_answer_arrives_in_spite_of(faulty: House, case: Case, fallback: str) -> None:
    """The text is whole, properly ended and counted, names who gave it, and the log tells what it took."""
    model = f"{case.script}.{case.mode}.{fallback}"
    question = f"What of {model}?"
    told = ask(
        faulty.url, alias(case.script, f"{case.mode}.{fallback}"), stream=case.mode == "streamed", question=question
    )

    assert told.error is None, error_of(told)
    assert told.complete, told
    assert told.took_s < QUICK_S
    assert case.asked == len(faulty.far.asked(model))
    helped = [request for request in faulty.far.asked(HEALTHY) if asks(request, question)]
    assert (case.by != "primary" and fallback == "far") == bool(helped)
    assert len(helped) <= 1
    check_text(case, fallback, told)
    check_names(case, fallback, told)
    check_usage(case, told, helped)
    check_rows(faulty, case, fallback, told)
    assert not any(request.path == ELSEWHERE for request in faulty.far.requests)  # no redirect was followed
    if case.by == "continuation":
        assert [case.said] * len(helped) == [partial_of(request) for request in helped]
        assert [(True, False)] * len(helped) == [
            (request.body["continue_final_message"], request.body["add_generation_prompt"]) for request in helped
        ]


def asks(request: Request, question: str) -> bool:
    return bool(question == request.body["messages"][0]["content"])


def answering(case: Case, fallback: str) -> tuple[str, str, str]:
    """Backend, provider and model of whoever completes the answer."""
    if case.by == "primary":
        use = f"{case.mode}.{fallback}"
        return "remote", provider_of(case.script, use), f"{case.script}.{use}"
    return ("remote", "healthy", HEALTHY) if fallback == "far" else ("local", "local", SMOLLM)


def check_text(case: Case, fallback: str, told: Told) -> None:
    if case.by == "primary" or fallback == "far":
        assert (TEXT, "stop") == (told.text, told.finish_reason)
    elif case.by == "continuation":
        assert told.text.startswith(case.said)
        assert not told.text.removeprefix(case.said).startswith(case.said)  # it goes on, and says nothing again
        assert len(told.text) > len(case.said) or case.said == TEXT
    else:
        assert told.text.strip()


def check_names(case: Case, fallback: str, told: Told) -> None:
    """Who answered, in each chunk and at the end, or in the headers of a whole answer."""
    backend, provider, model = answering(case, fallback)
    if case.mode == "buffered":
        assert [model] == told.models
        assert [backend, provider, model] == [
            told.headers[f"x-nearfar-{name}"] for name in ("backend", "provider", "model")
        ]
        assert str(len(roles(case))) == told.headers["x-nearfar-attempts"]
        return
    spliced = case.by == "continuation"
    assert [*([f"{case.script}.{case.mode}.{fallback}"] if spliced else []), model] == told.models
    assert told.nearfar is not None
    splices = told.nearfar["splices"]
    assert [(len(case.said), True)] * spliced == [(at["from_char"], model in at["candidate"]) for at in splices]
    expected = {
        "decision_id": told.decision_id,
        "attempts": len(roles(case)),
        "backend": backend,
        "provider": provider,
        "model": model,
    }
    assert expected == {name: told.nearfar[name] for name in expected}


def check_usage(case: Case, told: Told, helped: list[Request]) -> None:
    """The usage of whoever completed the answer: far in words and pieces, near in the model's own tokens."""
    assert told.usage is not None
    prompt, completion = told.usage
    assert prompt > 0
    if case.by == "primary" or helped:
        left = len(PIECES)
        if case.by == "continuation":
            left = len(PIECES) - next(n for n in range(len(PIECES) + 1) if "".join(PIECES[:n]) == case.said)
        assert left == completion
    else:
        assert (0 if case.said == TEXT else 1) <= completion <= MAX_TOKENS


def roles(case: Case) -> list[str]:
    first = ["primary", *["retry"] * (case.asked - 1)]
    return first if case.by == "primary" else [*first, case.by]


def check_rows(faulty: House, case: Case, fallback: str, told: Told) -> None:
    """One row an attempt: its role, who won, and what each cost."""
    backend, provider, model = answering(case, fallback)
    rows = faulty.server.sql(
        "select role, status, won, backend, provider, model, from_char, cost_usd, error_class is not null "
        f"from attempts where decision_id = '{told.decision_id}' order by attempt"
    )
    assert roles(case) == [row[0] for row in rows]
    assert [*["error"] * (len(rows) - 1), "ok"] == [row[1] for row in rows]
    assert [*[False] * (len(rows) - 1), True] == [row[2] for row in rows]
    assert [backend, provider, model] == rows[-1][3:6]
    spliced = case.by == "continuation"
    assert [*[None] * (len(rows) - 1), len(case.said) if spliced else None] == [row[6] for row in rows]
    assert rows[-1][7] is not None
    if spliced:
        assert rows[0][7] is not None  # what it said is estimated, and owed
    assert [*[True] * (len(rows) - 1), False] == [row[8] for row in rows]
    (decision,) = faulty.server.sql(
        "select status, backend, provider, model_served, attempts "
        f"from decisions where decision_id = '{told.decision_id}'"
    )
    assert ["ok", backend, provider, model, len(rows)] == decision


@pytest.mark.parametrize("fallback", ["far", "near"])
@pytest.mark.parametrize("mode", ["streamed", "buffered"])
def test_a_content_refusal_is_passed_on_and_not_routed_around(faulty: House, mode: str, fallback: str) -> None:
    """HTTP 400 with OpenAI's code; nobody else is asked."""
    question = f"May I ask {mode} {fallback}?"
    told = ask(faulty.url, alias("filter", f"{mode}.{fallback}"), stream=mode == "streamed", question=question)

    assert (400, "content_policy_violation") == (getattr(told.error, "status_code", None), error_of(told)["code"])
    assert 1 == len(faulty.far.asked(f"filter.{mode}.{fallback}"))
    assert [] == [request for request in faulty.far.asked(HEALTHY) if asks(request, question)]
    assert [["primary", "ContentRefused"]] == faulty.server.sql(
        f"select role, error_class from attempts where decision_id = '{told.decision_id}'"
    )


@pytest.mark.parametrize("fallback", ["far", "near"])
@pytest.mark.parametrize("mode", ["streamed", "buffered"])
def test_an_answer_that_a_filter_ends_is_a_refusal(faulty: House, mode: str, fallback: str) -> None:
    """Whole: HTTP 400. Streamed: what was said stays said, then an error in band and no `[DONE]`."""
    question = f"May I end {mode} {fallback}?"
    told = ask(faulty.url, alias("filtered", f"{mode}.{fallback}"), stream=mode == "streamed", question=question)

    assert "content_policy_violation" == error_of(told)["code"]
    assert 1 == len(faulty.far.asked(f"filtered.{mode}.{fallback}"))
    assert [] == [request for request in faulty.far.asked(HEALTHY) if asks(request, question)]
    if mode == "streamed":
        assert (SAID, False, None) == (told.text[: len(SAID)], told.done, told.finish_reason)
    else:
        assert 400 == getattr(told.error, "status_code", None)
