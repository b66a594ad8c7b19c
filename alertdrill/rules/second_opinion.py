"""A second opinion on PromQL that the parser here doesn't know: promtool's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alertdrill.errors import UsageError
from alertdrill.rules.model import RuleFile, UnreadRule
from alertdrill.rules.programs import PROMTOOL, on_path
from alertdrill.rules.promtool import PromtoolFailed, open_promtool

TIMEOUT_S = 20.0

_REFUSAL = re.compile(r'rule (?P<rule>[0-9]+), "[^"]*": could not parse expression: (?P<why>.*)')
# PromQL all the same, for a Prometheus that was started with a feature flag.
_NEEDS_A_FLAG = ("is not enabled", "must be enabled")


@dataclass(frozen=True)
class Opinion:
    """What promtool says of an expression; ``refused``: no Prometheus of its version loads it."""

    refused: bool
    words: str


_ACCEPTED = Opinion(False, "promtool accepts it")


def not_asked(why: str) -> Opinion:
    return Opinion(False, f"promtool's word is needed, and {why}")


def find_on_path() -> Path | None:
    """The promtool on PATH. No other: what a check says must not hang on what ran before it."""
    found = on_path(PROMTOOL)
    return None if found is None else found.path


def opinions(promtool: Path, expressions: Sequence[str]) -> list[Opinion]:
    """promtool's word on each of ``expressions``, from one process."""
    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(expressions, 1)]
    document = {"groups": [{"name": "asked", "rules": rules}]}
    with open_promtool(promtool) as tool:
        file = tool.scratch / "asked.yml"
        file.write_text(json.dumps(document), encoding="utf-8")
        try:
            said = tool.check([file], timeout_s=TIMEOUT_S)[file]
        except PromtoolFailed as error:
            return [not_asked(str(error))] * len(rules)
    found = [_ACCEPTED] * len(rules)
    for match in _REFUSAL.finditer(said or ""):
        number = int(match["rule"])
        if 0 < number <= len(found):
            found[number - 1] = _objection(match["why"].strip())
    if said is not None and found == [_ACCEPTED] * len(rules):
        return [not_asked(f"promtool refuses them as a whole: {said}")] * len(rules)
    return found


def _objection(why: str) -> Opinion:
    return Opinion(not any(words in why for words in _NEEDS_A_FLAG), f"promtool: {why}")


def unread_rules(
    files: Iterable[RuleFile], promtool: Path | str
) -> tuple[tuple[UnreadRule, str], ...]:
    """The rules of ``files`` that can't be read here, each with words on it; ``promtool`` is the
    program, or why there is none.

    Raises UsageError for a rule that promtool refuses as well: Prometheus would not load its file.
    """
    rules = [rule for file in files for rule in file.unread]
    if not rules:
        return ()
    if isinstance(promtool, str):
        said = [not_asked(promtool)] * len(rules)
    else:
        said = opinions(promtool, [rule.expr for rule in rules])
    for rule, opinion in zip(rules, said, strict=True):
        if opinion.refused:
            words = f"{rule.name}: not PromQL, says {opinion.words}"
            raise UsageError(words, file=rule.file, line=rule.line)
    return tuple(
        (rule, f"its PromQL is not understood here ({rule.why}); {opinion.words}")
        for rule, opinion in zip(rules, said, strict=True)
    )
