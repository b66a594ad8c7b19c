"""Which labels a firing alert has: from its expression, from recordings, from exposed metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.rules.lint.exposition import load_exposition
from alertdrill.rules.model import AlertRule, RecordingRule
from alertdrill.rules.routing.firing import always_fires, firings
from alertdrill.rules.routing.render import _pairs, as_written


def rule(expr: str, **annotations: str) -> AlertRule:
    return AlertRule(
        name="A",
        expr=expr,
        for_s=0,
        keep_firing_for_s=0,
        labels={"severity": "critical"},
        annotations=annotations,
        file=Path("alerts.yml"),
        line=1,
        group="g",
    )


@pytest.mark.parametrize(
    ("expr", "series"),
    [
        ("sum(rate(x[5m])) > 1", [{}]),
        ("sum by (queue) (x) > 1", [{"queue": "<queue>"}]),
        ('sum by (queue) (x{queue="mail"}) > 1', [{"queue": "mail"}]),
        ('sum by (queue) (x{queue=~"mail|sms"}) > 1', [{"queue": "<queue>"}]),
        ('up{job="app"} == 0', [{"job": "app", "instance": "<instance>"}]),
        ('absent(up{job="app"})', [{"job": "app"}]),
        (
            'up{job="app"} == 0 or absent(up{job="app"})',
            [{"job": "app", "instance": "<instance>"}, {"job": "app"}],
        ),
        (
            "histogram_quantile(0.9, sum by (le, path) (rate(x_bucket[5m]))) > 1",
            [{"path": "<path>"}],
        ),
        ("vector(1)", [{}]),
        # Both sides agree on job; the left says nothing of the label that the right asks for.
        ('sum by (job) (a{job="x"}) / sum by (job) (b{job="x", k="v"}) > 1', [{"job": "x"}]),
        ('sum by (k) (a{k="1"} or on (x) b{k="2"})', [{"k": "<k>"}]),
        # Of a series that is there, nothing is known from one that isn't.
        (
            'up{job="x"} > 0 unless on (instance) sum by (instance) (rate(a{k="v"}[5m])) > 0',
            [{"job": "x", "instance": "<instance>"}],
        ),
        ('a and on () b{k="v"}', [{"job": "<job>", "instance": "<instance>"}]),
        ('a and on (k) b{k="v", l="w"}', [{"k": "v", "job": "<job>", "instance": "<instance>"}]),
        (
            'a and ignoring (k) b{k="v", l="w"}',
            [{"l": "w", "job": "<job>", "instance": "<instance>"}],
        ),
        (
            'a{i="u"} * on (k) group_left (l) b{k="v", l="w", m="x"}',
            [{"i": "u", "k": "v", "l": "w", "job": "<job>", "instance": "<instance>"}],
        ),
        ('sum by (k) (b{k="v", m="x"}) * on (k) group_right a{i="u"}', [{"i": "u", "k": "v"}]),
    ],
)
def test_labels_of_the_expression(expr: str, series: list[dict[str, str]]) -> None:
    assert [dict(firing.series) for firing in firings(rule(expr))] == series


def test_a_label_that_a_template_prints_and_the_series_may_have_gets_a_placeholder() -> None:
    (firing,) = firings(rule("x > 1", summary="{{ $labels.pod }}"))
    assert firing.series["pod"] == "<pod>"
    assert not firing.lacks
    assert "pod" in firing.placeholders


def test_a_label_that_was_aggregated_away_is_lacking() -> None:
    (firing,) = firings(rule("sum by (job) (x) > 1", summary="{{ $labels.pod }}"))
    assert firing.lacks == {"pod"}


def test_a_recorded_series_has_the_labels_of_its_recording() -> None:
    recording = RecordingRule("job:x:sum", "sum by (job) (x)", {"team": "a"}, Path("r.yml"), 1, "g")
    (firing,) = firings(rule("job:x:sum > 1"), [recording])
    assert set(firing.series) == {"job", "team"}


def test_exposed_metrics_give_the_values(tmp_path: Path) -> None:
    page = tmp_path / "metrics"
    page.write_text('x{queue="mail",path="/a"} 1\nx{queue="sms",path="/b"} 2\n')
    found = firings(rule("sum by (queue) (x) > 1"), metrics=load_exposition([str(page)]))
    assert [firing.series["queue"] for firing in found] == ["mail", "sms"]
    assert not any(firing.placeholders for firing in found)
    unless = rule("up unless on (instance) x > 1")
    (found_without,) = firings(unless, metrics=load_exposition([str(page)]))
    assert "queue" not in found_without.series


@pytest.mark.parametrize(
    ("expr", "always"),
    [("vector(1)", True), ("1 < bool 2", True), ("up == 0", False), ("hour() > 8", False)],
)
def test_always_fires(expr: str, always: bool) -> None:
    assert always_fires(rule(expr)) is always


def test_the_rule_s_own_labels_win_and_empty_ones_vanish() -> None:
    (firing,) = firings(rule('x{severity="info"} > 1'))
    firing = as_written(firing, "why")
    assert firing.labels["severity"] == "critical"
    assert firing.labels["alertname"] == "A"
    assert firing.unrendered == ""
    assert firing.sent_with({"severity": "other", "site": "eu"}).labels["severity"] == "critical"
    assert firing.sent_with({"site": "eu"}).labels["site"] == "eu"


def _as_go_prints(text: str) -> str:
    plain = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    return "".join(
        plain.get(
            c, c if c.isprintable() else f"\\U{ord(c):08x}" if c > "\xff" else f"\\x{ord(c):02x}"
        )
        for c in text
    )


@given(st.dictionaries(st.from_regex("[a-z]+", fullmatch=True), st.text(), max_size=4))
def test_labels_are_read_back_from_what_promtool_prints(labels: dict[str, str]) -> None:
    printed = ", ".join(f'{name}="{_as_go_prints(value)}"' for name, value in labels.items())
    assert _pairs(printed) == labels
