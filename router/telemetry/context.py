"""Where a request stands in a trace (W3C Trace Context), and the ids of its spans. Values and arithmetic only.

The ids follow from the decision's id, so they are known before a span exists: an attempt can carry its own to the far
side, and the spans are made when all is over. Where no sender began a trace, the decision's id is the trace's.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from uuid import UUID

from msgspec import Struct

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
REQUEST, DECISION = "request", "decision"


class Parent(Struct, frozen=True):
    """The span that a request came from: ids in lower-case hexadecimal, and whether anybody keeps its trace."""

    trace_id: str
    span_id: str
    sampled: bool


def parent_of(traceparent: str | None) -> Parent | None:
    """What a `traceparent` header says; None where there is none, or not a valid one, as if it had not been sent."""
    found = _PARENT.fullmatch((traceparent or "").strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))


def trace_id(decision_id: str, parent: Parent | None) -> str:
    """The trace of a request: its sender's, or its own."""
    return UUID(decision_id).hex if parent is None else parent.trace_id


def span_id(decision_id: str, name: str) -> str:
    """The id of one of a request's spans."""
    return blake2b(name.encode(), digest_size=8, key=UUID(decision_id).bytes).hexdigest()


def attempt(number: int) -> str:
    """The name of the n-th attempt's span, from 1, among the spans of its request."""
    return f"attempt {number}"


def traceparent(decision_id: str, sent: str | None, number: int) -> str | None:
    """The header that an attempt carries to its far side. `sent` is what the request itself came with: None, no trace.

    What else a sender put there (`tracestate`) is its own, and goes no further.
    """
    if sent is None:
        return None
    parent = parent_of(sent)
    flags = "00" if parent is not None and not parent.sampled else "01"
    return f"00-{trace_id(decision_id, parent)}-{span_id(decision_id, attempt(number))}-{flags}"
