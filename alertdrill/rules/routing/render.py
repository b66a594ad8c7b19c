"""The templates of rules, rendered by Prometheus' own engine with the labels of a firing alert.

promtool's unit tests expand them: each alert is tested on a series that has its labels, with the
expectation that nothing fires; what fired instead stands in the failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from alertdrill.rules.promtool import CaseResult, FileResult, Promtool
from alertdrill.rules.routing.firing import Firing
from alertdrill.rules.testing.emit import quoted

# The value of every expression here: no template is known to need another one.
VALUE = "1"
# What Prometheus writes in place of a text that can't be expanded.
FAILED = "<error expanding template"

_SERIES = "alertdrill_firing_{}"
_GOT = re.compile(
    r"^\s*Labels:\{(?P<labels>.*)\}\n\s*Annotations:\{(?P<annotations>.*)\}$", re.MULTILINE
)
_PAIR = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')


def has_templates(firing: Firing) -> bool:
    texts = (*firing.rule.labels.values(), *firing.rule.annotations.values())
    return any("{{" in text for text in texts)


def as_written(firing: Firing, why: str) -> Firing:
    """``firing`` with its templates as they stand in the rule; ``why`` is empty if it has none."""
    rule = firing.rule
    labels = {**firing.series, **rule.labels, "alertname": rule.name}
    return replace(
        firing,
        labels={label: value for label, value in labels.items() if value},
        annotations=dict(rule.annotations),
        unrendered=why if has_templates(firing) else "",
    )


def render(
    firings: Sequence[Firing],
    promtool: Promtool,
    scratch: Path,
    external_labels: Mapping[str, str] | None = None,
) -> tuple[Firing, ...]:
    """``firings`` with their labels and annotations as Prometheus would send them.

    A rule that Prometheus refuses is left as written, with its words. Raises PromtoolFailed.
    """
    tests = [
        _write(scratch, number, firing, external_labels or {})
        for number, firing in enumerate(firings)
    ]
    results = promtool.test(tests)
    return tuple(_read(*pair) for pair in zip(firings, results, strict=True))


def _write(scratch: Path, number: int, firing: Firing, external: Mapping[str, str]) -> Path:
    series = _SERIES.format(number)
    rule = firing.rule
    rules = scratch / f"{number}.rules.yml"
    rules.write_text(
        f"groups: [{{name: g, rules: [{{alert: {series}, expr: {series},"
        f" labels: {_mapping(rule.labels)}, annotations: {_mapping(rule.annotations)}}}]}}]\n",
        encoding="utf-8",
    )
    labels = ",".join(f"{label}={quoted(value)}" for label, value in firing.series.items())
    tests = scratch / f"{number}.test.yml"
    tests.write_text(
        f"rule_files: [{quoted(rules.name)}]\n"
        f"tests: [{{external_labels: {_mapping(external)},"
        f" input_series: [{{series: {quoted(f'{series}{{{labels}}}')}, values: '{VALUE}'}}],"
        f" alert_rule_test: [{{eval_time: 0s, alertname: {series}, exp_alerts: []}}]}}]\n",
        encoding="utf-8",
    )
    return tests


def _mapping(texts: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quoted(key)}: {quoted(value)}" for key, value in texts.items()) + "}"


def _read(firing: Firing, result: FileResult) -> Firing:
    said = "\n".join(_words(case) for case in result.cases) or (result.error or "")
    got = _GOT.search(said)
    if got is None:
        return as_written(firing, said.strip() or "promtool says nothing of it")
    labels = {**_pairs(got["labels"]), "alertname": firing.rule.name}
    return replace(firing, labels=labels, annotations=_pairs(got["annotations"]))


def _words(case: CaseResult) -> str:
    return "\n".join(case.failures)


def _pairs(text: str) -> dict[str, str]:
    """Labels as Go prints them."""
    return {name: _unescaped(value) for name, value in _PAIR.findall(text)}


def _unescaped(value: str) -> str:
    """What stands between Go's quotes: its escapes are among Python's.

    Not by ``ast``: used by several threads at once it fails now and then in Python 3.11
    (SystemError: AST constructor recursion depth mismatch).
    """
    # The codec takes bytes for Latin-1; what isn't becomes an escape as well.
    return value.encode("latin-1", "backslashreplace").decode("unicode_escape")
