"""Faults of file systems: a full disk."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import Any

from alertdrill.errors import FaultError, StackError
from alertdrill.faults import ledger
from alertdrill.faults.beside import run_beside
from alertdrill.faults.container import Kill
from alertdrill.faults.contract import Evidence, Fault, Target
from alertdrill.stack.execution import run_in

FILL_TIMEOUT_S = 30
# Written until it fails: the shell's verdict is the proof's business.
_FILL = 'cat /dev/zero > "$0" 2> /dev/null; test -s "$0"'
# What the service frees is taken as well, until the file is removed.
_GO_ON = 'exec 3>> "$0"; while test -e "$0"; do cat /dev/zero >&3 2> /dev/null; sleep 0.1; done'
MOST_FILLED = 4 * 1024**3

# Where a service that ended has its volume, and is no more.
_PROBE_VOLUME = """
import json, os, sys
a = json.loads(sys.argv[1])
told = ""
try:
    with open(a["path"], "wb") as probe:
        probe.write(bytes(4096))
except OSError as error:
    told = error.strerror
os.remove(a["path"])
print(json.dumps(told))
"""
_REMOVE = """
import json, pathlib, sys
pathlib.Path(json.loads(sys.argv[1])["path"]).unlink(missing_ok=True)
print("true")
"""


@dataclass(frozen=True)
class DiskFull(Fault):
    """No byte is left in ``path``, which the component must have as a tmpfs or volume with a size.

    What the service frees meanwhile is gone within a tenth of a second. Needs a shell in the
    image. Proven by: the service's own user can't write 4 KiB there. A service that ended for
    want of space is started when it is healed. A container that stops loses its tmpfs, the fault
    with it; a volume stays full.

    ``spends``     a command in the service's container that makes it need room at once, where it
                   would otherwise do with what it has for a while; how it ends doesn't matter
    ``python_of``  the component whose image has python3, for a volume whose service has ended
    """

    layer = "resource"

    service: str
    path: str
    spends: tuple[str, ...] = field(default=(), kw_only=True)
    python_of: str = field(default="http-faults", kw_only=True)

    @property
    def name(self) -> str:
        return f"diskfull({self.service}:{self.path})"

    def inject(self, stack: Target) -> None:
        self._refuse_unsized(stack)
        ledger.write(stack, self.name, self.service, {})
        if not self._is_up(stack):
            return  # by this very fault, perhaps
        try:
            self._as_root(stack, ["sh", "-c", _FILL, self._in_path("full")])
            with ledger.refusals(self.name):
                stack.container(self.service).exec_run(
                    ["sh", "-c", _GO_ON, self._in_path("full")], user="root", detach=True
                )
            if self.spends:
                with contextlib.suppress(StackError):
                    stack.exec(self.service, list(self.spends))
        except (FaultError, StackError):
            if self._is_up(stack):
                raise
            # It has ended for want of space already.

    def is_effective(self, stack: Target) -> Evidence:
        told = self._write(stack)
        return Evidence(
            told is not None and "No space left" in told,
            f"a write to {self.path} of {self.service}: {_verdict(told)}",
        )

    def heal(self, stack: Target) -> None:
        if ledger.find(stack, self.name, self.service) is None:
            return
        if self._is_up(stack):
            self._as_root(stack, ["rm", "-f", self._in_path("full")])
        else:
            if self.path in self._volumes(stack):
                self._beside(stack, _REMOVE, "full")
            with ledger.refusals(self.name):
                stack.container(self.service).start()
        ledger.erase(stack, self.name, self.service)

    def is_healed(self, stack: Target) -> Evidence:
        if ledger.find(stack, self.name, self.service) is not None:
            return Evidence(False, f"{self.name} is still noted")
        told = self._write(stack)
        if told != "":
            return Evidence(False, f"a write to {self.path}: {_verdict(told)}")
        return Kill(self.service).is_healed(stack)  # running and ready: it may have ended

    def _is_up(self, stack: Target) -> bool:
        return bool(stack.container(self.service).attrs["State"]["Running"])

    def _in_path(self, what: str) -> str:
        return f"{self.path.rstrip('/')}/.alertdrill-{what}"

    def _write(self, stack: Target) -> str | None:
        """What a write of 4 KiB by the image's user is told; empty: it succeeded; None: the
        service isn't running, and its file system is gone with it."""
        if not self._is_up(stack):
            if self.path not in self._volumes(stack):
                return None
            return str(self._beside(stack, _PROBE_VOLUME, "probe"))
        write = 'head -c 4096 /dev/zero > "$0"; status=$?; rm -f "$0"; exit $status'
        try:
            code, output = stack.exec(self.service, ["sh", "-c", write, self._in_path("probe")])
        except StackError:
            if self._is_up(stack):
                raise
            return self._write(stack)  # it has just ended
        return output.strip()[-200:] or (f"exit {code}" if code != 0 else "")

    def _beside(self, stack: Target, program: str, what: str) -> Any:
        return run_beside(
            stack,
            self.service,
            program,
            {"path": self._in_path(what)},
            shares="volumes",
            python_of=self.python_of,
        )

    def _as_root(self, stack: Target, argv: list[str]) -> None:
        container = stack.container(self.service)
        with ledger.refusals(self.name):
            code, output = run_in(container, argv, timeout_s=FILL_TIMEOUT_S, user="root")
        if code != 0:
            raise FaultError(f"{self.name}: {argv[0]} ended with {code}: {output!r}")

    def _volumes(self, stack: Target) -> dict[str, str]:
        """Path -> the options of each volume's file system."""
        container = stack.container(self.service)
        mounts = [m for m in container.attrs["Mounts"] if m["Type"] == "volume"]
        with ledger.refusals(self.name):
            volumes = ledger.client_of(container).volumes
            return {
                mount["Destination"]: (volumes.get(mount["Name"]).attrs["Options"] or {}).get(
                    "o", ""
                )
                for mount in mounts
            }

    def _refuse_unsized(self, stack: Target) -> None:
        tmpfs = stack.container(self.service).attrs["HostConfig"].get("Tmpfs") or {}
        mounts = tmpfs | self._volumes(stack)
        size = re.search(r"(?:^|,)size=(\d+)([kmg]?)", mounts.get(self.path, ""), re.IGNORECASE)
        if size is None:
            sized = sorted(path for path, options in mounts.items() if "size=" in options)
            raise FaultError(
                f"{self.name}: only a tmpfs or volume with a size can be filled, and "
                f"{self.service} declares {', '.join(sized) or 'none'}; give the component "
                f'tmpfs={{"{self.path}": "64m"}} to try this one'
            )
        size_bytes = int(size[1]) * 1024 ** ("kmg".find(size[2].lower()) + 1 if size[2] else 0)
        if size_bytes > MOST_FILLED:
            raise FaultError(f"{self.name}: {size[0]} is more memory than a fault may fill")


def _verdict(told: str | None) -> str:
    return "it isn't running" if told is None else told or "succeeded"
