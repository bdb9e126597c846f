"""What a request's spans say, and what they never say."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from router.errors import UnknownModel
from router.rows import Refused
from router.telemetry import context, spans
from tests.unit.router.house import chat, chat_model, embed, fake, opened, vector_model

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "the-canary-sings"
NOW_NS = 2_000_000_000_000_000_000
WHERE = {"a": ("a.example.org", 8000), "b": ("b.example.org", None)}


def ended(call, *models, **settings):
    """The outcome of a call in a house with these models."""

    async def go():
        async with opened(*models, **settings) as house:
            return await house.dispatcher.infer(call)

    return asyncio.run(go())


def of(outcome):
    return spans.of_outcome(outcome, WHERE, NOW_NS)


def test_an_answer_has_three_spans() -> None:
    """The request, its decision and its attempt, each within the one it is part of, in the GenAI conventions' words."""
    outcome = ended(replace(chat(talks=True), traceparent=""), chat_model(fake("a")))
    request, decision, attempt = of(outcome)

    assert [None, request.span_id, request.span_id] == [s.parent_id for s in (request, decision, attempt)]
    assert {context.trace_id(outcome.decision_id, None)} == {s.trace_id for s in (request, decision, attempt)}
    assert ("server", "internal", "client") == (request.kind, decision.kind, attempt.kind)
    assert "chat test/chat" == attempt.name
    assert ("chat", "a", "test/chat") == tuple(
        attempt.attributes[f"gen_ai.{name}"] for name in ("operation.name", "provider.name", "request.model")
    )
    assert outcome.result.usage.completion_tokens == attempt.attributes["gen_ai.usage.output_tokens"]
    assert ["length"] == attempt.attributes["gen_ai.response.finish_reasons"]
    assert ("a.example.org", 8000) == (attempt.attributes["server.address"], attempt.attributes["server.port"])
    assert outcome.decision_id == request.attributes["nearfar.decision_id"]
    assert ("", "") == (request.error, attempt.error)


def test_times_are_the_request_s() -> None:
    """A span ends after it begins; the request's ends now and is as long as the request was."""
    outcome = ended(replace(chat(), traceparent=""))
    made = of(outcome)

    assert all(span.began_ns <= span.ended_ns for span in made)
    assert NOW_NS == made[0].ended_ns
    assert outcome.latency_s == pytest.approx((NOW_NS - made[0].began_ns) / 1e9, abs=1e-6)


def test_what_is_not_known_is_left_out() -> None:
    """No attribute is None or made up; a candidate on this machine has no address."""
    outcome = ended(replace(embed(), traceparent=""), vector_model(fake("a", near=True)))
    attempt = of(outcome)[2]

    assert not [name for span in of(outcome) for name, value in span.attributes.items() if value is None]
    assert "embeddings" == attempt.attributes["gen_ai.operation.name"]
    assert "internal" == attempt.kind
    assert not {"server.address", "gen_ai.output.type"} & set(attempt.attributes)


def test_a_fallback_has_a_span_for_each_attempt() -> None:
    """The one that failed says how; the request itself did not fail."""
    outcome = ended(replace(chat(), traceparent=""), chat_model(fake("a", fail="RateLimited"), fake("b")))
    request, _, first, second = of(outcome)

    assert ("RateLimited", "RateLimited") == (first.error, first.attributes["error.type"])
    assert ("primary", "fallback") == (first.attributes["nearfar.role"], second.attributes["nearfar.role"])
    assert "" == request.error
    assert context.span_id(outcome.decision_id, context.attempt(2)) == second.span_id


def test_a_request_goes_on_in_its_sender_s_trace() -> None:
    """The outermost span is the child of the one that was sent; where the sender keeps none, nothing is made."""
    outcome = ended(replace(chat(), traceparent=f"00-{TRACE}-{SPAN}-01"))
    request = of(outcome)[0]
    unkept = replace(outcome, plan=replace(outcome.plan, call=replace(chat(), traceparent=f"00-{TRACE}-{SPAN}-00")))

    assert (TRACE, SPAN) == (request.trace_id, request.parent_id)
    assert [] == of(unkept)


def test_a_refusal_has_one_span() -> None:
    """It says why, and nothing of what was asked for."""
    error = UnknownModel(CANARY, [])
    refused = Refused(error=error, surface="/v1/inference", model=CANARY, traceparent="")
    [span] = spans.of_refusal(refused, "0190163d-8694-739b-aea5-966c26f8ad90", NOW_NS)

    assert ("UnknownModel", "/v1/inference") == (span.error, span.attributes["http.route"])
    assert CANARY not in repr(span)


@pytest.mark.parametrize("script", [{}, {"fail": "RateLimited"}])
def test_no_span_says_what_was_asked_or_answered(script) -> None:
    """Neither the prompt, nor the text, nor what a far side said in its error."""
    outcome = ended(replace(chat(prompt=CANARY, session=CANARY), traceparent=""), chat_model(fake("a", **script)))

    assert CANARY not in repr(of(outcome))
    if outcome.result is not None:
        assert outcome.result.output.text not in repr(of(outcome))
