"""Traces: requests that failed under the fault blame the span that the drill names."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from fnmatch import fnmatchcase
from typing import Any

from alertdrill.checks.contract import Check, View
from alertdrill.checks.expected import Span
from alertdrill.config import TraceStore
from alertdrill.errors import DeadlineExceeded, SignalError
from alertdrill.signals.traces import SpanSeen, Traces, blamed
from alertdrill.timeline import unix_of
from alertdrill.verdict import Finding, Reason
from alertdrill.wait import eventually

# Spans are exported in batches, and stored in their own time.
WITHIN_S = 10.0


class TraceBlame(Check):
    """Asks the stack's trace store; where the profile runs none, nothing is verified."""

    id = "traces"

    def __init__(self, store: TraceStore, wanted: Span) -> None:
        self._store = store
        self._wanted = wanted
        self._seen = ""
        self._missing: str | None = None
        self._blamed: Counter[str] = Counter()

    def under_fault(self, view: View) -> list[Finding]:
        store, wanted = self._store, self._wanted
        self._missing = view.why_not_run(store.component)
        if self._missing is not None:
            return []
        with closing(Traces(view.bench.stack.url(store.component, store.port))) as traces:
            since = unix_of(view.injected)

            trouble: SignalError | None = None

            def told() -> bool:
                nonlocal trouble
                try:
                    found = traces.failed(wanted.service, since, time.time())
                except SignalError as error:  # it may only be busy
                    trouble = error
                    return False
                trouble = None
                culprits = [span for spans in found for span in blamed(spans)]
                self._blamed = Counter(f"{span.name} of {span.service}" for span in culprits)
                return any(_is(span, wanted) for span in culprits)

            try:
                eventually(told, timeout_s=WITHIN_S, what=f"{wanted}", interval_s=0.5)
            except DeadlineExceeded:
                if trouble is not None:
                    raise trouble from None
                return [
                    Finding(
                        Reason.SPAN_MISSING,
                        f"no failed request blames {wanted} within {WITHIN_S:g} s; they blame "
                        + (self._names() or "nobody: no failed span arrived"),
                    )
                ]
        return []

    def document(self) -> dict[str, Any]:
        if self._missing is not None:
            return {"seen": "", "not_verified": self._missing}
        return {"seen": f"failed requests blame {self._names()}", "blamed": dict(self._blamed)}

    def _names(self) -> str:
        return ", ".join(f"{name} ({n})" for name, n in self._blamed.most_common(3))


def _is(span: SpanSeen, wanted: Span) -> bool:
    return (
        span.service == wanted.service
        and span.status == wanted.status
        and fnmatchcase(span.name, wanted.name)
    )
