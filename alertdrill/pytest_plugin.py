"""The pytest plugin: fixtures that start a bench and run drills, and a verdict at the end.

Inert in a project that has no ``alertdrill.toml``. The fixtures:

``alertdrill_config``  the project's configuration
``bench``              a running stack and all that reads it; started once per worker
``stack``              the bench's stack
``run_drill``          a function: a Drill in, its DrillResult out; recorded in the run folder
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from alertdrill.assemble import load_original, open_bench, resolve_images
from alertdrill.bench import Bench
from alertdrill.checks.panel import refuse_unaskable
from alertdrill.collection import drills_of, looks_everywhere, not_now, refuse_equal_titles
from alertdrill.config import FILE_NAME, Config, find_root, load_config
from alertdrill.drill import Drill, DrillResult, refuse_unknown_alerts
from alertdrill.durations import Durations
from alertdrill.errors import AlertdrillError, DeadlineExceeded, UsageError
from alertdrill.experiment import run_drill as run_one
from alertdrill.gate import GATE_PID_ENV, RUN_FOLDER_ENV, clock_of
from alertdrill.lifeline import die_with_parent
from alertdrill.niceness import give_way
from alertdrill.profiles import Profiles
from alertdrill.report.document import RunFacts, write_verdict
from alertdrill.report.folder import MAIN, DrillTable, RunFolder
from alertdrill.report.histograms import write_histograms
from alertdrill.report.page import write_page
from alertdrill.report.terminal import drill_lines, summary_lines
from alertdrill.shield import interrupted_once, sigterm_interrupts
from alertdrill.stack.progress import Progress
from alertdrill.stack.run import Stack
from alertdrill.stopping import CleanUp
from alertdrill.timeline import Timeline
from alertdrill.verdict import Verdict
from alertdrill.wait import eventually

EXIT_USAGE = 2
NICENESS = 10
DRILL_PROPERTY = "alertdrill"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("alertdrill", "break a system and prove that its alerts say so")
    group.addoption(
        "--clock",
        metavar="REAL|FACTOR",
        help="real, or what every duration of the monitoring is divided by [alertdrill.toml]",
    )
    group.addoption("--seed", type=int, help="seed of faults and load [alertdrill.toml]")
    group.addoption(
        "--nightly",
        action="store_true",
        help="also the drills for the night, which otherwise run only when they are named",
    )
    group.addoption("--profile", help="the components of every stack [alertdrill.toml]")


@dataclass
class _Session:
    """What the plugin knows during one pytest session, in the controller or in a worker.

    ``profile`` is what the next drill needs of its stack.
    """

    config: Config
    command: list[str]
    begun: float
    worker: str
    folder: RunFolder
    users_of_stacks: int = 0
    left_out: list[Drill] = field(default_factory=list)
    not_now: list[Drill] = field(default_factory=list)
    skipped_modules: bool = False
    failed_tests: list[str] = field(default_factory=list)
    table_error: UsageError | None = None
    profile: str | None = None

    @functools.cached_property
    def profiles(self) -> Profiles:
        return Profiles(self.config, self.config.load_stack())


SESSION = pytest.StashKey[_Session]()


def pytest_configure(config: pytest.Config) -> None:
    try:
        root = find_root(config.rootpath)
    except UsageError:
        return
    try:
        project = load_config(root)
        if config.getoption("clock"):
            project = project.model_copy(update={"clock": clock_of(config.getoption("clock"))})
        gate: dict[str, Any] = {}
        if config.getoption("seed") is not None:
            gate["seed"] = config.getoption("seed")
        if config.getoption("profile"):
            gate["profiles"] = (config.getoption("profile"),)
        hours = project.gate.by_night() if config.getoption("nightly") else project.gate
        project = project.model_copy(update={"gate": hours.model_copy(update=gate)})
    except UsageError as error:
        raise pytest.UsageError(str(error)) from error
    # The gate names the folder for its pytest, and pytest's controller for its workers.
    workerinput: dict[str, str] = getattr(config, "workerinput", {})
    worker = workerinput.get("workerid", "")
    given = workerinput.get("alertdrill_folder") or os.environ.get(RUN_FOLDER_ENV)
    folder = RunFolder(Path(given)) if given else RunFolder.below(project.root / "out")
    config.stash[SESSION] = _Session(project, sys.argv[:], time.monotonic(), worker, folder)
    by_gate = os.environ.get(GATE_PID_ENV) == str(os.getppid())
    if worker or by_gate:
        die_with_parent()
        # What is late here has its margin. A session of its own has only the gate's pytest.
        give_way(NICENESS, session=by_gate)
    if by_gate:
        # A parent in the background may have left it ignored, and the gate sends it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(_LeftOut(config.stash[SESSION]))
    if worker:
        interrupted_once()
    else:
        sigterm_interrupts()
        config.pluginmanager.register(_Failures(config.stash[SESSION]))
        config.pluginmanager.register(CleanUp(folder))


class _Failures:
    """In the controller: notes what failed, so that no failure is lost behind a verdict."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self._session.failed_tests:
            self._session.failed_tests.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            last = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
            self._session.folder.add_error(f"{report.nodeid} can't be collected: {last}")


