"""Mutants judged by replays of recorded faults: would the table of expectations notice?"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alertdrill.config import load_config
from alertdrill.errors import AlertdrillError, UsageError
from alertdrill.rules.model import load_rules
from alertdrill.rules.mutation.killer import Indistinguishable, Killed, Outcome, Survived
from alertdrill.rules.mutation.mutants import Mutant, Source
from alertdrill.rules.mutation.pack import RuleDocument, mutated_rule
from alertdrill.rules.project import project_root
from alertdrill.rules.prometheus import Prometheus
from alertdrill.rules.promtool import Promtool, Stopped
from alertdrill.rules.replay.answers import Answer, Options
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.expect import (
    Expectation,
    load_expectations,
    refuse_unknown_alerts,
)
from alertdrill.rules.replay.killer import Played, Stage
from alertdrill.rules.replay.model import AlertTimeline, State
from alertdrill.rules.replay.ruleset import Rule, RuleSet
from alertdrill.rules.replay.segments import Segments, load_segments
from alertdrill.rules.replay.soundness import Why
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.rules.testing.emit import emit, quoted
from alertdrill.verdict import Verdict

# Healthy times are a loop over one segment: an hour of it has shown all that a day would.
_OPTIONS = Options(healthy_s=3600.0, trips=False)
_VERSION_TIMEOUT_S = 20.0
# Why a verdict is unknown that the change itself has brought about.
_BROKEN = {Why.EVALUATION_FAILS.value, Why.NO_DATA.value}


@dataclass(frozen=True)
class Recorded:
    """What mutants are replayed on, and what each alert must do there.

    ``labels``       by alert, what it must carry when it fires
    ``fingerprint``  of all that is read from files
    """

    rules: RuleSet
    segments: Segments
    expectations: tuple[Expectation, ...]
    labels: Mapping[str, Mapping[str, str]]
    fingerprint: str


def read_recorded(
    rules: Sequence[Path], segments: Path, table: Path, prometheus: Path | None
) -> Recorded:
    """Read it all; of the project around, what it promises of these alerts. Raises UsageError."""
    rule_set = rules_of(rules, prometheus)
    root = project_root()
    promised = load_config(root).alerts if root is not None else {}
    own = {name: promise for name, promise in promised.items() if name in rule_set.alerts}
    expectations = load_expectations(table, own)
    refuse_unknown_alerts(expectations, rule_set.alerts)
    metrics = rule_set.metrics_of(tuple(rule_set.alerts))
    found = load_segments(segments, None if metrics is None else metrics | {"up"})
    for expectation in expectations:
        found.drill_of(expectation.segment)
    content = hashlib.sha256()
    for path in (*rules, table, *sorted(segments.glob("*.om.gz"))):
        content.update(path.read_bytes())
    promises = {name: promise.model_dump(mode="json") for name, promise in sorted(own.items())}
    config = [rule_set.evaluation_interval_s, dict(rule_set.external_labels), promises]
    content.update(json.dumps(config, sort_keys=True).encode())
    labels = {name: promise.labels for name, promise in own.items()}
    return Recorded(rule_set, found, expectations, labels, content.hexdigest())


@dataclass(frozen=True)
class Replays:
    """The rules as they are, replayed, and what mutants of them are replayed with.

    ``failing``   where the rules as they are do something else than the table says
    ``unjudged``  alerts that can't be judged, and why; their mutants survive
    """

    failing: tuple[str, ...]
    unjudged: Mapping[str, str]
    killers: tuple[ReplayKiller, ...]


@contextlib.contextmanager
def open_replays(
    recorded: Recorded,
    sources: Sequence[Source],
    *,
    prometheus: Path,
    promtool: Promtool,
    alone: bool,
) -> Iterator[Replays]:
    """Replay the rules as they are, and be ready for mutants of ``sources`` (the files of
    ``recorded.rules``, in order), with one killer each, until the end of the ``with``.

    ``prometheus``: the program. ``alone``: nothing else judges these mutants.
    """
    rules = recorded.rules
    answers = virtual_verdicts(
        rules,
        recorded.segments,
        recorded.expectations,
        prometheus=prometheus,
        promtool=promtool.path,
        options=_OPTIONS,
    )
    failing = [_words(one, one.message) for one in answers if one.verdict is Verdict.FAIL]
    unjudged = {one.alert: one.message for one in answers if one.verdict is Verdict.UNKNOWN}
    alerts = [name for name in rules.replayable if name not in unjudged]
    if failing or not alerts:
        yield Replays(tuple(failing), unjudged, ())
        return
    versions = [_versions(rules, place, source) for place, source in enumerate(sources)]
    with Prometheus(prometheus, evaluation_interval_s=rules.evaluation_interval_s) as server:
        stage = Stage(
            rules,
            _every(rules, versions),
            recorded.segments,
            recorded.expectations,
            alerts,
            server=server,
            binary=prometheus,
            promtool=promtool,
            options=_OPTIONS,
        )
        usual: dict[_Moment, tuple[AlertTimeline, ...]] = {}
        for alert in alerts:
            for played in stage.play(rules, alert):
                usual[alert, played.number, len(played.phases)] = played.timelines
                wrong = _wrong(played, recorded.labels.get(alert, {}))
                failing += [_words(played.answer, wrong)] if wrong else []
        words = [recorded.fingerprint, _version_of(prometheus), repr(_OPTIONS), str(alone)]
        fingerprint = hashlib.sha256("\0".join(words).encode()).hexdigest()
        killers = tuple(
            ReplayKiller(recorded, stage, own, usual, place, fingerprint, alone)
            for place, own in enumerate(versions)
        )
        yield Replays(tuple(failing), unjudged, killers)


# An alert, the number of a history, and of how many phases.
_Moment = tuple[str, int, int]


class ReplayKiller:
    """Kills mutants of which a replay would say something else than that all is as it must be.

    Thread-safe.
    """

    def __init__(
        self,
        recorded: Recorded,
        stage: Stage,
        versions: Mapping[Mutant, Rule],
        usual: Mapping[_Moment, tuple[AlertTimeline, ...]],
        place: int,
        fingerprint: str,
        alone: bool,
    ) -> None:
        self._recorded = recorded
        self._stage = stage
        self._versions = versions
        self._usual = usual
        self._place = place
        self._alone = alone
        self._stopped = threading.Event()
        self.fingerprint = fingerprint

    @property
    def name(self) -> str:
        return "replays"

    def stop(self) -> None:
        self._stopped.set()

    def kills(self, mutants: Sequence[Mutant]) -> Mapping[Mutant, Outcome]:
        """Raises Stopped after ``stop``."""
        return {mutant: self._judged(mutant) for mutant in mutants}

    def _judged(self, mutant: Mutant) -> Outcome:
        version = self._versions.get(mutant)
        if version is None:
            return Survived()
        rules = _with_rule(self._recorded.rules, self._place, mutant, version)
        alerts = self._alerts(mutant)
        is_same = bool(alerts)
        for alert in alerts:
            labels = self._recorded.labels.get(alert, {})
            play = self._stage.play if mutant.rule.is_alert else self._stage.play_apart
            with contextlib.closing(play(rules, alert)) as histories:
                for played in histories:
                    if self._stopped.is_set():
                        raise Stopped("replays were stopped")
                    wrong = _wrong(played, labels)
                    if wrong:
                        return Killed(_words(played.answer, wrong))
                    moment = (alert, played.number, len(played.phases))
                    is_same = is_same and played.timelines == self._usual[moment]
        if is_same and self._alone:
            return Indistinguishable("the same timelines on all histories")
        return Survived()

    def _alerts(self, mutant: Mutant) -> list[str]:
        """Those that it may have changed, of those that can be judged."""
        rules = self._recorded.rules
        known = dict.fromkeys(alert for alert, _, _ in self._usual)
        if mutant.rule.is_alert:
            return [name for name in known if name == mutant.rule.name]
        return [
            name
            for name in known
            if any(
                recording.name == mutant.rule.name
                for rule, _ in rules.alerts[name]
                for recording in rules.recordings_of(rule)
            )
        ]


def _wrong(played: Played, labels: Mapping[str, str]) -> str | None:
    """What is not as it must be; None where all is."""
    answer = played.answer
    if answer.verdict is Verdict.FAIL:
        return answer.message
    if answer.verdict is Verdict.UNKNOWN and answer.reason in _BROKEN:
        return f"can't be judged: {answer.message}"
    for timeline in played.timelines:
        for found in _fired(timeline):
            for name, value in labels.items():
                if found.get(name) != value:
                    got = f"{name}={found[name]}" if name in found else f"no {name}"
                    return f"fired with {got} instead of {name}={value}"
    return None


def _fired(timeline: AlertTimeline) -> Iterator[dict[str, str]]:
    for labels, spans in timeline.spans.items():
        if any(span.state is State.FIRING for span in spans):
            yield dict(labels)


def _words(answer: Answer, what: str) -> str:
    short = " (short)" if answer.blip else ""
    return f"replay of {answer.segment}{short}: {answer.alert} {what}"


def _versions(rules: RuleSet, place: int, source: Source) -> dict[Mutant, Rule]:
    """Every mutant of a file that can be loaded, as a rule."""
    groups = RuleDocument.read(source.path).groups
    found: dict[Mutant, Rule] = {}
    with tempfile.TemporaryDirectory(prefix="alertdrill-mutants-") as folder:
        path = Path(folder) / "mutant.yml"
        for mutant in source.mutants:
            if mutant.refused is not None or mutant.equivalent:
                continue
            shared = groups[mutant.rule.group][0].entries().get("labels")
            labels = "" if shared is None else f"labels: {emit(shared.node)}, "
            rule = emit(mutated_rule(mutant, source.path).node)
            name = quoted(rules.files[place].groups[mutant.rule.group].name)
            path.write_text(f"groups: [{{name: {name}, {labels}rules: [{rule}]}}]\n", "utf-8")
            with contextlib.suppress(UsageError):  # then promtool has refused it, too
                found[mutant] = load_rules(path).groups[0].rules[0]
    return found


def _with_rule(rules: RuleSet, place: int, mutant: Mutant, version: Rule) -> RuleSet:
    """``rules`` with ``version`` where the rule of ``mutant`` stands, in the file at ``place``."""
    index = mutant.rule.index
    own = rules.files[place].groups[mutant.rule.group].rules
    return _with_rules(rules, place, mutant.rule.group, (*own[:index], version, *own[index + 1 :]))


def _every(rules: RuleSet, versions: Sequence[Mapping[Mutant, Rule]]) -> RuleSet:
    """``rules`` with all versions beside them."""
    for place, known in enumerate(versions):
        for number, group in enumerate(rules.files[place].groups):
            more = (rule for mutant, rule in known.items() if mutant.rule.group == number)
            rules = _with_rules(rules, place, number, (*group.rules, *more))
    return rules


def _with_rules(rules: RuleSet, place: int, number: int, own: tuple[Rule, ...]) -> RuleSet:
    """``rules`` with ``own`` in one group of the file at ``place``."""
    file = rules.files[place]
    group = replace(file.groups[number], rules=own)
    file = replace(file, groups=(*file.groups[:number], group, *file.groups[number + 1 :]))
    return replace(rules, files=(*rules.files[:place], file, *rules.files[place + 1 :]))


def _version_of(program: Path) -> str:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AlertdrillError(f"{program} does not say its version: {error}") from error
    return done.stdout + done.stderr
