"""A second opinion: a promtool on PATH is asked, once for each file, and never waited for long."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alertdrill.errors import UsageError
from alertdrill.rules import second_opinion
from alertdrill.rules.lint.finding import Severity
from alertdrill.rules.model import load_rules
from alertdrill.rules.second_opinion import unread_rules
from tests.rules_lint.files import GOOD, judge

NEWER = GOOD.replace('up{job="app"}', "rate(x[5m] smoothed)")
# Stands in for the real one: refuses what has the word "refused" or "flag" in it, as promtool
# words it.
FAKE = """\
#!{python}
import json, sys, time
path = sys.argv[-1]
rules = json.load(open(path))["groups"][0]["rules"]
with open({calls!r}, "a") as calls:
    calls.write(json.dumps([r["expr"] for r in rules]) + "\\n")
if {hang}:
    time.sleep(60)
if {code}:
    sys.exit({code})
words = {{"refused": "refused on purpose", "flag": 'function "flag" is not enabled'}}
bad = [
    (n, r, why)
    for n, r in enumerate(rules, 1)
    for word, why in words.items()
    if word in r["expr"]
]
print("Checking", path)
if not bad:
    print("  SUCCESS:", len(rules), "rules found")
for n, r, why in bad:
    print(f'{{path}}: 1:1: group "asked", rule {{n}}, "{{r["record"]}}": could not parse '
          f'expression: 1:2: parse error: {{why}}', file=sys.stderr)
sys.exit(bool(bad))
"""


def _install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, hang: bool = False, code: int = 0
) -> Path:
    import sys

    tool, calls = folder / "bin/promtool", folder / "calls.jsonl"
    tool.parent.mkdir()
    tool.write_text(FAKE.format(python=sys.executable, calls=str(calls), hang=hang, code=code))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    return calls


def test_what_promtool_refuses_is_not_promql(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = _install(monkeypatch, tmp_path)
    second = NEWER.split("    rules:\n")[1].replace("rate(x", "rate(refused").replace("Exam", "X")
    (tmp_path / "r").mkdir()
    findings = judge(tmp_path / "r", rules=NEWER + second).findings
    assert [(f.code, f.severity, f.spot.line) for f in findings] == [
        ("AD108", Severity.WARNING, 5),
        ("AD107", Severity.ERROR, 12),
    ]
    assert "refused on purpose" in findings[1].message
    assert "promtool accepts it" in findings[0].message
    asked = [json.loads(line) for line in calls.read_text().splitlines()]
    assert [len(expressions) for expressions in asked] == [2]  # one process for both


@pytest.mark.parametrize("trouble", ["none", "hangs", "fails", "can't be run"])
def test_without_its_word_it_stays_a_warning(
    trouble: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if trouble != "none":
        _install(monkeypatch, tmp_path, hang=trouble == "hangs", code=3 * (trouble == "fails"))
        monkeypatch.setattr(second_opinion, "TIMEOUT_S", 1.0)
    if trouble == "can't be run":
        (tmp_path / "bin/promtool").write_text("#!/nowhere\n")
    (tmp_path / "r").mkdir()
    findings = judge(tmp_path / "r", rules=NEWER).findings
    assert [(f.code, f.severity) for f in findings] == [("AD108", Severity.WARNING)]
    assert "promtool's word is needed" in findings[0].message


def test_it_is_not_asked_about_what_is_understood(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = _install(monkeypatch, tmp_path)
    (tmp_path / "r").mkdir()
    assert judge(tmp_path / "r", rules=GOOD).findings == ()
    assert not calls.exists()


def test_what_needs_a_feature_flag_is_promql_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(monkeypatch, tmp_path)
    (tmp_path / "r").mkdir()
    (finding,) = judge(tmp_path / "r", rules=NEWER.replace("rate(x", "rate(flag")).findings
    assert finding.code == "AD108"
    assert 'function "flag" is not enabled' in finding.message


def test_only_a_rule_that_promtool_refuses_too_stops_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _install(monkeypatch, tmp_path)
    path = tmp_path / "rules.yml"

    def said(text: str, promtool: Path | str) -> list[str]:
        path.write_text(text)
        return [words for _, words in unread_rules([load_rules(path)], promtool)]

    fake = tmp_path / "bin/promtool"
    assert said(GOOD, fake) == []
    (words,) = said(NEWER, fake)
    assert words.endswith("promtool accepts it")
    (words,) = said(NEWER, "there is no Docker")
    assert words.endswith("promtool's word is needed, and there is no Docker")
    with pytest.raises(UsageError, match=r"says promtool: .*refused on purpose") as bad:
        said(NEWER.replace("rate(x", "rate(refused"), fake)
    assert bad.value.line == 4
