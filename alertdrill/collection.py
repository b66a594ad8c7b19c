"""Which drills a run of pytest collects, and which of them it is not for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import UsageError
from alertdrill.profiles import Profiles

FOR_THE_NIGHT = "for the night: --nightly"


def drills_of(item: pytest.Item) -> Iterator[Drill]:
    """The drills among the parameters of a test that runs drills."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "run_drill" in getattr(item, "fixturenames", ()):
        yield from (value for value in callspec.params.values() if isinstance(value, Drill))


def not_now(
    config: pytest.Config, profiles: Profiles, items: Iterable[pytest.Item]
) -> dict[pytest.Item, str]:
    """Those of ``items`` that this run is not for, and why. Raises UsageError."""
    declared = {component.name for component in profiles.spec.components}
    named = _names_drills(config)

    def why_not(drill: Drill) -> str | None:
        unknown = sorted(drill.fault.touches - declared)
        if unknown:
            file, line = drill.declared_at
            raise UsageError(
                f"{drill.title!r} breaks {', '.join(unknown)}, which the stack has not; it has "
                f"{', '.join(sorted(declared))}",
                file=file,
                line=line,
            )
        if profiles.profile_of(drill) is None:
            return profiles.why_none(drill)
        return FOR_THE_NIGHT if drill.nightly and not named else None

    reasons = ((item, why_not(drill)) for item in items for drill in drills_of(item))
    return {item: why for item, why in reasons if why is not None}


def _names_drills(config: pytest.Config) -> bool:
    """Whether the command line says which drills it wants, or wants all of them."""
    named = any("::" in argument for argument in config.args)
    asked = ("nightly", "keyword", "markexpr", "lf")
    return named or any(config.getoption(option, default=None) for option in asked)


def looks_everywhere(config: pytest.Config, project: Config) -> bool:
    """Whether the command line asks for every folder of drills and ignores nothing in them."""
    if any(config.getoption(name, default=None) for name in ("ignore", "ignore_glob", "lf")):
        return False
    asked = [config.invocation_params.dir / argument for argument in config.args]
    return all(
        any(project.path(drills).resolve().is_relative_to(path.resolve()) for path in asked)
        for drills in project.gate.drills
    )


def refuse_equal_titles(drills: Iterable[Drill]) -> None:
    """Raise UsageError, with file and line, when two drills are called alike."""
    seen: dict[str, Drill] = {}
    for drill in drills:
        other = seen.setdefault(drill.id, drill)
        if other is not drill:
            file, line = drill.declared_at
            raise UsageError(
                f"{drill.title!r} is called like the drill in line {other.declared_at[1]}: "
                "one's result would overwrite the other's",
                file=file,
                line=line,
            )
