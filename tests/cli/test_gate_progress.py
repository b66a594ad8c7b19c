"""What the gate says while it runs, where there is no terminal: the log of a pipeline."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

from alertdrill.gate import _follow
from alertdrill.report.folder import RunFolder
from alertdrill.stack.progress import Progress

# A drill as the plugin tells it, sped up: what it awaits is written again and again, with the
# seconds since injection.
WORKER = """
import json, sys, threading
from pathlib import Path
with Path(sys.argv[1]).open("a") as timeline:
    for number in range(100):
        for worker, alerts in (("gw0", "A, B"), ("gw1", "C")):
            what = f"the drill: +{number} s, awaiting {alerts}"
            row = {"drill": worker, "event": "progress", "what": what}
            timeline.write(json.dumps(row) + "\\n")
        timeline.flush()
        threading.Event().wait(0.01)
"""


def test_two_hundred_updates_are_two_lines_and_two_ends(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run").ensure()
    stream = io.StringIO()
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(folder.timeline)])
    try:
        _follow(process, folder, Progress(stream))
    finally:
        process.kill()
        process.wait(timeout=10)
    rows = folder.timeline.read_text(encoding="utf-8").splitlines()
    assert len([json.loads(row) for row in rows]) == 200
    said = [line.partition(" s  ")[2] for line in stream.getvalue().splitlines()]
    assert [line.partition(": ")[0] for line in said] == [
        *("stack gw0", "stack gw1"),
        *("stack gw1", "stack gw0"),
    ]
    assert "awaiting A, B" in said[0]
    assert "awaiting C" in said[1]
    assert all("done" in line for line in said[2:])
