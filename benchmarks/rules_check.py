"""``alertdrill rules check``: how long 1,000 rules take, and what more files cost in memory.

The rules are this repository's own under other names, so that each is judged in full. Time is CPU
time: the check computes on one core and waits for nothing, so on an idle machine that is how long
it takes. Memory is the peak of what Python allocates, in a run of its own: measuring slows down.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from alertdrill.errors import AlertdrillError
from alertdrill.rules.lint.run import lint
from benchmarks.report import Figure, Report, Target, parser, present

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "monitoring" / "alerts.yml"
RULES = 1_000
MAX_S = 3.0
# Files of the memory runs; each holds the shipped rules once.
FEW, MANY = 20, 200
# What a file may leave behind: the digests of its alerts and its path, no text and no tree.
MAX_KIB_PER_FILE = 3.0
_ALERT = re.compile(r"(?<=- alert: )\w+")


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _write(folder: Path, files: int) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for number in range(files):
        renamed = _ALERT.sub(rf"\g<0>{number}", text)
        # The runbooks are looked for from here, and would not be found.
        renamed = renamed.replace("monitoring/runbooks/", "https://runbooks.example.org/")
        (folder / f"rules{number:04}.yml").write_text(renamed, encoding="utf-8")


def _per_file() -> int:
    return len(_ALERT.findall(SHIPPED.read_text(encoding="utf-8")))


def _seconds(repeat: int) -> tuple[list[tuple[float, float]], int]:
    """CPU time and wall clock of each run, and how many rules each judged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, -(-RULES // _per_file()))
        taken: list[tuple[float, float]] = []
        rules = 0
        for _ in range(repeat):
            begun, used = time.perf_counter(), time.process_time()
            rules = lint([folder]).rules
            taken.append((time.process_time() - used, time.perf_counter() - begun))
        if rules < RULES:
            raise AlertdrillError(f"only {rules} of {RULES} rules were judged")
        return taken, rules


def _peak_kib(files: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        _write(Path(name), files)
        tracemalloc.start()
        lint([Path(name)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak / 1024


def measure(repeat: int) -> Report:
    taken, rules = _seconds(repeat)
    few, many = _peak_kib(FEW), _peak_kib(MANY)
    growth = (many - few) / (MANY - FEW)
    median = statistics.median(cpu for cpu, _ in taken)
    walls = [wall for _, wall in taken]
    return Report(
        "alertdrill rules check",
        _machine(),
        (
            Figure(
                f"{rules:,} rules in {-(-RULES // _per_file())} files",
                median,
                "s",
                Target("≤", MAX_S),
                f"of one core; median of {repeat}, at most {max(cpu for cpu, _ in taken):.2f}",
            ),
            Figure(
                "the same by the wall clock",
                statistics.median(walls),
                "s",
                note="beside whatever else the machine did",
            ),
            Figure("rules per second of a core", rules / median, "1/s"),
            Figure(
                "peak memory per further file",
                growth,
                "KiB",
                Target("≤", MAX_KIB_PER_FILE),
                f"{few:.0f} KiB with {FEW} files, {many:.0f} KiB with {MANY}",
            ),
        ),
    )


def main(argv: list[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("--repeat", type=int, default=3, help="runs of the 1,000 rules [3]")
    given = options.parse_args(argv)
    return present(lambda: measure(given.repeat), given.json)


if __name__ == "__main__":
    sys.exit(main())
