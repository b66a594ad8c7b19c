"""Nothing is broken that leads out of the run: what stands behind a proxy must be a component."""

from __future__ import annotations

import re
from collections.abc import Iterable

from docker.models.containers import Container

from alertdrill.errors import FaultError
from alertdrill.faults.contract import Inhabited, Target

_REVERSE = re.compile(r"reverse:(?:\w+://)?([^:/@]+)")


def refuse_strangers(stack: Target, proxy: str, upstreams: Iterable[str]) -> None:
    """Raise FaultError unless every one of ``upstreams``, host names, is a component of the run.

    A proof asks them questions, and a fault cuts off whoever else uses them through ``proxy``.
    """
    known = stack.component_names if isinstance(stack, Inhabited) else ()
    strange = sorted(set(upstreams) - set(known))
    if strange:
        raise FaultError(
            f"{proxy} leads to {', '.join(strange)}, which is no component of run "
            f"{stack.run_id}: it is left alone"
        )


def reversed_hosts(container: Container) -> list[str]:
    """Where a mitmproxy in reverse mode leads to, by its command line."""
    config = container.attrs["Config"]
    words = (*(config["Entrypoint"] or ()), *(config["Cmd"] or ()))
    return [host for word in words for host in _REVERSE.findall(word)]
