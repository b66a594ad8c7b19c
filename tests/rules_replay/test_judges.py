"""The parts of the two judges that need no program: the state machine, what is written, what is
compared, what can't be judged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alertdrill.rules.model import AlertRule, load_rules
from alertdrill.rules.replay import backfill
from alertdrill.rules.replay.answers import Answer
from alertdrill.rules.replay.backfill import STALE, requests
from alertdrill.rules.replay.compare import compare, words
from alertdrill.rules.replay.evaluate import NotTemplated, alert_labels, merged, spans
from alertdrill.rules.replay.expect import load_unjudged
from alertdrill.rules.replay.judge import PHASES, Phase
from alertdrill.rules.replay.model import AlertTimeline, History, Kind, Span, State
from alertdrill.rules.replay.promtool_judge import (
    MAX_SLOTS,
    Case,
    Checked,
    Disagreement,
    cases,
    notation,
    part,
)
from alertdrill.rules.replay.ruleset import RuleSet
from alertdrill.rules.replay.soundness import Why, unjudged, unread
from alertdrill.rules.replay.tile import increments
from alertdrill.rules.replay.trip import can_be_diluted, diluted, smallest
from alertdrill.rules.replay.virtual import compare_with_live
from alertdrill.verdict import Verdict
from tests.rules_replay.judges_data import ROOT, history, kinds, labels, rule_set

SECOND = 1000


# --- the state machine ---------------------------------------------------------------------------


def followed(
    present: list[bool], interval_ms: int, for_ms: int, kept_ms: int
) -> list[State | None]:
    """Prometheus' state machine, one evaluation after another, as rules/alerting.go tells it."""
    state: State | None = None
    active_at = 0
    gone_since: int | None = None
    seen: list[State | None] = []
    for index, is_there in enumerate(present):
        now = index * interval_ms
        if is_there:
            gone_since = None
            if state is None:
                state, active_at = State.PENDING, now
            if state is State.PENDING and now - active_at >= for_ms:
                state = State.FIRING
        else:
            keeps = False
            if state is State.FIRING and kept_ms > 0:
                gone_since = now if gone_since is None else gone_since
                keeps = now - gone_since < kept_ms
            if not keeps:
                state, gone_since = None, None
        seen.append(state)
    return seen


def unfolded(found: tuple[Span, ...], interval_s: float, count: int) -> list[State | None]:
    seen: list[State | None] = [None] * count
    for span in found:
        for index in range(round(span.start_s / interval_s), round(span.end_s / interval_s)):
            assert seen[index] is None, "spans overlap"
            seen[index] = span.state
    return seen


@given(
    present=st.lists(st.booleans(), max_size=60),
    interval_s=st.integers(1, 40),
    for_s=st.integers(0, 200),
    kept_s=st.integers(0, 200),
)
def test_spans_are_what_prometheus_would_go_through(present, interval_s, for_s, kept_s):
    found = spans(
        np.flatnonzero(present),
        interval_ms=interval_s * SECOND,
        phase_ms=0,
        for_ms=for_s * SECOND,
        keep_firing_for_ms=kept_s * SECOND,
        count=len(present),
    )
    expected = followed(present, interval_s * SECOND, for_s * SECOND, kept_s * SECOND)
    assert unfolded(found, interval_s, len(present)) == expected
    assert all(one.end_s > one.start_s for one in found)


@pytest.mark.parametrize(
    ("for_s", "kept_s", "expected"),
    [
        (0, 0, [("firing", 67.5, 157.5)]),
        (60, 0, [("pending", 67.5, 127.5), ("firing", 127.5, 157.5)]),
        # Between two evaluations: the next one counts.
        (61, 0, [("pending", 67.5, 157.5)]),
        (60, 45, [("pending", 67.5, 127.5), ("firing", 127.5, 217.5)]),
    ],
)
def test_times_are_those_of_the_phase(for_s, kept_s, expected):
    found = spans(
        np.array([2, 3, 4]),
        interval_ms=30 * SECOND,
        phase_ms=7500,
        for_ms=for_s * SECOND,
        keep_firing_for_ms=kept_s * SECOND,
        count=20,
    )
    assert [(one.state, one.start_s, one.end_s) for one in found] == expected


