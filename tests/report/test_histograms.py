"""load/*.hgrm: every request that ended is counted, and each percentile is the right one."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertdrill.load.protocol import Event, Finished, Heartbeat
from alertdrill.report.folder import RunFolder
from alertdrill.report.histograms import percentile_distribution, read_requests, write_histograms

ROW = re.compile(r" *(\d+\.\d{3}) ([01]\.\d{12}) +(\d+)(?: +(\d+\.\d\d))?")


def finished(ms: float, *, ok: bool = True) -> Finished:
    status, error = (200, None) if ok else (503, "HTTP 503")
    return Finished(10.0, 10.0 - ms / 1000, "User", "GET /", ok, status, ms, error)


def rows_of(text: str) -> list[tuple[float, float, int]]:
    """Value in ms, percentile from 0 to 1, requests up to that value."""
    matches = [ROW.fullmatch(line) for line in text.splitlines()]
    return [(float(m[1]), float(m[2]), int(m[3])) for m in matches if m]


def footer(text: str, name: str) -> float:
    found = re.search(rf"{name} *= *([\d.]+)", text)
    assert found
    return float(found[1])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run").ensure()


def requests_file(folder: RunFolder, drill: str, content: bytes) -> Path:
    home = folder.path / "load" / drill
    home.mkdir(parents=True)
    (home / "requests.jsonl").write_bytes(content)
    return home / "requests.jsonl"


@settings(max_examples=30)
@given(st.lists(st.floats(0.0, 20_000.0), min_size=1, max_size=60))
def test_each_row_is_the_smallest_value_that_so_many_requests_kept(ms: list[float]) -> None:
    text = percentile_distribution([finished(one) for one in ms]).decode()
    rows = rows_of(text)
    assert rows[-1][1:] == (1.0, len(ms))
    ordered = sorted(ms)
    for value, percentile, count in rows:
        rank = max(1, math.ceil(percentile * len(ms) - 1e-9))
        assert count >= rank
        exact = ordered[rank - 1]
        # Three significant figures, or a microsecond, and the rounding of three decimals.
        assert value == pytest.approx(exact, rel=2e-3, abs=2.1e-3)
    assert footer(text, "Max") == pytest.approx(ordered[-1], rel=2e-3, abs=2.1e-3)


def test_the_file_has_the_shape_that_the_tools_read() -> None:
    lines = percentile_distribution([finished(2.0), finished(4.0)]).decode().splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert lines[1] == ""
    data = [line for line in lines[2:] if not line.startswith("#[")]
    assert all(ROW.fullmatch(line) for line in data)
    assert [line[:6] for line in lines[len(data) + 2 :]] == ["#[Mean", "#[Max ", "#[Buck"]


def test_mean_and_deviation_are_milliseconds_too() -> None:
    """The library leaves the deviation in the unit that was recorded."""
    ms = [1.0, 2.0, 3.0, 250.0]
    text = percentile_distribution([finished(one) for one in ms]).decode()
    assert footer(text, "Mean") == pytest.approx(np.mean(ms), rel=1e-3)
    assert footer(text, "StdDeviation") == pytest.approx(np.std(ms), rel=1e-3)


def test_failed_requests_count_and_heartbeats_do_not(folder: RunFolder) -> None:
    beat = Heartbeat(9.0, 1, {"User": 1}, {"User": 0}, {"User": 0})
    events: list[Event] = [beat, finished(5.0), finished(90.0, ok=False), beat]
    requests_file(folder, "a", b"".join(event.line() for event in events))
    (file,) = write_histograms(folder)
    assert file == folder.path / "load" / "a.hgrm"
    assert rows_of(file.read_text())[-1][2] == 2
    assert rows_of(file.read_text())[-1][0] == pytest.approx(90.0, rel=1e-3)


def test_a_very_slow_request_is_not_lost() -> None:
    """A histogram drops in silence what lies beyond its range."""
    two_hours_ms = 7_200_000.0
    rows = rows_of(percentile_distribution([finished(1.0), finished(two_hours_ms)]).decode())
    assert rows[-1][2] == 2
    assert rows[-1][0] == pytest.approx(two_hours_ms, rel=1e-3)


def test_a_cut_line_is_counted_and_hides_no_other(folder: RunFolder) -> None:
    whole = finished(5.0).line()
    file = requests_file(folder, "a", whole + whole[:20])
    requests = read_requests(file)
    assert (len(requests.record.finished), requests.unreadable) == (1, 1)
    file.write_bytes(whole + whole)
    requests = read_requests(file)
    assert (len(requests.record.finished), requests.unreadable) == (2, 0), "the clean twin"


def test_a_drill_without_a_finished_request_has_no_histogram(folder: RunFolder) -> None:
    requests_file(folder, "silent", Heartbeat(9.0, 0, {}, {}, {}).line())
    requests_file(folder, "loud", finished(1.0).line())
    assert [file.name for file in write_histograms(folder)] == ["loud.hgrm"]


def test_a_run_without_load_has_none(folder: RunFolder) -> None:
    assert write_histograms(folder) == []
    assert read_requests(folder.path / "load" / "none" / "requests.jsonl").record.finished == []
