"""Tiling: what a long history says must be what the short recording said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.errors import UsageError
from alertdrill.rules.replay.model import History, Kind, LabelSet, Segment, Stretch
from alertdrill.rules.replay.segments import HEALTHY, Segments
from alertdrill.rules.replay.tile import build, incident, increments

FAULT = "refuse(postgres)"
INTERVAL_S = 15.0
_ = np.nan


def labels(name: str, **more: str) -> LabelSet:
    own = {"job": "app", "instance": "app:80"} | more
    return tuple(sorted((("__name__", name), *((k, v) for k, v in own.items() if v))))


UP = labels("up")


def segment(name: str, series: dict[LabelSet, list[float]], drill: str = "d") -> Segment:
    """Counters are known by ``_total`` and ``_bucket``; all are up where nothing else is said."""
    slots = len(next(iter(series.values())))
    rows = {key: np.array(values, dtype=float) for key, values in series.items()}
    rows.setdefault(UP, np.ones(slots))
    names = {dict(key)["__name__"] for key in rows}
    kinds = {
        n: Kind.COUNTER if n.endswith(("_total", "_bucket", "_count", "_sum")) else Kind.GAUGE
        for n in names
    }
    return Segment(name, drill, INTERVAL_S, 60.0, rows, kinds)


def recorded(
    healthy: dict[LabelSet, list[float]], fault: dict[LabelSet, list[float]] | None = None
) -> Segments:
    slots = len(next(iter(healthy.values())))
    return Segments(
        {"d": segment(HEALTHY, healthy)},
        {"d": segment(FAULT, {UP: [1.0] * slots} if fault is None else fault)},
    )


def slots(*counts: tuple[str, int]) -> list[Stretch]:
    return [Stretch(name, count * INTERVAL_S) for name, count in counts]


def values(history: History, key: LabelSet) -> list[float]:
    return history.series[key].tolist()


def same(one: list[float], other: list[float]) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def rate(samples: np.ndarray, end: int, window: int) -> float:
    """PromQL's rate() at slot ``end`` over ``window`` slots: left-open, resets corrected, and
    extrapolated to the window's ends where samples come that close (promql/functions.go)."""
    at = [i for i in range(end - window + 1, end + 1) if not np.isnan(samples[i])]
    points = samples[at]
    increase = points[-1] - points[0] + points[:-1][np.diff(points) < 0].sum()
    sampled = (at[-1] - at[0]) * INTERVAL_S
    average = sampled / (len(at) - 1)
    to_start = (at[0] - (end - window)) * INTERVAL_S
    to_end = (end - at[-1]) * INTERVAL_S
    if to_start >= average * 1.1:
        to_start = average / 2
    if increase > 0 and points[0] >= 0:
        to_start = min(to_start, sampled * points[0] / increase)
    if to_end >= average * 1.1:
        to_end = average / 2
    return float(increase * (sampled + to_start + to_end) / sampled / (window * INTERVAL_S))


# --- rates -----------------------------------------------------------------------------------

X = labels("x_total")
# A minute and a half of a process that has counted for a week: 7 slots, 20 a slot on average.
WEEK = [900_000.0, 900_018, 900_040, 900_061, 900_080, 900_099, 900_120]
OWN_RATE = 120 / (6 * INTERVAL_S)


@pytest.mark.parametrize("window", [4, 20, 23, 960])
def test_a_rate_over_the_history_is_the_recording_s_own(window):
    samples = build(recorded({X: WEEK}), slots((HEALTHY, 1000))).series[X]
    # Over the six places at which a window can begin in a tile.
    measured = np.mean([rate(samples, end, window) for end in range(990, 996)])
    assert measured == pytest.approx(OWN_RATE, rel=0.01)


