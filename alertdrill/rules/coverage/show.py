"""A coverage judgement for people and for machines."""

from __future__ import annotations

from itertools import batched
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alertdrill.rules.coverage.incident import Incident, Seen, State
from alertdrill.rules.coverage.judge import Judgement
from alertdrill.rules.coverage.matrix import Matrix
from alertdrill.verdict import Verdict
