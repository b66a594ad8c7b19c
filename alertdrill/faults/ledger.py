"""What a fault must remember until it is healed, kept where the stack is: in the engine.

A note is a container of the run that is created and never started; its labels say which fault it
is, what it breaks and how that was before. So another process can heal it, whatever became of the
one that injected it, and a note that is left tells that something is still broken. It is written
before anything is changed, erased after everything is undone, and swept with the run.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from docker.client import DockerClient
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from alertdrill.errors import FaultError
from alertdrill.faults.contract import Target
from alertdrill.stack.leftovers import RUN_LABEL

FAULT_LABEL = "alertdrill.fault"
BEFORE_LABEL = "alertdrill.before"


@dataclass(frozen=True)
class Note:
    """``before`` is what the fault needs to know to undo itself."""

    fault: str
    before: Mapping[str, Any]


@contextlib.contextmanager
def refusals(fault: str) -> Iterator[None]:
    """What the engine refuses, and an engine that doesn't answer, is a FaultError."""
    try:
        yield
    except APIError as error:
        raise FaultError(f"{fault}: the engine refused: {error.explanation or error}") from error
    except (DockerException, requests.RequestException) as error:
        raise FaultError(f"{fault}: the engine doesn't answer: {error}") from error


def client_of(container: Container) -> DockerClient:
    """The client that ``container`` was read with."""
    client = container.client
    if client is None:
        raise FaultError(f"{container.name} was read without a client of the engine")
    return client


def write(stack: Target, fault: str, service: str, before: Mapping[str, Any]) -> Note:
    """Remember ``before``; a note that ``fault`` has already stays as it is. Raises FaultError."""
    image = str(stack.container(service).attrs["Image"])
    container = write_as(stack, fault, service, before, image=image)
    return note_of(container)


def write_as(
    stack: Target, fault: str, service: str, before: Mapping[str, Any], **container: Any
) -> Container:
    """As ``write``, but the note is a container that the fault may start: docker's options."""
    known = container_of(stack, fault, service)
    if known is not None:
        return known
    client = client_of(stack.container(service))
    with refusals(fault):
        return client.containers.create(
            name=note_name(stack, fault), labels=labels(stack, fault, before), **container
        )


def labels(stack: Target, fault: str, before: Mapping[str, Any]) -> dict[str, str]:
    """What makes a container a note of ``fault``, beside ``note_name``."""
    return {
        RUN_LABEL: stack.run_id,
        FAULT_LABEL: fault,
        BEFORE_LABEL: json.dumps(before),
    }


def note_name(stack: Target, fault: str) -> str:
    """The name of the container that is the note of ``fault``."""
    return f"alertdrill-{stack.run_id}-note-{zlib.crc32(fault.encode()):08x}"


def container_of(stack: Target, fault: str, service: str) -> Container | None:
    """The note itself, as the engine sees it now. Raises FaultError."""
    client = client_of(stack.container(service))
    with refusals(fault):
        try:
            return client.containers.get(note_name(stack, fault))
        except NotFound:
            return None


def labelled(client: DockerClient, run_id: str, fault: str) -> Container | None:
    """The note of ``fault``, whatever it is called by now. Raises FaultError."""
    with refusals(fault):
        found = client.containers.list(
            all=True,
            filters={"label": [f"{RUN_LABEL}={run_id}", f"{FAULT_LABEL}={fault}"]},
            ignore_removed=True,
        )
    return found[0] if found else None


def find(stack: Target, fault: str, service: str) -> Note | None:
    """The note of ``fault``, read through the container of ``service``. Raises FaultError."""
    container = container_of(stack, fault, service)
    return None if container is None else note_of(container)


def erase(stack: Target, fault: str, service: str) -> None:
    """Changes nothing when there is no such note. Raises FaultError."""
    client = client_of(stack.container(service))
    with refusals(fault), contextlib.suppress(NotFound):
        client.containers.get(note_name(stack, fault)).remove(force=True)


def faults_noted(client: DockerClient, run_id: str) -> list[str]:
    """The names of faults that have left something in the engine, sorted. Raises FaultError."""
    with refusals("what faults have left"):
        found = client.containers.list(
            all=True,
            filters={"label": [f"{RUN_LABEL}={run_id}", FAULT_LABEL]},
            ignore_removed=True,
        )
    return sorted({container.labels[FAULT_LABEL] for container in found})


def note_of(container: Container) -> Note:
    """What ``container``, which is a note, says."""
    return Note(container.labels[FAULT_LABEL], json.loads(container.labels[BEFORE_LABEL]))
