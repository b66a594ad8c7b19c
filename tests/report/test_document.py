"""verdict.json: the worst wins, and nothing that was planned or that failed gets lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alertdrill.report.document import RunFacts, write_verdict
from alertdrill.report.folder import DrillTable, RunFolder
from alertdrill.report.terminal import drill_lines, summary_lines


def drill(identifier: str, verdict: str = "pass", **more: Any) -> dict[str, Any]:
    return {
        "id": identifier,
        "title": identifier,
        "fault": f"fault of {identifier}",
        "verdict": verdict,
        "reason": None,
        "findings": [],
        "alerts": [alert(firing_s=2.0)],
        "checks": [],
        "heal_s": 9.0,
        **more,
    }


def alert(**times: float | None) -> dict[str, Any]:
    every = ("pending_s", "firing_s", "inhibited_s", "notified_s", "resolved_s")
    return {
        "name": "High",
        "expected": "fires",
        "deadline_s": 10.0,
        **dict.fromkeys(every),
        **times,
    }


def written(folder: RunFolder, **facts: Any) -> dict[str, Any]:
    defaults = {"command": [], "wall_s": 1.0, "seed": 7, "factor": 60.0, "alerts": ["High"]}
    return write_verdict(folder, RunFacts(**{**defaults, "not_verified": [], **facts}))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run").ensure()


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "unknown"], "unknown"),
        (["fail", "unknown", "pass"], "fail"),
        ([], "unknown"),
    ],
)
def test_the_worst_drill_is_the_run(folder: RunFolder, verdicts: list[str], expected: str) -> None:
    for number, verdict in enumerate(verdicts):
        folder.add_drill(f"d{number}", drill(f"d{number}", verdict))
    assert written(folder)["verdict"] == expected
    assert folder.read_verdict()["verdict"] == expected


def test_a_planned_drill_without_a_result_is_unknown(folder: RunFolder) -> None:
    """Its worker died: what is missing must not pass."""
    plan = {"a": {"title": "A", "test": "t::a"}, "b": {"title": "B", "test": "t::b"}}
    folder.add_plan("gw0", plan)
    folder.add_drill("a", drill("a"))
    document = written(folder, failed_tests=["t::b"])
    assert document["verdict"] == "unknown"
    missing = document["drills"][-1]
    assert (missing["id"], missing["reason"]) == ("b", "interrupted")
    assert "left no result" in "".join(drill_lines(missing))


def test_a_test_that_failed_around_a_drill_that_passed_is_a_failed_check(
    folder: RunFolder,
) -> None:
    folder.add_plan("main", {"a": {"title": "A", "test": "t::a"}})
    folder.add_drill("a", drill("a"))
    assert written(folder)["verdict"] == "pass", "the clean twin"
    document = written(folder, failed_tests=["t::a"])
    assert document["verdict"] == "fail"
    assert [check["id"] for check in document["checks"]] == ["t::a"]


def test_a_failed_test_that_is_no_drill_is_a_failed_check(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    assert written(folder, failed_tests=["t::other"])["verdict"] == "fail"


def test_an_interrupted_run_does_not_pass(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    assert written(folder, interrupted=True)["verdict"] == "unknown"


def test_coverage_says_which_fault_fired_which_alert(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    coverage = written(folder, alerts=["High", "Low"])["coverage"]
    assert coverage["alerts"] == {"High": ["fault of a"], "Low": []}
    assert coverage["faults"] == {"fault of a": ["High"]}
    assert coverage["never_fired"] == ["Low"]


def test_an_alert_that_no_passing_drill_expects_is_unknown(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    assert written(folder)["verdict"] == "pass", "the clean twin"
    document = written(folder, alerts=["High", "Low"])
    assert document["verdict"] == "unknown"
    assert [(c["id"], c["reason"]) for c in document["checks"]] == [("Low", "not_covered")]
    folder.add_drill("a", drill("a", "unknown"))
    assert [check["id"] for check in written(folder)["checks"]] == ["High"]


def checks(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(check["id"], check["verdict"], check["reason"]) for check in document["checks"]]


def table(whole: bool = True, **fires: str) -> DrillTable:
    return DrillTable({drill: frozenset({alert}) for drill, alert in fires.items()}, whole)


def test_an_alert_that_no_drill_of_the_whole_table_expects_fails(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    folder.add_table("gw0", table(a="High"))
    folder.add_table("gw1", table(a="High"))
    assert written(folder)["verdict"] == "pass", "the clean twin"
    document = written(folder, alerts=["High", "Low"])
    assert (document["verdict"], document["coverage"]["whole"]) == ("fail", True)
    assert checks(document) == [("Low", "fail", "never_drilled")]
    assert '([alerts.Low], undrilled = "...")' in document["checks"][0]["message"]


def test_an_alert_whose_drill_did_not_run_or_did_not_pass_is_unknown(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    folder.add_table("gw0", table(a="High", b="Low"))
    document = written(folder, alerts=["High", "Low"])
    assert checks(document) == [("Low", "unknown", "not_covered")]
    assert document["checks"][0]["message"].endswith("in this run: b")
    # One that broke before it looked at any alert expects all the same.
    folder.add_drill("a", drill("a", "unknown", alerts=[]))
    assert checks(written(folder)) == [("High", "unknown", "not_covered")]


def test_drills_that_the_run_left_out_by_itself_are_not_verified(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    left_out = {"B": "for the night", "C": "no jaeger", "D": "for the night"}
    folder.add_table("gw0", DrillTable({"a": frozenset({"High"})}, True, left_out=left_out))
    document = written(folder)
    assert document["verdict"] == "pass"
    assert document["not_verified"] == [
        {"what": "2 drills", "why": "for the night"},
        {"what": "C", "why": "no jaeger"},
    ]


def test_an_alert_beyond_the_profile_is_not_verified(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    folder.add_table("gw0", table(a="High", b="Low"))
    assert written(folder, alerts=["High", "Low"])["verdict"] == "unknown", (
        "unless somebody said so"
    )
    why = "profile core runs no store"
    document = written(folder, alerts=["High", "Low"], beyond={"Low": why})
    assert document["verdict"] == "pass"
    assert {"what": "Low", "why": why} in document["not_verified"]


def test_silence_that_nothing_could_break_is_not_verified(folder: RunFolder) -> None:
    for name, stack in (("a", "r-gw0"), ("b", "r-gw1"), ("c", "r-gw1")):
        folder.add_drill(name, {**drill(name), "stack": stack})
    folder.add_table("gw0", table(a="High", b="High", c="High"))
    row = {"image": "i", "source": "built", "digest": "", "version": "", "ready_s": 1.0}
    for run, names in (("r-gw0", ("hub", "store")), ("r-gw1", ("hub",))):
        components = [{"component": name, **row} for name in names]
        folder.add_stack(run, {"run": run, "components": components, "unseen": []})
    silence = {"what": "the silence of Lost in 2 drills", "why": "no store on the stack"}
    assert written(folder, needs={"Lost": "store"})["not_verified"] == [silence]
    assert written(folder, needs={"Lost": "hub"})["not_verified"] == []
    assert written(folder, needs={"Lost": "store"}, beyond={"Lost": "no"})["not_verified"] == [
        {"what": "Lost", "why": "no"}
    ]


def test_a_drill_that_no_table_shows_expects_too(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a", "unknown"))
    folder.add_table("gw0", table())
    assert checks(written(folder)) == [("High", "unknown", "not_covered")]


def test_the_table_is_whole_only_if_every_worker_says_so(folder: RunFolder) -> None:
    assert folder.table().whole is False, "nobody said anything"
    folder.add_table("gw0", table())
    assert folder.table().whole is True
    folder.add_table("gw1", table(whole=False))
    assert folder.table().whole is False


def test_an_alert_with_a_reason_is_listed_and_spoils_nothing(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    folder.add_table("gw0", table(a="High"))
    alerts = {"alerts": ["High", "Low"]}
    document = written(folder, **alerts, undrilled={"Low": "it takes an hour"})
    assert (document["verdict"], document["checks"]) == ("pass", [])
    assert document["not_verified"] == [{"what": "Low", "why": "it takes an hour"}]
    folder.add_table("gw0", table(a="High", b="Low"))
    contradicted = written(folder, **alerts, undrilled={"Low": "it takes an hour"})
    assert checks(contradicted) == [("Low", "unknown", "not_covered")]


def test_readers_never_see_half_a_file(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being written is no result yet, whatever its name is."""
    monkeypatch.setattr("os.replace", lambda *_: None)
    folder.add_drill("a", drill("a"))
    assert list((folder.path / "drills").iterdir()), "the half file is there"
    assert folder.drills() == []


def test_latest_points_to_the_newest_run(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "one").ensure()
    assert (tmp_path / "latest").resolve() == first.path
    second = RunFolder(tmp_path / "two").ensure()
    assert (tmp_path / "latest").resolve() == second.path


def test_an_alert_that_nobody_saw_pending_can_be_told() -> None:
    """A rule without `for` goes from inactive to firing at once."""
    row = drill("a", alerts=[alert(firing_s=1.0, notified_s=1.5, resolved_s=11.0)])
    (line,) = drill_lines(row)
    assert line.split("High")[1].split() == (
        ["firing", "1.0", "notified", "1.5", "(≤", "10.0)", "resolved", "+2.0"]
    )


def test_the_summary_lists_what_was_not_verified_and_not_covered(folder: RunFolder) -> None:
    folder.add_drill("a", drill("a"))
    missing = [{"what": "Kibana", "why": "no image"}]
    document = written(folder, alerts=["High", "Low"], not_verified=missing)
    lines = summary_lines(document, folder.path)
    assert lines[0].startswith("verdict: unknown (1 pass)")
    assert "unknown, for no drill that passed expects it: Low" in lines
    assert "  Kibana: no image" in lines
