"""How fast mutants are judged, against one promtool process per mutant: same mutants, same run,
same verdicts."""

from __future__ import annotations

import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alertdrill.rules.mutation.by_promtool import PromtoolKiller
from alertdrill.rules.mutation.engine import Judged, judge
from alertdrill.rules.mutation.killer import Killed
from alertdrill.rules.mutation.mutants import Mutant, Source, read_source
from alertdrill.rules.mutation.report import Score
from alertdrill.rules.project import promtool
from alertdrill.rules.promtool import Promtool, open_promtool
from alertdrill.rules.testing.document import discover

from .report import Detail, Figure, Report, Target, parser, present

RULES = Path("monitoring/alerts.yml")
TESTS = Path("rules")
SEED = 7
# The best round counts, since other work only makes it slower. One process per mutant takes
# minutes and is measured once, after the first round.
ROUNDS = 3


def one_process_each(
    killer: PromtoolKiller, program: Promtool, mutants: Sequence[Mutant], workers: int
) -> dict[Mutant, bool]:
    """Whether promtool fails on each mutant, all test files in a process of its own."""

    def dies(mutant: Mutant) -> bool:
        with tempfile.TemporaryDirectory(dir=program.scratch) as folder:
            results = program.test(killer.whole(mutant, Path(folder)))
            return not all(result.passed for result in results)

    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(mutants, pool.map(dies, mutants), strict=True))


def measure(sample: int | None) -> Report:
    workers = os.cpu_count() or 1
    machine = (
        f"{time.strftime('%Y-%m-%d %H:%M')} · {workers} cores · Linux"
        f" {platform.release().partition('-')[0]} · Python {platform.python_version()}"
        f" · before: load average {os.getloadavg()[0]:.2f}"
    )
    tests, _ = discover([TESTS])
    path = promtool()
    rounds: list[tuple[float, Judged]] = []
    with open_promtool(path) as program:
        for number in range(ROUNDS):
            begun = time.monotonic()
            source = read_source(RULES)
            killer = PromtoolKiller(source, tests, program, program.scratch)
            judged = judge(source, [killer], workers=workers)
            rounds.append((time.monotonic() - begun, judged))
            if number == 0:
                mutants = _sampled(source, sample)
                begun = time.monotonic()
                each = one_process_each(killer, program, mutants, workers)
                each_s = time.monotonic() - begun
    return _report(machine, rounds, each, each_s)


def _sampled(source: Source, sample: int | None) -> list[Mutant]:
    """All that promtool can be asked about, those proven equivalent among them."""
    mutants = [mutant for mutant in source.mutants if mutant.refused is None]
    if sample is None:
        return mutants
    return random.Random(SEED).sample(mutants, min(sample, len(mutants)))


def _report(
    machine: str,
    rounds: Sequence[tuple[float, Judged]],
    each: Mapping[Mutant, bool],
    each_s: float,
) -> Report:
    score = Score.of(rounds[0][1].outcomes.values())
    # Those proven equivalent cost nothing here, so they don't count.
    count = score.killed + score.survived
    rate, each_rate = count / min(seconds for seconds, _ in rounds), len(each) / each_s
    different = sum(
        isinstance(judged.outcomes[mutant], Killed) != dies
        for _, judged in rounds
        for mutant, dies in each.items()
    )
    rows = [
        (f"together, round {number}", seconds, count, count / seconds)
        for number, (seconds, _) in enumerate(rounds, 1)
    ]
    words = f"{score.killed} killed, {score.survived} survived, {score.equivalent} equivalent"
    return Report(
        f"Mutation testing of {RULES}",
        machine,
        (
            Figure("mutants judged", rate, "1/s", Target("≥", 50), "best round"),
            Figure("one promtool process per mutant", each_rate, "1/s"),
            Figure("ratio of the two", rate / each_rate, "", Target("≥", 5)),
            Figure("different verdicts", different, "", Target("≤", 0), f"of {len(each)} mutants"),
            Figure("mutation score", score.percent, "%", Target("≥", 90), words),
        ),
        (
            Detail(
                "The same mutants and tests",
                ("way", "wall, s", "mutants", "mutants/s"),
                [*rows, ("one process each", each_s, len(each), each_rate)],
            ),
        ),
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--sample", type=int, help="how many mutants get a process of their own [all]"
    )
    given = options.parse_args()
    return present(lambda: measure(given.sample), given.json)


if __name__ == "__main__":
    sys.exit(main())
