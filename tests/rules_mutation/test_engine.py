"""Judging goes on where it was interrupted, and says nothing that it doesn't know."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from alertdrill.rules.mutation.command import _exit_code
from alertdrill.rules.mutation.engine import Judged, judge
from alertdrill.rules.mutation.killer import (
    Equivalent,
    Indistinguishable,
    Invalid,
    Killed,
    Outcome,
    Survived,
)
from alertdrill.rules.mutation.mutants import Mutant, Source, read_source
from alertdrill.rules.mutation.report import MutationReport, Score
from alertdrill.rules.mutation.store import OutcomeStore
from alertdrill.rules.promtool import Stopped

RULES = "groups:\n- name: g\n  rules:\n" + "".join(
    f"  - alert: A{number}\n    expr: a{number} > 10\n    for: 5m\n" for number in range(10)
)


@pytest.fixture
def source(write) -> Source:
    return read_source(write("rules.yml", RULES))


@dataclass
class ByOperator:
    """Kills mutants of some operators; remembers what it was asked."""

    kinds: frozenset[str]
    asked: list[Mutant] = field(default_factory=list)
    fingerprint: str = "1"
    name: str = "by operator"

    def kills(self, mutants: Sequence[Mutant]) -> Mapping[Mutant, Outcome]:
        self.asked += mutants
        return {m: Killed("test") if m.operator in self.kinds else Survived() for m in mutants}

    def stop(self) -> None:
        pass


def killing(*kinds: str, fingerprint: str = "1") -> ByOperator:
    return ByOperator(frozenset(kinds), fingerprint=fingerprint)


def test_each_mutant_is_judged_once_in_the_order_of_the_file(source):
    killer = killing("threshold")
    judged = judge(source, [killer], workers=3)
    assert tuple(judged.outcomes) == source.mutants
    assert sorted(killer.asked, key=source.mutants.index) == list(source.mutants)
    assert all(
        isinstance(outcome, Killed) == (mutant.operator == "threshold")
        for mutant, outcome in judged.outcomes.items()
    )


def test_a_later_killer_sees_only_what_survived(source):
    first, second = killing("threshold"), killing("for")
    judged = judge(source, [first, second], workers=2)
    assert {mutant.operator for mutant in second.asked} == {
        mutant.operator for mutant in source.mutants
    } - {"threshold"}
    killed = {m.operator for m, o in judged.outcomes.items() if isinstance(o, Killed)}
    assert killed == {"threshold", "for"}


def test_what_is_known_is_not_judged_again(source, tmp_path):
    def store(fingerprint: str = "1") -> OutcomeStore:
        return OutcomeStore(tmp_path / "cache", source, [fingerprint])

    first = judge(source, [killing("threshold")], workers=2, store=store())
    again = killing("threshold")
    second = judge(source, [again], workers=2, store=store())
    assert again.asked == []
    assert second.outcomes == first.outcomes
    assert second.resumed == len(source.mutants)
    # Other tests, or --fresh, and it is.
    assert judge(source, [again], workers=2, store=store("2")).resumed == 0
    store().forget()
    assert judge(source, [again], workers=2, store=store()).resumed == 0


def test_a_line_that_was_cut_short_is_judged_again(source, tmp_path):
    store = OutcomeStore(tmp_path, source, ["1"])
    judge(source, [killing("threshold")], workers=1, store=store)
    text = store.path.read_text()
    store.path.write_text(text[:-20])
    killer = killing("threshold")
    assert judge(source, [killer], workers=1, store=store).resumed == len(source.mutants) - 1
    assert len(killer.asked) == 1


@dataclass
class Interrupted:
    """The first wave is judged; then someone presses Ctrl-C while the others go on for ever."""

    stopped: threading.Event = field(default_factory=threading.Event)
    calls: int = 0
    fingerprint: str = "1"
    name: str = "interrupted"

    def kills(self, mutants: Sequence[Mutant]) -> Mapping[Mutant, Outcome]:
        self.calls += 1
        if self.calls > 1:
            assert self.stopped.wait(timeout=30), "nobody stopped it"
            raise Stopped("promtool was stopped")
        return {mutant: Killed("test") for mutant in mutants}

    def stop(self) -> None:
        self.stopped.set()


def test_an_interrupted_run_keeps_what_it_has_and_the_next_goes_on(source, tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    store = OutcomeStore(tmp_path, source, ["1"])
    judged = judge(source, [Interrupted()], workers=2, store=store, tell=interrupt)
    assert judged.interrupted
    assert 0 < len(judged.outcomes) < len(source.mutants)
    report = MutationReport([judged], 1.0)
    assert "interrupted" in report.text()
    assert report.badge()["message"] == "unknown"
    assert _exit_code(report, fail_under=None) == 130
    killer = killing()
    rest = judge(source, [killer], workers=2, store=store)
    assert rest.resumed == len(judged.outcomes)
    assert set(killer.asked) == set(source.mutants) - set(judged.outcomes)


def report_of(source: Source, *outcomes: Outcome) -> MutationReport:
    return MutationReport([Judged(source, dict(zip(source.mutants, outcomes, strict=False)))], 1.0)


def test_every_outcome_is_kept_as_it_was(source, tmp_path):
    outcomes = [Killed("t"), Survived(), Invalid("no"), Equivalent("x"), Indistinguishable("y")]
    known = dict(zip(source.mutants, outcomes, strict=False))
    OutcomeStore(tmp_path, source, ["1"]).add(known)
    assert OutcomeStore(tmp_path, source, ["1"]).read(source.mutants) == known


def test_what_leaves_the_same_trace_is_counted_apart_where_there_is_any(source):
    report = report_of(source, Killed("t"), Survived(), Indistinguishable("the same timelines"))
    assert report.score == Score(1, 1, 0, 0, indistinguishable=1)
    assert report.score.percent == 50
    assert "same trace" in report.text()
    assert "1 leave the same trace" in report.text()
    assert report.document()["indistinguishable"] == 1
    third = report.document()["files"][0]["mutants"][2]
    assert (third["outcome"], third["why"]) == ("indistinguishable", "the same timelines")
    assert "same trace" not in report_of(source, Killed("t"), Survived()).text()


def test_only_killed_and_survived_make_the_score(source):
    report = report_of(
        source, Killed("t"), Killed("t"), Killed("t"), Survived(), Invalid("no"), Equivalent("same")
    )
    assert report.score == Score(killed=3, survived=1, equivalent=1, invalid=1)
    assert report.score.percent == 75
    assert report.badge() == {
        "schemaVersion": 1,
        "label": "alert mutation score",
        "message": "75.0 %",
        "color": "yellow",
    }
    document = report.document()
    assert document["score"] == 75
    assert document["files"][0]["rules"]["A0"]["killed"] == 3
    survivor = document["files"][0]["mutants"][3]
    assert survivor["outcome"] == "survived"
    assert survivor["hint"] in report.text()
    assert all(line in report.text() for line in survivor["diff"].splitlines())


@pytest.mark.parametrize(
    ("outcomes", "fail_under", "code"),
    [
        ([Killed("t")], None, 0),
        ([Survived()], None, 0),
        ([Killed("t"), Survived()], 50, 0),
        ([Killed("t"), Survived()], 50.1, 1),
        ([Equivalent("same"), Invalid("no")], None, 3),
        ([], 0, 3),
    ],
)
def test_exit_codes(source, outcomes, fail_under, code):
    assert _exit_code(report_of(source, *outcomes), fail_under) == code


def test_a_rule_that_is_not_mutated_is_no_pass_of_a_gate(write):
    newer = "  - alert: New\n    expr: a > 1_000\n"
    source = read_source(write("rules.yml", RULES + newer))
    (unread,) = source.unread
    assert (unread.rule, unread.line) == ("New", 34)
    assert len(source.mutants) == len(read_source(write("old.yml", RULES)).mutants)
    report = report_of(source, Killed("t"), Survived())
    assert [_exit_code(report, limit) for limit in (None, 50, 60)] == [0, 3, 1]
    assert "1 of 11 rules not mutated" in report.text()
