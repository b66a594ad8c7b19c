"""Loopback ports that survive a restart of their container.

Docker hands out a new random host port each time a container starts. A hub that is killed and
started again would come back at another address, and every client would lose it. So the run
picks the ports itself, below the kernel's ephemeral range, and tries again on a collision.
"""

from __future__ import annotations

import random
import socket
import threading

LOW, HIGH = 20_000, 32_000


class PortPicker:
    """Hands out ports on 127.0.0.1 that nobody listens on, each at most once."""

    def __init__(self) -> None:
        # Not the drill's seed: two runs with the same seed must not collide.
        self._random = random.SystemRandom()
        self._lock = threading.Lock()
        self._given: set[int] = set()

    def pick(self) -> int:
        """A free port. Raises OSError when 1,000 tries found none."""
        for _ in range(1_000):
            port = self._random.randrange(LOW, HIGH)
            with self._lock:
                if port in self._given:
                    continue
                self._given.add(port)
            if _is_free(port):
                return port
        raise OSError(f"no free port between {LOW} and {HIGH} on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
