"""Segments: made of raw samples, written, read back, and refused when something is wrong."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from alertdrill.errors import SignalError, UsageError
from alertdrill.rules.replay.model import Kind, Segment
from alertdrill.rules.replay.segment_file import read_segment
from alertdrill.rules.replay.segments import (
    HEALTHY,
    assemble,
    load_segments,
    record_drill,
    save,
)
from alertdrill.rules.replay.targets import missed_scrapes
from alertdrill.signals.recording import RawSeries, Recording
from tests.signals.fake_prometheus import Fake, serving

APP = (("instance", "app:80"), ("job", "app"))


def labels(name: str, **more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((("__name__", name), *APP, *more.items())))


def segment(name: str = HEALTHY, drill: str = "d", **series: str) -> Segment:
    """A segment at 15 s; values by metric, ``_`` for none. Counters are known by ``_total``."""
    series = {"up": "1 1 1 1 1 1"} | series
    rows = {
        labels(metric): np.array([np.nan if v == "_" else float(v) for v in text.split()])
        for metric, text in series.items()
    }
    kinds = {m: Kind.COUNTER if m.endswith("_total") else Kind.GAUGE for m in series}
    return Segment(name, drill, 15.0, 60.0, rows, kinds)


def raw(name: str, times: list[float], values: list[float], **more: str) -> RawSeries:
    return RawSeries(dict(labels(name, **more)), np.array(times), np.array(values, dtype=float))


def recording(*series: RawSeries, slots: int = 8, types: dict[str, str] | None = None) -> Recording:
    return Recording(1000.0, 1000.0 + slots * 0.25, series, types or {})


def made_of(recorded: Recording, factor: float = 60.0) -> Segment:
    return assemble(recorded, name=HEALTHY, drill="d", interval_s=0.25 * factor, factor=factor)


def same(one: Segment, other: Segment) -> bool:
    return (
        (one.name, one.drill, one.interval_s, one.factor, dict(one.kinds))
        == (other.name, other.drill, other.interval_s, other.factor, dict(other.kinds))
        and one.series.keys() == other.series.keys()
        and all(
            np.array_equal(one.series[key], other.series[key], equal_nan=True) for key in one.series
        )
    )


# --- slots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [0.0, 0.001, 0.12, 0.125, 0.249])
def test_each_scrape_has_its_slot_whatever_the_phase(phase):
    """Rounding to the recording's begin would lose or double scrapes that waver about an edge."""
    wavering = random.Random(1)
    times = [1000 + phase + i * 0.25 + wavering.uniform(-0.04, 0.04) for i in range(8)]
    made = made_of(recording(raw("up", times, [1, 2, 3, 4, 5, 6, 7, 8])))
    assert made.series[labels("up")].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_targets_of_different_phases_share_slots():
    a = RawSeries(
        {"__name__": "up", "job": "a", "instance": "a"},
        np.arange(8) * 0.25 + 1000.01,
        np.arange(8.0),
    )
    b = RawSeries(
        {"__name__": "up", "job": "b", "instance": "b"},
        np.arange(8) * 0.25 + 1000.24,
        np.arange(8.0),
    )
    made = made_of(recording(a, b))
    assert [values.tolist() for values in made.series.values()] == [list(range(8))] * 2


def test_a_missed_scrape_leaves_a_gap_and_of_two_the_later_counts():
    times = [1000.1, 1000.35, 1000.85, 1000.86, 1001.1, 1001.35, 1001.6, 1001.85]
    made = made_of(recording(raw("up", times, list(range(8)))))
    expected = [0, 1, np.nan, 3, 4, 5, 6, 7]
    assert np.array_equal(made.series[labels("up")], expected, equal_nan=True)


