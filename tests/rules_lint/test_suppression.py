"""Comments that switch a check off: for what, with which reason, and whether still needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rules_lint.files import GOOD, codes, judge

BARE = GOOD.replace("          runbook_url: https://runbooks.example.org/example\n", "")
REASON = "because the summary says it all"
AT = "      - alert: Example\n"


def test_without_a_comment_it_is_found(tmp_path: Path) -> None:
    assert codes(judge(tmp_path, rules=BARE)) == {"AD402"}


@pytest.mark.parametrize(
    "text",
    [
        BARE.replace(AT, f"      # alertdrill: ignore AD402 {REASON}\n{AT}"),
        BARE.replace(AT, f"      # alertdrill: ignore AD402 {REASON}\n\n      # More words.\n{AT}"),
        BARE.replace(AT, f"{AT}        # alertdrill: ignore AD402 {REASON}\n"),
        BARE.replace(AT, f"      - alert: Example  # alertdrill: ignore AD402 {REASON}\n"),
        BARE.replace("for: 10m", f"for: 10m  #alertdrill:ignore AD402 {REASON}"),
        f"# alertdrill: ignore AD402 {REASON}\n{BARE}",
        f"# Rules.\n\n# alertdrill: ignore AD402 {REASON}\n---\n{BARE}",
    ],
)
def test_a_comment_above_or_in_the_rule_or_at_the_top_switches_it_off(
    text: str, tmp_path: Path
) -> None:
    assert codes(judge(tmp_path, rules=text)) == set()


def test_one_comment_may_name_several(tmp_path: Path) -> None:
    text = BARE.replace("{severity: critical}", "{team: app}")
    comment = f"      # alertdrill: ignore AD401, AD402 {REASON}\n"
    assert codes(judge(tmp_path, rules=text.replace(AT, comment + AT))) == set()


def test_it_covers_no_other_rule_and_no_other_check(tmp_path: Path) -> None:
    first = BARE.replace(AT, f"      # alertdrill: ignore AD402 {REASON}\n{AT}")
    second = BARE.split("    rules:\n")[1].replace("Example", "Other")
    report = judge(tmp_path, rules=first + second)
    assert [(f.code, f.rule) for f in report.findings] == [("AD402", "Other")]
    report = judge(tmp_path, rules=first.replace("{severity: critical}", "{team: app}"))
    assert codes(report) == {"AD401"}


def test_a_comment_between_two_rules_is_for_the_second(tmp_path: Path) -> None:
    second = BARE.split("    rules:\n")[1].replace("Example", "Other")
    text = BARE + f"      # alertdrill: ignore AD402 {REASON}\n" + second
    report = judge(tmp_path, rules=text)
    assert [(f.code, f.rule) for f in report.findings] == [("AD402", "Example")]


@pytest.mark.parametrize(
    "comment",
    [
        "# alertdrill: ignore AD402",
        "# alertdrill: ignore AD402 because",
        "# alertdrill: ignore because of me",
        "# alertdrill: ignore AD999 because of me",
        "# alertdrill: ignore AD110 because of me",
        "# alertdrill: ignore AD402 the summary says it all",
    ],
)
def test_without_a_reason_or_a_check_it_is_an_error(comment: str, tmp_path: Path) -> None:
    report = judge(tmp_path, rules=BARE.replace(AT, f"      {comment}\n{AT}"))
    assert codes(report) == {"AD109", "AD402"}
    wrong = next(f for f in report.findings if f.code == "AD109")
    assert (wrong.spot.line, wrong.spot.column) == (4, 7)


def test_an_unused_one_is_a_warning_but_not_where_it_could_not_be_used(tmp_path: Path) -> None:
    comment = f"# alertdrill: ignore AD402 {REASON}"
    assert codes(judge(tmp_path, rules=f"{comment}\n{GOOD}")) == {"AD110"}
    # Without --metrics, nobody can tell whether it is needed.
    comment = f"# alertdrill: ignore AD206 {REASON}"
    assert codes(judge(tmp_path, rules=f"{comment}\n{GOOD}")) == set()
    assert codes(judge(tmp_path, "up 1\n", rules=f"{comment}\n{GOOD}")) == {"AD110"}


def test_a_line_of_prometheus_yml(tmp_path: Path) -> None:
    text = """\
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]}
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ['localhost:8000']  # alertdrill: ignore AD115 because all run on one host
"""
    assert codes(judge(tmp_path, rules=GOOD, prometheus=text)) == set()
    assert codes(judge(tmp_path, rules=GOOD, prometheus=text.split("  #")[0] + "\n")) == {"AD115"}
    idle = text.replace("localhost", "app")
    assert codes(judge(tmp_path, rules=GOOD, prometheus=idle)) == {"AD110"}
