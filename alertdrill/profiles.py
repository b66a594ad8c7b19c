"""The profiles of a gate: which components a drill's stack runs, and what is beyond all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from alertdrill.config import Config
from alertdrill.drill import Drill
from alertdrill.errors import UsageError
from alertdrill.stack.component import Image, StackSpec


def components_of(spec: StackSpec, profile: str) -> tuple[str, ...]:
    """The components of a profile. Raises UsageError when it isn't declared."""
    if profile not in spec.profiles:
        raise UsageError(f"no profile {profile!r}; the stack declares {sorted(spec.profiles)}")
    return spec.profiles[profile]


def images_of(spec: StackSpec, components: tuple[str, ...]) -> list[Image]:
    """The images that ``components`` run or may be released from; what those are built from comes
    along by itself."""
    by_name = {image.name: image for image in spec.images}
    chosen = [component for component in spec.components if component.name in components]
    wanted = {image for component in chosen for image in (component.image, *component.releases)}
    missing = sorted(wanted - set(by_name))
    if missing:
        raise UsageError(f"components run images that aren't declared: {', '.join(missing)}")
    return [by_name[name] for name in sorted(wanted)]


def runs_no(profiles: Collection[str], components: Collection[str]) -> str:
    """The sentence for ``components`` that none of ``profiles`` runs."""
    missing = ", ".join(sorted(components))
    if len(profiles) == 1:
        return f"profile {next(iter(profiles))} runs no {missing}"
    return f"none of the profiles {', '.join(profiles)} runs {missing}"


@dataclass(frozen=True)
class Profiles:
    """The gate's profiles, the smallest first. Raises UsageError for one that isn't declared, and
    for an alert's need that the stack hasn't."""

    config: Config
    spec: StackSpec
    needs: Mapping[str, str] = field(init=False)
    """By alert, the component without which it can't fire."""

    def __post_init__(self) -> None:
        for name in self.names:
            components_of(self.spec, name)
        declared = [component.name for component in self.spec.components]
        object.__setattr__(self, "needs", self.config.needs(declared))

    @property
    def names(self) -> tuple[str, ...]:
        return self.config.gate.profiles

    @property
    def components(self) -> tuple[str, ...]:
        """What any of them runs, in declared order."""
        ran = {name for profile in self.names for name in self.spec.profiles[profile]}
        return tuple(c.name for c in self.spec.components if c.name in ran)

    def runs(self, profile: str) -> frozenset[str]:
        return frozenset(self.spec.profiles[profile])

    def profile_of(self, drill: Drill) -> str | None:
        """The first that runs all that the drill needs; None: none does.

        Of those, one that runs the most of what the drill would look at besides: the control at
        the silence of every alert, others at that of the alerts which they name, and at logs and
        traces.
        """
        needs, wishes = self._needs_of(drill), self._wishes_of(drill)
        fitting = [name for name in self.names if needs <= self.runs(name)]
        return min(fitting, key=lambda name: len(wishes - self.runs(name)), default=None)

    def why_none(self, drill: Drill) -> str:
        """Why no profile is the drill's."""
        needs = self._needs_of(drill)
        nowhere = needs - set(self.components)
        return runs_no(self.names, nowhere or [f"all of {', '.join(sorted(needs))}"])

    def beyond(self) -> dict[str, str]:
        """The alerts that need a component which no profile runs, and why nothing is known of
        them."""
        return {
            alert: runs_no(self.names, [needed])
            for alert, needed in self.needs.items()
            if needed not in self.components
        }

    def not_verified(self) -> list[dict[str, str]]:
        """Declared images that nothing runs or is released from: their part is not verified."""
        used = {image.name for image in images_of(self.spec, self.components)}
        built_from = {need for image in self.spec.images for need in image.needs}
        of = "profile" if len(self.names) == 1 else "the profiles"
        return [
            {
                "what": image.name,
                "why": f"not part of {of} {', '.join(self.names)}"
                if image.buildable
                else "only its official image has it, and no profile here runs it",
            }
            for image in self.spec.images
            if image.name not in used | built_from
        ]

    def _needs_of(self, drill: Drill) -> frozenset[str]:
        """What the drill breaks, and what the alerts need that it expects."""
        expected = drill.fires | drill.inhibited
        return drill.fault.touches | {n for alert, n in self.needs.items() if alert in expected}

    def _wishes_of(self, drill: Drill) -> set[str]:
        watched = self.needs.keys() if drill.is_control else drill.stays_quiet
        wishes = {needed for alert, needed in self.needs.items() if alert in watched}
        if drill.logs_arrive and self.config.log_store is not None:
            wishes.add(self.config.log_store.component)
        if drill.blames is not None and self.config.traces is not None:
            wishes.add(self.config.traces.component)
        return wishes
