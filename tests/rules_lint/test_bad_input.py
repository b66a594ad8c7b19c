"""Whatever a file holds: findings with a place, the other files judged, never a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alertdrill.errors import UsageError
from alertdrill.rules.lint.examples import example
from alertdrill.rules.lint.finding import Finding
from alertdrill.rules.lint.run import Given, lint
from tests.rules_lint.files import GOOD, GUIDE, MIXINS, MONITORING, codes, judge

HELM = """\
{{- if .Values.alerts.enabled }}
groups:
  - name: app
    rules:
      - alert: Down
        expr: up == 0
        for: {{ .Values.alerts.for }}
{{- end }}
"""
HELM_EXPR = GOOD.replace('up{job="app"} == 0', "up < {{ .Values.threshold }}")
ANCHORS = """\
groups:
  - name: app
    rules:
      - &down
        alert: AppDown
        expr: up{job="app"} == 0
        for: 5m
        labels: &labels
          severity: critical
        annotations: &texts
          summary: It is down
          runbook_url: https://runbooks.example.org/down
      - <<: *down
        alert: OtherDown
        expr: up{job="other"} == bool 0
        labels:
          <<: *labels
          team: other
        annotations: *texts
"""

# What is wrong, the file's text, the code and the line that must be told.
# What Prometheus renders itself is no template of Helm's, whatever else is wrong with the file.
SLIP = (
    GOOD.replace("    rules:", "   rules:")
    + """        annotations:
          description: >-
            {{ $value | humanizePercentage }} of the requests failed
