"""A fault that heals and leaves things behind: each is named, and the next drill doesn't meet it.

The clean twin is the fault that was never applied, in ``test_planted_defects.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from alertdrill.experiment import run_drill as run_one
from alertdrill.faults.contract import Target
from alertdrill.faults.resource import MIB
from alertdrill.faults.toxiproxy import toxiproxy
from alertdrill.verdict import Reason, Verdict
from tests.gate.conftest import Laboratory
from tests.gate.test_planted_defects import CONTROL, REFUSED, NeverApplied

pytestmark = pytest.mark.docker

TOXIC = "alertdrill-left"
SET = 'psql -Xq -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "$0" -c "$1"'
STATEMENTS = ("ALTER SYSTEM SET work_mem = '5MB'", "SELECT pg_reload_conf()")


@dataclass(frozen=True)
class LeavesThings(NeverApplied):
    """Heals, says so, and leaves a toxic, a memory limit and a setting of the database."""

    def heal(self, stack: Target) -> None:
        super().heal(stack)
        if TOXIC not in toxiproxy(stack).proxy("redis").toxics:
            toxiproxy(stack).add_toxic("redis", TOXIC, "latency", attributes={"latency": 1})
        stack.container("redis").update(mem_limit=512 * MIB, memswap_limit=512 * MIB)
        code, output = stack.exec("postgres", ["sh", "-c", SET, *STATEMENTS])
        assert code == 0, output


def test_what_a_drill_that_ended_early_left_is_named_and_gone(laboratory: Laboratory) -> None:
    bench = laboratory.bench
    littered = bench.stack
    left = replace(REFUSED, fault=LeavesThings("postgres", client="hub"))
    result = run_one(left, bench)
    assert result.verdict is Verdict.UNKNOWN
    assert [finding.reason for finding in result.findings] == [
        Reason.FAULT_NOT_PROVEN,
        Reason.FAULT_NOT_HEALED,
    ], result.findings
    words = result.findings[-1].message
    assert f"the proxy redis has the toxic {TOXIC}" in words
    assert f"redis: memory limit was none, is {512 * MIB}" in words
    assert "postgres: setting work_mem was absent, is 5120" in words
    after = run_one(CONTROL, bench)
    assert after.verdict is Verdict.PASS, after.findings
    assert after.stack == bench.stack.run_id != littered.run_id
