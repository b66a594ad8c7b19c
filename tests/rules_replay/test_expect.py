"""The table of expectations: what it says, what is refused, and one made of drills."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from alertdrill.config import AlertExpectation
from alertdrill.errors import UsageError
from alertdrill.rules.replay.expect import (
    Limit,
    load_expectations,
    load_unjudged,
    refuse_unknown_alerts,
    table_of,
)
from chaos.test_drills import DRILLS

TABLE = """\
alerts:
  HighErrorRate: {within: 10m}
faults:
  refuse(postgres):
    for: 30m
    blip: 30s
    operation: 7s
    fires: [HighErrorRate]
    may_fire: [Slow]
    stays_quiet: [Down]
  nothing:
"""
PROMISES = {
    "HighErrorRate": AlertExpectation(receiver="a", within="12m", resolved_within="7m30s"),
    "Slow": AlertExpectation(receiver="a", within="17m", resolved_within="8m"),
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "expect.yml"
    path.write_text(text)
    return path


def test_what_a_table_says(tmp_path):
    refuse, nothing = load_expectations(written(tmp_path, TABLE))
    assert (refuse.segment, refuse.fault) == ("refuse(postgres)", "refuse(postgres)")
    assert (refuse.duration_s, refuse.blip_s, refuse.operation_s) == (1800, 30, 7)
    assert refuse.fires == {"HighErrorRate"}
    assert refuse.may_fire == {"Slow"}
    assert refuse.stays_quiet == {"Down"}
    assert refuse.limit("HighErrorRate") == Limit(600, None)
    assert refuse.limit("Slow") == Limit(None, None)
    quiet = {a: refuse.must_stay_quiet(a) for a in ("HighErrorRate", "Slow", "Down", "Other")}
    assert quiet == {"HighErrorRate": False, "Slow": False, "Down": True, "Other": True}
    assert (nothing.segment, nothing.duration_s, nothing.blip_s) == ("nothing", 3600, None)
    assert nothing.must_stay_quiet("HighErrorRate")


def test_the_table_s_own_times_come_before_the_project_s(tmp_path):
    refuse, _ = load_expectations(written(tmp_path, TABLE), PROMISES)
    assert refuse.limit("HighErrorRate") == Limit(600, 450)
    assert refuse.limit("Slow") == Limit(1020, 480)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("    for: 30m", "    fro: 30m", 5, "unknown key 'fro'"),
        ("    for: 30m", "    for: 30 minutes", 5, "not a duration"),
        ("    for: 30m", "    for: 0s", 5, "longer than nothing"),
        ("    for: 30m", "    for: 30s", 6, "nothing may fire in 30 s, and something must in 30 s"),
        ("    for: 30m", "    for: 30m\n    for: 1h", 6, "given twice"),
        ("blip: 30s", "blip: [1]", 6, "must be a text"),
        ("fires: [HighErrorRate]", "fires: HighErrorRate", 8, "must be a list"),
        ("fires: [HighErrorRate]", "fires: [A, A]", 8, "names A twice"),
        ("[Slow]", "[HighErrorRate]", 9, "HighErrorRate, and so does fires"),
        ("[Down]", "[Slow]", 10, "Slow, and so does may_fire"),
        ("{within: 10m}", "{withn: 10m}", 2, "unknown key 'withn'"),
        ("{within: 10m}", "{}", 2, "neither within nor resolved_within"),
        ("faults:", "fault:", 3, "unknown key 'fault'"),
        ("  nothing:\n", "  nothing: []\n", 11, "must be a mapping"),
        (TABLE[TABLE.index("faults:") :], "", 1, "names no fault"),
    ],
)
def test_a_mistake_is_found_where_it_stands(tmp_path, old, new, line, message):
    assert TABLE.count(old) == 1
    path = written(tmp_path, TABLE.replace(old, new))
    with pytest.raises(UsageError, match=message) as caught:
        load_expectations(path)
    assert (caught.value.file, caught.value.line) == (path, line)


def test_what_is_not_judged_has_a_reason(tmp_path):
    assert load_unjudged(written(tmp_path, TABLE), {"Slow"}) == {}
    path = written(tmp_path, "unjudged:\n  Slow: it reads the clock\n" + TABLE)
    assert load_unjudged(path, {"Slow"}) == {"Slow": "it reads the clock"}
    assert load_expectations(path) == load_expectations(written(tmp_path, TABLE))


@pytest.mark.parametrize(
    ("line", "message"),
    [("  Slwo: it reads the clock", "no rule defines Slwo"), ("  Slow: [1]", "must be a text")],
)
def test_a_mistake_in_what_is_not_judged_is_found(tmp_path, line, message):
    path = written(tmp_path, f"unjudged:\n{line}\n" + TABLE)
    with pytest.raises(UsageError, match=message) as caught:
        load_unjudged(path, {"Slow"})
    assert (caught.value.file, caught.value.line) == (path, 2)


def test_no_table_at_all(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        load_expectations(tmp_path / "expect.yml")


def test_alerts_that_no_rule_defines(tmp_path):
    path = written(tmp_path, TABLE)
    table = load_expectations(path)
    refuse_unknown_alerts(table, {"HighErrorRate", "Slow", "Down"})
    with pytest.raises(UsageError, match="names Down, which no rule defines") as caught:
        refuse_unknown_alerts(table, {"HighErrorRate", "Slow"})
    assert (caught.value.file, caught.value.line) == (path, 4)
    mistyped = load_expectations(written(tmp_path, TABLE.replace("  HighErr", "  HihgErr")))
    with pytest.raises(UsageError, match="names HihgErrorRate"):
        refuse_unknown_alerts(mistyped, {"HighErrorRate", "Slow", "Down"})


# --- of drills -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refuse:
    name: str = "refuse(postgres)"


@dataclass(frozen=True)
class Row:
    """What the table needs of a drill."""

    id: str = "postgresql-refuses"
    fault: Refuse = Refuse()
    fires: frozenset[str] = frozenset({"HighErrorRate"})
    inhibited: frozenset[str] = frozenset({"Slow"})
    may_fire: frozenset[str] = frozenset({"Other"})
    stays_quiet: frozenset[str] = frozenset({"Down"})
    operation_s: float = 7.0
    declared_at: tuple[str, int] = ("chaos/test_drills.py", 12)


def test_a_table_of_drills():
    (row,) = table_of([Row()], PROMISES)
    assert (row.segment, row.fault) == ("postgresql-refuses", "refuse(postgres)")
    assert row.fires == {"HighErrorRate", "Slow"}
    assert (row.may_fire, row.stays_quiet, row.operation_s) == ({"Other"}, {"Down"}, 7.0)
    assert row.limit("HighErrorRate") == Limit(720, 450)
    assert row.limit("Slow") == Limit(None, None)
    assert row.duration_s == 3600
    with pytest.raises(UsageError, match=r"chaos/test_drills.py:12: 'postgresql-refuses' names"):
        refuse_unknown_alerts([row], {"HighErrorRate"})


def test_a_fault_lasts_longer_than_what_was_promised():
    slow = {"Slow": AlertExpectation(receiver="a", within="2h", resolved_within="1h")}
    assert table_of([Row()], slow)[0].duration_s == 4 * 3600


def test_the_project_s_own_drills_are_such_rows():
    table = table_of(DRILLS)
    assert [row.segment for row in table] == [drill.id for drill in DRILLS]
    assert len({row.segment for row in table}) == len(table) > 0
