"""Durations: what was learned orders the next run, and nothing that can't be read stops it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alertdrill.durations import FILE, Durations


def entry(drill: str, wall_s: float, verdict: str = "pass") -> dict[str, object]:
    return {"id": drill, "wall_s": wall_s, "verdict": verdict}


def test_what_passed_is_remembered_beside_what_was_known(tmp_path: Path) -> None:
    Durations.of(tmp_path).learn([entry("a", 20.0), entry("b", 30.0)])
    Durations.of(tmp_path).learn([entry("b", 10.0), entry("a", 1.0, "fail")])
    known = Durations.of(tmp_path)
    assert (known.expected_s("a"), known.expected_s("b")) == (20.0, 10.0)


def test_a_drill_that_never_ran_comes_first(tmp_path: Path) -> None:
    assert Durations.of(tmp_path).expected_s("new") == math.inf


@pytest.mark.parametrize("content", ["", "[]", '{"a": "soon"}', '{"a": null}', "\xff"])
def test_a_file_that_says_nothing_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(content, encoding="latin-1")
    assert Durations.of(tmp_path).seconds == {}
