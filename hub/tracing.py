"""Spans for every request, statement and call; exported by OTLP where an endpoint is given."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor


def provider(service: str, *, export: bool) -> TracerProvider:
    """A provider of its own, not the process's global one.

    Without ``export`` spans exist all the same, so that logs carry their ids. The exporter reads
    the standard OTEL_EXPORTER_OTLP_* variables.
    """
    made = TracerProvider(resource=Resource.create({"service.name": service}))
    if export:
        made.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(timeout=3), max_queue_size=8192, schedule_delay_millis=1000
            )
        )
    return made


def current_trace_id() -> str:
    """The active span's trace id in hex, or "" outside any span."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