def test_tiled_values_would_not_have_that_rate():
    """The planted defect: each repetition reads as a reset, worth all that was ever counted."""
    naive = np.resize(np.array(WEEK), 1000)
    assert rate(naive, 999, 240) > 100 * OWN_RATE
    young = np.resize(np.array(WEEK) - WEEK[0] + 100, 1000)
    assert rate(young, 999, 240) > 1.5 * OWN_RATE


def test_the_seams_of_segments_add_nothing():
    """What was counted between the last healthy scrape and the first one under the fault is in
    neither segment, and the counter's worth in both doesn't matter."""
    made = recorded({X: [100, 110, 120, 130, 140]}, {X: [9000, 9000, 9001, 9001, 9002]})
    got = values(build(made, slots((HEALTHY, 6), (FAULT, 5), (HEALTHY, 2))), X)
    assert got == [110, 120, 130, 140, 150, 160, 160, 161, 161, 162, 162, 172, 182]


def test_a_fault_plays_once_and_goes_on_with_its_second_half():
    """A pool that fills must not be empty again every few minutes."""
    pool = labels("pool")
    made = recorded({pool: [1, 2, 1, 2]}, {pool: [0, 4, 8, 12, 16, 20, 19, 20]})
    got = values(build(made, slots((HEALTHY, 3), (FAULT, 15), (HEALTHY, 2))), pool)
    assert got[:3] == [2, 1, 2]
    assert got[3:18] == [4, 8, 12, 16, 20, 19, 20, 16, 20, 19, 20, 16, 20, 19, 20]
    assert got[18:] == [2, 1]


def test_a_short_fault_is_the_begin_of_the_recording():
    pool = labels("pool")
    made = recorded({pool: [1, 1, 1, 1]}, {pool: [0, 4, 8, 12, 16, 20, 20, 20]})
    got = values(build(made, slots((HEALTHY, 2), (FAULT, 2), (HEALTHY, 2))), pool)
    assert got == [1, 1, 4, 8, 1, 1]


# --- resets ------------------------------------------------------------------------------------


def test_increments_as_rate_has_them():
    grown, fell = increments(np.array([5, 8, _, 9, 2, 2, _, 1]))
    assert grown.tolist() == [0, 3, 0, 1, 2, 0, 0, 1]
    assert fell.tolist() == [False] * 4 + [True, False, False, True]


def test_a_reset_stays_a_reset():
    """resets() can count it, and rate() corrects it to what it was worth."""
    restarted = [700, 710, 720, 4, 14, 24, 34]
    made = recorded({X: [0, 10, 20, 30, 40, 50, 60]}, {X: restarted})
    history = build(made, slots((HEALTHY, 60), (FAULT, 6), (HEALTHY, 60)))
    got = values(history, X)
    assert got[58:66] == [590, 600, 610, 620, 4, 14, 24, 34]
    assert sum(np.diff(got) < 0) == 1
    live = rate(np.array([690.0, *restarted]), 7, 6)
    assert rate(history.series[X], 65, 6) == pytest.approx(live, rel=0.01)
    assert got[66:68] == [44, 54]


def test_a_reset_in_the_part_that_repeats_recurs():
    looping = [0, 10, 20, 30, 40, 50, 5, 15]
    history = build(recorded({X: looping}, {X: looping}), slots((FAULT, 7 + 4 * 5)))
    assert sum(np.diff(history.series[X]) < 0) == 6
    assert history.series[X].max() < 100


# --- absence -----------------------------------------------------------------------------------


def test_a_target_and_its_series_are_down_together():
    made = recorded(
        {UP: [1, 1, 1, 1, 1], X: [1, 2, 3, 4, 5]},
        {UP: [1, 0, 0, 1, 0], X: [5, _, _, 9, _]},
    )
    history = build(made, slots((HEALTHY, 10), (FAULT, 12), (HEALTHY, 4)))
    up, x = history.series[UP], history.series[X]
    assert up[10:14].tolist() == [0, 0, 1, 0]
    assert np.array_equal(up == 0, np.isnan(x))
    assert 0 in up


