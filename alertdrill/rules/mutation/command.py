"""``alertdrill rules mutate``: would any test notice if an alert rule broke?"""

from __future__ import annotations

import glob
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from alertdrill.errors import UsageError
from alertdrill.rules.mutation.by_promtool import PromtoolKiller
from alertdrill.rules.mutation.engine import Judged, Tell, judge
from alertdrill.rules.mutation.killer import Killer
from alertdrill.rules.mutation.mutants import Source, read_source
from alertdrill.rules.mutation.report import MutationReport
from alertdrill.rules.mutation.store import OutcomeStore
from alertdrill.rules.promtool import FileResult, Promtool, open_promtool, run_in_batches
from alertdrill.rules.testing.document import TestFile, read_test_file, yaml_files
from alertdrill.rules.testing.project import cache_folder, promtool
from alertdrill.verdict import Verdict

EXIT_INTERRUPTED = 130
_LINE_INTERVAL_S = 5.0

# Further killers of a file's mutants, such as recorded incidents: asked after the tests.
MoreKillers = Callable[[Source], Sequence[Killer]]


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
            " folder]. Only those that load a rule file judge its mutants.",
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

    Ctrl-C prints what is known so far; the next run goes on from there.

    Exit codes: 0, 1 below --fail-under, 3 nothing could be said (the tests fail as it is, or
    there is nothing to kill), 2 wrong usage, 130 interrupted.
    """
    raise typer.Exit(
        run_mutation(
            rules,
            tests,
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
    fail_under: float | None,
    output: Format,
    badge: Path | None,
    resume: bool,
    workers: int,
    more_killers: MoreKillers = lambda source: (),
) -> int:
    """``mutate``, with its exit code returned. Raises UsageError."""
    sources = [read_source(path) for path in rules]
    suite = _find_tests(tests)
    begun = time.monotonic()
    judged: list[Judged] = []
    with open_promtool(promtool()) as program:
        killers = [PromtoolKiller(source, suite, program, program.scratch) for source in sources]
        for source, killer in zip(sources, killers, strict=True):
            if not killer.test_files and not more_killers(source):
                raise UsageError(
                    f"none of {len(suite)} test files loads it: write one whose rule_files names"
                    " it, or say where they are (--tests)",
                    file=source.path,
                )
        failing = _failing(program, killers, workers)
        if failing:
            print("\n".join(failing), file=sys.stderr)
            print("tests fail on the rules as they are: no mutant was judged", file=sys.stderr)
            return Verdict.UNKNOWN.value
        for source, killer in zip(sources, killers, strict=True):
            everyone: list[Killer] = [killer, *more_killers(source)]
            store = OutcomeStore(
                cache_folder() / "mutation", source, [one.fingerprint for one in everyone]
            )
            if not resume:
                store.forget()
            judged.append(
                judge(source, everyone, workers=workers, store=store, tell=_progress(source))
            )
            if judged[-1].interrupted:
                break
    report = MutationReport(judged, time.monotonic() - begun)
    if badge is not None:
        badge.write_text(json.dumps(report.badge()) + "\n", encoding="utf-8")
    print(json.dumps(report.document(), indent=2) if output is Format.JSON else report.text())
    return _exit_code(report, fail_under)


def _exit_code(report: MutationReport, fail_under: float | None) -> int:
    if report.interrupted:
        return EXIT_INTERRUPTED
    percent = report.score.percent
    if percent is None:
        return Verdict.UNKNOWN.value
    if fail_under is not None and percent < fail_under:
        print(f"the score is below {fail_under:g} %", file=sys.stderr)
        return Verdict.FAIL.value
    return Verdict.PASS.value


def _find_tests(globs: Sequence[str] | None) -> list[TestFile]:
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
    unique = dict.fromkeys(path.resolve() for path in paths)
    return [test for test in map(read_test_file, unique) if test is not None]


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
