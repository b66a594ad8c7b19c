"""``alertdrill rules trim``: of recorded segments only what rules read, small enough to commit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console

from alertdrill.errors import UsageError
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.model import Segment
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import Complaint, Segments, load_segments, save
from alertdrill.rules.replay.targets import metric_name, target_of, up_of


@dataclass(frozen=True)
class Trimmed:
    """What was written, and what there is to know of it.

    ``missing``     metrics that no segment has, with the alerts that read them
    ``complaints``  files that were left out, and gaps in those that were not
    """

    files: tuple[Path, ...]
    missing: Mapping[str, tuple[str, ...]]
    complaints: tuple[Complaint, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        unread = (
            f"no segment has {metric}, which is read by {', '.join(alerts)}"
            for metric, alerts in self.missing.items()
        )
        return (*map(str, self.complaints), *unread)


def trim(
    segments: Annotated[
        Path, typer.Argument(metavar="SEGMENTS", help="What live drills recorded.")
    ],
    rules: Annotated[list[Path], typer.Argument(metavar="RULES...", help="Rule files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")],
) -> None:
    """Keep of recorded segments only the series that rules read, so that they can be committed.

    Kept are all series of the metrics that an alert reads, by itself or through recordings, and
    `up` of their targets. Matchers are left aside: a rule whose matcher is changed later needs
    the series that it would then select. Look at the labels before you publish them.

    Exit codes: 0, 2 wrong usage.
    """
    trimmed = trim_segments(segments, rules_of(rules), out)
    errors = Console(stderr=True)
    for warning in trimmed.warnings:
        errors.print(warning, style="yellow", highlight=False, soft_wrap=True)
    for file in trimmed.files:
        print(f"{file.stat().st_size:>9,} bytes  {file}")
    size = sum(file.stat().st_size for file in trimmed.files)
    print(f"{size:>9,} bytes  in {len(trimmed.files)} files")


def trim_segments(segments: Path, rules: RuleSet, out: Path) -> Trimmed:
    """Write what ``rules`` read of the segments in ``segments`` into ``out``.

    Raises UsageError for rules that may read any metric, for an ``out`` with segments of other
    drills, and where there is nothing to keep.
    """
    if out.resolve() == segments.resolve():
        raise UsageError("--out is where the segments are: they would be lost", file=out)
    metrics = rules.metrics_of(tuple(rules.alerts))
    if metrics is None:
        raise UsageError(
            "a rule selects series without naming a metric: nothing can be left out",
            file=rules.files[0].path,
        )
    found = load_segments(segments, metrics | {"up"})
    kept = [_kept(segment, metrics) for segment in _all(found)]
    there = {metric_name(labels) for segment in kept for labels in segment.series}
    if not metrics & there:
        raise UsageError(
            f"no segment has any of {', '.join(sorted(metrics))}: nothing can be kept",
            file=segments,
        )
    _refuse_others(out, kept)
    files = tuple(save(segment, out) for segment in kept)
    missing = {
        metric: tuple(name for name in rules.alerts if metric in (rules.metrics_of([name]) or ()))
        for metric in sorted(metrics - there)
    }
    return Trimmed(files, MappingProxyType(missing), found.complaints)


def _all(segments: Segments) -> list[Segment]:
    pairs = ((segments.healthy[drill], segments.faults[drill]) for drill in segments.faults)
    return [segment for pair in pairs for segment in pair]


def _kept(segment: Segment, metrics: Collection[str]) -> Segment:
    wanted = {labels for labels in segment.series if metric_name(labels) in metrics}
    ups = {up_of(target_of(labels)) for labels in wanted}
    series = {
        labels: values
        for labels, values in segment.series.items()
        if labels in wanted or labels in ups
    }
    names = {metric_name(labels) for labels in series}
    kinds = {name: kind for name, kind in segment.kinds.items() if name in names}
    return replace(segment, series=series, kinds=kinds)


def _refuse_others(out: Path, kept: Sequence[Segment]) -> None:
    """Pairs of another recording would be judged along with these."""
    drills = {segment.drill for segment in kept}
    for path in sorted(out.glob("*.om.gz")):
        if path.name.removesuffix(".om.gz").rpartition("--")[0] not in drills:
            raise UsageError("is of a drill that is not among these segments: remove it", file=path)