def test_absent_is_not_zero_and_stays_absent():
    """A label set that only the fault brings has no series before, and stands still after it."""
    errors = labels("x_total", status="error")
    made = recorded({X: [1, 2, 3, 4, 5]}, {X: [5, 5, 5, 5, 5], errors: [_, _, 60, 120, 180]})
    got = values(build(made, slots((HEALTHY, 5), (FAULT, 7), (HEALTHY, 3))), errors)
    assert same(got, [_] * 5 + [_, 60, 120, 180, 240, 300, 360] + [360] * 3)


def test_what_the_fault_brought_goes_down_with_its_target():
    errors = labels("x_total", status="error")
    made = recorded(
        {UP: [1, 1, 0, 1, 1], X: [1, 2, _, 4, 5]},
        {X: [5, 5, 5, 5, 5], errors: [60, 60, 60, 60, 60]},
    )
    got = values(build(made, slots((FAULT, 2), (HEALTHY, 4))), errors)
    assert same(got, [60, 60, 60, _, 60, 60])


def test_a_gauge_that_only_the_fault_brought_is_gone_after_it():
    circuit = labels("circuit_open")
    made = recorded({X: [1, 2, 3, 4, 5]}, {circuit: [_, 1, 1, 1, 1]})
    got = values(build(made, slots((HEALTHY, 2), (FAULT, 3), (HEALTHY, 2))), circuit)
    assert same(got, [_, _, 1, 1, 1, _, _])


def test_what_appeared_late_doesn_t_come_and_go():
    late, late_total = labels("late"), labels("late_total")
    fault = {late: [_] * 6 + [7, 8], late_total: [_] * 6 + [10, 30]}
    made = recorded({X: [1] * 8}, fault)
    history = build(made, slots((FAULT, 7 + 4)))
    assert same(values(history, late), [_] * 5 + [7, 8] + [7, 7, 7, 8])
    assert same(values(history, late_total), [_] * 5 + [10, 30] + [30, 30, 30, 50])


def test_what_vanished_doesn_t_come_back_by_repetition():
    gone = labels("gone")
    made = recorded({gone: [1] * 8}, {gone: [1, 1, 1, 1, 1, 1, _, _]})
    got = values(build(made, slots((HEALTHY, 1), (FAULT, 11), (HEALTHY, 1))), gone)
    assert same(got, [1] + [1] * 5 + [_] * 6 + [1])


def test_a_segment_shown_again_shows_what_it_brought_from_its_begin():
    late = labels("late")
    made = recorded({late: [_, _, 5, 5], X: [1, 2, 3, 4]}, {X: [1] * 4})
    got = values(build(made, slots((HEALTHY, 3), (FAULT, 1), (HEALTHY, 3))), late)
    assert same(got, [_, 5, 5, _, 5, 5, 5])


def test_a_vanished_target_is_gone():
    other = labels("up", instance="other:80")
    made = recorded({UP: [1] * 8, other: [1] * 8}, {UP: [1] * 8, other: [1] + [_] * 7})
    history = build(made, slots((HEALTHY, 2), (FAULT, 10), (HEALTHY, 2)))
    assert same(values(history, other), [1, 1] + [_] * 10 + [1, 1])
    assert values(history, UP) == [1] * 14


def test_a_target_that_comes_or_goes_late_does_so_once():
    late, early = labels("up", instance="late:80"), labels("up", instance="early:80")
    fault = {late: [_] * 6 + [1, 1], early: [1] * 5 + [_] * 3}
    history = build(recorded({UP: [1] * 8}, fault), slots((FAULT, 7 + 4)))
    assert same(values(history, late), [_] * 5 + [1, 1] + [1] * 4)
    assert same(values(history, early), [1] * 4 + [_] * 3 + [_] * 4)


