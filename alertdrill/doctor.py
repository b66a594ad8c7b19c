"""What this machine can and can't do for a stack: each component, how it would be had, and why."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import docker
from rich.console import Console
from rich.table import Table

from alertdrill.errors import EngineUnavailable
from alertdrill.report.terminal import print_unfolded
from alertdrill.stack import debian, engine
from alertdrill.stack.component import Image, StackSpec
from alertdrill.stack.declared import selected
from alertdrill.stack.images import ImageStore, Outlook, Prospect, buildable

_COLOURS = {
    Outlook.PRESENT: "green",
    Outlook.PULLABLE: "green",
    Outlook.BUILDABLE: "yellow",
    Outlook.UNAVAILABLE: "red",
}


@dataclass(frozen=True)
class Row:
    """One component, or one image that no component uses yet (then ``component`` is its name).

    ``trouble``     the part of ``why`` that a registry answered, which other rows may share
    ``unverified``  what isn't verified with it, because it is a stand-in
    ``needed``      the gate runs it
    """

    component: str
    image: str
    state: Outlook
    version: str
    why: str
    trouble: str | None
    unverified: str | None
    needed: bool


@dataclass(frozen=True)
class Diagnosis:
    """The answer of ``diagnose``.

    ``engine``    the engine's version and address, or what to do about its absence
    ``engine_ok`` it answers, or set-up would install and start one
    """

    engine: str
    engine_ok: bool
    rows: tuple[Row, ...]

    @property
    def can_gate(self) -> bool:
        """Whether the gate could run here: an engine, and every component that it runs."""
        needed = [row for row in self.rows if row.needed]
        usable = all(row.state is not Outlook.UNAVAILABLE for row in needed)
        return self.engine_ok and bool(needed) and usable

    @property
    def not_verified(self) -> tuple[tuple[str, str], ...]:
        """What will not be verified here, and why."""
        absent = [row for row in self.rows if row.state is Outlook.UNAVAILABLE]
        return (
            *((f"everything that needs {row.component}", row.why) for row in absent),
            *((row.component, row.unverified) for row in self.rows if row.unverified is not None),
        )

    def json(self) -> str:
        """The same for machines."""
        return json.dumps(
            {
                "can_gate": self.can_gate,
                "engine": self.engine,
                "engine_ok": self.engine_ok,
                "components": [asdict(row) for row in self.rows],
                "not_verified": [{"what": what, "why": why} for what, why in self.not_verified],
            },
            indent=2,
        )

    def print(self, console: Console) -> None:
        """The same for people: a table, then what will not be verified."""
        console.print(f"engine: {self.engine}", markup=False, highlight=False, soft_wrap=True)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("component", "state", "version", "from"):
            table.add_column(heading)
        for row in self.rows:
            state = f"[{_COLOURS[row.state]}]{row.state}[/]"
            told = "see below" if row.state is Outlook.UNAVAILABLE else row.why
            table.add_row(row.component, state, row.version, told)
        print_unfolded(console, table)
        for line in self._not_verified_lines():
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        answer = "can run here" if self.can_gate else "can NOT run here"
        console.print(f"the gate {answer}", markup=False, highlight=False)

    def _not_verified_lines(self) -> Iterator[str]:
        """What a registry answered is told once, with the first image that it concerns."""
        told: set[str] = set()
        for row in self.rows:
            if row.state is not Outlook.UNAVAILABLE:
                continue
            why = row.why
            if row.trouble is not None and row.trouble in told:
                why = why.replace(row.trouble, "for the same reason")
            elif row.trouble is not None:
                told.add(row.trouble)
            yield f"not verified: everything that needs {row.component}: {why}"
        for row in self.rows:
            if row.unverified is not None:
                yield f"not verified: {row.component}: {row.unverified}"


def diagnose(
    spec: StackSpec, components: Iterable[str], project_root: Path, cache_dir: Path
) -> Diagnosis:
    """Look, and change nothing. Asks the engine and, through it, each image registry once.

    ``components`` are those that the gate runs. Raises UsageError when one isn't declared.
    """
    running = selected(spec, components)
    needed = frozenset(running) | {image for c in running.values() for image in c.releases}
    images = _images(spec)
    try:
        client = engine.connect()
    except EngineUnavailable as error:
        prospects = [_without_engine(image) for image in images.values()]
        why = engine.remedy() if engine.can_start() else str(error)
        return Diagnosis(f"none; {why}", engine.can_start(), _rows(spec, needed, prospects))
    with_client = ImageStore(client, project_root, cache_dir, spec.images)
    try:
        rows = _rows(spec, needed, with_client.plan(images.values()))
        return Diagnosis(_described(client), True, rows)
    finally:
        client.close()


def _images(spec: StackSpec) -> dict[str, Image]:
    """What is started, and what would be; not the parents that images are only built from."""
    parents = {name for image in spec.images for name in image.needs}
    used = {component.image for component in spec.components}
    return {
        image.name: image
        for image in spec.images
        if image.name in used or image.name not in parents
    }


def _rows(spec: StackSpec, needed: frozenset[str], prospects: list[Prospect]) -> tuple[Row, ...]:
    by_image = {prospect.image.name: prospect for prospect in prospects}
    named = [(component.name, component.image) for component in spec.components]
    used = {image for _, image in named}
    named += [(name, name) for name in by_image if name not in used]
    return tuple(
        Row(
            component,
            image,
            by_image[image].outlook,
            by_image[image].version,
            by_image[image].why,
            by_image[image].trouble,
            by_image[image].unverified,
            component in needed,
        )
        for component, image in named
    )


def _without_engine(image: Image) -> Prospect:
    if image.buildable and debian.is_root_here():
        return buildable(image)
    why = "no Docker engine answers that could be asked for it"
    return Prospect(image, Outlook.UNAVAILABLE, image.version, why)


def _described(client: docker.DockerClient) -> str:
    return f"Docker {client.version()['Version']} at {engine.address()}"
