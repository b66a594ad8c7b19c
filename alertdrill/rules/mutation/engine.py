"""Runs the mutants of a rule file past its killers: in parallel, resumable, interruptible."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from alertdrill.rules.mutation.killer import Equivalent, Invalid, Killer, Outcome, Survived
from alertdrill.rules.mutation.mutants import Mutant, Source
from alertdrill.rules.mutation.store import OutcomeStore

# Mutants that are judged together: enough to share the cost of starting promtool and of loading
# series, few enough that progress is seen and little is lost when interrupted.
_WAVE = 100
_WAVES_PER_WORKER = 2

# Told after every wave: how many mutants are judged, of how many.
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """The outcomes of a file's mutants, in the order of the file.

    ``resumed``      how many were known from an earlier run
    ``interrupted``  mutants without an outcome were not judged
    """

    source: Source
    outcomes: Mapping[Mutant, Outcome]
    resumed: int = 0
    interrupted: bool = False


def judge(
    source: Source,
    killers: Sequence[Killer],
    *,
    workers: int,
    store: OutcomeStore | None = None,
    tell: Tell = lambda done, total: None,
) -> Judged:
    """Judge every mutant of ``source``; the later killers only see what the earlier ones left.

    A KeyboardInterrupt ends it early, with what was judged so far. Raises what a killer raises.
    """
    known: dict[Mutant, Outcome] = {}
    for mutant in source.mutants:
        if mutant.refused is not None:
            known[mutant] = Invalid(mutant.refused)
        elif mutant.equivalent:
            known[mutant] = Equivalent("no series can tell it from the rule")
    resumed = {} if store is None else store.read(m for m in source.mutants if m not in known)
    known |= resumed
    todo = [mutant for mutant in source.mutants if mutant not in known]
    tell(len(known), len(source.mutants))
    interrupted = False
    with ThreadPoolExecutor(workers) as pool:
        waves = [pool.submit(_kill, killers, wave) for wave in _waves(todo, workers)]
        try:
            for done in as_completed(waves):
                outcomes = done.result()
                if store is not None:
                    store.add(outcomes)
                known |= outcomes
                tell(len(known), len(source.mutants))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            # After the last wave this has no effect; before, leaving the pool would wait for all.
            pool.shutdown(wait=False, cancel_futures=True)
            if len(known) < len(source.mutants):
                for killer in killers:
                    killer.stop()
    ordered = {mutant: known[mutant] for mutant in source.mutants if mutant in known}
    return Judged(source, ordered, len(resumed), interrupted)


def _waves(mutants: Sequence[Mutant], workers: int) -> list[Sequence[Mutant]]:
    """Runs of neighbours: mutants of one alert share most of their cost."""
    size = min(_WAVE, math.ceil(len(mutants) / (workers * _WAVES_PER_WORKER)) or 1)
    return [mutants[start : start + size] for start in range(0, len(mutants), size)]


def _kill(killers: Sequence[Killer], mutants: Sequence[Mutant]) -> dict[Mutant, Outcome]:
    outcomes: dict[Mutant, Outcome] = {mutant: Survived() for mutant in mutants}
    for killer in killers:
        left = [mutant for mutant in mutants if isinstance(outcomes[mutant], Survived)]
        outcomes |= killer.kills(left) if left else {}
    return outcomes
