"""Trimmed segments hold all that their rules can ask for, and little else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from alertdrill.errors import UsageError
from alertdrill.rules.model import load_rules
from alertdrill.rules.replay.model import Kind, LabelSet, Segment, Stretch
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.segments import load_segments, save
from alertdrill.rules.replay.targets import metric_name
from alertdrill.rules.replay.tile import build, incident
from alertdrill.rules.replay.trim import trim, trim_segments
from tests.rules_replay.judges_data import labels, segments

RULES = """\
groups:
  - name: g
    rules:
      - record: job:errors:rate5m
        expr: sum(rate(sync_operations_total{status="error"}[5m]))
      - alert: Errors
        expr: job:errors:rate5m > 0.1
"""
POOL = "      - {alert: Pool, expr: db_connection_pool_in_use > 1 or absent(no_such_metric)}\n"
OTHER: LabelSet = tuple(
    sorted({"__name__": "node_load1", "job": "node", "instance": "node-exporter:9100"}.items())
)
OTHER_UP: LabelSet = tuple((key, "up" if key == "__name__" else value) for key, value in OTHER)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two drills, with a target that no rule reads."""
    folder = tmp_path / "recorded"
    for fault in ("errors", "pool"):
        for segment in segments(fault):
            save(_with_node(segment), folder)
    return folder


def _with_node(segment: Segment) -> Segment:
    more = {OTHER: np.ones(segment.slots), OTHER_UP: np.ones(segment.slots)}
    kinds = {**segment.kinds, "node_load1": Kind.GAUGE}
    return replace(segment, series={**segment.series, **more}, kinds=kinds)


def rule_set(folder: Path, text: str) -> RuleSet:
    path = folder / "rules.yml"
    path.write_text(text)
    return RuleSet((load_rules(path),))


def test_only_what_is_read_is_kept(recorded, tmp_path):
    out = tmp_path / "trimmed"
    trimmed = trim_segments(recorded, rule_set(tmp_path, RULES), out)
    assert trimmed.missing == {}
    assert sorted(path.name for path in trimmed.files) == sorted(
        path.name for path in recorded.iterdir()
    )
    found = load_segments(out)
    for segment in (*found.healthy.values(), *found.faults.values()):
        # All of the metric, whatever the matcher, and `up` of its target alone.
        assert {metric_name(one) for one in segment.series} == {"sync_operations_total", "up"}
        statuses = {dict(one)["status"] for one in segment.series if "status" in dict(one)}
        assert statuses == {"success", "error"}
        assert [one for one in segment.series if metric_name(one) == "up"] == [labels("up")]


def test_every_target_is_kept_for_rules_that_read_up(recorded, tmp_path):
    out = tmp_path / "trimmed"
    trim_segments(recorded, rule_set(tmp_path, RULES + "      - {alert: Up, expr: up == 0}\n"), out)
    for segment in load_segments(out).faults.values():
        assert OTHER_UP in segment.series
        assert OTHER not in segment.series


def test_histories_are_the_same(recorded, tmp_path):
    rules = rule_set(tmp_path, RULES + POOL)
    trim_segments(recorded, rules, tmp_path / "trimmed")
    stretches: tuple[Stretch, ...] = incident("pool", 900.0, lead_s=600.0, tail_s=600.0)
    select = rules.metrics_of(tuple(rules.alerts))
    whole, small = (
        build(load_segments(folder), stretches, select=select)
        for folder in (recorded, tmp_path / "trimmed")
    )
    assert whole.series.keys() - small.series.keys() == {OTHER_UP}
    for name, values in small.series.items():
        np.testing.assert_array_equal(values, whole.series[name])


def test_the_same_twice_is_the_same_bytes(recorded, tmp_path):
    rules = rule_set(tmp_path, RULES)
    first = [path.read_bytes() for path in trim_segments(recorded, rules, tmp_path / "a").files]
    again = trim_segments(tmp_path / "a", rules, tmp_path / "b")
    assert [path.read_bytes() for path in again.files] == first


def test_a_metric_that_was_not_recorded_is_said(recorded, tmp_path):
    rules = rule_set(tmp_path, RULES + POOL)
    trimmed = trim_segments(recorded, rules, tmp_path / "trimmed")
    assert trimmed.missing == {"no_such_metric": ("Pool",)}
    assert trimmed.warnings == ("no segment has no_such_metric, which is read by Pool",)


def test_what_would_be_lost_or_mixed_is_refused(recorded, tmp_path):
    rules = rule_set(tmp_path, RULES)
    with pytest.raises(UsageError, match="they would be lost"):
        trim_segments(recorded, rules, recorded)
    out = tmp_path / "trimmed"
    for segment in segments("slow"):
        save(segment, out)
    with pytest.raises(UsageError, match=r"drill-slow--.*of a drill that is not among"):
        trim_segments(recorded, rules, out)
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        ('{job="bakhmach-app"} == 0', "without naming a metric"),
        ("nothing_of_it == 0", "no segment has any of nothing_of_it"),
    ],
)
def test_rules_that_it_cannot_trim_for(recorded, tmp_path, expr, message):
    rules = rule_set(tmp_path, f"groups: [{{name: g, rules: [{{alert: A, expr: '{expr}'}}]}}]\n")
    with pytest.raises(UsageError, match=message):
        trim_segments(recorded, rules, tmp_path / "trimmed")
    assert not (tmp_path / "trimmed").exists()


def test_the_command_says_what_it_wrote(recorded, tmp_path):
    app = typer.Typer()
    app.command()(trim)
    rule_set(tmp_path, RULES + POOL)
    (recorded / "broken--fault.om.gz").write_bytes(b"no segment")
    run = CliRunner().invoke(
        app, [str(recorded), str(tmp_path / "rules.yml"), "--out", str(tmp_path / "trimmed")]
    )
    assert run.exit_code == 0
    assert "drill-pool--fault.om.gz" in run.stdout
    assert "in 4 files" in run.stdout
    assert "no_such_metric" in run.stderr
    assert "broken--fault.om.gz" in run.stderr
