"""docs/faults.md is what the code says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from alertdrill import assemble
from alertdrill.config import load_config
from alertdrill.faults.catalogue import catalogue
from alertdrill.report.faults import markdown
from alertdrill.tables import drills_of

ROOT = Path(__file__).parents[2]


def test_the_document_is_not_older_than_the_code() -> None:
    written = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    config = load_config(ROOT)
    made = markdown(catalogue(), drills_of(config), assemble.runbooks(config), config.slis)
    assert written == made + "\n", "renew it: make docs"


def test_another_expectation_is_another_document() -> None:
    config = load_config(ROOT)
    drills = drills_of(config)
    runbooks = assemble.runbooks(config)
    changed = [replace(drills[0], may_fire=frozenset({"HighErrorRate"})), *drills[1:]]
    slis = config.slis
    assert markdown(catalogue(), drills, runbooks, slis) != markdown(
        catalogue(), changed, runbooks, slis
    )


def test_every_drill_has_its_row_and_the_runbook_of_what_it_fires() -> None:
    config = load_config(ROOT)
    drills = drills_of(config)
    made = markdown(catalogue(), drills, assemble.runbooks(config), config.slis)
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in made.splitlines()}
    for drill in drills:
        for alert in drill.fires:
            runbook = f"monitoring/runbooks/{alert}.md"
            assert f"[{alert}](../{runbook})" in rows[drill.title]
            assert (ROOT / runbook).is_file()
