"""Test files are found and read; what is none is left alone or said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alertdrill.errors import UsageError
from alertdrill.rules.document import parse_document
from alertdrill.rules.testing.document import discover, read_test_file, that_load
from alertdrill.rules.testing.emit import emit, quoted

ONE = """\
rule_files: [../alerts.yml]
tests:
  - name: first
    interval: 1m
    promql_expr_test: [{expr: a, eval_time: 1m}]
  - interval: 1m
    alert_rule_test: [{alertname: A, eval_time: 1m}]
"""


def test_a_folder_is_searched_and_only_test_files_are_taken(write, tmp_path):
    write("alerts.yml", "groups: [{name: g, rules: [{alert: A, expr: a}]}]\n")
    path = write("rules/a.test.yml", ONE)
    write("rules/other.yaml", "rule_files: []\n")
    write("rules/broken.yaml", "no: [yaml\n")  # has neither word, so it is nobody's test
    write(".hidden/a.test.yml", ONE)
    write("node_modules/a.test.yml", ONE)
    (found,), broken = discover([tmp_path, path])
    assert broken == ()
    assert found.path == path
    assert [(case.name, case.line) for case in found.cases] == [("first", 3), ("unnamed#1", 6)]
    assert that_load(tmp_path / "alerts.yml", [found]) == (found,)
    assert that_load(tmp_path / "rules.yml", [found]) == ()


def test_a_file_that_is_named_must_be_one(write):
    with pytest.raises(UsageError, match="is no promtool test file"):
        discover([write("x.yml", "groups: []\n")])


_ASSERTS = "alert_rule_test: [{alertname: A, eval_time: 1m}]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule_files: []\ntests: []\n", "tests is empty"),
        ("rule_files: []\ntests: [\n", "x.yml:3: "),
        ("rule_files: []\ntests: {a: 1}\n", "x.yml:2: tests must be a list"),
        ("rule_files: []\ntests: [a]\n", "must be a mapping"),
        # what promtool passes whatever the rules say
        (f"rule_files: [rule.yml]\ntests: [{{{_ASSERTS}}}]\n", "x.yml:1: .* finds no file"),
        ("rule_files: [r.yml]\ntests: [{interval: 1m}]\n", "x.yml:2: unnamed#0 has neither"),
        ("rule_files: [r.yml]\ntests: [{alert_rule_test: []}]\n", "unnamed#0 has neither"),
        (
            f"rule_files: [r.yml]\ntests: [{{{_ASSERTS.replace(': A', ': Typo')}}}]\n",
            "x.yml:2: no rule file of this test defines the alert 'Typo'",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_and_the_others_are_found(text, message, write, tmp_path):
    write("r.yml", "groups: [{name: g, rules: [{alert: A, expr: a}, {alert: Typos, expr: a}]}]\n")
    write("x.yml", text)
    good = write("y.yml", f"rule_files: [r.yml]\ntests: [{{{_ASSERTS}}}]\n")
    (found,), (error,) = discover([tmp_path])
    assert found.path == good
    assert re.search(message, str(error))


def test_a_path_that_is_not_there_and_a_folder_without_tests(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        discover([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no promtool test file"):
        discover([tmp_path])


def test_another_yaml_document_is_none(write):
    assert read_test_file(write("x.yml", "# tests rule_files\na: 1\n")) is None


_SCALARS = st.text(alphabet=st.characters(blacklist_categories=["Cs"])) | st.sampled_from(
    ["yes", "0x80", "1x10", "5m", "~", "null", "{{ $value }}", "a\nb\n", "\x85", "\u2028", "<<"]
)


@given(
    st.recursive(
        _SCALARS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
        ),
    )
)
def test_what_is_emitted_reads_as_it_was(data):
    """From any layout: quoted here, as `quoted` writes it."""

    def layout(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k}: {layout(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(layout, value)) + "]"
        return quoted(str(value))

    text = f"top: {layout(data)}\n"
    emitted = emit(parse_document(text, Path("x")).node)
    read = YAML(typ="safe", pure=True).load
    assert read(emitted) == read(text) == {"top": data}


def test_plain_scalars_keep_their_kind():
    text = "{a: 1x10, b: 0x80, c: .inf, d: yes, e: '1', f: null, g: 5m, <<: {h: 1}}"
    emitted = emit(parse_document(text, Path("x")).node)
    assert emitted == '{a: 1x10, b: 0x80, c: .inf, d: yes, e: "1", f: null, g: 5m, <<: {h: 1}}'
