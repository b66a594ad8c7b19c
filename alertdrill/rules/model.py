"""What is under test, as values: Prometheus' configuration, its rules, Alertmanager's routes.

Reading is strict: what Prometheus would refuse or silently ignore is a UsageError with file and
line, because a gate that runs on half a configuration proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from alertdrill.errors import UsageError
from alertdrill.rules import keys, promql
from alertdrill.rules.alertmanager import (
    AlertmanagerConfig,
    InhibitRule,
    Matcher,
    Receiver,
    Route,
    load_alertmanager,
)
from alertdrill.rules.document import Place, read_document

__all__ = [
    "AlertRule",
    "AlertmanagerConfig",
    "Group",
    "InhibitRule",
    "Matcher",
    "Monitoring",
    "PrometheusConfig",
    "Receiver",
    "RecordingRule",
    "Route",
    "RuleFile",
    "ScrapeJob",
    "UnreadRule",
    "load_alertmanager",
    "load_monitoring",
    "load_prometheus",
    "load_rules",
]


@dataclass(frozen=True)
class AlertRule:
    """An alert. ``labels`` and ``annotations`` hold templates as written; ``labels`` of the
    group are part of them. ``line`` (from 1) is where the rule begins."""

    name: str
    expr: str
    for_s: float
    keep_firing_for_s: float
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    file: Path
    line: int
    group: str

    @property
    def alert_labels(self) -> dict[str, str]:
        """The labels that are known before it fires, ``alertname`` among them."""
        return {**self.labels, "alertname": self.name}


@dataclass(frozen=True)
class RecordingRule:
    """A series that Prometheus computes; ``name`` is the metric that it records."""

    name: str
    expr: str
    labels: Mapping[str, str]
    file: Path
    line: int
    group: str


@dataclass(frozen=True)
class UnreadRule:
    """A rule whose expression can't be read here and may be PromQL all the same; ``why`` in the
    parser's words. ``is_alert`` False: it records."""

    name: str
    is_alert: bool
    expr: str
    why: str
    file: Path
    line: int


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated together, on the state of ``query_offset_s`` ago; None in either:
    what Prometheus' configuration says for all."""

    name: str
    interval_s: float | None
    rules: tuple[AlertRule | RecordingRule | UnreadRule, ...]
    line: int
    query_offset_s: float | None = None


@dataclass(frozen=True)
class RuleFile:
    path: Path
    groups: tuple[Group, ...]

    @property
    def unread(self) -> tuple[UnreadRule, ...]:
        return tuple(
            rule for group in self.groups for rule in group.rules if isinstance(rule, UnreadRule)
        )


@dataclass(frozen=True)
class ScrapeJob:
    """``targets``: the static ones, ``host:port``; others are found at run time."""

    name: str
    targets: tuple[str, ...]
    scrape_interval_s: float
    metrics_path: str
    line: int


@dataclass(frozen=True)
class PrometheusConfig:
    """``rule_files`` are the files that ``rule_globs`` found beside or below the configuration."""

    path: Path
    scrape_interval_s: float
    evaluation_interval_s: float
    external_labels: Mapping[str, str]
    rule_globs: tuple[str, ...]
    rule_files: tuple[Path, ...]
    jobs: tuple[ScrapeJob, ...]
    alertmanagers: tuple[str, ...]
    rule_query_offset_s: float = 0.0


@dataclass(frozen=True)
class Monitoring:
    """All of it; ``alerts`` by name, in the order of the files."""

    prometheus: PrometheusConfig
    alertmanager: AlertmanagerConfig
    files: tuple[RuleFile, ...]
    alerts: Mapping[str, AlertRule] = field(default_factory=dict)

    def interval_s(self, rule: AlertRule | RecordingRule) -> float:
        """How often ``rule`` is evaluated, in seconds."""
        own = (group.interval_s for group in self._groups_of(rule))
        shared = self.prometheus.evaluation_interval_s
        return next((interval_s for interval_s in own if interval_s is not None), shared)

    def query_offset_s(self, rule: AlertRule | RecordingRule) -> float:
        """How old the state is that ``rule`` is evaluated on, in seconds."""
        own = (group.query_offset_s for group in self._groups_of(rule))
        shared = self.prometheus.rule_query_offset_s
        return next((offset_s for offset_s in own if offset_s is not None), shared)

    def _groups_of(self, rule: AlertRule | RecordingRule) -> Iterator[Group]:
        return (group for file in self.files for group in file.groups if rule in group.rules)

    def recordings(self) -> tuple[RecordingRule, ...]:
        return tuple(
            rule
            for file in self.files
            for group in file.groups
            for rule in group.rules
            if isinstance(rule, RecordingRule)
        )


