"""The lattice: fail beats unknown beats pass, and nothing proven is not a pass."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.verdict import Finding, Reason, Verdict

ORDER = [Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL]


def test_nothing_proven_is_unknown() -> None:
    assert Verdict.worst([]) is Verdict.UNKNOWN


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_worst_wins_whatever_the_order(verdicts: list[Verdict]) -> None:
    assert Verdict.worst(verdicts) is max(verdicts, key=ORDER.index)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Verdict, Verdict)))
def test_a_pass_needs_all_to_pass(one: Verdict, other: Verdict) -> None:
    both_pass = one is other is Verdict.PASS
    assert (Verdict.worst([one, other]) is Verdict.PASS) == both_pass


def test_exit_codes_are_the_documented_ones() -> None:
    assert {v.word: v.value for v in Verdict} == {"pass": 0, "fail": 1, "unknown": 3}


def test_no_reason_is_a_reason_to_pass() -> None:
    assert all(Finding(reason, "").verdict is not Verdict.PASS for reason in Reason)


def test_what_could_not_be_proven_is_unknown_and_what_was_seen_wrong_fails() -> None:
    assert Reason.NO_TRAFFIC.verdict is Verdict.UNKNOWN
    assert Reason.WRONG_RECEIVER.verdict is Verdict.FAIL
