"""From files to a report: read, render, experiment, judge."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from alertdrill.config import AlertExpectation
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.rules.alertmanager import AlertmanagerConfig, load_alertmanager
from alertdrill.rules.lint.exposition import Exposition
from alertdrill.rules.model import AlertRule, RecordingRule, RuleFile
from alertdrill.rules.programs import Program
from alertdrill.rules.promtool import PromtoolFailed, open_promtool
from alertdrill.rules.routing.experiment import (
    Lab,
    run_inhibited,
    run_silenced,
    run_together,
)
from alertdrill.rules.routing.finding import Code, Finding, verdict_of
from alertdrill.rules.routing.firing import Firing, firings
from alertdrill.rules.routing.judge import UNAVAILABLE, Evidence, Judged, judge, judge_whole
from alertdrill.rules.routing.process import Alertmanager, ConfigRefused, version
from alertdrill.rules.routing.recorder import identity
from alertdrill.rules.routing.render import as_written, has_templates, render
from alertdrill.rules.routing.rewrite import Setup, clock_for, read_setup
from alertdrill.rules.second_opinion import unread_rules
from alertdrill.verdict import Verdict

# More label sets than this are no rules but an inventory.
MAX_FIRINGS = 1_000
_NO_FILE = "no such file or directory"


@dataclass(frozen=True)
class Question:
    """What to judge. ``table``: where alerts belong; ``complete``: the rules are all there are."""

    rule_files: tuple[RuleFile, ...]
    alertmanager: Path
    external_labels: Mapping[str, str] = field(default_factory=dict)
    metrics: Exposition | None = None
    table: Mapping[str, AlertExpectation] = field(default_factory=dict)
    complete: bool = False
    factor: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """``notes``: what was assumed, for people; nothing of it is wrong."""

    version: str
    config: AlertmanagerConfig
    setup: Setup
    alerts: tuple[Judged, ...]
    findings: tuple[Finding, ...]
    untried: int
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return Verdict.worst([*(a.verdict for a in self.alerts), verdict_of(self.findings)])


def answer(
    question: Question,
    find_alertmanager: Callable[[], Program],
    find_promtool: Callable[[], Path],
) -> Report:
    """Run the experiments. Raises UsageError for what is wrong with the files (Alertmanager's
    own words, where it refuses them), AlertdrillError when nothing could be proven."""
    config = load_alertmanager(question.alertmanager)
    setup = read_setup(config, clock_for(config, question.factor))
    unread = tuple(_unread(question, find_promtool))
    found = _all_firings(question)
    program = find_alertmanager()
    its_version = version(program)
    notes = [*question.notes, *setup.notes, *_refuse_as_alertmanager_does(program, setup)]
    rendered = _distinct(_rendered(found, find_promtool, question.external_labels))
    lab = Lab(program, config, setup)
    evidence = _experiment(lab, rendered)
    return Report(
        version=its_version,
        config=config,
        setup=setup,
        alerts=judge(lab, rendered, evidence, question.table),
        findings=(
            *unread,
            *judge_whole(lab, rendered, evidence, complete=question.complete and not unread),
        ),
        untried=evidence.inhibitions.untried,
        notes=tuple(notes),
    )


def _unread(question: Question, find_promtool: Callable[[], Path]) -> Iterator[Finding]:
    """What to say of alerts whose labels can't be seen in their PromQL. Raises UsageError for
    one that promtool refuses as well."""
    if not any(file.unread for file in question.rule_files):
        return
    promtool: Path | str
    try:
        promtool = find_promtool()
    except AlertdrillError as error:
        promtool = str(error)
    for rule, words in unread_rules(question.rule_files, promtool):
        if rule.is_alert:
            message = f"{rule.file}:{rule.line}: where {rule.name} goes is not known: {words}"
            yield Finding(Code.NOT_UNDERSTOOD, message)


def _all_firings(question: Question) -> list[Firing]:
    rules = [r for file in question.rule_files for group in file.groups for r in group.rules]
    recordings = [rule for rule in rules if isinstance(rule, RecordingRule)]
    found = [
        firing
        for rule in rules
        if isinstance(rule, AlertRule)
        for firing in firings(rule, recordings, question.metrics)
    ]
    if not found:
        raise AlertdrillError("the rule files define no alert that can be read: nothing was proven")
    if len(found) > MAX_FIRINGS:
        raise UsageError(
            f"the rules can fire {len(found)} different alerts; at most {MAX_FIRINGS} are judged "
            "at once: give fewer rule files"
        )
    return found


def _refuse_as_alertmanager_does(program: Program, setup: Setup) -> Iterator[str]:
    """Have Alertmanager read the project's file as it is. Nothing fires, so nobody is told.

    Raises UsageError with its words. Yields what this machine can't tell.
    """
    if setup.may_reach_out:
        yield "the file's receivers were not put to Alertmanager: it would send traces"
        return
    try:
        with Alertmanager(program, setup.path):
            return
    except ConfigRefused as error:
        words = str(error)
    if _NO_FILE in words:
        yield f"the file's receivers were not put to Alertmanager: {words}"
        return
    raise UsageError(f"Alertmanager refuses it: {' '.join(words.split())}", file=setup.path)


def _rendered(
    found: Sequence[Firing], find_promtool: Callable[[], Path], external: Mapping[str, str]
) -> list[Firing]:
    """``found`` with labels and annotations as Prometheus sends them to Alertmanager."""
    if any(map(has_templates, found)):
        try:
            with (
                open_promtool(find_promtool()) as promtool,
                tempfile.TemporaryDirectory(prefix="alertdrill-templates-") as scratch,
            ):
                rendered: Sequence[Firing] = render(found, promtool, Path(scratch), external)
        except PromtoolFailed:
            raise
        except AlertdrillError as error:
            rendered = [as_written(firing, f"{UNAVAILABLE}: {error}") for firing in found]
    else:
        rendered = [as_written(firing, "") for firing in found]
    return [firing.sent_with(external) for firing in rendered]


def _distinct(found: Sequence[Firing]) -> list[Firing]:
    """Alertmanager can't tell alerts with the same labels apart; a rule's are judged once."""
    seen: dict[tuple[int, frozenset[tuple[str, str]]], Firing] = {}
    for firing in found:
        seen.setdefault((id(firing.rule), identity(firing.labels)), firing)
    return list(seen.values())


def _experiment(lab: Lab, found: Sequence[Firing]) -> Evidence:
    with ThreadPoolExecutor(3, thread_name_prefix="routing") as pool, _cancelling(lab.cancelled):
        together = pool.submit(run_together, lab, found)
        inhibited = pool.submit(run_inhibited, lab, found)
        silenced = pool.submit(run_silenced, lab, found)
        return Evidence(together.result(), inhibited.result(), silenced.result())


@contextlib.contextmanager
def _cancelling(cancelled: threading.Event) -> Iterator[None]:
    """Whatever ends one experiment ends the others: leaving the pool waits for them."""
    try:
        yield
    finally:
        cancelled.set()
