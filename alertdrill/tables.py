"""The project's tables of drills, read without running anything."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import AlertdrillError, UsageError


def drills_of(config: Config) -> list[Drill]:
    """Every drill in a list of a ``test_*.py`` below the gate's folders, in declared order.

    A module that skips itself has none. Raises UsageError when such a file can't be imported; it
    says where in the project.
    """
    import pytest  # here, since no other command need load it

    if str(config.root) not in sys.path:
        sys.path.insert(0, str(config.root))
    found: list[Drill] = []
    for folder in config.gate.drills:
        for path in sorted(config.path(folder).rglob("test_*.py")):
            name = ".".join(path.relative_to(config.root).with_suffix("").parts)
            try:
                module = importlib.import_module(name)
            except pytest.skip.Exception:
                continue
            except Exception as error:  # the table is a program of the user's
                raise _refusal(error, path, config.path(folder), config.root) from error
            for table in vars(module).values():
                if isinstance(table, list | tuple):
                    found += [row for row in table if isinstance(row, Drill) and row not in found]
    return found


def _refusal(error: Exception, table: Path, folder: Path, root: Path) -> UsageError:
    """``error`` at the deepest line of ``folder`` that led to it; at ``table`` when none did."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [(Path(frame.filename), frame.lineno) for frame in frames]
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, AlertdrillError):
        message = str(error)
    elif isinstance(error, SyntaxError) and error.filename:
        places.append((Path(error.filename), error.lineno))
        message = f"{type(error).__name__}: {error.msg}"
    below = [place for place in places if place[0].is_relative_to(folder)]
    file, line = below[-1] if below else (table, None)
    return UsageError(message, file=file.relative_to(root), line=line)