def test_two_series_that_become_one_alert_at_one_evaluation_are_refused():
    assert merged([np.array([1, 2]), np.array([2, 3])]) is None
    assert merged([np.array([1, 2]), np.array([3])]).tolist() == [1, 2, 3]


def rule(**changes: object) -> AlertRule:
    values: dict[str, object] = {
        "name": "A",
        "expr": "up == 0",
        "for_s": 0.0,
        "keep_firing_for_s": 0.0,
        "labels": {},
        "annotations": {},
        "file": Path("a.yml"),
        "line": 1,
        "group": "g",
    }
    return AlertRule(**{**values, **changes})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("page", "page"),
        ("{{ $labels.job }}", "app"),
        ("{{$labels.job}}/{{ .Labels.instance }}", "app/a:1"),
        ("{{ $externalLabels.region }}", "north"),
    ],
)
def test_labels_that_only_name_labels_are_filled_in(template, expected):
    metric = {"__name__": "up", "job": "app", "instance": "a:1"}
    found = dict(alert_labels(rule(labels={"x": template}), metric, {"region": "north"}))
    assert found == {"job": "app", "instance": "a:1", "x": expected}


def test_an_empty_label_is_none():
    assert alert_labels(rule(labels={"x": "{{ $labels.none }}", "job": ""}), {"job": "b"}, {}) == ()


@pytest.mark.parametrize(
    "template", ["{{ $value }}", "{{ if true }}x{{ end }}", "{{ $labels.a | title }}"]
)
def test_other_templates_are_left_to_prometheus(template):
    with pytest.raises(NotTemplated):
        alert_labels(rule(labels={"x": template}), {}, {})


@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_phases_lie_within_an_interval(phase):
    assert 0 <= phase.of_ms(30.0) < 30_000


def test_a_phase_is_a_share_of_the_interval():
    assert Phase(0.25).of_ms(30.0) == 7500
    assert Phase(plus_ms=1).of_ms(30.0) == 1


# --- what is written -----------------------------------------------------------------------------


def decoded(body: bytes) -> dict[tuple[tuple[str, str], ...], list[tuple[int, bytes]]]:
    """A remote-write request, read back by the rules of protocol buffers alone."""

    def varint(data: bytes, at: int) -> tuple[int, int]:
        number = shift = 0
        while True:
            number |= (data[at] & 0x7F) << shift
            at, shift, more = at + 1, shift + 7, data[at] & 0x80
            if not more:
                return number, at

    def fields(data: bytes) -> list[tuple[int, object]]:
        found: list[tuple[int, object]] = []
        at = 0
        while at < len(data):
            tag, at = varint(data, at)
            if tag & 7 == 2:
                size, at = varint(data, at)
                found.append((tag >> 3, data[at : at + size]))
                at += size
            elif tag & 7 == 1:
                found.append((tag >> 3, data[at : at + 8]))
                at += 8
            else:
                number, at = varint(data, at)
                found.append((tag >> 3, number))
        return found

    size, at = varint(body, 0)
    assert body[at] == 0xFC
    assert int.from_bytes(body[at + 1 : at + 5], "little") + 1 == size
    content = body[at + 5 :]
    assert len(content) == size
    result = {}
    for _, message in fields(content):
        names, samples = [], []
        for number, value in fields(message):
            pair = dict(fields(value))
            if number == 1:
                names.append((pair[1].decode(), pair[2].decode()))
            else:
                samples.append((pair[2], pair[1]))
        result[tuple(names)] = samples
    return result


def bits(value: float) -> bytes:
    return np.array([value], "<f8").tobytes()


def test_a_gap_is_one_stale_marker_and_then_nothing():
    nan = np.nan
    values = np.array([nan, nan, 1.5, nan, nan, 2.0, nan])
    (body,) = requests({labels("x"): values}, 400_000_000_000, 15_000)
    (samples,) = decoded(body).values()
    base = 400_000_000_000
    assert samples == [
        (base + 30_000, bits(1.5)),
        (base + 45_000, STALE.tobytes()),
        (base + 75_000, bits(2.0)),
        (base + 90_000, STALE.tobytes()),
    ]


