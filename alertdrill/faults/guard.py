"""Nothing is broken that leads out of the run: what stands behind a proxy must be a component."""

from __future__ import annotations

import re

from docker.models.containers import Container

from alertdrill.errors import FaultError
from alertdrill.faults.contract import Inhabited, Target

_REVERSE = re.compile(r"reverse:(?:\w+://)?([^:/@]+)[^@]*@(?:.*:)?(\d+)")


def refuse_stranger(stack: Target, proxy: str, upstream: str) -> None:
    """Raise FaultError unless the host ``upstream`` is a component of the run.

    A proof asks it questions, and a fault cuts off whoever else uses it through ``proxy``.
    """
    known = stack.component_names if isinstance(stack, Inhabited) else ()
    if upstream not in known:
        raise FaultError(
            f"{proxy} leads to {upstream}, which is no component of run {stack.run_id}: "
            "it is left alone"
        )


def reversed_host(container: Container, port: int) -> str:
    """Where a mitmproxy in reverse mode leads from ``port``, by its command line.

    Raises FaultError when it doesn't say.
    """
    config = container.attrs["Config"]
    words = (*(config["Entrypoint"] or ()), *(config["Cmd"] or ()))
    modes = filter(None, map(_REVERSE.fullmatch, words))
    hosts = {int(mode[2]): str(mode[1]) for mode in modes}
    if port not in hosts:
        raise FaultError(f"where {container.name} leads from port {port} can't be told")
    return hosts[port]
