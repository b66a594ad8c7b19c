"""``alertdrill.toml``: what a project says about itself; strict, and errors have a line.

Every path in it is relative to the folder that holds the file.
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from promql_parser import VectorSelector
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from alertdrill.errors import UsageError
from alertdrill.rules import promql
from alertdrill.rules.durations import parse_ms
from alertdrill.stack.component import StackSpec
from alertdrill.stack.target import Target as Stack

FILE_NAME = "alertdrill.toml"

# A reason that a person gives: a sentence, and not an empty one.
_Sentence = Annotated[str, Field(pattern=r"\S")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MonitoringFiles(_Strict):
    """What is under test. ``jobs``: scrape jobs that must have targets, all of them up.
    ``optional_jobs`` may be down where the gate runs, and are then listed under
    ``not_verified``."""

    prometheus: Path
    alertmanager: Path
    jobs: tuple[str, ...] = Field(min_length=1)
    optional_jobs: tuple[str, ...] = ()


class Clock(_Strict):
    """``factor``: every duration of the monitoring is divided by it; 1 is the real clock."""

    factor: float = Field(default=60, ge=1, le=600)

    @property
    def mode(self) -> Literal["real", "compressed"]:
        return "real" if self.factor == 1 else "compressed"


class Target(_Strict):
    """The component that the load is aimed at, and its published port's name."""

    component: str
    port: str = "http"


class Gate(_Strict):
    """``stacks``: how many stacks run drills side by side; ``profiles``: which components they
    run, the smallest first: a drill's stack has at least those of the first that has what the
    drill breaks and what its alerts need.
    ``nightly_profiles`` and ``nightly_stacks`` are those of a run that has the drills for the
    night, too (None: the same);
    ``repeats``: how often a drill is run again because the machine was too slow for it."""

    drills: tuple[Path, ...] = (Path("chaos"),)
    profiles: tuple[str, ...] = Field(default=("core",), min_length=1)
    nightly_profiles: tuple[str, ...] | None = Field(default=None, min_length=1)
    stacks: int = Field(default=1, ge=1, le=16)
    nightly_stacks: int | None = Field(default=None, ge=1, le=16)
    seed: int = 7
    repeats: int = Field(default=2, ge=0, le=5)

    def by_night(self) -> Gate:
        profiles = self.nightly_profiles or self.profiles
        stacks = self.nightly_stacks or self.stacks
        return self.model_copy(update={"profiles": profiles, "stacks": stacks})


class AlertExpectation(_Strict):
    """Where an alert must arrive, with which labels and how soon, whatever the rules and the
    Alertmanager configuration say: this is the specification that they are tested against.

    ``within`` is a duration on the real clock (``"12m"``), from the fault to the notification,
    and ``resolved_within`` from its end to the resolved notification. Rule and route together
    may not need longer. ``inhibits`` names the alerts that Alertmanager holds back while this one
    fires, and no others. ``undrilled`` says why no drill fires it, where none does; ``needs`` is
    a component without which nothing can, so that it isn't verified where none runs; ``any_clock``
    why numbers in its expression that look like durations must not be compressed.

    ``watches`` makes it a dead man's switch: no rule defines it; whatever receives the heartbeat
    of that name raises it when none comes. A heartbeat is an alert that always fires:
    ``within`` is the longest time between two of its notifications, and ``resolved_within``
    from the end of a fault that silenced it to the next one.
    """

    receiver: str
    labels: dict[str, str] = {}
    within: str
    resolved_within: str
    inhibits: tuple[str, ...] = ()
    undrilled: _Sentence | None = None
    needs: str | None = None
    any_clock: _Sentence | None = None
    watches: str | None = None
    runbook: str | None = None

    @field_validator("within", "resolved_within")
    @classmethod
    def _is_a_duration(cls, text: str) -> str:
        parse_ms(text)
        return text

    @property
    def within_s(self) -> float:
        """``within`` in seconds, on the real clock."""
        return parse_ms(self.within) / 1000

    @property
    def resolved_within_s(self) -> float:
        """``resolved_within`` in seconds, on the real clock."""
        return parse_ms(self.resolved_within) / 1000


class Foreign(_Strict):
    """Stacks of other runs, such as one that ``alertdrill up`` left: whether their faults by hand
    are allowed, and for how long at most (``time_limit``, a duration, ``"2m"``)."""

    allow_faults: bool = False
    time_limit: str | None = None

    @model_validator(mode="after")
    def _is_limited(self) -> Foreign:
        if self.time_limit is not None:
            parse_ms(self.time_limit)
        elif self.allow_faults:
            raise ValueError("allow_faults needs a time_limit")
        return self


class FaultNote(_Strict):
    """``unnoticed`` says why no alert fires under a fault."""

    unnoticed: _Sentence


