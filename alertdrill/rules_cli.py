"""``alertdrill rules …``: what can be said of alert rules before they are loaded anywhere."""

from __future__ import annotations

import typer

from alertdrill.rules.coverage.command import coverage
from alertdrill.rules.lint.command import check
from alertdrill.rules.mutation.command import mutate
from alertdrill.rules.replay.command import replay
from alertdrill.rules.routing.command import routing
from alertdrill.rules.testing.command import run_tests

rules_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Verify alert rules before release, with no stack running.

check finds what is wrong with the files; test runs their promtool tests; mutate breaks the rules
on purpose and counts what the tests notice; replay shows what they would have done on recorded
faults; routing shows who would be told, by a real Alertmanager; coverage sets the alerts of all
that ran against its faults.""",
)
for name, command in (
    ("check", check),
    ("test", run_tests),
    ("mutate", mutate),
    ("replay", replay),
    ("routing", routing),
    ("coverage", coverage),
):
    rules_app.command(name)(command)
