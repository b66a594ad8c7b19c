"""A second opinion on PromQL that the parser doesn't know: promtool's, where it is on PATH."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 20.0

_REFUSAL = re.compile(r'rule (?P<rule>[0-9]+), "[^"]*": could not parse expression: (?P<why>.*)')


def find() -> str | None:
    return shutil.which("promtool")


def refusals(promtool: str, expressions: Sequence[str]) -> list[str | None] | str:
    """What promtool says against each of ``expressions``; None where it accepts one.

    A text instead: why it could not be asked.
    """
    rules = [{"record": f"r{number}", "expr": text} for number, text in enumerate(expressions, 1)]
    document = {"groups": [{"name": "asked", "rules": rules}]}
    with tempfile.TemporaryDirectory(prefix="alertdrill-") as folder:
        file = Path(folder) / "asked.yml"
        file.write_text(json.dumps(document), encoding="utf-8")
        try:
            done = subprocess.run(
                [promtool, "check", "rules", "--lint=none", str(file)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return f"promtool gave no answer within {TIMEOUT_S:g} s"
        except OSError as error:
            return f"promtool can't be run: {error.strerror}"
    answers: list[str | None] = [None] * len(expressions)
    for match in _REFUSAL.finditer(done.stderr + done.stdout):
        number = int(match["rule"])
        if 0 < number <= len(answers):
            answers[number - 1] = match["why"].strip()
    if done.returncode != 0 and not any(answers):
        words = (done.stderr or done.stdout).strip().splitlines()
        return f"promtool failed: {words[-1] if words else f'exit code {done.returncode}'}"
    return answers