@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 50)),
        elements=st.one_of(st.floats(allow_nan=False), st.just(np.nan)),
    )
)
def test_every_sample_is_written_once_however_requests_are_cut(rows):
    series = {labels("x", row=str(number)): row for number, row in enumerate(rows)}
    base, step = 400_000_000_000, 15_000
    got: dict[object, list[tuple[int, bytes]]] = {name: [] for name in series}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backfill, "_REQUEST_BYTES", 200)
        for body in requests(series, base, step):
            for name, samples in decoded(body).items():
                got[name].extend(samples)
    for name, row in series.items():
        real = [(at, value) for at, value in got[name] if value != STALE.tobytes()]
        there = np.flatnonzero(~np.isnan(row))
        assert real == [(base + int(i) * step, bits(row[i])) for i in there]
        ended = [i for i in range(1, len(row)) if np.isnan(row[i]) and not np.isnan(row[i - 1])]
        assert [at for at, value in got[name] if value == STALE.tobytes()] == [
            base + i * step for i in ended
        ]
        assert [at for at, _ in got[name]] == sorted(at for at, _ in got[name])


def test_a_time_that_would_not_fit_is_refused():
    with pytest.raises(ValueError, match="out of range"):
        list(requests({labels("x"): np.ones(2)}, 0, 15_000))


_WORD = re.compile(r"(-?[\d.e+-]+?|-?Inf)(?:([+-]\d+)x(\d+))?")


def expanded(text: str) -> list[float | None]:
    """promtool's notation, by its documentation: ``a+bxn`` is a and n more, each b further."""
    found: list[float | None] = []
    for word in text.split():
        if word in ("_", "stale"):
            found.append(None)
            continue
        match = _WORD.fullmatch(word)
        assert match is not None, word
        value = float(match[1])
        found.append(value)
        for _ in range(int(match[3] or 0)):
            value += float(match[2])
            found.append(value)
    return found


numbers = st.one_of(
    st.just(np.nan),
    st.integers(-5, 5).map(float),
    st.floats(allow_nan=False),
    st.sampled_from([2.0**53, -(2.0**53), 2.0**53 - 1, 0.1, np.inf, -np.inf]),
)


@given(st.lists(numbers, min_size=1, max_size=60))
def test_promtool_is_told_the_same_numbers(values):
    array = np.array(values)
    found = expanded(notation(array))
    assert found == [None if np.isnan(value) else value for value in values]


@given(st.integers(-1000, 1000), st.integers(-50, 50), st.integers(3, 200))
def test_a_ramp_is_one_word(start, step, length):
    values = start + step * np.arange(length, dtype=float)
    assert len(notation(values).split()) == 1
    assert expanded(notation(values)) == values.tolist()


def test_only_the_first_absent_sample_ends_a_series():
    nan = np.nan
    assert notation(np.array([nan, 1.0, nan, nan, 2.0])) == "_ 1 stale _ 2"


# --- what is compared ----------------------------------------------------------------------------

LABELS = (("severity", "page"),)


def timeline(*found: tuple[str, float, float]) -> AlertTimeline:
    own = tuple(Span(State(state), start, end) for state, start, end in found)
    return AlertTimeline("A", 0.0, 30.0, {LABELS: own} if own else {})


CASE = Case("c", history(600, 600, 600, "errors"), ("A",), 30.0)


def test_judges_that_agree_are_not_mentioned():
    ours = timeline(("pending", 60, 120), ("firing", 120, 300))
    assert compare(CASE, {"A": ours}, Checked("c", (), ())) == {}


def test_where_judges_differ_both_timelines_are_shown():
    ours = timeline(("pending", 60, 120), ("firing", 120, 300))
    firing = frozenset({("A", LABELS, State.FIRING)})
    checked = Checked("c", (Disagreement(90.0, frozenset(), firing),), ())
    found = compare(CASE, {"A": ours}, checked)["A"]
    assert found.why is Why.JUDGES_DISAGREE
    assert "backfill says pending 60-120, firing 120-300 s {severity=page}" in found.message
    assert "promtool says pending 60-90, firing 90-300 s {severity=page}" in found.message


def test_an_alert_that_only_promtool_saw_is_a_disagreement():
    firing = frozenset({("A", LABELS, State.FIRING)})
    checked = Checked("c", (Disagreement(0.0, frozenset(), firing),), ())
    found = compare(CASE, {"A": timeline()}, checked)["A"]
    assert "backfill says inactive throughout; promtool says firing 0-30 s" in found.message


