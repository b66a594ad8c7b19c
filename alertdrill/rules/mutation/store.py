"""Outcomes on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from alertdrill.rules.mutation.killer import (
    Equivalent,
    Indistinguishable,
    Invalid,
    Killed,
    Outcome,
    Survived,
)
from alertdrill.rules.mutation.mutants import Mutant, Source

# Changes with what mutants or their outcomes mean.
_FORMAT = "1"


class OutcomeStore:
    """The outcomes of one rule file's mutants under the same judges; a line each, as they come.

    The file's name is a hash of everything that an outcome depends on: the rule file and the
    judges' fingerprints. So nothing in it is ever out of date.
    """

    def __init__(self, folder: Path, source: Source, fingerprints: Iterable[str]) -> None:
        words = "\0".join((_FORMAT, source.text, *fingerprints))
        self.path = folder / f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.jsonl"
        self._lock = threading.Lock()

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)

    def read(self, mutants: Iterable[Mutant]) -> dict[Mutant, Outcome]:
        """What is known of ``mutants``."""
        known: dict[str, Outcome] = {}
        for line in self._lines():
            try:
                entry = json.loads(line)
                known[entry["mutant"]] = _outcome(entry["outcome"], entry["detail"])
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed
        return {mutant: known[mutant.key] for mutant in mutants if mutant.key in known}

    def add(self, outcomes: Mapping[Mutant, Outcome]) -> None:
        lines = [
            json.dumps({"mutant": mutant.key, "outcome": name, "detail": detail}) + "\n"
            for mutant, outcome in outcomes.items()
            for name, detail in [_words(outcome)]
        ]
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []


_WITH_DETAIL: dict[str, Callable[[str], Outcome]] = {
    "killed": Killed,
    "invalid": Invalid,
    "equivalent": Equivalent,
    "indistinguishable": Indistinguishable,
}


def _words(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Survived):
        return "survived", ""
    detail = outcome.by if isinstance(outcome, Killed) else outcome.why
    return type(outcome).__name__.lower(), detail


def _outcome(name: str, detail: str) -> Outcome:
    return Survived() if name == "survived" else _WITH_DETAIL[name](detail)