class HealthPage(_Strict):
    """Where the system says how it is: a JSON document whose member ``checks`` maps what was
    looked at to true or false. ``within_s``: so soon after it is asked for, in real seconds, it
    must say what a drill expects; one question more is asked then."""

    component: str
    port: str = "http"
    path: str = "/health"
    checks: str = "checks"
    within_s: float = Field(default=5.0, gt=0, le=600)


class Sli(_Strict):
    """A service level indicator: ``total`` and ``bad`` select the counters of what the user class
    ``user`` asks for, each request counted once; ``objective`` is the share that must be good."""

    name: str
    user: str
    total: str
    bad: str
    objective: float = Field(gt=0, lt=1)

    @field_validator("total", "bad")
    @classmethod
    def _is_a_selector(cls, text: str) -> str:
        if not isinstance(promql.parse(text), VectorSelector):
            raise ValueError("expected a selector of counters, such as requests_total{code='500'}")
        return text


class Promises(_Strict):
    """``applied``: ``module:function`` of the project; called with the stack and idempotency
    keys, it says how often the write under each of them stands in the database."""

    applied: str = Field(pattern=r"^[\w.]+:\w+$")


class TraceStore(_Strict):
    """The component whose query API is Jaeger's."""

    component: str
    port: str = "http"


class LogStore(_Strict):
    """The component that takes Elasticsearch's queries, and the ``index`` (or pattern) in which
    the target's log lines arrive. ``logger``: only what this one logs (``log.logger``) is
    shipped; None: everything that the target prints."""

    component: str
    port: str = "http"
    index: str
    logger: str | None = None


class Config(_Strict):
    """The whole file. ``faults`` are called as in ``verdict.json``: ``latency(redis)``."""

    name: str
    stack: str = Field(pattern=r"^[\w.]+:\w+$")
    monitoring: MonitoringFiles
    target: Target
    clock: Clock = Clock()
    gate: Gate = Gate()
    alerts: dict[str, AlertExpectation] = {}
    faults: dict[str, FaultNote] = {}
    foreign: Foreign = Foreign()
    health: HealthPage | None = None
    slis: tuple[Sli, ...] = ()
    promises: Promises | None = None
    traces: TraceStore | None = None
    log_store: LogStore | None = None
    root: Path = Field(default=Path(), exclude=True)

    def path(self, relative: Path) -> Path:
        return self.root / relative

    def expectation(self, alert: str) -> AlertExpectation:
        """Raises UsageError when the file doesn't say where ``alert`` must arrive."""
        if alert not in self.alerts:
            raise UsageError(
                f"[alerts.{alert}] is missing: a drill expects {alert}, so say its receiver, its "
                "labels, and within how long it must arrive and resolve",
                file=self.root / FILE_NAME,
            )
        return self.alerts[alert]

    @property
    def switches(self) -> dict[str, str]:
        """Every dead man's switch, with the heartbeat that it watches."""
        return {
            name: alert.watches for name, alert in self.alerts.items() if alert.watches is not None
        }

    def drillable(self, rules: Iterable[str]) -> list[str]:
        """The alerts that a fault can fire: those of ``rules`` but no heartbeat, which always
        fires, and the dead man's switches, which no rule defines."""
        return [*(name for name in rules if name not in self.switches.values()), *self.switches]

    def refuse_unknown_alerts(self, known: Iterable[str]) -> None:
        """Raise UsageError for an ``[alerts.X]`` that is not in ``known``, the rules' names, and
        is no dead man's switch; or that is one, and watches what is no heartbeat."""
        path = self.root / FILE_NAME
        rules = set(known)
        for name, alert in self.alerts.items():
            watched = alert.watches
            if watched is None and name not in rules:
                raise _at(path, ("alerts", name), f"[alerts.{name}]: no rule defines {name}")
            if watched is not None and name in rules:
                raise _at(
                    path,
                    ("alerts", name, "watches"),
                    f"[alerts.{name}]: a rule defines {name}, so it is no dead man's switch",
                )
            if watched is not None and (watched not in rules or watched not in self.alerts):
                raise _at(
                    path,
                    ("alerts", name, "watches"),
                    f"[alerts.{name}] watches {watched}: it needs a rule, and [alerts.{watched}]",
                )

    @property
    def undrilled(self) -> dict[str, str]:
        """Why no drill fires an alert, by its name."""
        return {
            name: alert.undrilled
            for name, alert in self.alerts.items()
            if alert.undrilled is not None
        }

    def needs(self, declared: Collection[str]) -> dict[str, str]:
        """The component without which an alert can't fire, by alert.

        Raises UsageError for one that isn't among the ``declared`` components.
        """
        needs = {name: alert.needs for name, alert in self.alerts.items() if alert.needs}
        for name, needed in needs.items():
            if needed not in declared:
                raise _at(
                    self.root / FILE_NAME,
                    ("alerts", name, "needs"),
                    f"[alerts.{name}] needs {needed}, which the stack has not; it has "
                    f"{', '.join(sorted(declared))}",
                )
        return needs

    def refuse_stale_reasons(self, expected: Iterable[tuple[str, Collection[str]]]) -> None:
        """Raise UsageError for a reason that the drills contradict: an ``undrilled`` alert that
        one of them fires, an ``unnoticed`` fault under which one of them does.

        ``expected``: each drill's fault, and the alerts that must fire under it.
        """
        path = self.root / FILE_NAME
        for fault, alerts in expected:
            for alert in sorted(self.undrilled.keys() & set(alerts)):
                raise _at(
                    path,
                    ("alerts", alert, "undrilled"),
                    f"[alerts.{alert}] says why no drill fires it, and {fault} does: "
                    "remove `undrilled`",
                )
            if alerts and fault in self.faults:
                raise _at(
                    path,
                    ("faults", fault, "unnoticed"),
                    f'[faults."{fault}"] says why no alert notices it, and '
                    f"{', '.join(sorted(alerts))} must: remove `unnoticed`",
                )

    def refuse_fault(self, seconds: float) -> None:
        """Raise UsageError unless another run's stack may have a fault for so many seconds."""
        path, limit = self.root / FILE_NAME, self.foreign.time_limit
        if not self.foreign.allow_faults or limit is None:
            raise _at(
                path,
                ("foreign",),
                "the stack is another run's, and nothing of it may be broken unless [foreign] "
                'says allow_faults = true and a time_limit, such as "2m"',
            )
        if seconds > parse_ms(limit) / 1000:
            raise _at(
                path,
                ("foreign", "time_limit"),
                f"[foreign] allows a fault for at most {limit}, not for {seconds:g} s",
            )

    def load_stack(self) -> StackSpec:
        """Import the declared stack. Raises UsageError when there is none."""
        spec = self._imported(self.stack, ("stack",))
        if not isinstance(spec, StackSpec):
            raise _at(self.root / FILE_NAME, ("stack",), f"{self.stack!r} is not a StackSpec")
        return spec

    def load_promises(self) -> Callable[[Stack, Collection[str]], Mapping[str, int]]:
        """Import the function of ``[promises]``. Raises UsageError when there is none."""
        name = "" if self.promises is None else self.promises.applied
        found = self._imported(name, ("promises", "applied"))
        if not callable(found):
            raise _at(self.root / FILE_NAME, ("promises", "applied"), f"{name!r} is no function")
        return found  # type: ignore[no-any-return]

    def _imported(self, reference: str, key: tuple[str, ...]) -> Any:
        module_name, _, attribute = reference.partition(":")
        if str(self.root) not in sys.path:
            sys.path.insert(0, str(self.root))
        try:
            return getattr(importlib.import_module(module_name), attribute)
        except (ImportError, AttributeError) as error:
            raise _at(self.root / FILE_NAME, key, f"{reference!r}: {error}") from error


