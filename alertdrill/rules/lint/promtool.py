"""A second opinion on PromQL that the parser doesn't know: promtool's, where it is on PATH."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from alertdrill.rules.programs import PROMTOOL, on_path
from alertdrill.rules.promtool import PromtoolFailed, open_promtool

TIMEOUT_S = 20.0

_REFUSAL = re.compile(r'rule (?P<rule>[0-9]+), "[^"]*": could not parse expression: (?P<why>.*)')


def find() -> Path | None:
    """The promtool on PATH. No other: what a check says must not hang on what ran before it."""
    found = on_path(PROMTOOL)
    return None if found is None else found.path


def refusals(promtool: Path, expressions: Sequence[str]) -> list[str | None] | str:
    """What promtool says against each of ``expressions``; None where it accepts one.

    A text instead: why it could not be asked.
    """
    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(expressions, 1)]
    document = {"groups": [{"name": "asked", "rules": rules}]}
    with open_promtool(promtool) as tool:
        file = tool.scratch / "asked.yml"
        file.write_text(json.dumps(document), encoding="utf-8")
        try:
            said = tool.check([file], timeout_s=TIMEOUT_S)[file]
        except PromtoolFailed as error:
            return str(error)
    answers: list[str | None] = [None] * len(expressions)
    for match in _REFUSAL.finditer(said or ""):
        number = int(match["rule"])
        if 0 < number <= len(answers):
            answers[number - 1] = match["why"].strip()
    if said is not None and not any(answers):
        return f"promtool refuses them as a whole: {said}"
    return answers
