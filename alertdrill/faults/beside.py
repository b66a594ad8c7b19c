"""Small Python programs run beside a container: in its network, among its processes, or with its
volumes.

Services' images needn't have Python, a shell or even a user who may do it: the program runs in a
container of its own, from the image of a component that has Python, and shares one thing with the
service. It takes one JSON document as its argument, prints one as its last line, and bounds
every wait itself.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from docker.errors import APIError
from docker.models.containers import Container

from alertdrill.errors import FaultError
from alertdrill.faults import vantage
from alertdrill.faults.contract import Target
from alertdrill.faults.ledger import client_of, refusals
from alertdrill.stack.leftovers import RUN_LABEL

TIMEOUT_S = 20

_LOOK_UP = """
import json, socket, sys
a = json.loads(sys.argv[1])
try:
    print(json.dumps(socket.gethostbyname(a["name"])))
except socket.gaierror:
    print(json.dumps(None))
"""


def run_beside(
    stack: Target,
    service: str,
    program: str,
    question: dict[str, Any],
    *,
    shares: Literal["network", "processes", "volumes"],
    python_of: str,
    capabilities: Sequence[str] = (),
    user: str = "root",
) -> Any:
    """What ``program`` printed beside ``service``, which must be running unless it is for volumes.

    ``python_of``     the component whose image has python3
    ``capabilities``  of the kernel, beside the engine's usual ones
    ``user``          a name or ``uid:gid``

    Raises FaultError.
    """
    if service == python_of and shares == "network" and not capabilities:
        # It has Python itself, so no container need be made: a tenth of the time.
        return vantage.run(stack, service, program, question)
    target = stack.container(service)
    image = str(stack.container(python_of).attrs["Image"])
    namespace = f"container:{target.id}"
    what = f"a program beside {service}"
    with refusals(what):
        helper = client_of(target).containers.create(
            image,
            entrypoint=["timeout", str(TIMEOUT_S), *vantage.PYTHON, program, json.dumps(question)],
            network_mode=namespace if shares == "network" else "none",
            pid_mode=namespace if shares == "processes" else None,
            volumes_from=[str(target.id)] if shares == "volumes" else None,
            cap_add=list(capabilities),
            user=user,
            labels={RUN_LABEL: stack.run_id},
        )
        try:
            helper.start()
            code = int(helper.wait(timeout=TIMEOUT_S + 5)["StatusCode"])
            output = helper.logs().decode(errors="replace").strip()
        finally:
            with contextlib.suppress(APIError):  # the sweep of the run is removing it too
                helper.remove(force=True)
    lines = output.splitlines()
    if code != 0 or not lines:
        raise FaultError(f"{what} ended with {code}: {output[-300:]}")
    try:
        return json.loads(lines[-1])
    except ValueError as error:
        raise FaultError(f"{what} printed {lines[-1][:200]!r}") from error


def looked_up(stack: Target, service: str, name: str, *, python_of: str) -> str | None:
    """The address that ``service`` finds for ``name``. Raises FaultError."""
    found: str | None = run_beside(
        stack, service, _LOOK_UP, {"name": name}, shares="network", python_of=python_of
    )
    return found


def address_of(container: Container) -> str:
    """In the run's network. Raises FaultError when it has none there."""
    network = container.attrs["HostConfig"]["NetworkMode"]
    endpoint = container.attrs["NetworkSettings"]["Networks"].get(network)
    if not endpoint or not endpoint["IPAddress"]:
        raise FaultError(f"{container.name} is detached from its network")
    return str(endpoint["IPAddress"])