def find_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` that holds an alertdrill.toml."""
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise UsageError(f"there is no {FILE_NAME} in {start} or above it: run this inside a project")


def load_config(root: Path) -> Config:
    """Read and check ``root/alertdrill.toml``. Raises UsageError with file and line."""
    path = root / FILE_NAME
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", file=path) from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise UsageError(
            f"not valid TOML: {error}", file=path, line=int(line.group(1)) if line else None
        ) from error
    try:
        return Config.model_validate({**data, "root": root.resolve()})
    except ValidationError as error:
        # A key that is misspelt is unknown and missing: unknown says more.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise _at(path, first["loc"], _words(first)) from error


def _words(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {where!r}"
    if error["type"] == "missing":
        return f"missing key {where!r}"
    return f"{where}: {error['msg']}, got {error['input']!r}"


def _at(path: Path, location: tuple[int | str, ...], message: str) -> UsageError:
    return UsageError(message, file=path, line=line_of(path.read_text("utf-8"), location))


# Quoted parts may hold dots, brackets and equal signs.
_TOML_PART = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_TOML_KEY = rf"{_TOML_PART}(?:\s*\.\s*{_TOML_PART})*"


def _key_parts(key: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_TOML_PART, key)]


def line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line (from 1) of a TOML key by its path: below its table's header, or the header."""
    keys = [str(part) for part in location if not isinstance(part, int)]
    table: list[str] = []
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(rf"\s*\[+\s*({_TOML_KEY})\s*\]+", line)
        entry = re.match(rf"\s*({_TOML_KEY})\s*=", line)
        if header:
            table = _key_parts(header.group(1))
            found = table
        elif entry:
            found = table + _key_parts(entry.group(1))
        else:
            continue
        depth = len(found) if keys[: len(found)] == found else 0
        if depth and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None