def test_a_rate_is_what_it_was_live():
    """6 a second at a factor of 60: 1.5 by scrape live, 90 by scrape on the real clock."""
    times = [1000.1 + i * 0.25 for i in range(8)]
    counted = raw("x_total", times, [i * 1.5 for i in range(8)])
    gauge = raw("g", times, [3.0] * 8)
    made = made_of(recording(counted, gauge, types={"x_total": "counter", "g": "gauge"}))
    x = made.series[labels("x_total")]
    assert made.interval_s == 15
    assert (x[-1] - x[0]) / (7 * 15) == pytest.approx(6.0)
    assert set(made.series[labels("g")]) == {3.0}


def test_on_the_real_clock_nothing_is_scaled():
    times = [1000.1 + i * 0.25 for i in range(8)]
    made = made_of(recording(raw("x_total", times, list(range(8)))), factor=1)
    assert made.series[labels("x_total")].tolist() == list(range(8))


@pytest.mark.parametrize(
    ("name", "types", "kind"),
    [
        ("x_total", {"x_total": "counter"}, Kind.COUNTER),
        ("x_total", {"x": "counter"}, Kind.COUNTER),  # an OpenMetrics target
        ("x_total", {"x_total": "gauge"}, Kind.GAUGE),
        ("x_total", {}, Kind.COUNTER),
        ("legacy", {"legacy": "counter"}, Kind.COUNTER),
        ("x_bucket", {"x": "histogram"}, Kind.COUNTER),
        ("x_sum", {"x": "summary"}, Kind.COUNTER),
        ("x_count", {"x": "histogram"}, Kind.COUNTER),
        ("x_bucket", {"x": "gaugehistogram"}, Kind.GAUGE),
        ("x_count", {"x_count": "gauge"}, Kind.GAUGE),
        ("x_count", {"x_count": "unknown"}, Kind.COUNTER),
        ("x", {"x": "summary"}, Kind.GAUGE),
        ("x_created", {"x": "counter"}, Kind.GAUGE),
        ("up", {}, Kind.GAUGE),
    ],
)
def test_kinds(name, types, kind):
    times = [1000.1 + i * 0.25 for i in range(8)]
    assert made_of(recording(raw(name, times, [1] * 8), types=types)).kinds == {name: kind}


def test_too_short_a_stretch():
    with pytest.raises(SignalError, match=r"3 scrapes of 0\.25 s, too few"):
        made_of(recording(raw("up", [1000.1], [1]), slots=3))


# --- on disk ---------------------------------------------------------------------------------


def full() -> Segment:
    """Every kind of family, a reset, gaps, and labels that need escaping."""
    made = segment(
        x_total="1 2 _ 4 0 1",
        legacy="1 2 3 4 5 6",
        temperature="-1.5 1e-9 3 _ 1e300 0.1",
        odd_total="1 1 2 2 1 1",
    )
    rows = dict(made.series)
    kinds = dict(made.kinds) | {"legacy": Kind.COUNTER, "odd_total": Kind.GAUGE}
    for path in ("/a", 'quote " back \\ line \n end'):
        for name, values in {
            "h_bucket": None,
            "h_sum": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
            "h_count": np.arange(6.0),
        }.items():
            kinds[name] = Kind.COUNTER
            if values is not None:
                rows[labels(name, path=path)] = values
        for le in ("0.1", "2.0", "+Inf"):
            rows[labels("h_bucket", path=path, le=le)] = np.arange(6.0)
    for quantile in ("0.5", "0.99"):
        rows[labels("s", quantile=quantile)] = np.arange(6.0)
    rows[labels("s_sum")] = rows[labels("s_count")] = np.arange(6.0)
    kinds |= {"s": Kind.GAUGE, "s_sum": Kind.COUNTER, "s_count": Kind.COUNTER}
    rows[labels("with.dots and space")] = np.arange(6.0)
    kinds["with.dots and space"] = Kind.COUNTER
    return Segment(HEALTHY, "d", 15.0, 60.0, rows, kinds)


