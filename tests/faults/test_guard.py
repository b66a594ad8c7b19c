"""A proxy that leads out of the run is left alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from alertdrill.errors import FaultError
from alertdrill.faults.guard import refuse_stranger, reversed_host


class Stack:
    """As much of a target as is asked."""

    run_id = "20260101-000000-abcdef"
    component_names = ("redis", "github")

    def _asked(self) -> None: ...

    url = address = container = exec = _asked


def mitmproxy(*words: str) -> Any:
    config = {"Entrypoint": ["mitmdump"], "Cmd": list(words)}
    return SimpleNamespace(name="http-faults", attrs={"Config": config})


PROXY = mitmproxy(
    *("--mode", "reverse:http://github:8080@0.0.0.0:8081"),
    *("--mode", "reverse:https://api.github.com@0.0.0.0:8082"),
    *("--mode", "reverse:https://198.51.100.7:443/v1@8083"),
)


def test_a_component_of_the_run_may_be_behind_a_proxy() -> None:
    refuse_stranger(Stack(), "the proxy redis", "redis")  # type: ignore[arg-type]
    refuse_stranger(Stack(), "the proxy", reversed_host(PROXY, 8081))  # type: ignore[arg-type]


@pytest.mark.parametrize(("upstream"), ["198.51.100.7", "api.github.com", "127.0.0.1", ""])
def test_nobody_else_may(upstream: str) -> None:
    with pytest.raises(FaultError, match=f"leads to {upstream}, which is no component of run"):
        refuse_stranger(Stack(), "the proxy x", upstream)  # type: ignore[arg-type]


def test_where_a_reverse_proxy_leads_is_on_its_command_line() -> None:
    assert reversed_host(PROXY, 8082) == "api.github.com"
    with pytest.raises(FaultError, match="can't be told"):
        reversed_host(PROXY, 8084)