"""
)

BAD = [
    ("bad YAML", "groups:\n  - name: [x\n", "AD101", 3),
    ("a tab", "groups:\n\t- name: x\n", "AD101", 2),
    ("empty", "", "AD102", 1),
    ("only a comment", "# nothing\n", "AD102", 1),
    ("null", "~\n", "AD102", 1),
    ("a list", "- a\n- b\n", "AD106", 1),
    ("a text", "hello\n", "AD106", 1),
    ("no groups", "groups:\n", "AD102", 1),
    ("groups is a text", "groups: x\n", "AD106", 1),
    ("a group is a text", "groups:\n  - x\n", "AD106", 2),
    ("rules is a mapping", "groups:\n  - name: a\n    rules: {a: b}\n", "AD106", 3),
    ("a rule is a text", "groups:\n  - name: a\n    rules:\n      - x\n", "AD106", 4),
    ("a rule is null", "groups:\n  - name: a\n    rules:\n      -\n", "AD106", 4),
    ("alert and record", GOOD.replace("- alert:", "- record: x\n        alert:"), "AD106", 4),
    ("no expr", GOOD.replace("expr:", "# expr:"), "AD106", 4),
    ("expr is a list", GOOD.replace('up{job="app"} == 0', "[up]"), "AD106", 5),
    ("a name is missing", GOOD.replace("Example", ""), "AD106", 4),
    ("a bad duration", GOOD.replace("10m", "10 minutes"), "AD106", 6),
    ("a bad label name", GOOD.replace("severity:", "my-severity:"), "AD106", 7),
    ("a key twice", GOOD.replace("for: 10m", "for: 10m\n        for: 5m"), "AD106", 7),
    ("an unknown key of a rule", GOOD.replace("for:", "wait:"), "AD105", 6),
    ("an unknown key of a group", GOOD.replace("rules:", "every: 1m\n    rules:"), "AD105", 3),
    ("an unknown key of the file", GOOD + "receivers: []\n", "AD105", 11),
    ("a recording with for", GOOD.replace("alert: Example", "record: a:b"), "AD106", 6),
    ("not PromQL", GOOD.replace("== 0", "== "), "AD107", 5),
    ("an empty expr", GOOD.replace('up{job="app"} == 0', '""'), "AD107", 5),
    ("two scalars", GOOD.replace('up{job="app"} == 0', "1 > 2"), "AD107", 5),
    ("a variable of Grafana", GOOD.replace('up{job="app"}', "rate(x[$__interval])"), "AD107", 5),
    ("newer PromQL", GOOD.replace('up{job="app"}', "rate(x[5m] smoothed)"), "AD108", 5),
    ("digits in groups", GOOD.replace("== 0", "> 1_000"), "AD108", 5),
    ("no number", GOOD.replace("== 0", "> 1x"), "AD107", 5),
    ("or in matchers", GOOD.replace('job="app"', 'job="app" or job="web"'), "AD107", 5),
    ("a newer function", GOOD.replace('up{job="app"}', "brand_new(x)"), "AD108", 5),
    ("a computed range", GOOD.replace('up{job="app"}', "rate(x[5m+1m])"), "AD108", 5),
    ("too deep", GOOD.replace('up{job="app"}', "(" * 30_000 + "x" + ")" * 30_000), "AD108", 5),
    ("deep", GOOD.replace('up{job="app"}', "(" * 990 + "x" + ")" * 990), "AD108", 5),
    ("a long chain", GOOD.replace('up{job="app"}', "+".join(["x"] * 1_900)), "AD108", 5),
    ("Helm", HELM, "AD103", 1),
    ("Helm in an expression", HELM_EXPR, "AD103", 5),
    ("Jinja", "{% for x in y %}\n" + GOOD + "{% endfor %}\n", "AD103", 1),
    ("a slip beside an annotation", SLIP, "AD101", 3),
    ("nested too deeply", "groups: " + "[" * 3_000 + "]" * 3_000 + "\n", "AD101", 1),
    ("a merge with itself", "groups: &a\n  - &b\n    <<: *b\n    rules: []\n", "AD106", 2),
    ("binary", "groups: \x00\x01\n", "AD101", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "line"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_it_is_a_finding_and_the_other_file_is_judged(
    text: str, code: str, line: int, tmp_path: Path
) -> None:
    bad, other = tmp_path / "bad.yml", tmp_path / "other.yml"
    bad.write_text(text, encoding="utf-8")
    other.write_text(GOOD.replace("== 0", "< 0"), encoding="utf-8")
    findings = lint([bad, other]).findings
    assert (code, line) in {(f.code, f.spot.line) for f in findings if f.file == bad}
    assert "AD205" in {f.code for f in findings if f.file == other}


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_bytes(b"groups: \xff\n")
    assert codes(lint([bad])) == {"AD101"}


def test_anchors_aliases_and_merge_keys_are_followed(tmp_path: Path) -> None:
    report = judge(tmp_path, rules=ANCHORS)
    assert report.rules == 2
    assert [(f.code, f.rule, f.spot.line) for f in report.findings] == [("AD312", "OtherDown", 15)]


def test_every_document_of_a_file_is_judged(tmp_path: Path) -> None:
    second = GOOD.replace("name: example", "name: two").replace("== 0", "< 0")
    second = second.replace("Example", "Second")
    assert codes(judge(tmp_path, rules=GOOD + "---\n" + second)) == {"AD104", "AD205"}


def test_rules_of_the_operator_are_read(tmp_path: Path) -> None:
    indented = "".join(f"  {line}\n" for line in GOOD.replace("== 0", "< 0").splitlines())
    head = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x}\n"
    resource = f"{head}spec:\n{indented}"
    assert codes(judge(tmp_path, rules=resource)) == {"AD205"}
    others = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n---\n"
    second = resource.replace("alert: Example", "alert: Other")
    report = judge(tmp_path, rules=f"{others}{resource}---\n{second}")
    assert [(f.code, f.rule) for f in report.findings] == [
        ("AD205", "Example"),
        ("AD205", "Other"),
    ]


def test_a_folder_may_hold_anything_else(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "values.yaml").write_text("a: {{ b }\n")
    (tmp_path / ".hidden.yml").write_text("groups: [\n")
    test = {"rule_tests": "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests: []\n"}
    report = judge(tmp_path, rules=GOOD, **test)
    assert report.findings == ()
    assert report.files == 1
    # As a shell's *.yml names them.
    tests = tmp_path / "rule_tests.yml"
    assert lint([tmp_path / "rules.yml", tests]) == report
    with pytest.raises(UsageError, match="no rule file in"):
        lint([tests])


ROUTES = """\
route: {receiver: team}
receivers:
  - &team
    name: team
    webhook_configs: [{url: 'http://receiver:8080/'}]
