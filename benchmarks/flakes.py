"""Does the gate say the same every time? The same drills, many gates in a row.

A changed verdict is one that is not what most gates said of that drill. Drills that the machine
was too slow for are repeated by the gate itself; how often is shown, too.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from alertdrill.assemble import CACHE
from alertdrill.errors import AlertdrillError
from alertdrill.stack.engine import ensure_engine
from alertdrill.stack.progress import Progress
from benchmarks.report import Detail, Figure, Report, Target, parser, present
from benchmarks.setting import alertdrill, machine, project, run

# The control and four drills, as pytest's -k selects them.
DRILLS = (
    "no and fault",
    "PostgreSQL and refuses",
    "GitHub and 5xx",
    "Studio and slow and not twenty and not Redis",
    "hub and killed",
)
TIMEOUT_S = 600.0


def flakes(gates: int, drills: Sequence[str] = DRILLS) -> Report:
    """``gates`` gates of ``drills``, one after another. Raises AlertdrillError."""
    config = project()
    progress = Progress()
    where = machine(ensure_engine(progress, config.root / CACHE))
    wanted = " or ".join(f"({selection})" for selection in drills)
    documents: list[Mapping[str, Any]] = []
    for number in range(1, gates + 1):
        ran = run(alertdrill("gate", "--json", "-k", wanted), cwd=config.root, timeout_s=TIMEOUT_S)
        documents.append(_document(ran.output))
        said = ", ".join(f"{n} {word}" for word, n in _verdicts(documents[-1:]).items())
        progress.say(f"  gate {number} of {gates}: {said} in {ran.wall_s:.0f} s")
    return _report(where, documents)


def _document(output: str) -> Mapping[str, Any]:
    if not output:
        raise AlertdrillError("a gate left no verdict document")
    document: dict[str, Any] = json.loads(output)
    return document


def _verdicts(documents: Sequence[Mapping[str, Any]]) -> Counter[str]:
    return Counter(drill["verdict"] for document in documents for drill in document["drills"])


def _report(where: str, documents: Sequence[Mapping[str, Any]]) -> Report:
    rows: list[tuple[str | float | None, ...]] = []
    changed = repeated = 0
    titles = dict.fromkeys(drill["title"] for d in documents for drill in d["drills"])
    for title in titles:
        results = [drill for d in documents for drill in d["drills"] if drill["title"] == title]
        words = Counter(result["verdict"] for result in results)
        common, often = words.most_common(1)[0]
        others = sorted({str(r["reason"]) for r in results if r["verdict"] != common})
        again = sum(len(result["set_aside"]) for result in results)
        walls = [result["wall_s"] for result in results]
        changed += len(documents) - often
        repeated += again
        rows.append(
            (title, f"{often} {common}", ", ".join(others) or "–", again, min(walls), max(walls))
        )
    columns = ("drill", "verdicts", "others, by reason", "set aside", "least, s", "most, s")
    return Report(
        f"The same drills in {len(documents)} gates in a row",
        where,
        (
            Figure("changed verdicts", changed, "", Target("≤", 0)),
            Figure("drills that passed", _verdicts(documents)["pass"], "", None),
            Figure("attempts set aside and repeated", repeated, "", None),
        ),
        (Detail("By drill", columns, rows),),
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--gates", type=int, default=30, help="how many gates [30]")
    chosen = options.parse_args()
    return present(lambda: flakes(chosen.gates), chosen.json)


if __name__ == "__main__":
    sys.exit(main())
