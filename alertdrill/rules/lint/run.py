"""Lint of many files, one after the other: what is kept of each is its findings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml.nodes import Node

from alertdrill.errors import UsageError
from alertdrill.rules.alertmanager import AlertmanagerConfig, load_alertmanager
from alertdrill.rules.document import is_readable, is_template, read_text
from alertdrill.rules.lint import suppress
from alertdrill.rules.lint.checks import BY_CODE, OF_RULES
from alertdrill.rules.lint.discover import Candidate, Kind, candidates, kind_by_name, kind_of
from alertdrill.rules.lint.exposition import load_exposition
from alertdrill.rules.lint.finding import START, Check, Finding, Severity
from alertdrill.rules.lint.prometheus import Prometheus, read_prometheus
from alertdrill.rules.lint.reading import NOT_JUDGED
from alertdrill.rules.lint.routing import line_start, unused_receivers
from alertdrill.rules.lint.rule_check import Context, Problem
from alertdrill.rules.lint.source import (
    Entry,
    Note,
    Source,
    documents,
)
from alertdrill.rules.lint.subject import Rule, RuleFile, Unparsed, read_rules
from alertdrill.rules.second_opinion import Opinion, find_on_path, not_asked, opinions

# One of these words is in every file that kind_of() takes for a configuration.
_CONFIGURATION = (
    "scrape_config",
    "rule_files",
    "alert_rules",
    "alerting",
    "route",
    "receivers",
    "inhibit_rules",
)


@dataclass(frozen=True)
class Report:
    """``findings`` in the order of files and lines; how much was looked at."""

    findings: tuple[Finding, ...]
    files: int
    rules: int

    @property
    def is_complete(self) -> bool:
        """Whether everything could be judged."""
        return all(finding.code != NOT_JUDGED for finding in self.findings)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)


@dataclass(frozen=True)
class Given:
    """What the command line names beside the paths. ``metrics``: files or http(s) URLs."""

    prometheus: Path | None = None
    alertmanager: Path | None = None
    metrics: tuple[str, ...] = ()


def lint(paths: Iterable[Path], given: Given | None = None) -> Report:
    """Everything that is wrong with the files below ``paths``.

    Raises UsageError when a path doesn't exist, an exposition can't be had, or there is no file
    that holds rules.
    """
    given = given or Given()
    run = _Run(given)
    files = candidates(paths)
    run.read_companions(files)
    for candidate in files:
        run.look_at(candidate)
    return run.report([str(path) for path in paths])


@dataclass
class _Run:
    given: Given
    findings: list[Finding] = field(default_factory=list)
    context: Context = field(default_factory=Context)
    recorded: set[str] = field(default_factory=set)
    # Of every alert a digest, so that memory doesn't grow with what the files hold.
    seen: dict[bytes, tuple[bytes, Path, int]] = field(default_factory=dict)
    # What is no rule file, and was judged before those.
    companions: set[Path] = field(default_factory=set)
    # What the patterns of any prometheus.yml find.
    loaded: set[Path] = field(default_factory=set)
    files: int = 0
    rule_files: int = 0
    rules: int = 0

    # --- configuration, which rules are judged by -------------------------------------------

    def read_companions(self, files: list[Candidate]) -> None:
        """prometheus.yml and alertmanager.yml, given by option or found below the paths.

        Where a prometheus.yml is among ``files``, the rule files that it finds join them.
        """
        options = {
            Kind.PROMETHEUS: self.given.prometheus,
            Kind.ALERTMANAGER: self.given.alertmanager,
        }
        given = {path.resolve(): kind for kind, path in options.items() if path is not None}
        named = [Candidate(path, named=True) for path in options.values() if path is not None]
        for candidate in named:
            if not is_readable(candidate.path):
                raise UsageError("no such file", file=candidate.path)
        servers: list[Prometheus] = []
        managers: list[AlertmanagerConfig] = []
        for candidate in [*named, *files]:
            key = candidate.path.resolve()
            if key in self.companions or not (
                key in given or _may_be_configuration(candidate.path)
            ):
                continue
            source, roots = self._open(candidate.path)
            kind = given.get(key) or kind_of(candidate.path, roots)
            if kind is Kind.PROMETHEUS:
                servers.extend(self._prometheus(source, roots))
            elif kind is Kind.ALERTMANAGER:
                managers.extend(self._alertmanager(source, roots))
            else:
                continue
            self.companions.add(key)
        self.loaded = {path.resolve() for server in servers for path in server.rule_files}
        # Those given by option come first, and rules are judged by the first.
        self.context = Context(
            prometheus=servers[0] if servers else None,
            alertmanager=managers[0] if managers else None,
            exposed=load_exposition(self.given.metrics) if self.given.metrics else None,
        )
        below = {candidate.path.resolve() for candidate in files} if servers else set()
        for server in servers:
            if server.path.resolve() in below:
                files += [
                    Candidate(path, named=True)
                    for path in server.rule_files
                    if path.resolve() not in below
                ]

    def _prometheus(self, source: Source, roots: list[Node]) -> list[Prometheus]:
        read = [read_prometheus(Entry("", root, root, source)) for root in roots[:1]]
        if not roots and not source.notes:
            source.note("AD102", "is empty: Prometheus refuses it")
        self._close(source, given=frozenset({"prometheus.yml"}))
        return read

    def _alertmanager(self, source: Source, roots: list[Node]) -> list[AlertmanagerConfig]:
        read: list[AlertmanagerConfig] = []
        if roots:
            try:
                read = [load_alertmanager(source.path)]
            except UsageError as error:
                words = str(error).removeprefix(f"{error.file}:").lstrip("0123456789: ")
                spot = line_start(source, error.line) if error.line else START
                code = "AD105" if words.startswith("unknown key") else "AD106"
                source.note(code, words, spot)
            else:
                source.notes.extend(unused_receivers(read[0], source))
        elif not source.notes:
            source.note("AD102", "is empty: Alertmanager refuses it")
        self._close(source, given=frozenset({"alertmanager.yml"}))
        return read

    # --- rule files ------------------------------------------------------------------------

    def look_at(self, candidate: Candidate) -> None:
        """Judge one file, unless it is none with rules (a folder may hold any)."""
        if candidate.path.resolve() in self.companions:
            return
        source, roots = self._open(candidate.path)
        kind = kind_of(candidate.path, roots)
        if not roots and source.notes and not candidate.named:
            looks = kind_by_name(candidate.path) is not Kind.OTHER
            kind = Kind.RULES if looks or "groups:" in source.text else Kind.OTHER
        if kind is Kind.TESTS or (kind is not Kind.RULES and not candidate.named):
            return
        self.rule_files += 1
        if not roots and not source.notes:
            if is_template(source.text):
                source.note("AD103", "is a template, and nothing without it")
            else:
                source.note("AD102", "is empty: no rule would ever be evaluated")
        self._check_is_loaded(source)
        found = read_rules(source, roots)
        self._ask_promtool(found)
        problems = [f for rule in found.rules for f in self._judge(rule)]
        self.rules += len(found.rules)
        self.recorded |= {rule.name.value for rule in found.rules if not rule.is_alert}
        self._close(source, problems)

    def _check_is_loaded(self, source: Source) -> None:
        prometheus = self.context.prometheus
        if prometheus is None or not prometheus.patterns:
            return
        if source.path.resolve() not in self.loaded:
            source.note(
                "AD113",
                f"no pattern of rule_files in {prometheus.path} finds this file: "
                "its rules are never loaded",
            )

    def _judge(self, rule: Rule) -> Iterator[Finding]:
        for check in OF_RULES:
            try:
                for problem in check.problems(rule, self.context):
                    yield _finding(rule, check, problem)
            except RecursionError:
                message = "the expression is nested too deeply to be judged"
                fix = "split it by recording rules, or look at it yourself"
                yield _finding(rule, BY_CODE[NOT_JUDGED], Problem(message, fix=fix))
                break
        yield from self._duplicates(rule)

    def _duplicates(self, rule: Rule) -> Iterator[Finding]:
        if not rule.is_alert:
            return
        labels = sorted((name, text.value) for name, text in rule.labels.items())
        identity = _digest(rule.name.value, repr(labels))
        # Layout is no difference: compare what was parsed.
        meaning = _digest(str(rule.tree) if rule.tree is not None else rule.expr.value)
        here = (rule.path, rule.lines[0])
        first_meaning, *first = self.seen.setdefault(identity, (meaning, *here))
        if tuple(first) == here:
            return
        same = first_meaning == meaning
        yield _finding(
            rule,
            BY_CODE["AD408"],
            Problem(
                f"the same name and labels are defined at {first[0]}:{first[1]}"
                + ("" if same else ", with another expression"),
                spot=rule.name.spot(),
                severity=None if same else Severity.WARNING,
            ),
        )

    def _ask_promtool(self, found: RuleFile) -> None:
        if not found.unparsed:
            return
        promtool = find_on_path()
        if promtool is None:
            said = [not_asked("none is on PATH")] * len(found.unparsed)
        else:
            said = opinions(promtool, [one.expr.value for one in found.unparsed])
        for unparsed, opinion in zip(found.unparsed, said, strict=True):
            _note_unparsed(unparsed, opinion)

    # --- in and out ------------------------------------------------------------------------

    def _open(self, path: Path) -> tuple[Source, list[Node]]:
        try:
            source = Source(path, read_text(path))
        except UsageError as error:
            source = Source(path, "")
            source.note("AD101", str(error).removeprefix(f"{path}: "))
            return source, []
        return source, documents(source)

    def _close(
        self,
        source: Source,
        findings: Sequence[Finding] = (),
        given: frozenset[str] = frozenset(),
    ) -> None:
        """Keep what is left of a file's findings after its suppressions."""
        self.files += 1
        found = suppress.suppressions(source) if "alertdrill" in source.text else ()
        everything = [*(_noted(source, note) for note in source.notes), *findings]
        left, idle = suppress.apply(everything, found, given or self._judged_by())
        self.findings += [*left, *(_noted(source, note) for note in idle)]

    def _judged_by(self) -> frozenset[str]:
        parts = {
            "metrics": self.context.exposed,
            "prometheus.yml": self.context.prometheus,
            "alertmanager.yml": self.context.alertmanager,
        }
        return frozenset(name for name, part in parts.items() if part is not None)

    def report(self, asked: list[str]) -> Report:
        if not self.rule_files and all(f.severity is Severity.WARNING for f in self.findings):
            raise UsageError(
                f"no rule file in {', '.join(asked)}: a rule file has `groups:` at its top "
                "and is called *.yml, *.yaml or *.rules"
            )
        real = [f for f in self.findings if f.unless_recorded not in self.recorded]
        unique = dict.fromkeys(real)
        ordered = sorted(unique, key=lambda f: (str(f.file), f.spot, f.code, f.message))
        return Report(tuple(ordered), self.files, self.rules)


