"""Every part of an expression is found where it stands, and replaced there alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertdrill.rules import promql
from alertdrill.rules.mutation.spans import locate, without_parentheses

EXPRESSIONS = [
    "a + a + a - (b - a)",
    "a ^ b ^ c",
    "a unless b unless on (x) c",
    'sum(a) by (x) > bool on (y) group_left (z) sum without(q) (b{c="} or ("})',
    "topk(3, a) and quantile by (x) (0.5, rate(b[5m] offset 1m))",
    "max_over_time(rate(a[5m])[30m:1m] offset 1d) > 0 # > 1",
    "-a > -1",
    "a > 1e-3 or vector(.5)",
    'label_replace(a, "x", "$1", "y", "(.*)") == 1',
    'count_values("v", a) > 1',
    "a @ end() offset 5m < 3",
    "time() - a > 5",
]

_LEAVES = st.sampled_from(['a{x="(>"}', "b", "rate(c[5m])", "1", "0.5", "up offset 1m", "-a"])


def _joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from([" + ", "-", " / ", " * ", " ^ "])
    return st.one_of(
        st.tuples(parts, operators, parts).map("".join),
        parts.map("({})".format),
        parts.map("sum by (x) ({})".format),
        parts.map("abs( {} )".format),
        st.tuples(parts, st.sampled_from([" > ", " == bool ", " <= "])).map(
            lambda pair: f"{pair[0]}{pair[1]}3".replace("> 3", "> bool 3").replace(
                "<= 3", "<= bool 3"
            )
        ),
    )


@given(st.recursive(_LEAVES, _joined, max_leaves=8))
def test_each_part_reads_as_its_node(source):
    try:
        promql.parse(source)
    except ValueError:
        return  # an aggregation of a scalar, say
    located = locate(source)
    for node in located.root.walk():
        assert promql.shape(promql.parse(located.text(node))) == promql.shape(node.expr)


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_each_part_can_be_replaced_by_itself_and_by_another(source):
    located = locate(source)
    assert located.text(located.root) == source.partition(" #")[0]
    for node in located.root.walk():
        own = located.text(node)
        same = promql.shape(promql.parse(located.replace(node, own)))
        assert without_parentheses(same) == without_parentheses(promql.shape(located.root.expr))


def test_what_needs_parentheses_gets_them():
    located = locate("sum(a) * b")
    (product, *_) = located.root.walk()
    assert located.replace(product.children[0], "a or c") == "(a or c) * b"
    assert located.replace(product.children[0], "c") == "c * b"


def test_a_part_that_the_parser_would_read_otherwise_is_refused():
    located = locate("rate(a[5m]) > 0")
    with pytest.raises(ValueError, match="matrix"):
        located.replace(located.root.children[0].children[0], "a")