class _LeftOut:
    """Where tests are collected: notes the drills that are not going to run."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        drills = [drill for item in items for drill in drills_of(item)]
        self._session.left_out += [d for d in drills if d not in self._session.not_now]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._session.skipped_modules |= report.skipped


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Hook of pytest-xdist: the workers write into the controller's run folder."""
    session = node.config.stash.get(SESSION, None)
    if session is not None:
        node.workerinput["alertdrill_folder"] = str(session.folder.path)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check every table before anything starts; what is wrong fails each drill at its set-up."""
    session = config.stash.get(SESSION, None)
    left_out: dict[pytest.Item, str] = {}
    if session is not None and any(any(drills_of(item)) for item in items):
        try:
            left_out = not_now(config, session.profiles, items)
        except UsageError as error:
            session.table_error = error
        session.not_now = [drill for item in left_out for drill in drills_of(item)]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
    if session is not None and session.table_error is None:
        items.sort(key=functools.partial(_turn, session, Durations.of(session.config.root)))
    if session is not None:
        session.users_of_stacks = sum("bench" in getattr(i, "fixturenames", ()) for i in items)
    drills = []
    plan = {}
    for item in items:
        for drill in drills_of(item):
            drills.append(drill)
            plan[drill.id] = {"title": drill.title, "test": item.nodeid}
            item.user_properties.append((DRILL_PROPERTY, drill.id))
    if session is None or not drills:
        return
    # Only asked what there is, pytest leaves nothing; the gate asks in a folder of its own.
    if RUN_FOLDER_ENV in os.environ or not config.getoption("collectonly"):
        session.folder.add_plan(session.worker or MAIN, plan)
        table = _table(config, session, drills, left_out)
        session.folder.add_table(session.worker or MAIN, table)
    try:
        every = (*drills, *session.left_out, *session.not_now)
        refuse_equal_titles(every)
        rules = load_original(session.config).alerts
        session.config.refuse_unknown_alerts(rules)
        known = session.config.drillable(rules)
        session.config.refuse_stale_reasons((drill.fault.name, drill.fires) for drill in every)
        for drill in every:
            refuse_unknown_alerts(drill, known)
            refuse_unaskable(drill, session.config)
            for alert in sorted(drill.fires):
                session.config.expectation(alert)
    except UsageError as error:
        session.table_error = error


def _turn(session: _Session, durations: Durations, item: pytest.Item) -> tuple[int, float]:
    """What comes first: drills of the larger profiles, so that the stacks that begin with them
    need not be replaced; then, of several stacks, the longest ones."""
    drills = list(drills_of(item))
    if not drills:
        return 0, 0.0
    names = session.profiles.names
    chosen = [session.profiles.profile_of(drill) or names[0] for drill in drills]
    largest = max(names.index(name) for name in chosen)
    longest_s = sum(durations.expected_s(drill.id) for drill in drills) if session.worker else 0.0
    return -largest, -longest_s


def _table(
    config: pytest.Config,
    session: _Session,
    drills: list[Drill],
    left_out: Mapping[pytest.Item, str],
) -> DrillTable:
    nothing_left_out = not session.left_out and not session.skipped_modules
    every = (*drills, *session.left_out, *session.not_now)
    everywhere = looks_everywhere(config, session.config)
    return DrillTable(
        fires={drill.id: drill.fires for drill in every},
        whole=nothing_left_out and everywhere,
        deselected=tuple(drill.title for drill in session.left_out)
        or (() if everywhere and not session.skipped_modules else ("drills of other files",)),
        left_out={d.title: why for item, why in left_out.items() for d in drills_of(item)},
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    session = item.config.stash.get(SESSION, None)
    drills = list(drills_of(item))
    if session is None or not drills:
        return
    if session.table_error is not None:
        raise session.table_error
    session.profile = session.profiles.profile_of(drills[0])


@pytest.fixture(scope="session")
def alertdrill_session(pytestconfig: pytest.Config) -> _Session:
    session = pytestconfig.stash.get(SESSION, None)
    if session is None:
        raise UsageError(f"there is no {FILE_NAME} in {pytestconfig.rootpath}")
    return session


@pytest.fixture(scope="session")
def alertdrill_config(alertdrill_session: _Session) -> Config:
    """The project's configuration, with the command line's options in it."""
    return alertdrill_session.config


@pytest.fixture(scope="session")
def run_folder(alertdrill_session: _Session) -> RunFolder:
    """The folder that this run leaves behind."""
    return alertdrill_session.folder.ensure()


@pytest.fixture(scope="session")
def bench(alertdrill_session: _Session, run_folder: RunFolder) -> Iterator[Bench]:
    """A running stack and everything that reads it; one per worker, removed at the end."""
    config, profiles = alertdrill_session.config, alertdrill_session.profiles
    worker = alertdrill_session.worker
    timeline = Timeline(run_folder.timeline)
    told = ""

    def tell(what: str) -> None:
        nonlocal told
        if what != told:
            timeline.add(worker or MAIN, "progress", what=what)
            told = what

    # What is done in it is waited for before anybody ends this process, see CleanUp.
    with run_folder.opening(worker or MAIN), contextlib.ExitStack() as stack:
        try:
            images = resolve_images(config, profiles.spec, profiles.components, Progress())
            profile = alertdrill_session.profile or profiles.names[0]
            opened = stack.enter_context(
                open_bench(
                    config, run_folder, images=images, profile=profile, worker=worker, tell=tell
                )
            )
        finally:
            run_folder.add_settled(worker or MAIN)  # whether it is up or failed
        _await_other_stacks(alertdrill_session)
        yield opened


def _await_other_stacks(session: _Session) -> None:
    """Use a stack only when all stacks of the run are up.

    Starting one takes all that a small machine has; a scrape that times out for it would look
    like a fault that nobody injected.
    """
    # Somebody else's workers may have started this gate, and their environment be its.
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) if session.worker else 1
    wanted = min(workers, session.users_of_stacks)

    def started() -> bool:
        return session.folder.settled_workers() >= wanted

    # Longer than this only when one of them fails, which it says itself.
    readiness = (c.ready.timeout_s for c in session.profiles.spec.components)
    with contextlib.suppress(DeadlineExceeded):
        eventually(started, timeout_s=max(readiness), what="the other stacks", interval_s=0.2)


@pytest.fixture(scope="session")
def stack(bench: Bench) -> Stack:
    """The bench's stack, for tests of faults and components."""
    return bench.stack


