"""The project's tables of drills, read without running anything."""

from __future__ import annotations

import importlib
import sys

from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import UsageError


def drills_of(config: Config) -> list[Drill]:
    """Every drill in a list of a ``test_*.py`` below the gate's folders, in declared order.

    Raises UsageError when such a file can't be imported.
    """
    if str(config.root) not in sys.path:
        sys.path.insert(0, str(config.root))
    found: list[Drill] = []
    for folder in config.gate.drills:
        for path in sorted(config.path(folder).rglob("test_*.py")):
            name = ".".join(path.relative_to(config.root).with_suffix("").parts)
            try:
                module = importlib.import_module(name)
            except ImportError as error:
                raise UsageError(f"can't be imported: {error}", file=path) from error
            for table in vars(module).values():
                if isinstance(table, list | tuple):
                    found += [row for row in table if isinstance(row, Drill) and row not in found]
    return found
