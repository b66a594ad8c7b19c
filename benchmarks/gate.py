"""How long the drills take, start and stop of their stacks included: warm, or from no image.

Beside each drill: how long its alerts take, and how long that would be on the real clock. That
is an estimate, the clock's factor times what was seen; it multiplies also what no clock shortens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from docker import DockerClient

from alertdrill.assemble import CACHE
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.stack.build import LABEL
from alertdrill.stack.engine import ensure_engine
from alertdrill.stack.images import remove_built
from alertdrill.stack.progress import Progress
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import Ran, alertdrill, machine, project, run

# The whole table, and any part of it that -k takes: 24 drills, or 6.
WARM_TARGET = Target("≤", 180)
PART_TARGET = Target("≤", 120)
LEAST_DRILLS = 24
COLD_TARGET = Target("≤", 900)
WARM_TIMEOUT_S = 900.0
COLD_TIMEOUT_S = 3_600.0


def warm(select: str | None) -> Report:
    """``alertdrill gate`` with every image present: all drills, or those that ``select`` takes."""
    config = project()
    progress = Progress()
    client = ensure_engine(progress, config.root / CACHE)
    where = machine(client)
    # Set-up first: an image that is still to be built is no part of a warm run.
    setup = run(alertdrill("setup"), cwd=config.root, timeout_s=COLD_TIMEOUT_S)
    if setup.code:
        raise AlertdrillError(f"`alertdrill setup` exited with {setup.code}")
    chosen = () if select is None else ("-k", select)
    ran = run(alertdrill("gate", "--json", *chosen), cwd=config.root, timeout_s=WARM_TIMEOUT_S)
    document = _document(ran.output)
    target, least = (WARM_TARGET, LEAST_DRILLS) if select is None else (PART_TARGET, 1)
    return _report("The drills, images present", where, ran, document, target, least)


def cold(may_remove: bool) -> Report:
    """``make gate`` with no image and no build cache."""
    config = project()
    progress = Progress()
    client = ensure_engine(progress, config.root / CACHE)
    where = machine(client)
    if not may_remove:
        raise UsageError(
            f"a cold run begins with removing {len(client.images.list(filters={'label': LABEL}))} "
            "built images, which other checkouts may use too: say --yes-remove-images"
        )
    _remove_images(client)
    latest = config.root / "out" / "latest" / "verdict.json"
    before = latest.read_text(encoding="utf-8") if latest.exists() else ""
    ran = run(["make", "gate"], cwd=config.root, timeout_s=COLD_TIMEOUT_S)
    after = latest.read_text(encoding="utf-8") if latest.exists() else ""
    document = _document(after if after != before else "")
    title = "make gate, every image built"
    return _report(title, where, ran, document, COLD_TARGET, LEAST_DRILLS)


def _remove_images(client: DockerClient) -> None:
    """Remove all that was built, and what the builder remembers. Raises UsageError if in use."""
    users = [
        container.name
        for container in client.containers.list(all=True, ignore_removed=True)
        if LABEL in container.labels
    ]
    if users:
        raise UsageError(f"these containers use built images, remove them first: {users}")
    remove_built(client)
    client.api.prune_builds()
    left = client.images.list(filters={"label": LABEL})
    if left:
        raise UsageError(f"{len(left)} built images can't be removed: something still uses them")


def _document(text: str) -> Mapping[str, Any]:
    if not text:
        raise AlertdrillError("the gate left no verdict document")
    document: dict[str, Any] = json.loads(text)
    return document


def _report(
    title: str,
    where: str,
    ran: Ran,
    document: Mapping[str, Any],
    target: Target,
    least: int,
) -> Report:
    drills = document["drills"]
    factor = document["clock"]["factor"]
    passed = sum(drill["verdict"] == "pass" for drill in drills)
    waits = [_alerts_s(drill) for drill in drills]
    rows: list[tuple[str | float | None, ...]] = [
        (drill["title"], drill["verdict"], drill["wall_s"], wait, wait * factor / 60)
        for drill, wait in zip(drills, waits, strict=True)
    ]
    walls = sum(drill["wall_s"] for drill in drills)
    rows.append(("all, one after the other", "", walls, sum(waits), sum(waits) * factor / 60))
    stacks = ", ".join(f"{stack['ready_s']:.1f}" for stack in document["stacks"])
    return Report(
        title,
        where,
        (
            Figure("drills", len(drills), "", Target("≥", least)),
            Figure("drills that passed", passed, "", Target("≥", len(drills)), document["verdict"]),
            Figure("wall time", ran.wall_s, "s", target, f"stacks ready after {stacks} s"),
        ),
        (
            Detail(
                f"By drill, on a clock ÷{factor:g}",
                ("drill", "verdict", "wall, s", "alerts, s", "alerts on the real clock, min"),
                rows,
            ),
        ),
    )


def _alerts_s(drill: Mapping[str, Any]) -> float:
    """What the clock shortens: from injection to the last notification, and from healing to the
    last resolved one; without alerts, how long their silence was watched."""
    heal_s = drill["heal_s"] or 0.0
    told = [a["notified_s"] or a["inhibited_s"] or 0.0 for a in drill["alerts"]]
    resolved = [a["resolved_s"] - heal_s for a in drill["alerts"] if a["resolved_s"] is not None]
    seen: float = max(told, default=0.0) + max(resolved, default=0.0)
    return seen or heal_s


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--cold", action="store_true", help="from no image; see the next option")
    options.add_argument(
        "--yes-remove-images",
        action="store_true",
        help="with --cold: remove every built image and the build cache of this engine",
    )
    options.add_argument("-k", dest="select", help="only drills whose names match, as in pytest")
    chosen: argparse.Namespace = options.parse_args()
    if chosen.cold:
        return present(lambda: cold(chosen.yes_remove_images), chosen.json)
    return present(lambda: warm(chosen.select), chosen.json)


if __name__ == "__main__":
    sys.exit(main())
