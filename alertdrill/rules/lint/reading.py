"""What can be wrong with a file before any rule is looked at: checks AD101 to AD110, AD408."""

from __future__ import annotations

from alertdrill.rules.lint.examples import example
from alertdrill.rules.lint.finding import Check, Severity

# The one code that makes a check without errors unknown instead of clean.
NOT_JUDGED = "AD108"

_GOOD = example('up{job="app"} == 0')
_PROMETHEUS = """\
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['alertmanager:9093']}]}]}
"""
_TWICE = _GOOD + _GOOD.split("    rules:\n")[1]

CHECKS: tuple[Check, ...] = (
    Check(
        code="AD101",
        severity=Severity.ERROR,
        title="a file that can't be read",
        why="Prometheus refuses it, and with it every other file: it doesn't start, or keeps the "
        "rules that it had before.",
        fix="correct the YAML (UTF-8, spaces, no tabs)",
        bad=_GOOD.replace("{severity: critical}", "{severity: critical"),
        good=_GOOD,
    ),
    Check(
        code="AD102",
        severity=Severity.ERROR,
        title="nothing in it",
        why="A file without groups loads without complaint and guards nothing.",
        fix="write the rules below groups, or remove the file",
        bad="# Nothing here yet.\n",
        good=_GOOD,
    ),
    Check(
        code="AD103",
        severity=Severity.ERROR,
        title="a template instead of rules",
        why="What Helm or Jinja will make of it isn't known, so nothing in it was judged.",
        fix="render it first (helm template …) and check the result",
        bad=_GOOD.replace("groups:", "{{- if .Values.alerts }}\ngroups:") + "{{- end }}\n",
        good=_GOOD,
    ),
    Check(
        code="AD104",
        severity=Severity.ERROR,
        title="several YAML documents in one file",
        why="Prometheus reads the first document and ignores the others without a word.",
        fix="put each document into a file of its own",
        bad=_GOOD + "---\n" + _GOOD.replace("name: example", "name: second"),
        good=_GOOD,
    ),
    Check(
        code="AD105",
        severity=Severity.ERROR,
        title="an unknown key",
        why="Prometheus and Alertmanager refuse a file with a key that they don't know.",
        fix="correct its spelling or its indentation",
        about="prometheus.yml",
        beside={"rules.yml": _GOOD},
        bad=_PROMETHEUS.replace("rule_files", "alert_rules"),
        good=_PROMETHEUS,
    ),
    Check(
        code="AD106",
        severity=Severity.ERROR,
        title="a value that is refused",
        why="Missing, of the wrong kind, or given twice: Prometheus or Alertmanager refuses it.",
        fix="see the message",
        bad=_GOOD.replace("for: 10m", "for: ten minutes"),
        good=_GOOD,
    ),
    Check(
        code="AD107",
        severity=Severity.ERROR,
        title="not PromQL",
        why="Prometheus refuses the file.",
        fix="correct the expression",
        bad=example("sum(rate(http_requests_total[5m]) > 100"),
        good=example("sum(rate(http_requests_total[5m])) > 100"),
    ),
    Check(
        code=NOT_JUDGED,
        severity=Severity.WARNING,
        title="PromQL that isn't understood here",
        why="A newer Prometheus may accept it, the parser used here doesn't, so no check has seen "
        "the rule, and where nothing else is wrong the exit code is 3 (unknown). A promtool on "
        "PATH is asked; what it refuses is AD107. A suppression says that somebody has looked.",
        fix="look at it yourself, or write it more plainly",
        bad=example("sum(rate(http_requests_total[5m * 2])) > 100"),
        good=example("sum(rate(http_requests_total[10m])) > 100"),
    ),
    Check(
        code="AD109",
        severity=Severity.ERROR,
        title="a suppression without a reason",
        why="`# alertdrill: ignore AD301 because …` switches a check off for the rule that it "
        "stands above or in (at the top of a file: for the file). Without a reason nobody can "
        "tell later whether it still holds.",
        fix="write # alertdrill: ignore CODE because REASON",
        bad=_GOOD.replace(
            "      - alert", "      # alertdrill: ignore AD402\n      - alert"
        ).replace("          runbook_url: https://runbooks.example.org/example\n", ""),
        good=_GOOD.replace(
            "      - alert",
            "      # alertdrill: ignore AD402 because the summary says it all\n      - alert",
        ).replace("          runbook_url: https://runbooks.example.org/example\n", ""),
    ),
    Check(
        code="AD110",
        severity=Severity.WARNING,
        title="a suppression that suppresses nothing",
        why="What it excused is gone; left in place, it hides the next one.",
        fix="remove the comment",
        bad=_GOOD.replace(
            "      - alert",
            "      # alertdrill: ignore AD402 because the summary says it all\n      - alert",
        ),
        good=_GOOD,
    ),
    Check(
        code="AD408",
        severity=Severity.ERROR,
        title="the same alert twice",
        why="Two rules with one name and the same labels send one alert that flaps between them. "
        "A warning where their expressions differ.",
        fix="remove one, or tell them apart by a label",
        bad=_TWICE,
        good=_TWICE.replace("critical", "warning", 1),
    ),
)
