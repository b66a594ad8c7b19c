"""Everything of a run is found by its label, and removed by it."""

from __future__ import annotations

import docker
from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network
from docker.models.volumes import Volume

from alertdrill.wait import eventually

RUN_LABEL = "alertdrill.run"
COMPONENT_LABEL = "alertdrill.component"
REMOVED_WITHIN_S = 60.0
# 404: gone already; 409: somebody else is removing it, or a volume with a leaving container;
# 403: a network with one.
_ALREADY_GOING = (403, 404, 409)


def sweep(client: docker.DockerClient, run_id: str) -> int:
    """Remove every container, network and volume that carries ``run_id``: how many were there.

    Raises docker.errors.APIError when the engine refuses for another reason than that the
    thing is already gone or is being removed by somebody else.
    """
    things = _labelled(client, f"{RUN_LABEL}={run_id}")
    # One after the other: engines before 23 may lock up for good when two containers leave a
    # network at once (docs/decisions/0010-one-leaves-at-a-time.md).
    for thing in things:
        _remove(thing)
    return len(things)


def remove_run(client: docker.DockerClient, run_id: str) -> None:
    """Sweep until nothing is found. Raises DeadlineExceeded after a minute."""
    eventually(
        lambda: sweep(client, run_id) == 0,
        timeout_s=REMOVED_WITHIN_S,
        what=f"everything of run {run_id} to be removed",
        interval_s=0.1,
    )


def remove_dead_runs(client: docker.DockerClient) -> None:
    """What runs left behind whose engine has died: none of their containers runs any more.

    Raises DeadlineExceeded after a minute for one of them.
    """
    things = _labelled(client, RUN_LABEL)
    for run_id in sorted({_labels(thing)[RUN_LABEL] for thing in things}):
        remove_run(client, run_id)


def _labelled(client: docker.DockerClient, label: str) -> list[Container | Network | Volume]:
    """Containers first: a network or volume goes only after those that use it."""
    by_label: dict[str, str | list[str] | bool] = {"label": label}
    return [
        *client.containers.list(all=True, filters=by_label, ignore_removed=True),
        *client.networks.list(filters=by_label),
        *client.volumes.list(filters=by_label),
    ]


def _labels(thing: Container | Network | Volume) -> dict[str, str]:
    if isinstance(thing, Container):
        return dict(thing.labels)
    return dict(thing.attrs["Labels"])


def _remove(thing: Container | Network | Volume) -> None:
    try:
        if isinstance(thing, Container):
            thing.remove(force=True, v=True)
        else:
            thing.remove()
    except APIError as error:
        if error.status_code not in _ALREADY_GOING:
            raise