def test_what_is_saved_is_read_back(tmp_path):
    path = save(full(), tmp_path)
    assert path.name == "d--healthy.om.gz"
    assert same(read_segment(path), full())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_fault_s_segment_has_its_own_file(tmp_path):
    assert save(segment("refuse(postgres)"), tmp_path).name == "d--fault.om.gz"


def test_the_file_is_strict_openmetrics(tmp_path):
    """By the reference parser. It knows no names beyond the classic alphabet, and takes the later
    moments of a histogram for duplicates, so it is given one at a time."""
    classic = full()
    del classic.series[labels("with.dots and space")]
    lines = gzip.decompress(save(classic, tmp_path).read_bytes()).decode().splitlines(True)
    x = []
    for time in range(0, 90, 15):
        moment = [line for line in lines if line.startswith("#") or line.endswith(f" {time}\n")]
        families = {f.name: f for f in text_string_to_metric_families("".join(moment))}
        assert {name: f.type for name, f in families.items()} == {
            "alertdrill_segment": "info",
            "alertdrill_counter": "info",
            "up": "gauge",
            "x": "counter",
            "legacy": "unknown",
            "odd_total": "unknown",
            "temperature": "gauge",
            "h": "histogram",
            "s": "summary",
        }
        assert len(families["h"].samples) == 2 * 5
        x += [(float(sample.timestamp), sample.value) for sample in families["x"].samples]
    assert x == [(0, 1), (15, 2), (45, 4), (60, 0), (75, 1)]


def test_only_what_is_selected_is_kept(tmp_path):
    names = {k for key in read_segment(save(full(), tmp_path), {"x_total"}).series for k in key}
    assert {value for key, value in names if key == "__name__"} == {"x_total", "up"}


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.lists(NUMBERS, min_size=5, max_size=5), min_size=1, max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from([0.25, 15.0, 7.5, 0.1, 1 / 3]),
)
def test_any_values_and_labels_are_read_back(tmp_path_factory, matrix, text, interval_s):
    folder = tmp_path_factory.mktemp("segments")
    rows = {labels("up"): np.arange(5.0)}
    rows |= {labels("x", n=str(n), text=text): np.array(row) for n, row in enumerate(matrix)}
    rows = {key: row for key, row in rows.items() if not np.isnan(row).all()}
    kinds = {dict(key)["__name__"]: Kind.GAUGE for key in rows}
    written = Segment(HEALTHY, "d", float(f"{interval_s:.15g}"), 1.0, rows, kinds)
    assert same(read_segment(save(written, folder)), written)


# --- bad files ---------------------------------------------------------------------------------


def rewritten(path: Path, old: str, new: str) -> None:
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new).encode()))


