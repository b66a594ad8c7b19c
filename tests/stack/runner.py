"""A runner to be killed: starts a small stack in a process of its own and says when it is up."""

from __future__ import annotations

import signal
import sys
import threading

from alertdrill.stack.run import Stack
from tests.stack.small import small_stack


def main(ending: str) -> None:
    # A test run in the background has it ignored, and a child inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with small_stack() as stack:
        say(stack)
        if ending == "raise":
            raise RuntimeError("planted: the runner fails in the middle of its work")
        if ending == "wait":
            threading.Event().wait(120)


def say(stack: Stack) -> None:
    print(f"up {stack.run_id} {stack.url('receiver')}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
