"""What is called equivalent is; what differs for some series is not."""

from __future__ import annotations

import pytest

from alertdrill.rules.mutation.equivalence import equivalent

RATIO = 'sum(rate(a_total{x="1"}[5m])) / (sum(rate(a_total[5m])) > 0) > 0.05'

EQUIVALENT = [
    ("sum(rate(a_total[5m])) > 0", "avg(rate(a_total[5m])) > 0"),
    ("sum(rate(a_total[5m])) > 0", "sum(increase(a_total[5m])) > 0"),
    ("b unless sum(rate(a_total[5m])) > 0", "b unless (max(rate(a_total[5m])) > 0)"),
    ("up == 0", "up <= 0"),
    ("up > 0", "up != 0"),
    (RATIO, RATIO.replace("> 0)", ">= 0)")),
    (RATIO, RATIO.replace(" > 0)", ")")),
    (
        "histogram_quantile(0.9, sum by (le) (rate(d_bucket[5m]))) > 5",
        "histogram_quantile(0.9, avg by (le) (increase(d_bucket[5m]))) > 5",
    ),
]
DIFFERENT = [
    ("sum(rate(a_total[5m])) > 0", "min(rate(a_total[5m])) > 0"),
    ("sum(rate(a_total[5m])) > 0", "sum(irate(a_total[5m])) > 0"),
    ("sum(rate(a_total[5m])) > 0", "sum(rate(a_total[10m])) > 0"),
    ("sum(rate(a_total[5m])) > 0", "sum(rate(a_total[5m])) >= 0"),
    ("sum(rate(a_total[5m])) > 1", "sum(increase(a_total[5m])) > 1"),
    ("sum(temperature) > 0", "avg(temperature) > 0 and b"),
    ("sum(temperature) > 0", "max(temperature) > 0"),
    ("temperature == 0", "temperature <= 0"),
    ("up == 0", "up >= 0"),
    ("up == 0", "up == bool 0"),
    (RATIO, RATIO.replace("> 0)", "< 0)")),
    (RATIO, RATIO.replace("> 0)", "> 1)")),
    # 0/0 is not the only way for the denominator to be 0: here it is a/0.
    (
        RATIO.replace("a_total[", "b_total["),
        RATIO.replace("a_total[", "b_total[").replace("> 0)", ">= 0)"),
    ),
    (
        RATIO.replace("a_total[5m]", "a_total[9m]"),
        RATIO.replace("a_total[5m]", "a_total[9m]").replace("> 0)", ">= 0)"),
    ),
    # NaN is unequal to everything.
    (
        RATIO.replace("> 0.05", "!= 0.05"),
        RATIO.replace("> 0.05", "!= 0.05").replace("> 0)", ">= 0)"),
    ),
    (
        "histogram_quantile(0.9, sum by (le) (rate(d_bucket[5m]))) > 5",
        "histogram_quantile(0.9, max by (le) (rate(d_bucket[5m]))) > 5",
    ),
]


@pytest.mark.parametrize(("original", "mutant"), EQUIVALENT)
def test_no_series_can_tell_them_apart(original, mutant):
    assert equivalent(original, mutant, value_is_used=False)


@pytest.mark.parametrize(("original", "mutant"), DIFFERENT)
def test_some_series_can(original, mutant):
    assert not equivalent(original, mutant, value_is_used=False)


def test_a_value_that_is_shown_matters():
    pair = ("sum(rate(a_total[5m])) > 0", "sum(increase(a_total[5m])) > 0")
    assert equivalent(*pair, value_is_used=False)
    assert not equivalent(*pair, value_is_used=True)