def _may_be_configuration(path: Path) -> bool:
    """A cheap look at the text, so that most rule files are parsed only once."""
    try:
        text = read_text(path)
    except UsageError:
        return False
    if any(line.startswith("groups:") for line in text.splitlines()):
        return False
    return kind_by_name(path) in (Kind.PROMETHEUS, Kind.ALERTMANAGER) or any(
        word in text for word in _CONFIGURATION
    )


def _digest(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=12).digest()


def _finding(rule: Rule, check: Check, problem: Problem) -> Finding:
    return Finding(
        file=rule.path,
        spot=problem.spot or rule.expr.spot(problem.word),
        severity=problem.severity or check.severity,
        code=check.code,
        message=problem.message,
        fix=problem.fix or check.fix,
        rule=rule.name.value,
        scope=rule.lines,
        unless_recorded=problem.unless_recorded,
    )


def _note_unparsed(unparsed: Unparsed, opinion: Opinion) -> None:
    expr = unparsed.expr
    if opinion.refused:
        expr.source.note("AD107", f"not PromQL, says {opinion.words}", expr.spot())
        return
    message = f"not understood here ({unparsed.words}); {opinion.words}: the rule was not judged"
    expr.source.note(NOT_JUDGED, message, expr.spot())


def _noted(source: Source, note: Note) -> Finding:
    check = BY_CODE[note.code]
    return Finding(
        source.path, note.spot, check.severity, note.code, note.message, note.fix or check.fix
    )
