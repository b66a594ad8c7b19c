"""``alertdrill rules test``: promtool's verdicts, with everything that pytest adds to them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from alertdrill.rules.project import promtool
from alertdrill.rules.testing.document import discover
from alertdrill.verdict import Verdict

_PLUGIN = "alertdrill.rules.testing.pytest_plugin"
# Plugins that may be installed and have no part in this: the drills, Locust's, and this same one
# under its entry point's name (pytest refuses a plugin that comes by two ways).
_WITHOUT = ("alertdrill", "alertdrill-rules", "locust", "cacheprovider")
_TIMEOUT_S = 3600.0
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
# pytest's own exit codes; what is not here proves nothing.
_EXIT = {0: Verdict.PASS.value, 1: Verdict.FAIL.value, 2: _EXIT_INTERRUPTED, 4: _EXIT_USAGE}


def run_tests(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...", help="promtool test files, and folders that are searched for them."
        ),
    ],
    select: Annotated[
        str, typer.Option("-k", help="Only cases whose names match, as in pytest.")
    ] = "",
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    allure: Annotated[
        Path | None, typer.Option(help="Write Allure results to this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("-q", help="Print failures and the sum only.")] = False,
) -> None:
    """Run promtool test files: one case, one result, as many at once as there are cores.

    A test file is a YAML file with `rule_files:` and `tests:`. Verdicts are promtool's own; a
    case that fails is shown with its file and line. promtool is taken from PATH, or once out of
    the Prometheus image.

    A test that can't fail is not run: one that loads no rule file, asserts nothing, or expects
    silence of an alert that doesn't exist.

    Exit codes: 0 all pass, 1 some fail, 3 none was run (-k matches nothing), 2 wrong usage, or a
    file that can't be run while the others pass.
    """
    found, broken = discover(paths)
    for error in broken[int(not found) :]:
        print(f"not run: {error}", file=sys.stderr)
    if not found:
        raise broken[0]
    files = [test_file.path.resolve() for test_file in found]
    program = promtool()
    arguments = ["-q" if quiet else "-v", "--no-header", "--noconftest", "-rN"]
    arguments += ["-p", _PLUGIN, *(word for name in _WITHOUT for word in ("-p", f"no:{name}"))]
    # No configuration of the project's own tests: theirs are other tests.
    arguments += ["-c", os.devnull, "--rootdir", str(Path.cwd()), "-o", "promtool_tests=*"]
    arguments += ["--promtool", str(program)]
    arguments += ["-k", select] if select else []
    arguments += ["--junitxml", str(junit)] if junit is not None else []
    arguments += ["--alluredir", str(allure)] if allure is not None else []
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, *map(str, files)],
        env=environment,
        timeout=_TIMEOUT_S,
        check=False,
    )
    code = _EXIT.get(ran.returncode, Verdict.UNKNOWN.value)
    raise typer.Exit(_EXIT_USAGE if broken and code == Verdict.PASS.value else code)
