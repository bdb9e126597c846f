"""Where a request stands in a trace: headers that are believed, headers that are not, and ids that follow."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.telemetry.context import Parent, attempt, parent_of, span_id, trace_id, traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
DECISION = "0190163d-8694-739b-aea5-966c26f8ad90"
decisions = st.uuids().map(str)


@pytest.mark.parametrize(
    ("header", "sampled"),
    [(f"00-{TRACE}-{SPAN}-01", True), (f"00-{TRACE}-{SPAN}-00", False), (f"cc-{TRACE}-{SPAN}-03-what-comes", True)],
)
def test_a_header_says_where_a_request_came_from(header, sampled) -> None:
    """Also in a later version, which may say more."""
    assert Parent(TRACE, SPAN, sampled) == parent_of(header)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01\r\nx: y",
    ],
)
def test_a_header_that_is_not_one_counts_as_none(header) -> None:
    """As the standard wants it: the trace begins anew."""
    assert parent_of(header) is None


@given(st.text())
def test_no_header_breaks_anything(header) -> None:
    """Whatever is sent, an attempt goes out with a header of the right form."""
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", traceparent(DECISION, header, 1) or "")


@given(decisions, st.integers(1, 9), st.integers(1, 9))
def test_ids_follow_from_the_decision(decision, first, second) -> None:
    """The same every time, another for every part, and never the one that means none."""
    assert (first == second) == (span_id(decision, attempt(first)) == span_id(decision, attempt(second)))
    assert span_id(decision, attempt(first)) != span_id(decision, "request")
    assert uuid.UUID(decision).hex == trace_id(decision, None)


def test_an_attempt_goes_on_in_its_sender_s_trace() -> None:
    """With a span id of its own, and the sender's word on whether the trace is kept."""
    assert f"00-{TRACE}-{span_id(DECISION, attempt(2))}-01" == traceparent(DECISION, f"00-{TRACE}-{SPAN}-01", 2)
    assert f"00-{TRACE}-{span_id(DECISION, attempt(1))}-00" == traceparent(DECISION, f"00-{TRACE}-{SPAN}-00", 1)
    assert f"00-{uuid.UUID(DECISION).hex}-{span_id(DECISION, attempt(1))}-01" == traceparent(DECISION, "", 1)


def test_without_traces_nothing_is_sent_on() -> None:
    """None is a router that keeps no traces: what a sender sent stays with it."""
    assert traceparent(DECISION, None, 1) is None