# Prometheus' own default for both intervals.
DEFAULT_INTERVAL_S = 60.0

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_rules(path: Path) -> RuleFile:
    """Read and check one rule file. Raises UsageError with file and line.

    A rule in PromQL that only a newer Prometheus may know is an UnreadRule, and concerns no other.
    """
    document = read_document(path)
    top = document.entries(keys.RULE_FILE, ", a rule file has only groups")
    if "groups" not in top or not top["groups"].items():
        raise document.error("no groups: no rule would ever be evaluated")
    groups: list[Group] = []
    for item in top["groups"].items():
        group = _group(item)
        if any(group.name == other.name for other in groups):
            raise item.error(f"two groups are called {group.name!r}")
        groups.append(group)
    return RuleFile(path, tuple(groups))


def _group(place: Place) -> Group:
    entries = place.entries(keys.GROUP)
    if "name" not in entries or not entries["name"].text():
        raise place.error("a group needs a name")
    name = entries["name"].text()
    interval = entries["interval"].duration_ms() / 1000 if "interval" in entries else 0.0
    offset = entries["query_offset"].duration_ms() / 1000 if "query_offset" in entries else None
    labels = _labels(entries.get("labels"))
    rules = entries["rules"].items() if "rules" in entries else ()
    return Group(
        name=name,
        interval_s=interval or None,
        rules=tuple(_rule(item, name, labels) for item in rules),
        line=place.line,
        query_offset_s=offset,
    )


def _rule(
    place: Place, group: str, shared: Mapping[str, str]
) -> AlertRule | RecordingRule | UnreadRule:
    entries = place.entries(keys.RULE)
    if ("alert" in entries) == ("record" in entries):
        raise place.error("a rule has either alert or record")
    if "expr" not in entries:
        raise place.error("a rule needs an expr")
    expr = entries["expr"].text()
    kind = "alert" if "alert" in entries else "record"
    name = entries[kind].text()
    not_understood = None
    try:
        promql.parse(expr)
    except promql.NotUnderstood as error:
        not_understood = str(error)
    except ValueError as error:
        raise entries["expr"].error(f"{kind} {name}: not PromQL: {error}") from None
    labels = MappingProxyType({**shared, **_labels(entries.get("labels"))})
    found: AlertRule | RecordingRule
    if kind == "record":
        for key in ("for", "keep_firing_for", "annotations"):
            if key in entries:
                raise entries[key].error(f"a recording rule can't have {key}")
        found = RecordingRule(name, expr, labels, place.file, place.line, group)
    else:
        if not name:
            raise entries["alert"].error("an alert needs a name")
        found = AlertRule(
            name=name,
            expr=expr,
            for_s=_seconds(entries, "for", 0.0),
            keep_firing_for_s=_seconds(entries, "keep_firing_for", 0.0),
            labels=labels,
            annotations=MappingProxyType(_labels(entries.get("annotations"))),
            file=place.file,
            line=place.line,
            group=group,
        )
    if not_understood is not None:
        return UnreadRule(name, kind == "alert", expr, not_understood, place.file, place.line)
    return found


def _labels(place: Place | None) -> dict[str, str]:
    if place is None:
        return {}
    found = {}
    for label, value in place.entries().items():
        if not _LABEL.fullmatch(label):
            raise value.error(f"{label!r} is not a label name")
        found[label] = value.text()
    return found


def _seconds(entries: Mapping[str, Place], key: str, default: float) -> float:
    return entries[key].duration_ms() / 1000 if key in entries else default


