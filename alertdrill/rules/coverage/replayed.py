"""What ``alertdrill rules replay --format json`` printed, as what each alert did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator

from alertdrill.rules.coverage.incident import Seen, State
from alertdrill.rules.coverage.live import not_the_format, read_json
from alertdrill.rules.replay.answers import FIRES, QUIET, Answer
from alertdrill.rules.replay.command import SCHEMA
from alertdrill.verdict import Reason, Verdict

_WHAT = "output of `alertdrill rules replay --format json`"


class _Replay(BaseModel):
    schema_: int = Field(alias="schema", ge=SCHEMA, le=SCHEMA)
    verdict: Literal["pass", "fail", "unknown"]
    answers: list[dict[str, Any]] = Field(min_length=1)

    @field_validator("answers")
    @classmethod
    def _have_verdicts(cls, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = {verdict.word: verdict for verdict in Verdict}
        for row in rows:
            if row.get("verdict") not in known:
                raise ValueError(f"no verdict: {row.get('verdict')!r}")
        return [{**row, "verdict": known[row["verdict"]]} for row in rows]


@dataclass(frozen=True)
class Replayed:
    """``answers`` without those of short faults, which say nothing of coverage."""

    path: Path
    verdict: str
    answers: tuple[Answer, ...]

    @property
    def alerts(self) -> frozenset[str]:
        return frozenset(answer.alert for answer in self.answers)

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(answer.segment for answer in self.answers))


def load_replayed(path: Path) -> Replayed:
    """Read what a replay printed. Raises UsageError when it is none."""
    document = read_json(path, _WHAT)
    try:
        replay = _Replay.model_validate(document)
        answers = TypeAdapter(tuple[Answer, ...]).validate_python(replay.answers)
    except ValidationError as error:
        raise not_the_format(path, _WHAT, error) from error
    whole = tuple(answer for answer in answers if not answer.blip)
    return Replayed(path, replay.verdict, whole)


def seen_in(answers: Sequence[Answer]) -> dict[str, Seen]:
    """By alert; of answers about one segment."""
    return {answer.alert: _seen(answer) for answer in answers}


def _seen(answer: Answer) -> Seen:
    if answer.verdict is Verdict.UNKNOWN:
        return Seen(answer.expected, State.UNKNOWN, answer.message or str(answer.reason))
    # Healthy times come before the fault too: it isn't the fault that fires it.
    if answer.reason == Reason.ALERT_WITHOUT_FAULT:
        return Seen(QUIET, State.FIRED, answer.message)
    always = answer.fires_after_s is not None
    # In some evaluation phases only: too few where it must fire, too many where it mustn't.
    sometimes = answer.resolves_after_s is not None or answer.reason == Reason.UNEXPECTED_ALERT
    fired = always if answer.expected == FIRES else always or sometimes
    return Seen(answer.expected, State.FIRED if fired else State.QUIET, answer.message)