def test_words_of_a_long_timeline_are_cut():
    many = timeline(*(("firing", 60.0 * n, 60.0 * n + 30) for n in range(10)))
    assert words(many).endswith("and 4 more s {severity=page}")


def test_a_long_history_is_compared_around_the_begin_of_its_fault():
    long = history(86_400, 1200, 3600, "errors")
    kept = part(long, around_s=86_400.0)
    assert kept.slots == MAX_SLOTS
    name = labels("sync_operations_total", source="source-0", status="error")
    first_error = int(np.flatnonzero(kept.series[name] > 0)[0])
    assert 0 < first_error < MAX_SLOTS - 80
    assert part(kept) is kept


# --- which rules can be judged -------------------------------------------------------------------

RULES = """\
groups:
  - name: g
    interval: 30s
    rules:
      - record: early:rate
        expr: rate(a_total[5m])
      - alert: A
        expr: {expr}
      - record: late:rate
        expr: rate(a_total[5m])
      - record: slope:rate
        expr: deriv(a[5m])
"""


@pytest.fixture
def rules_with(tmp_path):
    def made(expr: str) -> RuleSet:
        path = tmp_path / "r.yml"
        path.write_text(RULES.replace("{expr}", expr))
        return RuleSet((load_rules(path),), 60.0)

    return made


def reason(rules: RuleSet) -> tuple[str, str] | None:
    ((alert, _),) = rules.alerts["A"]
    found = unjudged(rules, alert)
    return None if found is None else (found.why.value, found.message)


@pytest.mark.parametrize(
    ("expr", "word"),
    [
        ("predict_linear(a[1h], 3600) < 0", "predict_linear()"),
        ("deriv(a[1h]) < 0", "deriv()"),
        ("changes(a[1h]) > 3", "changes()"),
        ("time() - a > 60", "time()"),
        ("a > 1 and on () hour() > 8", "hour()"),
        ("a > a offset -5m", "negative offset"),
        ("a @ 1000 > 1", "@ fixes"),
        ("ALERTS > 0", "state of other alerts"),
        ("slope:rate > 1", "its recording slope:rate"),
    ],
)
def test_rules_that_tiles_would_mislead_are_not_judged(rules_with, expr, word):
    why, message = reason(rules_with(f"'{expr}'")) or ("", "")
    assert why == "unsound_on_tiles"
    assert word in message


@pytest.mark.parametrize(
    "expr",
    [
        "rate(a_total[5m]) > 1",
        "early:rate > 1",
        "absent(a)",
        "a > a offset 5m",
        "avg_over_time(a[1h]) > 1",
    ],
)
def test_sound_rules_are_judged(rules_with, expr):
    assert reason(rules_with(f"'{expr}'")) is None


def test_a_recording_that_comes_too_late_is_said(rules_with):
    why, message = reason(rules_with("late:rate > 1")) or ("", "")
    assert why == "recording_order"
    assert "reads late:rate" in message


def test_silence_without_any_series_proves_nothing(rules_with):
    empty = History(15.0, {labels("other"): np.ones(4)}, ())
    full = History(15.0, {labels("a_total"): np.ones(4)}, ())
    rules = rules_with("rate(a_total[5m]) > 1")
    found = unread(rules, "A", empty)
    assert found is not None
    assert found.why is Why.NO_DATA
    assert unread(rules, "A", full) is None
    assert unread(rules_with("early:rate > 1"), "A", empty) is not None
    assert unread(rules_with("absent(a_total)"), "A", empty) is None


def test_windows_flow_through_recordings(rules_with):
    assert rules_with("avg_over_time(early:rate[1h]) > 1").look_back_s(["A"]) == 3600 + 300 + 30


def test_what_must_be_read_of_the_segments(rules_with):
    assert rules_with("early:rate > 1 and b > 1").metrics_of(["A"]) == {"a_total", "b"}
    assert rules_with("'{job=\"x\"} > 1'").metrics_of(["A"]) is None


def test_promtool_is_not_asked_of_mixed_intervals(tmp_path):
    path = tmp_path / "r.yml"
    path.write_text(
        """\
groups:
  - name: fast
    interval: 15s
    rules:
      - record: fast:rate
        expr: rate(a_total[5m])
  - name: slow
    interval: 60s
    rules:
      - alert: Mixed
        expr: fast:rate > 1
      - alert: Plain
        expr: rate(a_total[5m]) > 1
      - alert: StepOfTheServer
        expr: max_over_time(rate(a_total[5m])[10m:]) > 1
"""
    )
    found = cases(
        "c", CASE.history, RuleSet((load_rules(path),), 30.0), ["Mixed", "Plain", "StepOfTheServer"]
    )
    assert [case.alerts for case in found] == [("Plain",)]


