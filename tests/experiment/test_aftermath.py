"""What a drill leaves of its stack is named, whatever ended it, and no other drill meets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from alertdrill import aftermath
from alertdrill.errors import FaultError, LoadError, StackError, UsageError
from alertdrill.experiment import run_drill
from alertdrill.faults.contract import Evidence
from alertdrill.load.window import LoadHealth
from alertdrill.verdict import Reason, Verdict
from tests.experiment.small import SmallBench, SteadyLoad, Stumble, drill_of

CLEAN = drill_of(Stumble())
UNPROVEN = drill_of(Stumble(bites=False))


@dataclass(frozen=True)
class LeavesALimit(Stumble):
    def heal(self, stack: Any) -> None:
        stack.memory = 64 << 20


@dataclass(frozen=True)
class LeavesASetting(Stumble):
    def heal(self, stack: Any) -> None:
        stack.settings["work_mem"] = "64"


@dataclass(frozen=True)
class LeavesANote(Stumble):
    def heal(self, stack: Any) -> None:
        stack.noted.append("oomkill(postgres)")


@dataclass(frozen=True)
class LosesTheContainer(Stumble):
    def heal(self, stack: Any) -> None:
        stack.gone = "postgres has no container"


LEFT = {
    LeavesALimit: "postgres: memory limit was none, is 67108864",
    LeavesASetting: "postgres: setting work_mem was absent, is 64",
    LeavesANote: "oomkill(postgres) was injected and isn't undone",
}


def reasons(result: Any) -> list[Reason]:
    return [finding.reason for finding in result.findings]


def passes_on_a_fresh_stack(bench: SmallBench) -> None:
    before = bench.stack
    result = run_drill(CLEAN, bench)
    assert result.verdict is Verdict.PASS, result.findings
    assert bench.stack is not before
    assert before.stopped  # type: ignore[attr-defined]
    assert result.stack == bench.stack.run_id


def test_a_fault_that_leaves_nothing_passes_and_the_stack_goes_on(bench: SmallBench) -> None:
    for _ in range(2):
        result = run_drill(CLEAN, bench)
        assert result.verdict is Verdict.PASS, result.findings
    assert len(bench.stacks) == 1


def test_a_drill_that_ended_early_and_left_nothing_says_only_why(bench: SmallBench) -> None:
    assert reasons(run_drill(UNPROVEN, bench)) == [Reason.FAULT_NOT_PROVEN]
    assert bench.is_whole
    run_drill(CLEAN, bench)
    assert len(bench.stacks) == 1


@pytest.mark.parametrize("bites", [True, False], ids=["to its end", "ended early"])
@pytest.mark.parametrize(("kind", "said"), LEFT.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_what_a_fault_left_is_named_and_no_other_drill_meets_it(
    bench: SmallBench, kind: type[Stumble], said: str, bites: bool
) -> None:
    result = run_drill(drill_of(kind(bites)), bench)
    early = [] if bites else [Reason.FAULT_NOT_PROVEN]
    assert reasons(result) == [*early, Reason.FAULT_NOT_HEALED]
    assert said in result.findings[-1].message
    assert not bench.is_whole
    passes_on_a_fresh_stack(bench)
    assert "a fresh stack" in " ".join(bench.told)


def test_a_fault_that_could_not_be_injected_and_left_something(bench: SmallBench) -> None:
    class Half(LeavesALimit):
        def inject(self, stack: Any) -> None:
            raise FaultError("only half of it took")

    result = run_drill(drill_of(Half()), bench)
    assert reasons(result) == [Reason.FAULT_NOT_PROVEN, Reason.FAULT_NOT_HEALED]
    passes_on_a_fresh_stack(bench)


def test_a_fault_that_does_not_heal_is_one_finding(bench: SmallBench) -> None:
    class Stays(LeavesALimit):
        def is_healed(self, stack: Any) -> Evidence:
            return Evidence(False, "it is still there")

    assert reasons(run_drill(drill_of(Stays()), bench)) == [Reason.FAULT_NOT_HEALED]
    passes_on_a_fresh_stack(bench)


# --- it can't be seen ---------------------------------------------------------------------------


def test_what_no_longer_answers_is_a_broken_stack(bench: SmallBench) -> None:
    result = run_drill(drill_of(LosesTheContainer()), bench)
    assert reasons(result) == [Reason.STACK_BROKEN]
    assert "postgres has no container" in result.findings[0].message
    passes_on_a_fresh_stack(bench)


def test_a_world_that_can_not_be_surveyed_is_a_finding_if_nothing_else_explains_it(
    bench: SmallBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: object) -> None:
        raise StackError("the engine has gone")

    monkeypatch.setattr(aftermath, "survey", refuses)
    result = run_drill(UNPROVEN, bench)
    assert reasons(result) == [Reason.FAULT_NOT_PROVEN, Reason.STACK_BROKEN]
    assert not bench.is_whole

    class Broken(Stumble):
        def is_effective(self, stack: Any) -> Evidence:
            raise StackError("the engine went away")

    result = run_drill(drill_of(Broken()), bench)
    assert [f.message for f in result.findings] == ["the engine went away"]
    monkeypatch.undo()


def test_without_a_look_at_the_world_before_there_is_no_trust(
    bench: SmallBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_generator(_: SteadyLoad) -> None:
        raise LoadError("no generator")

    with monkeypatch.context() as patched:
        patched.setattr(bench, "on_load", no_generator)
        assert reasons(run_drill(CLEAN, bench)) == [Reason.LOAD_INVALID]
    passes_on_a_fresh_stack(bench)


def test_an_experiment_that_broke_off_is_not_trusted(bench: SmallBench) -> None:
    class Misused(LeavesALimit):
        def is_effective(self, stack: Any) -> Evidence:
            raise UsageError("no such dose")

    with pytest.raises(UsageError):
        run_drill(drill_of(Misused()), bench)
    passes_on_a_fresh_stack(bench)


def test_a_stack_that_could_not_be_replaced_is_not_trusted_either(
    bench: SmallBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_stack(_: str) -> None:
        raise StackError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(bench, "start", no_stack)
        with pytest.raises(StackError, match="no room"):
            bench.renew("core")
    passes_on_a_fresh_stack(bench)


# --- before the fault ---------------------------------------------------------------------------


def test_a_fault_that_is_already_active_is_an_unmet_precondition(bench: SmallBench) -> None:
    bench.stacks[-1].noted.append("pause(postgres)")
    result = run_drill(CLEAN, bench)
    assert reasons(result) == [Reason.PRECONDITION_UNMET]
    assert "pause(postgres) was injected and isn't undone" in result.findings[0].message
    passes_on_a_fresh_stack(bench)


def test_what_somebody_else_changed_before_the_fault_is_a_broken_stack(bench: SmallBench) -> None:
    def meddle(_: str) -> None:  # the baseline has begun
        bench.stacks[-1].memory = 1 << 20
        bench.stacks[-1].failing = True

    bench.tell = meddle
    result = run_drill(CLEAN, bench)
    assert reasons(result) == [Reason.STEADY_STATE_LOST, Reason.STACK_BROKEN]
    assert "nothing was injected: postgres: memory limit was none" in result.findings[1].message


# --- the steady state ---------------------------------------------------------------------------


def test_a_steady_state_that_never_comes_fails(bench: SmallBench) -> None:
    bench.stacks[-1].failing = True
    result = run_drill(CLEAN, bench)
    assert (result.verdict, reasons(result)) == (Verdict.FAIL, [Reason.STEADY_STATE_LOST])
    assert "requests failing" in result.findings[0].message
    assert bench.is_whole


def test_a_steady_state_that_does_not_come_back_fails(bench: SmallBench) -> None:
    class BreaksForGood(Stumble):
        def heal(self, stack: Any) -> None:
            stack.failing = True

    result = run_drill(drill_of(BreaksForGood()), bench)
    assert (result.verdict, reasons(result)) == (Verdict.FAIL, [Reason.STEADY_STATE_LOST])
    assert "after healing the load still sees" in result.findings[0].message


# --- attempts -----------------------------------------------------------------------------------


@pytest.fixture
def starved_at_first(bench: SmallBench) -> SmallBench:
    """The machine is too slow for the first attempt."""

    def starve(load: SteadyLoad) -> None:
        load.health = LoadHealth(False, "no processor", starved=True)
        bench.on_load = lambda _: None

    bench.on_load = starve
    return bench


def test_an_attempt_that_left_nothing_is_repeated_on_its_stack(
    starved_at_first: SmallBench,
) -> None:
    result = run_drill(CLEAN, starved_at_first)
    assert result.verdict is Verdict.PASS, result.findings
    assert [f.reason for f in result.set_aside] == [Reason.MACHINE_TOO_SLOW]
    assert len(starved_at_first.stacks) == 1


def test_an_attempt_after_which_the_stack_is_silent_is_repeated_on_a_fresh_one(
    starved_at_first: SmallBench,
) -> None:
    bench = starved_at_first

    def silence(_: str) -> None:
        bench.stacks[0].gone = "postgres has no container"

    bench.tell = silence
    result = run_drill(CLEAN, bench)
    assert result.verdict is Verdict.PASS, result.findings
    assert [f.reason for f in result.set_aside] == [Reason.MACHINE_TOO_SLOW, Reason.STACK_BROKEN]
    assert result.stack == bench.stacks[1].run_id


def test_what_a_slow_attempt_left_stands_beside_what_the_next_one_found(
    bench: SmallBench,
) -> None:
    class StarvesAndLeaves(Stumble):
        def inject(self, stack: Any) -> None:
            if stack is bench.stacks[0]:
                load.health = LoadHealth(False, "no processor", starved=True)

        def heal(self, stack: Any) -> None:
            if stack is bench.stacks[0]:
                stack.memory = 64 << 20

    def given(it: SteadyLoad) -> None:
        nonlocal load
        load = it

    load = SteadyLoad(bench.stacks[0])
    bench.on_load = given
    result = run_drill(drill_of(StarvesAndLeaves()), bench)
    assert (result.verdict, reasons(result)) == (Verdict.UNKNOWN, [Reason.FAULT_NOT_HEALED])
    assert [f.reason for f in result.set_aside] == [Reason.MACHINE_TOO_SLOW]
    assert result.stack == bench.stacks[1].run_id
    assert bench.is_whole
