"""A small monitoring that is right in every respect, to plant one defect in at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from alertdrill.config import AlertExpectation
from alertdrill.rules.model import load_rules
from alertdrill.rules.routing.run import Question

ALERTS = """\
groups:
  - name: g
    rules:
      - alert: Down
        expr: up{job="app"} == 0
        labels: {severity: critical}
        annotations: {summary: '{{ $labels.instance }} is down'}
      - alert: Errors
        expr: sum by (service) (rate(errors_total[5m])) > 1
        labels: {severity: warning, symptom: app}
        annotations: {summary: '{{ $labels.service }}: {{ $value | humanize }} errors/s'}
      - alert: Watchdog
        expr: vector(1)
        labels: {severity: none}
"""

ALERTMANAGER = """\
global:
  slack_api_url_file: /run/secrets/slack
templates: [/etc/alertmanager/texts.tmpl]
route:
  receiver: team
  group_by: [alertname]
  group_wait: 10s
  group_interval: 20s
  repeat_interval: 1m
  routes:
    - matchers: [severity="critical"]
      receiver: oncall
    - matchers: [severity="warning"]
      receiver: team
    - matchers: [severity="none"]
      receiver: nobody
inhibit_rules:
  - source_matchers: [alertname="Down"]
    target_matchers: [symptom="app"]
receivers:
  - name: team
    slack_configs:
      - channel: '#team'
        send_resolved: true
        title: '{{ template "our.title" . }}'
        text: '{{ .CommonAnnotations.summary }}'
  - name: oncall
    pagerduty_configs:
      - routing_key_file: /run/secrets/pagerduty
        details: {who: '{{ .GroupLabels.alertname }}'}
  - name: nobody
"""

TEXTS = """\
{{ define "our.title" }}{{ if .CommonLabels.team }}{{ .CommonLabels.team }} {{ end -}}
{{ .CommonLabels.alertname }}{{ end }}
"""

# Ten seconds become a tenth; a run takes two.
FACTOR = 100


@dataclass(frozen=True)
class Project:
    """Texts of files; ``but`` gives the same project with one of them changed in one place.

    ``whole``: whether it says where its alerts belong, and has no others.
    """

    alerts: str = ALERTS
    alertmanager: str = ALERTMANAGER
    texts: str = TEXTS
    whole: bool = True

    def as_mere_files(self) -> Project:
        return replace(self, whole=False)

    def but(self, file: str, old: str, new: str) -> Project:
        text = getattr(self, file)
        assert text.count(old) == 1, f"{old!r} is in {file} {text.count(old)} times"
        return replace(self, **{file: text.replace(old, new)})

    def write(self, folder: Path) -> Path:
        (folder / "alerts.yml").write_text(self.alerts)
        (folder / "alertmanager.yml").write_text(self.alertmanager)
        (folder / "texts.tmpl").write_text(self.texts)
        return folder

    def question(self, folder: Path) -> Question:
        self.write(folder)
        return Question(
            rule_files=(load_rules(folder / "alerts.yml"),),
            alertmanager=folder / "alertmanager.yml",
            table={
                "Down": expectation("oncall", "critical"),
                "Errors": expectation("team", "warning"),
            }
            if self.whole
            else {},
            complete=self.whole,
            factor=FACTOR,
        )


def expectation(receiver: str, severity: str) -> AlertExpectation:
    return AlertExpectation(
        receiver=receiver, labels={"severity": severity}, within="5m", resolved_within="5m"
    )


CLEAN = Project()
