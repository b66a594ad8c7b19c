"""Does a drill notice a hub that says wrong things of itself, and data that didn't stay?

The clean twins are the same drills in ``test_planted_defects.py``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alertdrill.bench import Bench
from alertdrill.experiment import run_drill as run_one
from alertdrill.load.plan import Load
from alertdrill.load.session import LoadSession
from alertdrill.verdict import Reason, Verdict
from fixtures.keys import ItemWrite
from tests.gate.conftest import Laboratory
from tests.gate.test_planted_defects import CONTROL, REFUSED
from tests.stack.small import ROOT

pytestmark = pytest.mark.docker

# File of the hub, what stands in it, and the lie that takes its place.
LIES = [
    (
        "hub/sync.py",  # three errors in four are never counted
        'if status != "replayed":',
        'if status == "success" or time.perf_counter_ns() % 4 == 0:',
    ),
    (
        "hub/health.py",
        "checks = {name: self._result(name, futures[name], deadline) for name in futures}",
        "checks = dict.fromkeys(futures, True)",
    ),
    ("hub/logs.py", "if span.is_valid:", "if span.is_valid and record.levelno < logging.ERROR:"),
]


@contextlib.contextmanager
def lying(bench: Bench) -> Iterator[None]:
    """The bench's hub tells every lie until the end of the block."""
    try:
        for file, truth, lie in LIES:
            text = Path(ROOT, file).read_text(encoding="utf-8")
            assert text.count(truth) == 1, f"{truth!r} in {file}"
            bench.stack.put("hub", f"/srv/{file}", text.replace(truth, lie).encode())
        _restart_hub(bench)
        yield
    finally:
        for file, *_ in LIES:
            bench.stack.put("hub", f"/srv/{file}", Path(ROOT, file).read_bytes())
        _restart_hub(bench)


def _restart_hub(bench: Bench) -> None:
    bench.end_load()  # it would remember the restart as failures
    bench.stack.container("hub").restart(timeout=1)
    bench.stack.wait_ready("hub")
    bench.whole_since = time.monotonic()


def test_a_hub_that_lies_is_caught_at_each_of_its_lies(laboratory: Laboratory) -> None:
    with lying(laboratory.bench):
        result = run_one(REFUSED, laboratory.bench)
    assert result.verdict is Verdict.FAIL
    assert {finding.reason for finding in result.findings} == {
        Reason.HEALTH_DID_NOT_TELL,
        Reason.METRICS_DISAGREE,
        Reason.LOG_MISSING,
    }, result.findings


# --- data ---------------------------------------------------------------------------------------

LAST = "SELECT max(id) FROM sync_runs WHERE status = 'success' AND idempotency_key IS NOT NULL"
COLUMNS = "source, target, policy, status, started_at, finished_at, trace_id"
LOSE_ONE = f"DELETE FROM sync_runs WHERE id = ({LAST})"
# As a hub does that forgets the key of a sync and runs it again.
DOUBLE_ONE = (
    f"INSERT INTO sync_runs ({COLUMNS}) SELECT {COLUMNS} FROM sync_runs WHERE id = ({LAST})"
)
# From now on every update of an item is acknowledged, and leaves it as it was.
LOSE_UPDATES = (
    "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'; "
    "CREATE TRIGGER forget BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION forget()"
)
KEEP_UPDATES = "DROP TRIGGER forget ON items; DROP FUNCTION forget"


class Meddler:
    """The bench's load; ``after_s`` seconds after a drill asks for it, somebody changes what is
    in the database behind the hub's back."""

    def __init__(self, bench: Bench, after_s: float) -> None:
        self._bench = bench
        self._timer = threading.Timer(after_s, self._meddle)

    def __call__(self, load: Load, name: str) -> LoadSession:
        if not self._timer.ident:
            self._timer.start()
        return Bench.load(self._bench, load, name)

    def _meddle(self) -> None:
        self.tell(LOSE_ONE)
        self.tell(DOUBLE_ONE)
        self.tell(LOSE_UPDATES)

    def tell(self, statements: str) -> None:
        command = 'psql -Xq -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "$0"'
        code, output = self._bench.stack.exec("postgres", ["sh", "-c", command, statements])
        assert code == 0, output

    def undo(self) -> None:
        self._timer.join()
        self.tell(KEEP_UPDATES)


@pytest.fixture
def meddled(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    meddler = Meddler(laboratory.bench, after_s=12.0)
    monkeypatch.setattr(laboratory.bench, "load", meddler)
    yield
    meddler.undo()


@pytest.mark.usefixtures("meddled")
def test_writes_that_were_lost_and_one_that_came_twice_are_caught(laboratory: Laboratory) -> None:
    result = run_one(CONTROL, laboratory.bench)
    assert result.verdict is Verdict.FAIL
    assert [finding.reason for finding in result.findings] == [
        Reason.WRITE_LOST,
        Reason.WRITE_TWICE,
    ], result.findings
    (promises,) = (check for check in result.checks if check["id"] == "promises")
    lost = [ItemWrite.of(key) for key in promises["lost"]]
    assert lost.count(None) == 1
    assert all(write is None or write.version for write in lost)
    assert len(lost) > 1
    assert len(promises["twice"]) == 1