def test_a_scrape_that_nobody_made_shows_the_one_before():
    """Prometheus looks back; a failed scrape (``up`` 0) is something else."""
    made = recorded({UP: [1, _, 1, 1, _], X: [10, _, 30, 40, _]})
    history = build(made, slots((HEALTHY, 8)))
    assert values(history, UP) == [1] * 8
    assert values(history, X) == [10, 30, 40, 40, 40, 60, 70, 70]


def test_a_job_of_a_longer_interval_is_there_all_the_time():
    slow = [_, 5, _, _, _, 6, _, _, _, 7, _, _]
    made = recorded({UP: [_, 1, _, _, _, 1, _, _, _, 1, _, _], labels("g"): slow})
    assert not np.isnan(build(made, slots((HEALTHY, 50))).series[labels("g")]).any()


def test_prometheus_doesn_t_look_back_for_ever():
    up = [1.0, *[_] * 30, 1.0]
    got = build(recorded({UP: up}), slots((HEALTHY, 31))).series[UP]
    assert np.isnan(got).sum() == 10


def test_a_pushed_series_has_no_target():
    pushed = labels("pushed", job="batch", instance="")
    history = build(recorded({pushed: [1, _, 3, 4]}), slots((HEALTHY, 3)))
    assert same(values(history, pushed), [_, 3, 4])


# --- the whole ---------------------------------------------------------------------------------


def test_only_what_is_selected_is_built():
    made = recorded({X: [1, 2, 3, 4], labels("y_total"): [1, 2, 3, 4]})
    history = build(made, slots((HEALTHY, 3)), select={"x_total"})
    assert set(history.series) == {UP, X}


def test_a_rule_on_a_metric_that_nobody_has_still_has_a_history():
    history = build(recorded({X: [1, 2, 3, 4]}), slots((HEALTHY, 9)), select={"missing"})
    assert history.slots == 9


def test_the_healthy_segment_is_that_of_the_same_drill():
    made = Segments(
        {
            d: segment(HEALTHY, {UP: [1.0] * 4, labels("g"): [n] * 4}, d)
            for d, n in (("a", 1), ("b", 2))
        },
        {d: segment(f, {UP: [1.0] * 4}, d) for d, f in (("a", "one"), ("b", "two"))},
    )
    g = labels("g")
    assert values(build(made, slots((HEALTHY, 1), ("one", 1))), g)[0] == 1
    assert values(build(made, slots((HEALTHY, 1), ("two", 1))), g)[0] == 2
    assert values(build(made, slots((HEALTHY, 1), ("b", 1))), g)[0] == 2
    assert values(build(made, slots((HEALTHY, 1))), g)[0] == 1
    assert values(build(made, slots((HEALTHY, 1)), drill="b"), g)[0] == 2
    with pytest.raises(UsageError, match="no healthy segment"):
        build(made, slots((HEALTHY, 1)), drill="c")


def test_ends_are_rounded_not_lengths():
    stretches = [Stretch(HEALTHY, 20.0)] * 30
    assert build(recorded({X: [1, 2, 3, 4]}), stretches).slots == 40


def test_an_incident():
    made = recorded({X: [1, 2, 3, 4]})
    history = build(made, incident(FAULT, 60, lead_s=300, tail_s=150))
    assert [s.segment for s in history.stretches] == [HEALTHY, FAULT, HEALTHY]
    assert history.duration_s == 510


@pytest.mark.parametrize(
    ("stretches", "message"),
    [
        ([], "at least one stretch"),
        ([Stretch(HEALTHY, 5)], "at least one stretch"),
        ([Stretch(HEALTHY, 0)], "can't last for 0 s"),
        ([Stretch(FAULT, -1)], "can't last for -1 s"),
        ([Stretch(HEALTHY, float("inf"))], "can't last for inf s"),
        ([Stretch("slow(ai)", 60)], "no segment 'slow"),
        ([Stretch(HEALTHY, 1e10)], "too many to hold at once"),
    ],
)
def test_what_can_t_be_built(stretches, message):
    with pytest.raises(UsageError, match=message):
        build(recorded({X: [1, 2, 3, 4]}), stretches)


