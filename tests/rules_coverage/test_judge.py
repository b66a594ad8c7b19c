"""Coverage: each planted gap is found, and its sound twin passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.rules.coverage.incident import Incident, Seen, State
from alertdrill.rules.coverage.judge import Judgement, Kind, Reasons, judge
from alertdrill.rules.coverage.live import load_live
from alertdrill.rules.coverage.matrix import Matrix, join
from alertdrill.rules.coverage.replayed import load_replayed
from alertdrill.rules.replay.answers import Answer
from alertdrill.verdict import Reason, Verdict
from tests.rules_coverage.documents import (
    ALERTS,
    answer,
    drill,
    replay_document,
    row,
    run_document,
    sound_answers,
    sound_drills,
    written,
)


@pytest.fixture
def judged(tmp_path: Path) -> Any:
    def of(
        drills: Sequence[dict[str, Any]] | None = None,
        answers: Iterable[Answer] | None = None,
        *,
        undrilled: dict[str, str] | None = None,
        unnoticed: dict[str, str] | None = None,
        alerts: Sequence[str] = ALERTS,
        **run: Any,
    ) -> Judgement:
        live = virtual = None
        if drills is not None:
            live = load_live(written(tmp_path / "verdict.json", run_document(drills, **run)))
        if answers is not None:
            document = replay_document(answers)
            virtual = load_replayed(written(tmp_path / "replay.json", document))
        matrix = join(live, virtual, alerts)
        return judge(matrix, Reasons(undrilled or {}, unnoticed or {}))

    return of


def found(judgement: Judgement) -> list[tuple[str, Kind, str | None, str | None]]:
    return [(f.verdict.word, f.kind, f.alert, f.fault) for f in judgement.findings]


def test_sound_drills_and_their_replay_pass(judged: Any) -> None:
    for sources in ((sound_drills(), None), (None, sound_answers())):
        assert judged(*sources).verdict is Verdict.PASS
    both = judged(sound_drills(), sound_answers())
    assert (both.verdict, both.findings) == (Verdict.PASS, ())
    assert both.fired_by == {"Errors": ("refuse(db)", "kill(hub)"), "Down": ("kill(hub)",)}
    assert both.noticed_by == {"refuse(db)": ("Errors",), "kill(hub)": ("Down", "Errors")}
    assert [one.id for one in both.matrix.incidents] == ["no-fault", "refuses", "killed"], (
        "drills, faults and healthy times are the same under either name"
    )
    assert all(len(one.sights(alert)) == 2 for one in both.matrix.incidents for alert in ALERTS)


def test_an_alert_that_no_fault_fires_fails_unless_there_is_a_reason(judged: Any) -> None:
    asked: dict[str, Any] = {"alerts": (*ALERTS, "Disk")}
    live = judged(sound_drills(), **asked)
    assert live.verdict is Verdict.UNKNOWN, "a run whose rules had no such alert"
    answers = [*sound_answers(), answer("Disk", "healthy"), answer("Disk", "killed")]
    virtual = judged(None, answers, **asked)
    assert found(virtual) == [("fail", Kind.NEVER_FIRES, "Disk", None)]
    said = judged(None, answers, **asked, undrilled={"Disk": "a full disk can't be had here"})
    assert said.verdict is Verdict.PASS
    assert "a full disk can't be had here" in said.findings[0].message


def test_an_alert_that_only_a_control_fires_is_not_covered(judged: Any) -> None:
    drills = [drill("no-fault", "nothing", row("Down", "quiet")), *sound_drills()[1:2]]
    kinds = found(judged(drills))
    assert ("fail", Kind.NEVER_FIRES, "Down", None) in kinds
    assert ("fail", Kind.WRONG_FAULT, "Down", "nothing") in kinds


def test_what_a_run_of_some_drills_did_not_fire_is_unknown(judged: Any) -> None:
    some = judged(sound_drills()[:2], whole=False)
    assert some.verdict is Verdict.UNKNOWN
    assert ("unknown", Kind.NEVER_FIRES, "Down", None) in found(some)
    assert judged(sound_drills()[:2]).verdict is Verdict.FAIL, "the whole table has no other"
    assert judged(sound_drills(), whole=False).verdict is Verdict.UNKNOWN


def test_a_fault_that_no_alert_notices_fails_unless_there_is_a_reason(judged: Any) -> None:
    drills = [*sound_drills(), drill("cache", "refuse(cache)")]
    assert found(judged(drills)) == [("fail", Kind.UNNOTICED, None, "refuse(cache)")]
    said = judged(drills, unnoticed={"refuse(cache)": "the hub works without it"})
    assert said.verdict is Verdict.PASS
    assert "the hub works without it" in said.findings[0].message
    noticed = [*sound_drills(), drill("cache", "refuse(cache)", row("Errors", "may fire"))]
    assert judged(noticed).verdict is Verdict.PASS


def test_a_fault_noticed_at_one_dose_need_not_be_at_another(judged: Any) -> None:
    drills = [*sound_drills(), drill("refuses-a-little", "refuse(db)")]
    assert judged(drills).verdict is Verdict.PASS


def test_an_alert_that_fires_for_the_wrong_fault_fails(judged: Any) -> None:
    control, refuses, killed = sound_drills()
    wrong = {**refuses, "alerts": [row("Errors"), row("Down", "quiet")]}
    assert found(judged([control, wrong, killed])) == [
        ("fail", Kind.WRONG_FAULT, "Down", "refuse(db)")
    ]
    only_wrong = {**refuses, "alerts": [row("Down", "quiet")]}
    kinds = found(judged([control, only_wrong, killed]))
    assert ("fail", Kind.UNNOTICED, None, "refuse(db)") in kinds, "a wrong alert is no notice"


def test_a_replay_in_which_the_wrong_alert_fires_fails(judged: Any) -> None:
    answers = [a for a in sound_answers() if (a.alert, a.segment) != ("Down", "refuse(db)")]
    sometimes = answer(
        "Down",
        "refuse(db)",
        verdict=Verdict.FAIL,
        reason=Reason.UNEXPECTED_ALERT.value,
        message="fired 90 s after the begin of a fault of 1800 s",
    )
    judgement = judged(None, [*answers, sometimes])
    assert found(judgement) == [("fail", Kind.WRONG_FAULT, "Down", "refuse(db)")]
    assert "fired 90 s after" in judgement.findings[0].message


def test_an_alert_that_fires_in_healthy_times_fails(judged: Any) -> None:
    early = replace(
        answer("Errors", "healthy"),
        verdict=Verdict.FAIL,
        reason=Reason.ALERT_WITHOUT_FAULT.value,
        message="fired while all was healthy",
    )
    answers = [early, *sound_answers()[1:]]
    assert found(judged(None, answers)) == [("fail", Kind.WRONG_FAULT, "Errors", "healthy")]


@pytest.mark.parametrize("expected", ["fires", "inhibited"])
def test_an_alert_that_had_to_fire_and_did_not_fails(judged: Any, expected: str) -> None:
    control, refuses, killed = sound_drills()
    killed["alerts"] = [row("Down"), row("Errors", expected, None)]
    assert found(judged([control, refuses, {**killed, "verdict": "fail"}])) == [
        ("fail", Kind.DID_NOT_FIRE, "Errors", "kill(hub)")
    ]


def test_a_drill_that_proves_nothing_is_unknown(judged: Any) -> None:
    control, refuses, killed = sound_drills()
    doubt = {"verdict": "unknown", "findings": [{"verdict": "unknown", "message": "no traffic"}]}
    judgement = judged([control, refuses, {**killed, **doubt}])
    assert judgement.verdict is Verdict.UNKNOWN
    assert {kind for _, kind, _, _ in found(judgement)} == {
        Kind.NEVER_FIRES,  # Down
        Kind.UNNOTICED,  # kill(hub)
        Kind.NOT_JUDGED,
    }
    assert any("no traffic" in finding.message for finding in judgement.findings)
    lost = drill("lost", None, verdict="unknown", heal_s=None)
    assert judged([*sound_drills(), lost]).verdict is Verdict.UNKNOWN


def test_a_failed_drill_in_doubt_still_shows_the_wrong_alert(judged: Any) -> None:
    findings = [
        {"verdict": "unknown", "message": "no traffic"},
        {"verdict": "fail", "message": "Down fired"},
    ]
    bad = {"verdict": "fail", "findings": findings}
    control, refuses, killed = sound_drills()
    refuses["alerts"] = [row("Errors"), row("Down", "quiet")]
    judgement = judged([control, {**refuses, **bad}, killed])
    assert ("fail", Kind.WRONG_FAULT, "Down", "refuse(db)") in found(judgement)


def test_a_run_without_drills_and_rules_without_alerts_prove_nothing(judged: Any) -> None:
    assert judged([]).verdict is Verdict.UNKNOWN
    assert judged(sound_drills(), alerts=()).verdict is Verdict.UNKNOWN


def test_an_answer_that_is_unknown_makes_coverage_unknown(judged: Any) -> None:
    doubt = {"verdict": Verdict.UNKNOWN, "reason": "judges_disagree", "message": "they differ"}
    answers = [replace(a, **doubt) if a.alert == "Down" else a for a in sound_answers()]
    judgement = judged(None, answers)
    assert judgement.verdict is Verdict.UNKNOWN
    (not_judged,) = (f for f in judgement.findings if f.kind is Kind.NOT_JUDGED)
    assert "healthy, refuse(db), killed" in not_judged.message
    assert "they differ" in not_judged.message


def test_live_and_replay_that_differ_are_unknown(judged: Any) -> None:
    quiet = [replace(a, expected="may fire") for a in sound_answers()]
    silent = [
        replace(a, fires_after_s=None, resolves_after_s=None)
        if (a.alert, a.segment) == ("Errors", "refuse(db)")
        else a
        for a in quiet
    ]
    assert judged(sound_drills(), quiet).verdict is Verdict.PASS, "the sound twin"
    judgement = judged(sound_drills(), silent)
    assert found(judgement) == [("unknown", Kind.DIFFERS, "Errors", "refuse(db)")]


def test_a_live_fault_that_was_healed_before_its_time_does_not_differ(judged: Any) -> None:
    """Healed after 20 s × 60, and the replay fires only after 1,500 s."""
    drills = [*sound_drills(), drill("cache", "refuse(cache)", row("Errors", "may fire", None))]
    late = answer("Errors", "refuse(cache)", "may fire", fires_after_s=1500.0)
    judgement = judged(drills, [*sound_answers(), late])
    assert judgement.verdict is Verdict.PASS
    soon = replace(late, fires_after_s=180.0)
    assert judged(drills, [*sound_answers(), soon]).verdict is Verdict.UNKNOWN


SEEN = st.builds(
    Seen, st.sampled_from(["fires", "inhibited", "may fire", "quiet"]), st.sampled_from(State)
)
INCIDENTS = st.lists(
    st.builds(
        Incident,
        id=st.sampled_from(["a", "b", "c"]),
        fault=st.sampled_from(["nothing", "kill(x)", "slow(y)"]),
        live=st.dictionaries(st.sampled_from(ALERTS), SEEN),
        virtual=st.dictionaries(st.sampled_from(ALERTS), SEEN),
    ),
    max_size=4,
)


@given(INCIDENTS)
def test_a_pass_means_that_everything_fires_where_it_must_and_nowhere_else(
    incidents: list[Incident],
) -> None:
    matrix = Matrix(ALERTS, tuple(incidents), {}, (), None, None)
    if judge(matrix).verdict is not Verdict.PASS:
        return
    under_faults = [one for one in incidents if not one.is_control]
    for alert in ALERTS:
        sights = [seen for one in under_faults for seen in one.sights(alert).values()]
        assert any(seen.fired for seen in sights)
    for incident in incidents:
        for alert in ALERTS:
            for seen in incident.sights(alert).values():
                assert not (seen.expected == "quiet" and seen.state is State.FIRED)
                assert not (seen.expected in ("fires", "inhibited") and seen.state is State.QUIET)
    for fault in {one.fault for one in under_faults}:
        noticing = [
            seen
            for one in under_faults
            if one.fault == fault
            for alert in ALERTS
            for seen in one.sights(alert).values()
        ]
        assert any(seen.fired for seen in noticing)
