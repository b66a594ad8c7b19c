"""prometheus.yml as lint sees it: intervals, scrape jobs, rule files, and what is wrong there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alertdrill.rules import keys
from alertdrill.rules.lint.finding import Check, Severity
from alertdrill.rules.lint.source import Entry, Source, Text
from alertdrill.rules.model import DEFAULT_INTERVAL_S

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
_OWN_PORT = "9090"
_MISSPELT = {"alert_rules": "rule_files", "rules": "rule_files", "alertmanagers": "alerting"}


@dataclass(frozen=True)
class Job:
    """A scrape job. ``open_ended``: discovery or relabelling decides which labels it has."""

    name: str
    interval_ms: int
    labels: frozenset[str]
    open_ended: bool


@dataclass(frozen=True)
class Prometheus:
    """``rule_files``: what the patterns found; None where there are no patterns at all."""

    path: Path
    evaluation_ms: int
    jobs: tuple[Job, ...]
    patterns: tuple[str, ...]
    rule_files: tuple[Path, ...]

    @property
    def knows_jobs(self) -> bool:
        """Whether the jobs' names and labels are all there are."""
        return bool(self.jobs) and not any(job.open_ended for job in self.jobs)

    def scrape_ms(self, names: frozenset[str]) -> int | None:
        """The shortest scrape interval of the jobs called ``names``; of all, if none is."""
        chosen = [job for job in self.jobs if job.name in names] or list(self.jobs)
        return min((job.interval_ms for job in chosen), default=None)


def read_prometheus(document: Entry) -> Prometheus:
    """What ``document`` says; what is wrong is noted in its source."""
    source = document.source
    top = document.entries()
    for key, entry in top.items():
        if key not in keys.PROMETHEUS:
            meant = _MISSPELT.get(key)
            source.note(
                "AD105",
                f"unknown key {key!r} in the top level: Prometheus refuses to start",
                entry.key_spot,
                f"call it {meant!r}" if meant else "",
            )
    shared = top["global"].entries(keys.PROMETHEUS_GLOBAL) if "global" in top else {}
    default_ms = round(DEFAULT_INTERVAL_S * 1000)
    scrape_ms = _duration(shared, "scrape_interval") or default_ms
    jobs = tuple(_jobs(top, scrape_ms))
    _check_alerting(document, top)
    patterns = top["rule_files"].texts() if "rule_files" in top else ()
    if not patterns:
        source.note("AD111", "no rule_files: no alert could ever fire", document.key_spot)
    return Prometheus(
        path=source.path,
        evaluation_ms=_duration(shared, "evaluation_interval") or default_ms,
        jobs=jobs,
        patterns=tuple(pattern.value for pattern in patterns),
        rule_files=tuple(_rule_files(patterns, source)),
    )


def _duration(entries: Mapping[str, Entry], key: str) -> int | None:
    return entries[key].duration_ms() if key in entries else None


# --- scrape jobs ---------------------------------------------------------------------------


def _jobs(top: Mapping[str, Entry], default_ms: int) -> Iterator[Job]:
    seen: set[str] = set()
    for item in top["scrape_configs"].items() if "scrape_configs" in top else ():
        entries = item.entries(keys.SCRAPE)
        name = entries["job_name"].text() if "job_name" in entries else None
        if name is None:
            item.source.note("AD106", "a scrape job needs a job_name", item.key_spot)
            continue
        if name.value in seen:
            item.source.note("AD106", f"two scrape jobs are called {name.value!r}", name.spot())
        seen.add(name.value)
        interval = _duration(entries, "scrape_interval") or default_ms
        timeout = _duration(entries, "scrape_timeout") or 0
        if timeout > interval:
            entry = entries["scrape_timeout"]
            message = "scrape_timeout is longer than the scrape_interval"
            entry.source.note("AD106", message, entry.key_spot)
        labels: set[str] = set()
        for group in entries["static_configs"].items() if "static_configs" in entries else ():
            static = group.entries(keys.STATIC)
            labels |= set(static["labels"].entries()) if "labels" in static else set()
            for target in static["targets"].texts() if "targets" in static else ():
                _check_target(target, name.value)
        loose = (keys.DISCOVERY - {"static_configs"}) | {"relabel_configs", "honor_labels"}
        yield Job(name.value, interval, frozenset(labels), bool(loose & entries.keys()))
    if "scrape_config_files" in top:
        yield Job("", default_ms, frozenset(), open_ended=True)


def _check_target(target: Text, job: str) -> None:
    host, _, port = target.value.rpartition(":")
    if host in _LOOPBACK and port != _OWN_PORT and job != "prometheus":
        target.source.note(
            "AD115",
            f"target {target.value!r} of job {job!r}: in a container, {host} is Prometheus itself",
            target.spot(),
        )


# --- alerting ------------------------------------------------------------------------------


