"""Running a command in a container: once, and with all that it prints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import docker
from docker.models.containers import Container
from docker.utils.socket import frames_iter

from alertdrill.errors import DeadlineExceeded, StackError
from alertdrill.wait import eventually

TIMED_OUT = 124
CODE_TIMEOUT_S = 5.0

# docker-py reads what a command prints from the socket, past the buffer through which it has read
# the headers of the engine's answer: what arrived together with them is lost (docker-py 2042). So
# the command waits for a line, and gets it once the headers were read.
_AFTER_A_LINE = 'read -r _; exec "$@" < /dev/null'


def run_in(
    container: Container, argv: Sequence[str], *, timeout_s: int, user: str = ""
) -> tuple[int, str]:
    """Exit code and output (both streams) of ``argv`` in ``container``, which needs a shell.

    ``timeout_s``: then it is ended with ``TIMED_OUT``, by the container's own ``timeout``: the
    engine waits for ever. ``user``: who runs it, if not the container's own. Raises StackError
    when the engine breaks it off or doesn't tell its exit code, and docker's errors.
    """
    command, chunks = start_in(container, ["timeout", str(timeout_s), *argv], user=user)
    try:
        output = b"".join(chunks)
    except OSError as error:
        raise StackError(f"the engine broke off {argv[0]} in {container.name}: {error}") from error
    try:
        code: int = eventually(
            lambda: _api(container).exec_inspect(command)["ExitCode"],
            timeout_s=CODE_TIMEOUT_S,
            what=f"the exit code of {argv[0]} in {container.name}",
        )
    except DeadlineExceeded as error:
        raise StackError(str(error)) from error
    return code, output.decode(errors="replace")


def start_in(
    container: Container, argv: Sequence[str], *, user: str = ""
) -> tuple[str, Iterator[bytes]]:
    """Start ``argv``: the engine's id of it, and what it prints, as it comes."""
    api = _api(container)
    waiting = ["sh", "-c", _AFTER_A_LINE, "sh", *argv]
    command: str = api.exec_create(container.id, waiting, stdin=True, user=user)["Id"]
    stream: Any = api.exec_start(command, socket=True)
    with contextlib.suppress(ConnectionError):  # it could not be started, and says why
        getattr(stream, "_sock", stream).sendall(b"\n")

    def chunks() -> Iterator[bytes]:
        with contextlib.closing(stream):
            frames: Iterator[tuple[int, bytes]] = frames_iter(stream, tty=False)  # type: ignore[no-untyped-call]
            yield from (chunk for _, chunk in frames)

    return command, chunks()


def _api(container: Container) -> docker.APIClient:
    assert container.client is not None, "it was read from the engine"
    return container.client.api
