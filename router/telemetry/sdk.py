"""OpenTelemetry's own machinery, told which ids to use and when things happened: spans go out as OTLP over HTTP.

The only module that imports its packages, the extra `otel`. A thread of its own sends; what a collector does not take
in time is dropped there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan

    from router.telemetry.spans import Span

QUEUE_SPANS = 8192  # of some two thousand requests
DELAY_MS = 1000.0
EXPORT_TIMEOUT_S = 3.0

_KINDS = {"server": api.SpanKind.SERVER, "client": api.SpanKind.CLIENT, "internal": api.SpanKind.INTERNAL}


class Sender:
    """Sends spans to one collector, `endpoint` without its `/v1/traces`."""

    def __init__(self, endpoint: str, service: str) -> None:
        self._ids = _Planned()
        self._exporter = _Counting(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_S)
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create({"service.name": service}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(self._exporter, max_queue_size=QUEUE_SPANS, schedule_delay_millis=DELAY_MS)
        )
        self._tracer = self._provider.get_tracer("nearfar")

    @property
    def delivered(self) -> int:
        """Spans that the collector took."""
        return self._exporter.delivered

    @property
    def failed(self) -> int:
        """Spans that it did not."""
        return self._exporter.failed

    def take(self, span: Span) -> None:
        """Queue a span that has ended. Costs some tens of microseconds, and never waits."""
        self._ids.next = int(span.trace_id, 16), int(span.span_id, 16)
        made = self._tracer.start_span(
            span.name,
            context=_context(span),
            kind=_KINDS[span.kind],
            attributes=span.attributes,
            start_time=span.began_ns,
        )
        if span.error:
            made.set_status(api.Status(api.StatusCode.ERROR, span.error))
        made.end(span.ended_ns)

    def close(self) -> None:
        """Send what is left. Blocks, for seconds at the most."""
        self._provider.shutdown()


class _Planned(IdGenerator):
    """The ids of the span that is made next: they follow from the request's."""

    next = (0, 0)

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]


class _Counting(OTLPSpanExporter):
    """Counts what it delivers."""

    delivered = 0
    failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result is SpanExportResult.SUCCESS:
            self.delivered += len(spans)
        else:
            self.failed += len(spans)
        return result


def _context(span: Span) -> Context:
    """What the span begins in: its parent, or a trace of its own, and never whatever is under way here."""
    if span.parent_id is None:
        return api.set_span_in_context(api.INVALID_SPAN)
    sampled = api.TraceFlags(api.TraceFlags.SAMPLED)
    parent = api.SpanContext(int(span.trace_id, 16), int(span.parent_id, 16), is_remote=True, trace_flags=sampled)
    return api.set_span_in_context(api.NonRecordingSpan(parent))
