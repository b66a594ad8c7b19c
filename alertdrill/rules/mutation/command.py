"""``alertdrill rules mutate``: would any test notice if an alert rule broke?"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alertdrill.errors import UsageError
from alertdrill.rules.model import load_rules
from alertdrill.rules.mutation.by_promtool import PromtoolKiller
from alertdrill.rules.mutation.by_replay import Recorded, open_replays, read_recorded
from alertdrill.rules.mutation.engine import Judged, Tell, judge
from alertdrill.rules.mutation.killer import Killer
from alertdrill.rules.mutation.mutants import Source, read_source
from alertdrill.rules.mutation.report import MutationReport
from alertdrill.rules.mutation.store import OutcomeStore
from alertdrill.rules.project import cache_folder, promtool
from alertdrill.rules.project import prometheus as find_prometheus
from alertdrill.rules.promtool import FileResult, Promtool, open_promtool, run_in_batches
from alertdrill.rules.second_opinion import unread_rules
from alertdrill.rules.testing.document import TestFile, read_test_file, yaml_files
from alertdrill.verdict import Verdict

EXIT_INTERRUPTED = 130
_LINE_INTERVAL_S = 5.0


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def mutate(
    rules: Annotated[list[Path], typer.Argument(metavar="RULES...", help="Rule files.")],
    tests: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="promtool test files [every YAML file with 'test' in its name below the current"
            " folder; with --segments: none]. Only those that load a rule file judge its mutants.",
        ),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Judge mutants by replays of these segments, too."),
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="What each alert must do under each recorded fault."),
    ] = None,
    prometheus: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="prometheus.yml, for intervals and external labels of replays."
        ),
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option(min=0, max=100, help="Exit with 1 below this score, in percent.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print.")] = Format.TEXT,
    badge: Annotated[
        Path | None, typer.Option(help="Write the score as a shields.io endpoint badge.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--fresh", help="Keep what is known from an earlier run.")
    ] = True,
    workers: Annotated[
        int | None, typer.Option("-j", min=1, max=256, help="Processes side by side [cores].")
    ] = None,
) -> None:
    """Break alert rules in small ways and see whether a test notices.

    Each mutant is a copy of a rule file with one change: a threshold, a window, a comparison, a
    matcher, a label, … A mutant that fails a test is killed; one that passes all of them has
    survived, and is shown with the assertion that would kill it. Mutants that Prometheus would
    not load, and those that no series can tell from the rule, are no part of the score.

    With --segments and --expect, a mutant that the tests leave alive is replayed on recorded
    faults, and killed when an alert then does something else than the table says. Without --tests,
    replays judge alone: those that do the very same on all histories are no part of the score.

    Ctrl-C prints what is known so far; the next run goes on from there.

    Exit codes: 0, 1 below --fail-under, 3 nothing could be said (the tests fail as it is, there
    is nothing to kill, or with --fail-under a rule that can't be mutated), 2 wrong usage,
    130 interrupted.
    """
    raise typer.Exit(
        run_mutation(
            rules,
            tests,
            recorded=_recorded(rules, segments, expect, prometheus),
            fail_under=fail_under,
            output=output,
            badge=badge,
            resume=resume,
            workers=workers or os.cpu_count() or 1,
        )
    )


def run_mutation(
    rules: Sequence[Path],
    tests: Sequence[str] | None,
    *,
    recorded: Recorded | None = None,
    fail_under: float | None,
    output: Format,
    badge: Path | None,
    resume: bool,
    workers: int,
) -> int:
    """``mutate``, with its exit code returned. Raises UsageError."""
    rules = list(dict.fromkeys(rules))
    sources = [read_source(path) for path in rules]
    alone = recorded is not None and tests is None
    suite = [] if alone else _find_tests(tests)
    begun = time.monotonic()
    judged: list[Judged] = []
    with contextlib.ExitStack() as opened:
        program = opened.enter_context(open_promtool(promtool()))
        for rule, words in unread_rules(map(load_rules, rules), program.path):
            print(f"{rule.file}:{rule.line}: {rule.name}: {words}", file=sys.stderr)
        # Without any test it still says which mutants Prometheus would not load.
        testing = [PromtoolKiller(source, suite, program, program.scratch) for source in sources]
        for killer, source in zip(testing, sources, strict=True):
            if not killer.test_files and recorded is None:
                raise UsageError(
                    f"none of {len(suite)} test files loads it: write one whose rule_files names"
                    " it, or say where they are (--tests)",
                    file=source.path,
                )
        failing = _failing(program, testing, workers)
        replaying: Sequence[Killer] = ()
        if recorded is not None and not failing:
            replays = opened.enter_context(
                open_replays(
                    recorded, sources, prometheus=find_prometheus(), promtool=program, alone=alone
                )
            )
            failing = list(replays.failing)
            replaying = replays.killers
            for alert, why in replays.unjudged.items():
                print(f"{alert} can't be judged by replay: {why}", file=sys.stderr)
        if failing:
            print("\n".join(failing), file=sys.stderr)
            print("the rules as they are fail: no mutant was judged", file=sys.stderr)
            return Verdict.UNKNOWN.value
        for place, source in enumerate(sources):
            killers = [testing[place], *replaying[place : place + 1]]
            store = OutcomeStore(
                cache_folder() / "mutation", source, [one.fingerprint for one in killers]
            )
            if not resume:
                store.forget()
            judged.append(
                judge(source, killers, workers=workers, store=store, tell=_progress(source))
            )
            if judged[-1].interrupted:
                break
    report = MutationReport(judged, time.monotonic() - begun)
    print(json.dumps(report.document(), indent=2) if output is Format.JSON else report.text())
    if badge is not None:
        _write_badge(report, badge)
    return _exit_code(report, fail_under)


def _write_badge(report: MutationReport, path: Path) -> None:
    try:
        path.write_text(json.dumps(report.badge()) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"can't be written: {error.strerror}", file=path) from error


def _recorded(
    rules: Sequence[Path], segments: Path | None, expect: Path | None, prometheus: Path | None
) -> Recorded | None:
    if segments is not None and expect is not None:
        recorded = read_recorded(rules, segments, expect, prometheus)
        for complaint in recorded.segments.complaints:
            print(complaint, file=sys.stderr)
        return recorded
    given = {"--segments": segments, "--expect": expect, "--prometheus": prometheus}
    names = [name for name, path in given.items() if path is not None]
    if names:
        raise UsageError(f"{' and '.join(names)} alone: replays need both --segments and --expect")
    return None


def _exit_code(report: MutationReport, fail_under: float | None) -> int:
    if report.interrupted:
        return EXIT_INTERRUPTED
    percent = report.score.percent
    if percent is None:
        return Verdict.UNKNOWN.value
    if fail_under is not None and percent < fail_under:
        print(f"the score is below {fail_under:g} %", file=sys.stderr)
        return Verdict.FAIL.value
    if fail_under is not None and report.not_mutated:
        print("a rule could not be mutated: what guards it is unknown", file=sys.stderr)
        return Verdict.UNKNOWN.value
    return Verdict.PASS.value


def _find_tests(globs: Sequence[str] | None) -> list[TestFile]:
    """The test files among those of ``globs``; a broken one is said, and stops no other."""
    if globs is None:
        paths = [path for path in yaml_files(Path()) if "test" in path.name.lower()]
    else:
        paths = []
        for pattern in globs:
            found = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
            if not found:
                raise UsageError(f"--tests {pattern} matches no file")
            for path in found:
                paths += list(yaml_files(path)) if path.is_dir() else [path]
    tests: list[TestFile] = []
    for path in dict.fromkeys(path.resolve() for path in paths):
        try:
            test_file = read_test_file(path)
        except UsageError as error:
            print(f"not read: {error}", file=sys.stderr)
            continue
        if test_file is not None:
            tests.append(test_file)
    return tests


def _failing(program: Promtool, killers: Sequence[PromtoolKiller], workers: int) -> list[str]:
    """What fails without any mutant."""
    files = list(dict.fromkeys(file for killer in killers for file in killer.test_files))
    return [line for result in run_in_batches(program, files, workers) for line in _words(result)]


def _words(result: FileResult) -> list[str]:
    if result.error is not None:
        return [f"{result.path}: {result.error}"]
    return [f"{result.path}: {case.name} fails" for case in result.cases if not case.passed]


def _progress(source: Source) -> Tell:
    """Say on standard error how far it is and how long it will take: in one line on a terminal,
    otherwise now and then."""
    begun = time.monotonic()
    known: list[int] = []
    printed = [begun]

    def tell(done: int, total: int) -> None:
        now = time.monotonic()
        known.append(done)
        rate = (done - known[0]) / (now - begun) if done > known[0] else 0.0
        left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
        line = f"{source.path}: {done} of {total} mutants{left}"
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r\x1b[K{line}", end=end, file=sys.stderr, flush=True)
        elif now - printed[0] >= _LINE_INTERVAL_S:
            printed[0] = now
            print(line, file=sys.stderr, flush=True)

    return tell
