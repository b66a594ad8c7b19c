"""What promtool says is read: all of it, or not at all."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from alertdrill.rules.promtool import (
    Promtool,
    PromtoolFailed,
    Stopped,
    open_promtool,
    run_in_batches,
)
from alertdrill.wait import eventually

RULES = "groups: [{name: g, rules: [{alert: A, expr: a > 1}]}]\n"
TESTS = """\
rule_files: [rules.yml]
tests:
  - name: fires
    interval: 1m
    input_series: [{series: a, values: 2x5}]
    alert_rule_test: [{eval_time: 3m, alertname: A, exp_alerts: [{}]}]
  - interval: 1m
    input_series: [{series: a, values: 2x5}]
    alert_rule_test: [{eval_time: 3m, alertname: A}]
"""


def program(write, body: str) -> Path:
    """A stand-in for promtool, for what the real one does only when it is broken."""
    path: Path = write("bin/promtool", f"#!{sys.executable}\nimport sys, time\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.docker
def test_each_case_has_its_result(write, promtool):
    write("rules.yml", RULES)
    good, bad = write("good.yml", TESTS[: TESTS.rindex("  - interval")]), write("bad.yml", TESTS)
    broken = write("broken.yml", "rule_files: [\n")
    with open_promtool(promtool) as tool:
        results = run_in_batches(tool, [bad, broken, good], workers=2)
        assert tool.version().count(".") == 2
    assert [result.path for result in results] == [bad, broken, good]
    assert [result.passed for result in results] == [False, False, True]
    assert [(case.name, case.passed) for case in results[0].cases] == [
        ("fires", True),
        ("unnamed#1", False),
    ]
    assert "alertname: A, time: 3m" in results[0].cases[1].failures[0]
    assert results[1].error is not None
    assert results[1].cases == ()


@pytest.mark.docker
def test_rule_files_are_checked_in_one_process(write, promtool):
    good = write("good.yml", RULES)
    bad = write("bad.yml", RULES.replace("a > 1", "rate(a)"))
    worse = write("worse.yml", "groups: [{name: g, rules: [{alert: A, expr: a, for: soon}]}]\n")
    with open_promtool(promtool) as tool:
        said = tool.check([good, bad, worse])
    assert said[good] is None
    assert 'group "g", rule 1, "A"' in str(said[bad])
    assert "not a valid duration" in str(said[worse])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "print('unknown long flag --junit', file=sys.stderr); sys.exit(1)",
        "open(sys.argv[3].partition('=')[2], 'w').write('<testsuites></testsuites>')",
        # It says that all is well, and that it is not.
        "open(sys.argv[3].partition('=')[2], 'w').write("
        "'<testsuites><testsuite name=\"%s\"/></testsuites>' % sys.argv[4]); sys.exit(1)",
    ],
    ids=["silent", "old", "another report", "contradiction"],
)
def test_what_can_not_be_read_is_no_verdict(body, write, tmp_path):
    with pytest.raises(PromtoolFailed), open_promtool(program(write, body)) as tool:
        tool.test([tmp_path / "a.yml"])


@pytest.mark.parametrize("body", ["sys.exit(1)", "print('unknown long flag', file=sys.stderr)"])
def test_a_file_that_it_does_not_speak_of_is_not_refused(body, write, tmp_path):
    with (
        pytest.raises(PromtoolFailed, match=r"no word on a\.yml"),
        open_promtool(program(write, body)) as tool,
    ):
        tool.check([tmp_path / "a.yml"])


def test_one_that_can_not_be_run_is_said(write):
    path = write("promtool", "#!/nowhere\n")
    path.chmod(0o755)
    with pytest.raises(PromtoolFailed, match="can't be run"), open_promtool(path) as tool:
        tool.version()


def test_it_has_a_time_limit(write, tmp_path):
    path = program(write, "time.sleep(60)")
    with pytest.raises(PromtoolFailed, match=r"not done after 0"), open_promtool(path) as tool:
        tool.test([tmp_path / "a.yml"], timeout_s=0.2)


def test_it_can_be_stopped(write, tmp_path):
    started = tmp_path / "started"
    path = program(write, f"open({str(started)!r}, 'w'); time.sleep(60)")
    tool = Promtool(path, tmp_path)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            tool.test([tmp_path / "a.yml"])
        except Stopped as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(started.exists, timeout_s=20, what="promtool to run")
    tool.stop()
    thread.join(timeout=10)
    assert len(raised) == 1
    with pytest.raises(Stopped):
        tool.test([tmp_path / "a.yml"])