# --- properties --------------------------------------------------------------------------------

STEPS = st.lists(st.integers(0, 1000), min_size=4, max_size=30)
LENGTHS = st.lists(st.integers(1, 80), min_size=1, max_size=5)


@given(st.integers(0, 10**9), STEPS, STEPS, LENGTHS)
def test_increments_are_conserved(start, calm, wild, lengths):
    """Every increment of the history is one of the recording's, as often as its slot is shown."""
    made = recorded(
        {X: (start + np.cumsum(calm)).tolist()}, {X: (start + 7 + np.cumsum(wild)).tolist()}
    )
    names = [HEALTHY if i % 2 == 0 else FAULT for i in range(len(lengths))]
    history = build(made, slots(*zip(names, lengths, strict=True)))
    assert history.slots == sum(lengths)
    expected: list[int] = []
    for name, length in zip(names, lengths, strict=True):
        steps = calm[1:] if name == HEALTHY else wild[1:]
        body = steps if name == HEALTHY else steps[(len(wild) + 1) // 2 - 1 :]
        expected += (steps + body * length)[:length]
    got = history.series[X]
    assert np.diff(got).tolist() == expected[1:]
    assert got[0] == start + sum(calm[:2])


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=4),
    st.integers(1, 200),
)
def test_a_histogram_stays_whole(observed, length):
    """Every slot's increments of all buckets are those of one and the same recorded slot."""
    grown = np.array(observed).cumsum(axis=1)
    bounds = ("0.1", "1.0", "+Inf")
    series = {
        labels("h_bucket", le=le): np.cumsum(grown[:, i]).tolist() for i, le in enumerate(bounds)
    }
    series[labels("h_count")] = series[labels("h_bucket", le="+Inf")]
    history = build(recorded(series, series), slots((HEALTHY, length), (FAULT, length)))
    got = np.stack([history.series[labels("h_bucket", le=le)] for le in bounds], axis=1)
    assert np.array_equal(got[:, 2], history.series[labels("h_count")])
    seen = {tuple(row) for row in np.diff(got, axis=0)}
    assert seen <= {tuple(row) for row in grown[1:]}
    assert (np.diff(got, axis=1) >= 0).all()


SCRAPES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 9), st.booleans()), min_size=4, max_size=25
)


@given(SCRAPES, SCRAPES, LENGTHS)
def test_counters_fall_only_where_they_were_reset(calm, wild, lengths):
    """With targets that go down and processes that restart: present just where the target
    answered, never negative, and in each slot no more than the recording ever grew in one."""
    segments, most = [], 0.0
    for scrapes in (calm, wild):
        value, up, x = 0.0, [], []
        for answered, step, restarted in scrapes:
            value = (0.0 if restarted else value) + step
            up.append(float(answered))
            x.append(value if answered else _)
        segments.append({UP: up, X: x})
        most = max(most, increments(np.array(x))[0].max())
    names = [HEALTHY if i % 2 == 0 else FAULT for i in range(len(lengths))]
    history = build(recorded(*segments), slots(*zip(names, lengths, strict=True)))
    up_values, x_values = history.series[UP], history.series[X]
    assert set(up_values) <= {0.0, 1.0}
    assert np.array_equal(up_values == 1, ~np.isnan(x_values))
    there = x_values[~np.isnan(x_values)]
    assert (there >= 0).all()
    if len(there):
        grown = increments(there)[0]
        assert grown[1:].max(initial=0.0) <= most


@given(STEPS, LENGTHS)
def test_the_same_input_gives_the_same_history(steps, lengths):
    made = recorded({X: np.cumsum(steps).tolist(), labels("g"): [float(s) for s in steps]})
    stretches = slots(*((HEALTHY, length) for length in lengths))
    one, other = build(made, stretches), build(made, stretches)
    assert list(one.series) == list(other.series)
    assert all(np.array_equal(one.series[key], other.series[key]) for key in one.series)