@pytest.fixture
def run_drill(
    bench: Bench, alertdrill_session: _Session, run_folder: RunFolder
) -> Callable[[Drill], DrillResult]:
    """Runs a drill on this worker's bench and records its result in the run folder.

    A stack that hasn't what the drill needs is replaced by one that has.
    """
    profiles = alertdrill_session.profiles

    def run(drill: Drill) -> DrillResult:
        needed = profiles.profile_of(drill) or bench.profile
        if not profiles.runs(needed) <= profiles.runs(bench.profile):
            bench.tell(f"a stack of the profile {needed} in the place of one of {bench.profile}")
            bench.renew(needed)
        result = run_one(drill, bench)
        run_folder.add_drill(result.id, result.document())
        return result

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A drill's failure is its findings, not a traceback; an error on purpose is its words."""
    report = yield
    session = item.config.stash.get(SESSION, None)
    if session is None or call.excinfo is None:
        return report
    error = call.excinfo.value
    if isinstance(error, AlertdrillError):
        report.longrepr = f"{type(error).__name__}: {error}"
        if any(drills_of(item)):
            session.folder.add_error(str(error))
    elif call.when == "call" and isinstance(error, AssertionError):
        names = [value for name, value in item.user_properties if name == DRILL_PROPERTY]
        recorded = [d for d in session.folder.drills() if d["id"] in names] if names else []
        if recorded:
            report.longrepr = "\n".join(line for d in recorded for line in drill_lines(d))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In the controller: write the verdict, and let the exit code say it."""
    known = session.config.stash.get(SESSION, None)
    if known is None or known.worker:
        return
    folder = known.folder
    if not folder.planned() or session.config.getoption("collectonly"):
        return
    not_verified, needs, beyond = _beyond_the_profiles(known)
    document = write_verdict(
        folder,
        RunFacts(
            command=known.command,
            wall_s=time.monotonic() - known.begun,
            seed=known.config.gate.seed,
            factor=known.config.clock.factor,
            alerts=_alerts_if_readable(known.config),
            not_verified=not_verified,
            undrilled=known.config.undrilled,
            needs=needs,
            beyond=beyond,
            failed_tests=known.failed_tests,
            interrupted=exitstatus == pytest.ExitCode.INTERRUPTED and not folder.errors(),
        ),
    )
    judged = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    seen_wrong = any(drill["verdict"] == Verdict.FAIL.word for drill in document["drills"])
    if folder.errors() and not seen_wrong:
        session.exitstatus = EXIT_USAGE
    elif exitstatus in judged:
        session.exitstatus = Verdict[document["verdict"].upper()].value
    # Last: a page that can't be written must not change the verdict.
    try:
        Durations.of(known.config.root).learn(document["drills"])
        write_histograms(folder)
        write_page(folder)
    except OSError as error:
        print(f"alertdrill: the report can't be written: {error}", file=sys.stderr)


def _alerts_if_readable(config: Config) -> list[str]:
    try:
        return sorted(config.drillable(load_original(config).alerts))
    except UsageError:
        return []  # it is among the run's errors already


def _beyond_the_profiles(
    session: _Session,
) -> tuple[list[dict[str, str]], Mapping[str, str], dict[str, str]]:
    """What nothing runs, what alerts need, and the alerts that can't fire for it."""
    try:
        profiles = session.profiles
    except UsageError:
        return [], {}, {}  # it is among the run's errors already
    return profiles.not_verified(), profiles.needs, profiles.beyond()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = config.stash.get(SESSION, None)
    if session is None or session.worker or not session.folder.verdict.exists():
        return
    document = session.folder.read_verdict()
    terminalreporter.section("alertdrill")
    for drill in document["drills"]:
        for line in drill_lines(drill):
            terminalreporter.write_line(line)
    for line in summary_lines(document, session.folder.path):
        terminalreporter.write_line(line)
