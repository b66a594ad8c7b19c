"""promtool as a program: what it says of rule files, and many test files per process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from alertdrill.errors import AlertdrillError

_VERSION_TIMEOUT_S = 20.0
# A test file of ordinary size takes milliseconds; nothing that is right takes this long.
_TEST_TIMEOUT_S = 600.0


class PromtoolFailed(AlertdrillError):
    """promtool ended without saying what it found, or was not done in time."""


class Stopped(AlertdrillError):
    """A run of promtool was ended on purpose."""


@dataclass(frozen=True)
class CaseResult:
    """One test case (an entry of ``tests:``); ``failures`` in promtool's words, none if passed."""

    name: str
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(frozen=True)
class FileResult:
    """One test file. ``error``: why no case of it was run; otherwise every case, in order."""

    path: Path
    cases: tuple[CaseResult, ...]
    error: str | None = None

    @property
    def passed(self) -> bool:
        return self.error is None and all(case.passed for case in self.cases)


class Promtool:
    """Runs promtool. Thread-safe; what it and its callers leave behind lies in ``scratch``.

    Each process uses one core, so that ``workers`` of them use as many.
    """

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self.scratch = scratch
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False
        # Less garbage collection for more memory: these processes live for seconds.
        self._environment = {
            **os.environ,
            "GOMAXPROCS": "1",
            "GOGC": "400",
            "TMPDIR": str(scratch),
        }

    def version(self) -> str:
        """What it says of itself, e.g. ``3.5.0``. Raises PromtoolFailed."""
        _, output, errors = self._run(["--version"], _VERSION_TIMEOUT_S)
        words = (output or errors).split()
        return words[2] if len(words) > 2 else "unknown"

    def check(
        self, files: Sequence[Path], timeout_s: float = _TEST_TIMEOUT_S
    ) -> dict[Path, str | None]:
        """Whether Prometheus would load each rule file: None, or why not. One process.

        Raises PromtoolFailed when promtool says nothing about one of them or takes longer than
        ``timeout_s`` seconds, Stopped after ``stop``.
        """
        if not files:
            return {}
        _, output, errors = self._run(
            ["check", "rules", "--lint=none", *map(str, files)], timeout_s
        )
        sound = set()
        current = ""
        for line in output.splitlines():
            if line.startswith("Checking "):
                current = line.removeprefix("Checking ")
            elif line.strip().startswith("SUCCESS"):
                sound.add(current)
        return {file: None if str(file) in sound else _refusal(file, errors) for file in files}

    def test(self, files: Sequence[Path], timeout_s: float = _TEST_TIMEOUT_S) -> list[FileResult]:
        """Run test files in one process; results in the order of ``files``.

        Raises PromtoolFailed when promtool says nothing about one of them or takes longer than
        ``timeout_s`` seconds, Stopped after ``stop``.
        """
        if not files:
            return []
        with tempfile.NamedTemporaryFile(dir=self.scratch, suffix=".xml") as report:
            code, _, errors = self._run(
                ["test", "rules", f"--junit={report.name}", *map(str, files)], timeout_s
            )
            document = Path(report.name).read_bytes()
        results = _results(document, files, errors)
        if (code == 0) != all(result.passed for result in results):
            raise PromtoolFailed(f"promtool ended with {code}, its report says otherwise")
        return results

    def stop(self) -> None:
        """End what runs; each call under way, and every later one, raises Stopped."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()

    def _run(self, arguments: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        with self._lock:
            if self._stopped:
                raise Stopped("promtool was stopped")
            try:
                process = subprocess.Popen(
                    [str(self.path), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                    env=self._environment,
                    start_new_session=True,  # a Ctrl-C ends it through ``stop``, not as a failure
                )
            except OSError as error:
                raise PromtoolFailed(f"promtool can't be run: {error.strerror}") from error
            self._running.add(process)
        try:
            output, errors = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise PromtoolFailed(f"promtool was not done after {timeout_s:.0f} s") from error
        finally:
            process.kill()  # has no effect on one that has ended
            process.wait()
            with self._lock:
                self._running.discard(process)
                stopped = self._stopped
        if stopped:
            raise Stopped("promtool was stopped")
        return process.returncode, output, errors


def _refusal(file: Path, errors: str) -> str:
    about = [line for line in errors.splitlines() if line.startswith(str(file))]
    if not about:
        words = errors.strip() or "nothing"
        raise PromtoolFailed(f"promtool gave no word on {file.name}; it said: {words}")
    return "\n".join(line.removeprefix(f"{file}: ") for line in about)


def _results(document: bytes, files: Sequence[Path], errors: str) -> list[FileResult]:
    try:
        suites = list(ElementTree.fromstring(document).iter("testsuite"))
    except ElementTree.ParseError:
        suites = []
    if [suite.get("name") for suite in suites] != [str(file) for file in files]:
        words = errors.strip() or "nothing"
        raise PromtoolFailed(f"promtool gave no report of these test files; it said: {words}")
    return [_result(file, suite) for file, suite in zip(files, suites, strict=True)]


def _result(file: Path, suite: ElementTree.Element) -> FileResult:
    aborted = suite.find("testcase/error")
    if aborted is not None:
        return FileResult(file, (), aborted.text or "promtool refuses it")
    return FileResult(
        file,
        tuple(
            CaseResult(
                case.get("name", ""),
                tuple(failure.text or "failed" for failure in case.iter("failure")),
            )
            for case in suite.iter("testcase")
        ),
    )


def run_in_batches(promtool: Promtool, files: Sequence[Path], workers: int) -> list[FileResult]:
    """Run test files in at most ``workers`` processes side by side; results in order.

    Raises what ``Promtool.test`` raises.
    """
    batches = [batch for batch in (files[n::workers] for n in range(workers)) if batch]
    if not batches:
        return []
    with ThreadPoolExecutor(len(batches)) as pool:
        try:
            found = {
                result.path: result
                for results in pool.map(promtool.test, batches)
                for result in results
            }
        except BaseException:
            promtool.stop()  # or leaving the pool would wait for every other process
            raise
    return [found[file] for file in files]


@contextlib.contextmanager
def open_promtool(path: Path) -> Iterator[Promtool]:
    """A ``Promtool`` with a scratch folder that is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="alertdrill-promtool-") as scratch:
        promtool = Promtool(path, Path(scratch))
        try:
            yield promtool
        finally:
            promtool.stop()
