"""The recorded faults in ``rules/segments``: what ships does on them what it must, what the guide
says does not, and a rule that is changed for the worse is caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alertdrill.config import load_config
from alertdrill.rules.project import prometheus, promtool
from alertdrill.rules.replay.answers import Answer, Options
from alertdrill.rules.replay.command import rules_of
from alertdrill.rules.replay.expect import load_expectations, load_unjudged
from alertdrill.rules.replay.segments import HEALTHY, load_segments
from alertdrill.rules.replay.virtual import virtual_verdicts
from alertdrill.verdict import Reason, Verdict
from tests.rules_replay.judges_data import ROOT

pytestmark = pytest.mark.docker

RULES = ROOT / "monitoring/alerts.yml"
GUIDE = ROOT / "tests/data/guide/alerts.yml"
SHIPPED_TABLE = ROOT / "rules/expect.yml"
GUIDE_TABLE = Path(__file__).with_name("guide_expect.yml")

KILLED = "the-hub-is-killed"
SLOW = "ai-studio-api-is-slow"
GITHUB = "github-api-answers-5xx-to-half-the-requests"
POSTGRES = "postgresql-refuses-connections"
POOL = "postgresql-is-slow-until-the-pool-is-full"

# A fault, whether it is the short one, an alert, and why the answer is no pass.
Finding = tuple[str, bool, str, str | None]


def replayed(
    rules: Path, table: Path, alerts: list[str] | None = None, healthy_s: float = 3600.0
) -> tuple[Answer, ...]:
    rule_set = rules_of([rules], ROOT / "monitoring/prometheus.yml")
    promised = load_config(ROOT).alerts
    own = {name: promise for name, promise in promised.items() if name in rule_set.alerts}
    unjudged = load_unjudged(table, rule_set.alerts)
    return virtual_verdicts(
        rule_set,
        load_segments(ROOT / "rules/segments"),
        load_expectations(table, own),
        prometheus=prometheus(),
        promtool=promtool(),
        alerts=alerts or set(rule_set.alerts) - unjudged.keys(),
        options=Options(healthy_s=healthy_s, trips=False),
    )


def findings(answers: tuple[Answer, ...], verdict: Verdict) -> set[Finding]:
    return {(a.segment, a.blip, a.alert, a.reason) for a in answers if a.verdict is verdict}


def test_what_ships_does_what_it_must():
    answers = replayed(RULES, SHIPPED_TABLE, healthy_s=86_400.0)
    assert [a for a in answers if a.verdict is not Verdict.PASS] == []
    fired = {(a.segment, a.alert) for a in answers if a.fires_after_s is not None}
    assert {
        (KILLED, "APIUnavailable"),
        (KILLED, "NoSuccessfulSyncs"),
        (SLOW, "SyncLatencyHigh"),
        (GITHUB, "HighErrorRate"),
        (GITHUB, "UpstreamUnavailable"),
        (POSTGRES, "HighErrorRate"),
        (POSTGRES, "NoSuccessfulSyncs"),
        (POOL, "DatabaseConnectionPoolExhausted"),
    } <= fired
    assert {segment for segment, _ in fired}.isdisjoint({HEALTHY, "no-fault"})


def test_what_the_guide_says_does_not():
    """HighErrorRate does: where all or half of six syncs per second fail, errors per second and
    their share are both far above 0.05. That they differ elsewhere is tested by promtool."""
    answers = replayed(GUIDE, GUIDE_TABLE)
    assert findings(answers, Verdict.FAIL) == {
        # No such series: its histogram has buckets.
        (SLOW, False, "SyncLatencyHigh", Reason.ALERT_DID_NOT_FIRE.value),
        # The pool's size is 20 at most, however many of them are in use.
        (POOL, False, "DatabaseConnectionPoolExhausted", Reason.ALERT_DID_NOT_FIRE.value),
    }
    blind = {(alert, reason) for _, _, alert, reason in findings(answers, Verdict.UNKNOWN)}
    assert blind == {("SyncLatencyHigh", "no_data")}
    assert (KILLED, False, "APIUnavailable", None) in findings(answers, Verdict.PASS)


def edited(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def within(alert: str, edit: Callable[[str], str]) -> Callable[[str], str]:
    """``edit`` in the text of one alert."""

    def edit_one(text: str) -> str:
        before, name, rest = text.partition(f"- alert: {alert}\n")
        own, mark, after = rest.partition("      - alert: ")
        return before + name + edit(own) + mark + after

    return edit_one


@pytest.mark.parametrize(
    ("alert", "edit", "expected"),
    [
        pytest.param(
            "HighErrorRate",
            edited("> 0.05", "> 0.5"),
            {(GITHUB, False, Reason.ALERT_DID_NOT_FIRE.value)},
            id="a threshold ten times as high",
        ),
        pytest.param(
            "APIUnavailable",
            edited("for: 2m", "for: 1h"),
            {(KILLED, False, Reason.ALERT_DID_NOT_FIRE.value)},
            id="for an hour",
        ),
        pytest.param(
            "HighErrorRate",
            edited('status="error"', 'status="failed"'),
            {
                (GITHUB, False, Reason.ALERT_DID_NOT_FIRE.value),
                (POSTGRES, False, Reason.ALERT_DID_NOT_FIRE.value),
            },
            id="a matcher that selects nothing",
        ),
        pytest.param(
            "HighErrorRate",
            edited("for: 5m", "for: 30s"),
            {
                (GITHUB, True, Reason.UNEXPECTED_ALERT.value),
                (POSTGRES, True, Reason.UNEXPECTED_ALERT.value),
            },
            id="half a minute is enough",
        ),
    ],
)
def test_a_change_for_the_worse_is_caught(tmp_path, alert, edit, expected):
    changed = tmp_path / "alerts.yml"
    text = RULES.read_text(encoding="utf-8")
    assert within(alert, edit)(text) != text
    changed.write_text(within(alert, edit)(text), encoding="utf-8")
    answers = replayed(changed, SHIPPED_TABLE, [alert, "SyncLatencyHigh"])
    assert findings(answers, Verdict.UNKNOWN) == set()
    assert findings(answers, Verdict.FAIL) == {
        (segment, blip, alert, reason) for segment, blip, reason in expected
    }