INFO = 'schema="1",name="healthy",drill="d",interval_s="15",factor="60",slots="6"'


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("# EOF\n", "", 10, "cut short: there is no # EOF"),
        ("# EOF\n", "# EOF\nup 1 0\n", 11, "goes on after # EOF"),
        ("# EOF\n", "# EOF", 10, "the line doesn't end"),
        ("} 3.0 30\n", "} 3.0 15\n", 6, "out of order"),
        ("} 3.0 30\n", "} 3.0 0\n", 6, "out of order"),
        ("} 3.0 30\n", "} 3.0 31\n", 6, "none of the 6 slots"),
        ("} 3.0 30\n", "} 3.0 90\n", 6, "none of the 6 slots"),
        ("} 3.0 30\n", "} 3.0 -15\n", 6, "none of the 6 slots"),
        ("} 3.0 30\n", "} 3.0 nan\n", 6, "none of the 6 slots"),
        ("} 3.0 30\n", "} 3.0 soon\n", 6, "no number: soon"),
        ("} 3.0 30\n", "} three 30\n", 6, "not a sample with a time stamp"),
        ("} 3.0 30\n", "}\n", 6, "not a sample with a time stamp"),
        ('x{instance="app:80",job="app"} 3.0', 'x{instance="app:80" 3.0', 6, "without an end"),
        ('x{instance="app:80",job="app"} 3.0', "x{instance=app} 3.0", 6, "can't be read"),
        ('x{instance="app:80",job="app"} 3.0', 'x{a="1",a="2"} 3.0', 6, "a twice"),
        ('x{instance="app:80",job="app"} 3.0', '{a="1"} 3.0', 6, "without a name"),
        ("# TYPE x gauge", "# WAS x", 3, "not OpenMetrics"),
        (INFO, INFO.replace('slots="6"', 'slots="3"'), 2, "3 slots; 4 are the least"),
        (INFO, INFO.replace('slots="6"', 'slots="many"'), 2, "can't be read"),
        (INFO, INFO.replace(',slots="6"', ""), 2, "can't be read"),
        (INFO, INFO.replace('factor="60"', 'factor="0"'), 2, "out of range"),
        (INFO, INFO.replace('schema="1"', 'schema="9"'), 2, "schema '9'"),
        ("alertdrill_segment_info{", "other_info{", 2, "is no segment"),
    ],
)
def test_a_bad_file_is_refused_where_it_is_bad(tmp_path, old, new, line, message):
    path = save(segment(up="1 1 1 1 1 1"), tmp_path)
    body = "".join(f'x{{instance="app:80",job="app"}} {v}.0 {(v - 1) * 15}\n' for v in range(1, 7))
    text = f"# TYPE alertdrill_segment info\nalertdrill_segment_info{{{INFO}}} 1 0\n"
    path.write_bytes(gzip.compress(f"{text}# TYPE x gauge\n{body}# EOF\n".encode()))
    assert read_segment(path).slots == 6
    rewritten(path, old, new)
    with pytest.raises(UsageError, match=message) as caught:
        read_segment(path)
    # Without its last line, the file ends one line earlier.
    assert caught.value.line == (line if old != "# EOF\n" or new else 9)
    assert caught.value.file == path


def test_a_file_cut_short_while_packed(tmp_path):
    path = save(full(), tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="cut short"):
        read_segment(path)


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_something_else(tmp_path, content):
    path = tmp_path / "d--fault.om.gz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cut short|not a gzipped segment"):
        read_segment(path)


