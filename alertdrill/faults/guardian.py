"""A detached process that heals a fault when the one that injected it can't any more.

A stack that is removed with its runner takes its faults along. One that ``alertdrill up`` left
running doesn't, so whoever breaks it hires a guardian first. As with the stack's reaper, the
runner holds the write end of a pipe and the guardian the read end: whatever ends the runner,
SIGKILL included, closes it. A runner that hangs is overtaken when the time limit has passed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from alertdrill.config import load_config
from alertdrill.errors import AlertdrillError, DeadlineExceeded, FaultError, UsageError
from alertdrill.faults.container import GRACE_S
from alertdrill.faults.contract import Fault
from alertdrill.faults.proof import healed_within
from alertdrill.stack.engine import connect
from alertdrill.stack.kept import KeptStack
from alertdrill.wait import eventually

INJECTED, DISMISSED, READY = b"i", b"d", b"r"
LENGTH_BYTES = 4
READY_WITHIN_S = 20.0
ENDS_WITHIN_S = 10.0
# The runner is to be first: it is not killed, it may only be slow.
SPARE_S = 2.0
HEALS_WITHIN_S = 600.0
LOOK_S = 1.0
# What the engine was asked to do by a runner that died meanwhile, it does to the end.
SETTLED_S = GRACE_S + 2.0


@dataclass(frozen=True)
class Charge:
    """What a guardian must know: the fault, whose stack has it, and for how long at most."""

    fault: Fault
    run_id: str
    project: Path
    limit_s: float


class Guardian:
    """The runner's end. ``Guardian(charge)`` returns when the other end is on duty.

    One at a time for each run. Raises UsageError while there is another, FaultError when none can
    be had.
    """

    def __init__(self, charge: Charge) -> None:
        self._claim = _claim(charge.run_id)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "alertdrill.faults.guardian"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(self._claim.fileno(),),
            start_new_session=True,
            cwd=charge.project,
            bufsize=0,
        )
        try:
            words = pickle.dumps(charge)
            self._tell(len(words).to_bytes(LENGTH_BYTES, "big") + words)
            self._await_ready()
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._claim.close()
            raise

    def injected(self) -> None:
        """From now on there is nothing under way in the engine."""
        self._tell(INJECTED)

    def dismiss(self) -> None:
        """All is healed; the guardian ends."""
        self._tell(DISMISSED)
        assert self._process.stdin is not None
        self._process.stdin.close()
        # One that has begun to heal, its time being over, ends by itself.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=ENDS_WITHIN_S)
        self._claim.close()

    def _tell(self, words: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, its time limit being over
            self._process.stdin.write(words)

    def _await_ready(self) -> None:
        assert self._process.stdout is not None
        told, _, _ = select.select([self._process.stdout], [], [], READY_WITHIN_S)
        if told and self._process.stdout.read(1) == READY:
            return
        self._process.kill()
        _, errors = self._process.communicate()
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise FaultError(
            "there is no guardian to heal the fault, so nothing was injected: "
            + (last[0] if last else f"none within {READY_WITHIN_S:.0f} s")
        )


def _claim(run_id: str) -> socket.socket:
    """Taken as long as runner or guardian live: the kernel frees it, and no file is left."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0alertdrill-fault-{run_id}")
    except OSError as error:
        claim.close()
        raise UsageError(
            f"run {run_id} has a fault already, or it is just being healed: one at a time"
        ) from error
    return claim


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    charge: Charge = pickle.loads(_read(int.from_bytes(_read(LENGTH_BYTES), "big")))
    spec = load_config(charge.project).load_stack()
    client = connect()
    KeptStack(client, spec, charge.run_id)  # so it can be reached
    os.write(1, READY)
    word = _last_word(charge.limit_s + SPARE_S)
    if word == DISMISSED:
        return
    needed_s = 0.0 if word == INJECTED else SETTLED_S
    healed_since: float | None = None

    def settled() -> bool:
        nonlocal healed_since
        try:
            stack = KeptStack(client, spec, charge.run_id)
        except AlertdrillError:
            return False  # the engine is busy or restarting: ask again until the deadline
        if not stack.component_names:
            return True  # `alertdrill down` has removed it, the fault with it
        if not healed_within(charge.fault, stack, 0.0).evidence.holds:
            healed_since = None
        elif healed_since is None:
            healed_since = time.monotonic()
        return healed_since is not None and time.monotonic() - healed_since >= needed_s

    with contextlib.suppress(DeadlineExceeded):
        eventually(
            settled, timeout_s=HEALS_WITHIN_S, what="the fault to be gone", interval_s=LOOK_S
        )


def _last_word(timeout_s: float) -> bytes:
    """What the runner said last, when it is gone or its time is over."""
    end = time.monotonic() + timeout_s
    last = b""
    while (left_s := end - time.monotonic()) > 0:
        told, _, _ = select.select([0], [], [], left_s)
        word = os.read(0, 1) if told else b""
        if word in (b"", DISMISSED):
            return word or last
        last = word
    return last


def _read(size: int) -> bytes:
    """Exactly ``size`` bytes from the runner; one that is gone before it said all broke nothing."""
    data = b""
    while len(data) < size:
        more = os.read(0, size - len(data))
        if not more:
            sys.exit()
        data += more
    return data


if __name__ == "__main__":
    main()