def _check_alerting(document: Entry, top: Mapping[str, Entry]) -> None:
    if "alerting" not in top:
        message = "no alerting section: alerts fire, and nobody is told"
        document.source.note("AD114", message, document.key_spot)
        return
    entries = top["alerting"].entries(keys.ALERTING)
    managers = entries["alertmanagers"].items() if "alertmanagers" in entries else ()
    for manager in managers:
        configured = manager.entries(keys.ALERTING_ALERTMANAGER)
        if configured.keys() & (keys.DISCOVERY - {"static_configs"}):
            return
        for group in configured["static_configs"].items() if "static_configs" in configured else ():
            static = group.entries(keys.STATIC)
            if "targets" in static and static["targets"].texts():
                return
    spot = top["alerting"].key_spot
    document.source.note(
        "AD114", "the alerting section names no Alertmanager: nobody is told", spot
    )


# --- rule files ----------------------------------------------------------------------------


def _rule_files(patterns: tuple[Text, ...], source: Source) -> Iterator[Path]:
    seen: set[Path] = set()
    for pattern in patterns:
        found = matching_files(source.path.parent, pattern.value)
        if not found:
            source.note("AD112", f"no rule file matches {pattern.value!r}", pattern.spot())
        for path in found:
            if path not in seen:
                seen.add(path)
                yield path


def matching_files(folder: Path, pattern: str) -> list[Path]:
    """The files that ``pattern`` finds, seen from ``folder``.

    A path of the container (``/etc/prometheus/rules/*.yml``) is looked for below ``folder`` by
    ever fewer of its last parts.
    """
    parts = PurePosixPath(pattern).parts
    absolute = bool(parts) and parts[0] == "/"
    tries = [parts[at:] for at in range(1, len(parts))] if absolute else [parts]
    for tried in tries:
        found = _glob(folder, "/".join(tried))
        if found:
            return found
    return _glob(Path("/"), "/".join(parts[1:])) if absolute else []


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError, OSError, IndexError):
        return []  # no pattern that a file could match


_CONFIG = """\
global:
  scrape_interval: 15s
rule_files: [rules.yml]
alerting:
  alertmanagers:
    - static_configs:
        - targets: ['alertmanager:9093']
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ['app:8000']
"""
_RULES = """\
groups:
  - name: app
    rules:
      - alert: AppDown
        expr: up{job="app"} == 0
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: The app is down
          runbook_url: https://runbooks.example.org/app-down
"""
_ABOUT = "prometheus.yml"
_BESIDE = {"rules.yml": _RULES}

CHECKS: tuple[Check, ...] = (
    Check(
        code="AD111",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="no rule_files",
        why="Prometheus starts without rules and says nothing; no alert can ever fire.",
        fix="name the rule files under rule_files",
        about=_ABOUT,
        beside=_BESIDE,
        bad=_CONFIG.replace("rule_files: [rules.yml]\n", ""),
        good=_CONFIG,
    ),
    Check(
        code="AD112",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="a pattern of rule_files finds no file",
        why="Prometheus starts without these rules and says nothing.",
        fix="name a file that exists beside or below prometheus.yml",
        about=_ABOUT,
        beside=_BESIDE,
        bad=_CONFIG.replace("[rules.yml]", "[rules.yml, alerts/*.yml]"),
        good=_CONFIG,
    ),
    Check(
        code="AD113",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="a rule file that no pattern of rule_files finds",
        why="Its rules are never loaded: they look as if they guarded something.",
        fix="add the file to rule_files, or leave it out of the check",
        beside={"prometheus.yml": _CONFIG},
        bad_beside={
            "prometheus.yml": _CONFIG.replace("[rules.yml]", "[other.yml]"),
            "other.yml": _RULES.replace("name: app", "name: other").replace("Down", "Gone"),
        },
        bad=_RULES,
        good=_RULES,
    ),
    Check(
        code="AD114",
        needs=("prometheus.yml",),
        severity=Severity.ERROR,
        title="no Alertmanager",
        why="Alerts fire inside Prometheus, and nobody is told.",
        fix="name the Alertmanager under alerting.alertmanagers",
        about=_ABOUT,
        beside=_BESIDE,
        bad=_CONFIG.split("alerting:")[0] + "scrape_configs:" + _CONFIG.split("scrape_configs:")[1],
        good=_CONFIG,
    ),
    Check(
        code="AD115",
        needs=("prometheus.yml",),
        severity=Severity.WARNING,
        title="a target on localhost",
        why="In a container localhost is Prometheus itself, so the target is down or, worse, "
        "something else answers. Prometheus scraping itself (port 9090) is left alone.",
        fix="name the target's host as Prometheus sees it; or say why it is right with "
        "`# alertdrill: ignore AD115 because …`",
        about=_ABOUT,
        beside=_BESIDE,
        bad=_CONFIG.replace("app:8000", "localhost:8000"),
        good=_CONFIG.replace("app:8000", "app:8000', 'localhost:9090"),
    ),
)
