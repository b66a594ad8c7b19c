"""Traces, as Jaeger's query API tells them: which span of a failed request is to blame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alertdrill.signals.http import JsonApi

# So many are enough to see whom the failed ones among them blame.
MOST_TRACES = 200


@dataclass(frozen=True)
class SpanSeen:
    """``status`` is OpenTelemetry's: OK, ERROR or UNSET."""

    id: str
    parent: str | None
    service: str
    name: str
    status: str


class Traces:
    """Reads one Jaeger."""

    def __init__(self, url: str) -> None:
        self._api = JsonApi(url)

    def failed(self, service: str, since: float, until: float) -> list[list[SpanSeen]]:
        """Traces of ``service`` between two Unix times that hold a failed span, as spans.

        Looked for among the traces that the store tells first. Raises SignalError.
        """
        # Not with the tag error=true: Jaeger 2 keeps the status apart from the tags, and a search
        # for either finds nothing.
        found = self._api.get(
            "/api/traces",
            {
                "service": service,
                "start": f"{since * 1e6:.0f}",
                "end": f"{until * 1e6:.0f}",
                "limit": str(MOST_TRACES),
            },
        )["data"]
        traces = (_spans(trace) for trace in found or [])
        return [spans for spans in traces if any(span.status == "ERROR" for span in spans)]

    def close(self) -> None:
        self._api.close()


def blamed(spans: Sequence[SpanSeen]) -> list[SpanSeen]:
    """The deepest spans that failed: those below which nothing else did."""
    failed = [span for span in spans if span.status == "ERROR"]
    above = {span.parent for span in failed}
    return [span for span in failed if span.id not in above]


def _spans(trace: Mapping[str, Any]) -> list[SpanSeen]:
    services = {key: process["serviceName"] for key, process in trace["processes"].items()}
    return [
        SpanSeen(
            id=span["spanID"],
            parent=next((ref["spanID"] for ref in span["references"]), None),
            service=services[span["processID"]],
            name=span["operationName"],
            status=_status(span["tags"]),
        )
        for span in trace["spans"]
    ]


def _status(tags: Iterable[Mapping[str, Any]]) -> str:
    values = {tag["key"]: tag["value"] for tag in tags}
    if "otel.status_code" in values:
        return str(values["otel.status_code"])
    return "ERROR" if str(values.get("error", "")).lower() == "true" else "UNSET"
