"""Durations in Prometheus' syntax."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.rules.durations import as_factor, divide_ms, format_ms, parse_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("250ms", 250),
        ("1m", 60_000),
        ("1h30m", 5_400_000),
        ("1y2w3d4h5m6s7ms", 33_019_506_007),
        ("9223372036854ms", 9_223_372_036_854),
    ],
)
def test_parse(text, ms):
    assert parse_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    ["", "5", "1.5h", "5m1h", "-5m", "5M", "5 m", "m", "293y", "9223372036855ms", "9" * 30 + "y"],
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_ms(text)


@given(st.integers(0, 10**12))
def test_what_is_written_is_read_back(ms):
    assert parse_ms(format_ms(ms)) == ms


@given(st.integers(0, 10**9), st.integers(1, 100), st.integers(1, 100))
def test_dividing_twice_is_dividing_once(ms, a, b):
    if ms and ms < a * b:
        with pytest.raises(ValueError, match="less than a millisecond"):
            divide_ms(ms, Fraction(a * b))
    else:
        twice = divide_ms(divide_ms(ms, Fraction(a)), Fraction(b))
        assert twice == divide_ms(ms, Fraction(a * b))


def test_a_factor_means_what_is_written():
    assert as_factor(2.5) == Fraction(5, 2)
    assert divide_ms(-60_000, Fraction(60)) == -1_000
    with pytest.raises(ValueError, match="1 or more"):
        as_factor(0.5)