def load_prometheus(path: Path) -> PrometheusConfig:
    """Read and check ``prometheus.yml`` and find its rule files.

    A pattern written for the container (``/etc/prometheus/alerts.yml``) is looked for by its
    last part beside ``path``. Raises UsageError, also where Prometheus would start and tell
    nobody: no ``alerting`` section, a pattern that finds no file.
    """
    document = read_document(path)
    hint = ", Prometheus has none such"
    top = document.entries(keys.PROMETHEUS, hint)
    shared = top["global"].entries(keys.PROMETHEUS_GLOBAL, hint) if "global" in top else {}
    scrape_s = _seconds(shared, "scrape_interval", 0.0) or DEFAULT_INTERVAL_S
    jobs: list[ScrapeJob] = []
    for item in top["scrape_configs"].items() if "scrape_configs" in top else ():
        job = _scrape_job(item, scrape_s, hint)
        if any(job.name == other.name for other in jobs):
            raise item.error(f"two scrape jobs are called {job.name!r}")
        jobs.append(job)
    patterns = top["rule_files"].items() if "rule_files" in top else ()
    if not patterns:
        raise document.error("no rule_files: no alert could ever fire")
    files: list[Path] = []
    for pattern in patterns:
        found = _rule_files(path.parent, pattern.text())
        if not found:
            raise pattern.error(f"no rule file matches {pattern.text()!r}")
        files.extend(file for file in found if file not in files)
    return PrometheusConfig(
        path=path,
        scrape_interval_s=scrape_s,
        evaluation_interval_s=_seconds(shared, "evaluation_interval", 0.0) or DEFAULT_INTERVAL_S,
        rule_query_offset_s=_seconds(shared, "rule_query_offset", 0.0),
        external_labels=MappingProxyType(_labels(shared.get("external_labels"))),
        rule_globs=tuple(pattern.text() for pattern in patterns),
        rule_files=tuple(files),
        jobs=tuple(jobs),
        alertmanagers=_alertmanagers(document, top, hint),
    )


def _scrape_job(place: Place, default_s: float, hint: str) -> ScrapeJob:
    entries = place.entries(keys.SCRAPE, hint)
    if "job_name" not in entries:
        raise place.error("a scrape job needs a job_name")
    interval_s = _seconds(entries, "scrape_interval", 0.0) or default_s
    timeout_s = _seconds(entries, "scrape_timeout", 0.0)
    if timeout_s > interval_s:
        raise entries["scrape_timeout"].error("scrape_timeout is longer than the scrape_interval")
    return ScrapeJob(
        name=entries["job_name"].text(),
        targets=_targets(entries),
        scrape_interval_s=interval_s,
        metrics_path=entries["metrics_path"].text() if "metrics_path" in entries else "/metrics",
        line=place.line,
    )


def _alertmanagers(document: Place, top: Mapping[str, Place], hint: str) -> tuple[str, ...]:
    nobody = "alerts would reach nobody"
    if "alerting" not in top:
        raise document.error(f"no alerting section: {nobody}")
    entries = top["alerting"].entries(keys.ALERTING, hint)
    managers = entries["alertmanagers"].items() if "alertmanagers" in entries else ()
    found: list[str] = []
    discovered = False
    for manager in managers:
        configured = manager.entries(keys.ALERTING_ALERTMANAGER, hint)
        discovered = discovered or bool(configured.keys() & (keys.DISCOVERY - {"static_configs"}))
        found.extend(_targets(configured))
    if not found and not discovered:
        raise top["alerting"].error(f"the alerting section names no Alertmanager: {nobody}")
    return tuple(found)


def _targets(entries: Mapping[str, Place]) -> tuple[str, ...]:
    found: list[str] = []
    for group in entries["static_configs"].items() if "static_configs" in entries else ():
        static = group.entries(keys.STATIC)
        found.extend(static["targets"].texts() if "targets" in static else ())
        _labels(static.get("labels"))
    return tuple(found)


def _rule_files(folder: Path, pattern: str) -> list[Path]:
    below = Path(pattern)
    found = sorted(folder.glob(below.name if below.is_absolute() else pattern))
    if below.is_absolute() and not found:
        anchor = Path(below.anchor)
        found = sorted(anchor.glob(str(below.relative_to(anchor))))
    return [file for file in found if file.is_file()]


def load_monitoring(
    prometheus: Path, alertmanager: Path, *, may_have_unread: bool = False
) -> Monitoring:
    """Everything under test. Raises UsageError; also when two alerts have one name, because
    drills and coverage tell alerts apart by it, and for a rule that can't be read, because
    nothing of it could be derived, unless ``may_have_unread``."""
    config = load_prometheus(prometheus)
    files = tuple(load_rules(path) for path in config.rule_files)
    for unread in (rule for file in files for rule in file.unread if not may_have_unread):
        raise UsageError(
            f"{unread.name}: its PromQL is not understood here ({unread.why})",
            file=unread.file,
            line=unread.line,
        )
    alerts: dict[str, AlertRule] = {}
    for file in files:
        for group in file.groups:
            for rule in group.rules:
                if not isinstance(rule, AlertRule):
                    continue
                if rule.name in alerts:
                    first = alerts[rule.name]
                    raise UsageError(
                        f"alert {rule.name} is defined twice, first at {first.file}:{first.line}",
                        file=rule.file,
                        line=rule.line,
                    )
                alerts[rule.name] = rule
    return Monitoring(config, load_alertmanager(alertmanager), files, MappingProxyType(alerts))
