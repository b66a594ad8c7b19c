"""Readiness is asked of the component: probes that a declaration names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx

from alertdrill.stack.component import Readiness
from alertdrill.stack.target import Evidence, Target

PROBE_TIMEOUT_S = 2.0


def http_ok(
    path: str,
    *,
    port: str = "http",
    holds: Callable[[httpx.Response], bool] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Readiness:
    """Ready when GET ``path`` answers 2xx (and ``holds`` of the response)."""

    def probe(stack: Target, component: str) -> Evidence:
        response = httpx.get(
            stack.url(component, port) + path,
            timeout=PROBE_TIMEOUT_S,
            headers=dict(headers or {}),
            trust_env=False,
            verify=False,  # plain HTTP on loopback: loading certificates would cost 20 ms a probe
        )
        ok = response.is_success and (holds is None or holds(response))
        return Evidence(ok, f"HTTP {response.status_code}: {response.text[:200]}")

    return Readiness(f"GET {path} on port {port} to answer 2xx", probe, timeout_s)


def command_ok(*argv: str, prints: str | None = None, timeout_s: float = 60.0) -> Readiness:
    """Ready when ``argv`` inside the container exits 0 (and its output contains ``prints``)."""

    def probe(stack: Target, component: str) -> Evidence:
        code, output = stack.exec(component, list(argv))
        ok = code == 0 and (prints is None or prints in output)
        return Evidence(ok, f"exit {code}: {output[-200:].strip()}")

    return Readiness(f"`{' '.join(argv)}` to succeed", probe, timeout_s)
