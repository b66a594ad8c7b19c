"""Dividing the durations of PromQL, and nothing else of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alertdrill.rules.durations import divide_ms, format_ms
from alertdrill.rules.promql import divide_durations, look_back_ms, parse, shape

SIXTY = Fraction(60)

DIVIDED = [
    ("rate(x[5m])", "rate(x[5s])"),
    ("rate(x[1h30m] offset 1w)", "rate(x[1m30s] offset 2h48m)"),
    ("x OFFSET -1m", "x OFFSET -1s"),
    ("max_over_time(x[30m:15s])", "max_over_time(x[30s:250ms])"),
    ("max_over_time(x[5m:])", "max_over_time(x[5s:])"),
    ("max_over_time(x[ 5m : 1m ] offset 1m)", "max_over_time(x[ 5s : 1s ] offset 1s)"),
    ("max_over_time(rate(x[1m])[1h:1m] @ end())", "max_over_time(rate(x[1s])[1m:1s] @ end())"),
    ("x @ 1609746000 offset 5m", "x @ 1609746000 offset 5s"),
    # Since Prometheus 3: a plain number of seconds.
    ("rate(x[300])", "rate(x[5s])"),
    # Rounded down to a millisecond.
    ("rate(x[10s])", "rate(x[166ms])"),
]

UNTOUCHED = [
    'x{a="5m", b=~"[5m]"}',
    "x{a='offset 5m', b=`[5m]`}",
    r'x{a="\"[5m]"}',
    "x5m + y:rate5m + rate_5m",
    "x > 300 and y < 1e5 or z == 0x1F",
    "time() - x > 5m",
    'sum by (offset) (x{offset="5m"})',
    'label_replace(x, "a", "5m", "b", "[5m] offset 5m")',
    "x # [5m] offset 5m don't",
    'a / on (b) group_left (c) d > bool 5 unless count_values("v", e)',
]


@pytest.mark.parametrize(("text", "result"), DIVIDED)
def test_durations_are_divided(text, result):
    assert divide_durations(text, SIXTY) == result


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_only_looks_like_a_duration_stays(text):
    assert divide_durations(text, SIXTY) == text


def test_what_would_change_its_meaning_is_refused():
    # A metric called "offset": the 5 is a number here.
    with pytest.raises(ValueError, match="can't be rewritten safely"):
        divide_durations("offset + 5", SIXTY)


def test_what_would_last_no_time_is_refused():
    with pytest.raises(ValueError, match="less than a millisecond"):
        divide_durations("rate(x[5ms])", SIXTY)


durations = st.integers(1, 10**8).map(lambda ms: ms * 600)
names = st.sampled_from(["x", "x5m", "a:b:5m", ":r", "rate5m", "bool_x"])
values = st.sampled_from(["", "5m", "[5m]", " offset 5m", "it's", 'say \\"5m\\"', "#", "{}"])


@st.composite
def selector(draw: st.DrawFn) -> str:
    labels = ", ".join(f'l{i}="{draw(values)}"' for i in range(draw(st.integers(0, 2))))
    return draw(names) + (f"{{{labels}}}" if labels else "")


@st.composite
def suffix(draw: st.DrawFn) -> str:
    offset = draw(st.sampled_from(["", " offset {}", " offset -{}", "  OFFSET {}"]))
    at = draw(st.sampled_from(["", " @ 1700000000", " @ start()"]))
    return offset.format(format_ms(draw(durations))) + at


@st.composite
def instant(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0:
        return draw(selector()) + draw(suffix())
    below = instant(depth - 1)
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return f"rate({draw(selector())}[{format_ms(draw(durations))}]{draw(suffix())})"
    if kind == 1:
        step = draw(st.sampled_from(["", format_ms(draw(durations))]))
        window = format_ms(draw(durations))
        return f"max_over_time(({draw(below)})[{window}:{step}]{draw(suffix())})"
    if kind == 2:
        return f"sum by (l0, offset) ({draw(below)})"
    if kind == 3:
        operator = draw(st.sampled_from(["+", "/", "> bool", "and", "unless on (l0)", "=="]))
        return f"({draw(below)}) {operator} ({draw(below)})"
    if kind == 4:
        number = draw(st.sampled_from(["5", "0.05", "1e5", "5m", "-300"]))
        return f"{draw(below)} > {number}"
    if kind == 5:
        return f"topk(5, {draw(below)}) # 5m [5m] offset 5m\n"
    return f'label_replace({draw(below)}, "a", "{draw(values)}", "b", "(.*)")'


@given(instant(), st.sampled_from([2, 5, 60, Fraction(5, 2)]))
def test_every_duration_is_divided_and_nothing_else_changes(text, factor):
    before, after = parse(text), parse(divide_durations(text, Fraction(factor)))
    assert shape(after) == shape(before, lambda ms: divide_ms(ms, Fraction(factor)))


@given(instant())
def test_factor_1_changes_no_duration(text):
    assert shape(parse(divide_durations(text, Fraction(1)))) == shape(parse(text))


@given(instant(), st.sampled_from([2, 5, 10]), st.sampled_from([2, 3, 60]))
def test_dividing_twice_is_dividing_once(text, a, b):
    twice = divide_durations(divide_durations(text, Fraction(a)), Fraction(b))
    assert shape(parse(twice)) == shape(parse(divide_durations(text, Fraction(a * b))))


@given(instant())
def test_the_window_shrinks_with_the_clock(text):
    before = look_back_ms(parse(text))
    assume(before > 0)
    after = look_back_ms(parse(divide_durations(text, Fraction(60))))
    # Each of a few nested durations is rounded down by less than a millisecond.
    assert abs(after - before / 60) < 8


# The proof itself must be able to fail: trees that differ have shapes that differ.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rate(x[5m])", "rate(x[6m])"),
        ("rate(x[5m])", "irate(x[5m])"),
        ("x", "y"),
        ('x{a="b"}', 'x{a!="b"}'),
        ('x{a="b"}', 'x{a="c"}'),
        ("x offset 1ms", "x offset 2ms"),
        ("x offset 1m", "x offset -1m"),
        ("x @ 1", "x @ 2"),
        ("x @ start()", "x @ end()"),
        ("max_over_time(x[5m:1m])", "max_over_time(x[5m:])"),
        ("a > 1", "a > 2"),
        ("a > 1", "a >= 1"),
        ("a > 1", "a > bool 1"),
        ("a + on (x) b", "a + ignoring (x) b"),
        ("a + on (x) group_left b", "a + on (x) group_right b"),
        ("a + on (x) group_left (y) b", "a + on (x) group_left (z) b"),
        ("sum by (x) (a)", "sum without (x) (a)"),
        ("sum(a)", "avg(a)"),
        ("topk(5, a)", "topk(6, a)"),
        ('count_values("a", x)', 'count_values("b", x)'),
        ("(a)", "a"),
        ("-a", "a"),
        ('label_replace(x, "a", "b", "c", "d")', 'label_replace(x, "a", "b", "c", "e")'),
    ],
)
def test_different_expressions_have_different_shapes(one, other):
    assert shape(parse(one)) != shape(parse(other))
    assert shape(parse(one)) == shape(parse(one))
