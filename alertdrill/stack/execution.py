"""Running a command in a container: once, and with all that it prints."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker.models.containers import Container

from alertdrill.errors import DeadlineExceeded, StackError
from alertdrill.wait import eventually

TIMED_OUT = 124
CODE_TIMEOUT_S = 5.0
# What the engine may need beyond the command's own time.
SPARE_S = 15.0

# docker-py reads what a command prints from the socket, past the buffer through which it has read
# the headers of the engine's answer: what arrived together with them is lost (docker-py 2042). So
# the command waits for a line, and gets it once the headers were read.
_AFTER_A_LINE = 'read -r _; exec "$@" < /dev/null'

# The engine sends both streams in frames: which one, three bytes of nothing, how many bytes.
_FRAME = struct.Struct(">BxxxL")


def run_in(
    container: Container, argv: Sequence[str], *, timeout_s: int, user: str = ""
) -> tuple[int, str]:
    """Exit code and output (both streams) of ``argv`` in ``container``, which needs a shell.

    ``timeout_s``: then it is ended with ``TIMED_OUT``, by the container's own ``timeout``.
    ``user``: who runs it, if not the container's own. Raises StackError when the engine breaks it
    off, says nothing for longer than that, or doesn't tell its exit code; and docker's errors.
    """
    command, chunks = start_in(container, argv, timeout_s=timeout_s, user=user)
    try:
        output = b"".join(chunks)
        code: int = eventually(
            lambda: _api(container).exec_inspect(command)["ExitCode"],
            timeout_s=CODE_TIMEOUT_S,
            what="its exit code",
        )
    except (OSError, DeadlineExceeded) as error:
        raise StackError(f"the engine broke off {argv[0]} in {container.name}: {error}") from error
    return code, output.decode(errors="replace")


def start_in(
    container: Container, argv: Sequence[str], *, timeout_s: int, user: str = ""
) -> tuple[str, Iterator[bytes]]:
    """Start ``argv`` as ``run_in`` does: the engine's id of it, and what it prints, as it comes.

    Reading may raise OSError.
    """
    api = _api(container)
    bounded = ["timeout", str(timeout_s), "sh", "-c", _AFTER_A_LINE, "sh", *argv]
    command: str = api.exec_create(container.id, bounded, stdin=True, user=user)["Id"]
    stream: Any = api.exec_start(command, socket=True)
    with contextlib.suppress(ConnectionError):  # it could not be started, and says why
        getattr(stream, "_sock", stream).sendall(b"\n")
    return command, _printed(stream, time.monotonic() + timeout_s + SPARE_S)


def _printed(stream: Any, deadline: float) -> Iterator[bytes]:
    """What both streams say, until they end. Raises OSError, and TimeoutError past the deadline."""
    socket = getattr(stream, "_sock", stream)

    def read(size: int) -> bytes:
        """So many bytes; fewer at the end."""
        data = b""
        while len(data) < size:
            socket.settimeout(max(0.001, deadline - time.monotonic()))
            got = socket.recv(size - len(data))
            if not got:
                break
            data += got
        return data

    with contextlib.closing(stream):
        while len(header := read(_FRAME.size)) == _FRAME.size:
            _, size = _FRAME.unpack(header)
            yield read(size)


def _api(container: Container) -> docker.APIClient:
    assert container.client is not None, "it was read from the engine"
    return container.client.api
