"""``alertdrill rules …``: what can be said of alert rules before they are loaded anywhere."""

from __future__ import annotations

import typer

from alertdrill.rules.coverage.command import coverage
from alertdrill.rules.lint.command import check
from alertdrill.rules.mutation.command import mutate
from alertdrill.rules.replay.command import replay
from alertdrill.rules.replay.trim import trim
from alertdrill.rules.routing.command import routing
from alertdrill.rules.testing.command import run_tests

rules_app = typer.Typer(rich_markup_mode=None)
for name, command in (
    ("check", check),
    ("test", run_tests),
    ("mutate", mutate),
    ("replay", replay),
    ("trim", trim),
    ("routing", routing),
    ("coverage", coverage),
):
    rules_app.command(name)(command)