"""


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "AD102", 1),
        ("route: [\n", "AD101", 2),
        (ROUTES + "routes: []\n", "AD105", 6),
        (ROUTES.replace("receiver: team", "receiver: nobody"), "AD106", 1),
        (ROUTES.replace("receiver: team", "receiver: team, group_wait: soon"), "AD106", 1),
        (ROUTES + "  - <<: *team\n    name: other\n", "AD118", 6),
        (ROUTES + "  - {[a]: b}\n", "AD106", 6),
    ],
)
def test_an_alertmanager_yml_that_is_refused(
    text: str, code: str, line: int, tmp_path: Path
) -> None:
    findings = judge(tmp_path, rules=GOOD.replace("== 0", "< 0"), alertmanager=text).findings
    found = {(f.file.name, f.code, f.spot.line) for f in findings}
    assert ("alertmanager.yml", code, line) in found
    assert "AD205" in {f.code for f in findings}


def test_configuration_alone_is_no_rules(tmp_path: Path) -> None:
    unused = ROUTES + "  - name: other\n"
    with pytest.raises(UsageError, match="no rule file in"):
        judge(tmp_path, alertmanager=unused)


def test_no_path_no_rules_no_metrics(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        lint([tmp_path / "nowhere.yml"])
    with pytest.raises(UsageError, match="no rule file in"):
        lint([tmp_path])
    rules = tmp_path / "rules.yml"
    rules.write_text(GOOD)
    for text, words in (("", "no series"), ("<html>\n", "not a text exposition")):
        metrics = tmp_path / "metrics.txt"
        metrics.write_text(text)
        with pytest.raises(UsageError, match=words):
            lint([rules], Given(metrics=(str(metrics),)))
    with pytest.raises(UsageError, match="can't be fetched"):
        lint([rules], Given(metrics=("http://127.0.0.1:9/metrics",)))
    with pytest.raises(UsageError, match="no such file"):
        lint([rules], Given(prometheus=tmp_path / "prometheus.yml"))


# --- fuzzing -------------------------------------------------------------------------------

SHIPPED = {
    path.name: path.read_text(encoding="utf-8")
    for path in (
        *sorted(MONITORING.glob("*.yml")),
        GUIDE / "prometheus.yml",
        MIXINS,
    )
}
PIECES = st.sampled_from(
    [*"{}[]:\n\t#'\"|>%~0é(,\x00", "", "- ", "  ", "&a ", "*a", "<<:", "---\n", "{{", "}}", "!!x "]
)
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=6)


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(SHIPPED)), edits=EDITS)
def test_a_mutated_file_never_raises(name: str, edits: list[tuple[float, int, str]]) -> None:
    text = SHIPPED[name]
    for share, length, piece in edits:
        at = int(share * len(text))
        text = text[:at] + piece + text[at + length :]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(text, encoding="utf-8")
        (Path(folder) / "rules.yml").write_text(GOOD, encoding="utf-8")
        report = lint([file, Path(folder) / "rules.yml"])
    assert report.rules >= 1
    for finding in report.findings:
        _has_a_place(finding, text)


def _has_a_place(finding: Finding, text: str) -> None:
    lines = max(text.count("\n"), GOOD.count("\n")) + 2
    assert 1 <= finding.spot.line <= lines
    assert finding.spot.column >= 1


@settings(max_examples=40)
@given(
    st.recursive(
        st.sampled_from(
            ["up", "x_total", "rate(x_total[5m])", "1", "h_bucket", 'absent(y{a="b"})']
        ),
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["sum", "count", "topk"]), inner).map(
                lambda t: f"{t[0]}({'2, ' if t[0] == 'topk' else ''}{t[1]})"
            ),
            st.tuples(
                inner,
                st.sampled_from(["/", "*", "-", ">", "== bool", "and", "unless", "or", "/ on (a)"]),
                inner,
            ).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
            inner.map(lambda e: f"histogram_quantile(0.9, {e})"),
            inner.map(lambda e: f"max_over_time(({e})[5m:])"),
            inner.map(lambda e: f"label_replace({e}, 'a', '$1', 'b', '.*')"),
        ),
        max_leaves=8,
    )
)
def test_any_expression_can_be_judged(expr: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = judge(
            Path(folder),
            rules=GOOD.replace('up{job="app"} == 0', f"'{expr.replace(chr(39), chr(39) * 2)}'"),
        )
    assert report.rules == 1


def test_an_expression_too_deep_for_the_checks_is_said_with_what_to_do(tmp_path: Path) -> None:
    expr = "sum(" * 300 + "a" + ")" * 300 + " > 5"
    (finding,) = [f for f in judge(tmp_path, rules=example(expr)).findings if f.code == "AD108"]
    assert "nested too deeply" in finding.message
    assert "promtool" not in finding.fix  # it couldn't help
