"""The score, for people and for machines: per alert, per file, and every survivor as a diff."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from alertdrill.rules.mutation.engine import Judged
from alertdrill.rules.mutation.killer import (
    Equivalent,
    Indistinguishable,
    Invalid,
    Killed,
    Outcome,
    Survived,
)
from alertdrill.rules.mutation.mutants import Mutant

_BADGE_COLOURS = ((90, "brightgreen"), (75, "yellow"), (50, "orange"), (0, "red"))
# In the order of Score's fields.
_KINDS = (Killed, Survived, Equivalent, Invalid, Indistinguishable)


@dataclass(frozen=True)
class Score:
    """How many mutants ended how; only killed and survived ones are part of ``percent``."""

    killed: int
    survived: int
    equivalent: int
    invalid: int
    indistinguishable: int = 0

    @staticmethod
    def of(outcomes: Iterable[Outcome]) -> Score:
        kinds = [type(outcome) for outcome in outcomes]
        return Score(*(kinds.count(kind) for kind in _KINDS))

    @property
    def percent(self) -> float | None:
        """None when there was nothing to kill: that is no score of 100."""
        judged = self.killed + self.survived
        return 100 * self.killed / judged if judged else None

    @property
    def words(self) -> str:
        return "unknown" if self.percent is None else f"{self.percent:.1f} %"

    def document(self) -> dict[str, Any]:
        percent = None if self.percent is None else round(self.percent, 2)
        return {"score": percent, **vars(self)}


@dataclass(frozen=True)
class MutationReport:
    """What became of the mutants of some rule files, in ``seconds``."""

    files: Sequence[Judged]
    seconds: float

    @property
    def score(self) -> Score:
        return Score.of(outcome for file in self.files for outcome in file.outcomes.values())

    @property
    def interrupted(self) -> bool:
        return any(file.interrupted for file in self.files)

    @property
    def judged(self) -> int:
        return sum(len(file.outcomes) for file in self.files)

    @property
    def not_mutated(self) -> int:
        """How many rules could not be."""
        return sum(len(file.source.unread) for file in self.files)

    @property
    def total(self) -> int:
        return sum(len(file.source.mutants) for file in self.files)

    def text(self) -> str:
        return "\n".join([*self._survivors(), *self._table(), "", self._summary()])

    def _survivors(self) -> Iterable[str]:
        for file in self.files:
            for mutant, outcome in file.outcomes.items():
                if isinstance(outcome, Survived):
                    yield f"{_where(file, mutant)} survived: {mutant.operator}"
                    yield _indented(file.source.diff(mutant))
                    yield f"  would be killed by {mutant.hint}"
                    yield ""

    def _table(self) -> Iterable[str]:
        rows: list[tuple[str, ...]] = [
            ("alert", "score", "killed", "survived", "equivalent", "invalid", "same trace")
        ]
        for file in self.files:
            rows.append(_row(str(file.source.path), Score.of(file.outcomes.values())))
            rows += [_row(f"  {name}", score) for name, score in _by_rule(file).items()]
        if not self.score.indistinguishable:
            rows = [row[:-1] for row in rows]
        width = max(len(row[0]) for row in rows)
        for name, *cells in rows:
            yield f"{name:{width}}" + "".join(f"{cell:>12}" for cell in cells)
        for file in self.files:
            for rule in file.source.unread:
                yield f"{file.source.path}:{rule.line} {rule.rule} was not mutated: {rule.why}"

    def _summary(self) -> str:
        score = self.score
        resumed = sum(file.resumed for file in self.files)
        rules = sum(len(file.source.rules) for file in self.files)
        parts = [
            f"mutation score{' so far' if self.interrupted else ''} {score.words}",
            f"{score.killed} of {score.killed + score.survived} mutants killed",
            f"{self.seconds:.1f} s",
        ]
        if score.indistinguishable:
            parts.append(f"{score.indistinguishable} leave the same trace on these histories")
        if self.not_mutated:
            parts.append(f"{self.not_mutated} of {rules} rules not mutated")
        if resumed:
            parts.append(f"{resumed} known from an earlier run")
        if self.interrupted:
            parts.append(f"interrupted: {self.judged} of {self.total} judged")
        return " · ".join(parts)

    def document(self) -> dict[str, Any]:
        """The same for machines; ``schema`` changes when a field changes its meaning."""
        return {
            "schema": 1,
            **self.score.document(),
            "seconds": round(self.seconds, 2),
            "interrupted": self.interrupted,
            "not_judged": self.total - self.judged,
            "files": [_file_document(file) for file in self.files],
        }

    def badge(self) -> dict[str, Any]:
        """For shields.io's endpoint badge."""
        percent = None if self.interrupted else self.score.percent
        return {
            "schemaVersion": 1,
            "label": "alert mutation score",
            "message": "unknown" if percent is None else self.score.words,
            "color": "lightgrey"
            if percent is None
            else next(colour for least, colour in _BADGE_COLOURS if percent >= least),
        }


def _file_document(file: Judged) -> dict[str, Any]:
    return {
        "file": str(file.source.path),
        **Score.of(file.outcomes.values()).document(),
        "rules": {name: score.document() for name, score in _by_rule(file).items()},
        "not_mutated": [vars(rule) for rule in file.source.unread],
        "mutants": [
            {
                "id": mutant.key,
                "rule": mutant.rule.name,
                "line": mutant.rule.line,
                "operator": mutant.operator,
                **_outcome_document(outcome),
                "diff": file.source.diff(mutant),
                **({"hint": mutant.hint} if isinstance(outcome, Survived) else {}),
            }
            for mutant, outcome in file.outcomes.items()
        ],
    }


def _outcome_document(outcome: Outcome) -> dict[str, str]:
    if isinstance(outcome, Killed):
        return {"outcome": "killed", "by": outcome.by}
    if isinstance(outcome, Survived):
        return {"outcome": "survived"}
    return {"outcome": type(outcome).__name__.lower(), "why": outcome.why}


def _by_rule(file: Judged) -> dict[str, Score]:
    names = dict.fromkeys(rule.name for rule in file.source.rules)
    return {
        name: Score.of(o for mutant, o in file.outcomes.items() if mutant.rule.name == name)
        for name in names
    }


def _row(name: str, score: Score) -> tuple[str, ...]:
    counts = (score.killed, score.survived, score.equivalent, score.invalid)
    return (name, score.words, *map(str, counts), str(score.indistinguishable))


def _where(file: Judged, mutant: Mutant) -> str:
    return f"{file.source.path}:{mutant.rule.line} {mutant.rule.name}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