# --- trip points ---------------------------------------------------------------------------------


@given(st.integers(1, 500), st.data())
def test_bisection_finds_the_smallest(largest, data):
    threshold = data.draw(st.integers(1, largest))
    asked: list[int] = []

    def fires(number: int) -> bool:
        asked.append(number)
        return number >= threshold

    assert smallest(fires, largest) == threshold
    assert len(asked) <= largest.bit_length()


def test_a_share_of_a_fault_is_a_mixture_of_increments():
    healthy, faulty = history(600, 1200, 600, "healthy"), history(600, 1200, 600, "errors")
    half = diluted(healthy, faulty, kinds(faulty.series), 0.5)
    for status in ("success", "error"):
        name = labels("sync_operations_total", source="source-0", status=status)
        wanted = (
            0.5 * increments(healthy.series[name])[0] + 0.5 * increments(faulty.series[name])[0]
        )
        assert increments(half.series[name])[0] == pytest.approx(wanted)


def test_only_counters_that_stay_can_be_diluted():
    healthy = history(600, 1200, 600, "healthy")
    errors, down = history(600, 1200, 600, "errors"), history(600, 1200, 600, "down")
    of = kinds(errors.series)
    assert can_be_diluted(healthy, errors, of, {"sync_operations_total"})
    assert not can_be_diluted(healthy, errors, of, {"up"})
    assert not can_be_diluted(healthy, errors, of, {"sync_operations_total", "up"})
    assert not can_be_diluted(healthy, down, of, {"sync_operations_total"})
    assert not can_be_diluted(healthy, errors, of, {"nothing"})
    assert not can_be_diluted(
        healthy, errors, dict.fromkeys(of, Kind.GAUGE), {"sync_operations_total"}
    )


# --- live and virtual ----------------------------------------------------------------------------


def live(firing_s: float | None, heal_s: float = 30.0, verdict: str = "pass") -> dict[str, object]:
    alerts = [{"name": "A", "firing_s": firing_s}]
    drill = {"id": "d", "fault": "f", "verdict": verdict, "heal_s": heal_s, "alerts": alerts}
    return {"clock": {"factor": 60.0}, "drills": [drill]}


def answer(fires_after_s: float | None, **changes: object) -> Answer:
    values: dict[str, object] = {
        "alert": "A",
        "segment": "f",
        "expected": "fires",
        "duration_s": 3600.0,
        "verdict": Verdict.PASS,
        "fires_after_s": fires_after_s,
    }
    return Answer(**{**values, **changes})


@pytest.mark.parametrize(
    ("document", "replayed", "verdict"),
    [
        (live(6.0), answer(350.0), Verdict.PASS),
        (live(None), answer(None), Verdict.PASS),
        (live(6.0), answer(None), Verdict.UNKNOWN),
        (live(None), answer(350.0), Verdict.UNKNOWN),
        # Healed before it could fire.
        (live(None, heal_s=5.0), answer(350.0), Verdict.PASS),
        (live(6.0), answer(350.0, verdict=Verdict.UNKNOWN), Verdict.UNKNOWN),
    ],
)
def test_live_and_virtual_verdicts_must_agree(document, replayed, verdict):
    (found,) = compare_with_live(document, [replayed])
    assert found.verdict is verdict
    assert bool(found.message) is (verdict is not Verdict.PASS)


@pytest.mark.parametrize(
    ("document", "replayed"),
    [
        (live(6.0, verdict="unknown"), answer(None)),
        (live(6.0), answer(None, segment="another")),
        (live(6.0), answer(None, blip=True)),
    ],
)
def test_only_like_is_compared_with_like(document, replayed):
    assert compare_with_live(document, [replayed]) == ()


def test_the_shipped_rules_can_be_judged_but_those_that_the_table_names():
    rules = rule_set()
    accepted = load_unjudged(ROOT / "rules" / "expect.yml", rules.alerts)
    assert {r.name for r, _ in rules.rules if unjudged(rules, r)} <= accepted.keys()
