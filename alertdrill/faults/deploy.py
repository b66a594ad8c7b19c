"""Faults of a deploy: a release with the wrong configuration, a release that has a bug."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alertdrill.errors import UsageError
from alertdrill.faults.replacement import Release


@dataclass(frozen=True)
class BadConfiguration(Release):
    """``service`` is released again with ``environment`` changed: name -> value.

    Proven by: from beside ``seen_from``, the name of the service leads to the replacement, which
    has the changed environment; or the replacement has ended.
    """

    environment: Mapping[str, str] = field(hash=False)

    def __post_init__(self) -> None:
        if not self.environment:
            raise UsageError("a bad configuration changes at least one variable")

    @property
    def name(self) -> str:
        # Values may be secret.
        return f"badconfiguration({self.service}:{'+'.join(sorted(self.environment))})"

    @property
    def _changed(self) -> Mapping[str, str]:
        return self.environment


@dataclass(frozen=True)
class BadRelease(Release):
    """``service`` is released again from ``image``, one that its component names as a release.

    Proven by: from beside ``seen_from``, the name of the service leads to a container of that
    image; or that container has ended.
    """

    image: str

    @property
    def name(self) -> str:
        return f"badrelease({self.service}:{self.image})"

    @property
    def _image(self) -> str:
        return self.image