def test_a_file_that_unpacks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("alertdrill.rules.replay.segment_file.MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="unpacks to more than 1,000 bytes"):
        read_segment(save(full(), tmp_path))


def test_a_line_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("alertdrill.rules.replay.segment_file.MAX_LINE", 50)
    with pytest.raises(UsageError, match="too long"):
        read_segment(save(full(), tmp_path))


# --- a folder ----------------------------------------------------------------------------------


def pair(folder: Path, drill: str, fault: str, **series: str) -> None:
    save(segment(HEALTHY, drill), folder)
    save(segment(fault, drill, **series), folder)


def test_a_folder_of_drills(tmp_path):
    pair(tmp_path, "one", "refuse(postgres)")
    pair(tmp_path, "two", "kill(hub)")
    found = load_segments(tmp_path)
    assert found.complaints == ()
    assert set(found.healthy) == set(found.faults) == {"one", "two"}
    assert found.drill_of("kill(hub)") == found.drill_of("two") == "two"
    with pytest.raises(UsageError, match="there are kill"):
        found.drill_of("slow(ai)")


def test_the_same_fault_in_two_drills_must_be_named_by_drill(tmp_path):
    pair(tmp_path, "one", "latency(postgres)")
    pair(tmp_path, "two", "latency(postgres)")
    found = load_segments(tmp_path)
    assert found.drill_of("two") == "two"
    with pytest.raises(UsageError, match="recorded by one, two"):
        found.drill_of("latency(postgres)")


def test_a_bad_file_leaves_the_others(tmp_path):
    pair(tmp_path, "good", "kill(hub)")
    pair(tmp_path, "bad", "refuse(postgres)")
    bad = tmp_path / "bad--fault.om.gz"
    bad.write_bytes(bad.read_bytes()[:-20])
    found = load_segments(tmp_path)
    assert set(found.faults) == {"good"}
    assert set(found.broken) == {"bad"}
    assert "cut short" in found.broken["bad"]
    words = [str(complaint) for complaint in found.complaints]
    assert "cut short" in words[0]
    assert words[0].startswith(f"{bad}:")
    assert "has no fault one of the same drill" in words[1]


def test_gaps_are_said(tmp_path):
    pair(tmp_path, "d", "kill(hub)", up="1 1 1 _ 1 1 1 1 1 _ _ 1")
    (complaint,) = load_segments(tmp_path).complaints
    assert complaint.message.endswith(
        "instance=app:80, job=app was not scraped in 3 of 12 scrapes of kill(hub)"
    )


def test_a_target_that_was_never_scraped_has_no_gaps():
    up = (("__name__", "up"), ("job", "app"))
    never = Segment("kill(hub)", "d", 15.0, 60.0, {up: np.full(6, np.nan)}, {"up": Kind.GAUGE})
    assert missed_scrapes(never) == []


def test_a_job_of_a_longer_interval_has_no_gaps(tmp_path):
    pair(tmp_path, "d", "kill(hub)", up="_ 1 _ 1 _ 1")
    assert load_segments(tmp_path).complaints == ()


def test_two_clocks_are_no_pair(tmp_path):
    pair(tmp_path, "good", "kill(hub)")
    pair(tmp_path, "d", "kill(hub)")
    rewritten(tmp_path / "d--fault.om.gz", 'factor="60"', 'factor="30"')
    found = load_segments(tmp_path)
    assert set(found.faults) == {"good"}
    assert "same interval and factor" in found.complaints[0].message


def test_two_files_of_one_kind(tmp_path):
    pair(tmp_path, "d", "kill(hub)")
    (tmp_path / "e--fault.om.gz").write_bytes((tmp_path / "d--fault.om.gz").read_bytes())
    assert (
        "left out: d--fault.om.gz is of the same" in load_segments(tmp_path).complaints[0].message
    )


def test_an_empty_folder_is_no_pass(tmp_path):
    with pytest.raises(UsageError, match="run drills first"):
        load_segments(tmp_path)
    save(segment(), tmp_path)
    with pytest.raises(UsageError, match=r"no pair of segments can be used: .*no fault one"):
        load_segments(tmp_path)


# --- the whole way -----------------------------------------------------------------------------


def test_a_drill_is_recorded(tmp_path):
    fake = Fake(types={"x_total": "counter"})
    moments = [1000.1 + i * 0.25 for i in range(40)]
    fake.add("up", [(at, "1") for at in moments], job="app", instance="app:80")
    slow, fast = "x_total", "new_total"
    fake.add(
        slow, [(at, str(i * 1.5)) for i, at in enumerate(moments)], job="app", instance="app:80"
    )
    fake.add(
        fast, [(at, str(i)) for i, at in enumerate(moments[25:])], job="app", instance="app:80"
    )
    with serving(fake) as url:
        paths = record_drill(
            url,
            drill="postgresql-refuses",
            fault="refuse(postgres)",
            interval_s=15,
            factor=60,
            healthy=(1000.0, 1005.0),
            broken=(1005.0, 1010.0),
            folder=tmp_path / "segments",
        )
    found = load_segments(tmp_path / "segments")
    assert found.complaints == ()
    assert [path.name for path in paths] == [
        "postgresql-refuses--healthy.om.gz",
        "postgresql-refuses--fault.om.gz",
    ]
    healthy, fault = found.healthy["postgresql-refuses"], found.faults["postgresql-refuses"]
    assert (healthy.slots, fault.slots, fault.name) == (20, 20, "refuse(postgres)")
    assert np.diff(healthy.series[labels("x_total")]).tolist() == [90.0] * 19
    assert labels("new_total") not in healthy.series
    new = fault.series[labels("new_total")]
    assert np.isnan(new[:5]).all()
    assert new[5:].tolist() == [i * 60.0 for i in range(15)]
