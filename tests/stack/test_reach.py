"""What a command in a container printed: all of it, or an error."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import docker
import pytest

from alertdrill.errors import StackError
from alertdrill.stack import reach
from alertdrill.stack.reach import EXEC_ATTEMPTS, OUTPUT_BEGINS, OUTPUT_ENDS, Reach


class Answering(Reach):
    """A container that gives these answers, one after the other."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        super().__init__(
            "run", docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41"), {}
        )
        self.answers = iter(answers)
        self.asked: list[list[str]] = []

    def container(self, component: str) -> Any:
        return SimpleNamespace(exec_run=self._answer)

    def _answer(self, argv: list[str]) -> SimpleNamespace:
        self.asked.append(argv)
        code, output = next(self.answers)
        return SimpleNamespace(exit_code=code, output=output.encode())

    def _identifier(self, component: str) -> str:
        raise NotImplementedError

    def _published(self, component: str) -> Mapping[str, int]:
        raise NotImplementedError


WHOLE = f"{OUTPUT_BEGINS}3\n{OUTPUT_ENDS}"


def test_an_output_that_came_through_is_given_without_its_marks() -> None:
    stack = Answering((0, WHOLE))
    assert stack.exec("redis", ["echo", "3"]) == (0, "3\n")
    assert len(stack.asked) == 1


@pytest.mark.parametrize(
    "lost",
    ["", f"{OUTPUT_BEGINS}3\n", OUTPUT_BEGINS, OUTPUT_ENDS, f"3\n{OUTPUT_ENDS}"],
    ids=["all", "the end", "all but the begin", "all but the end", "the begin"],
)
def test_a_command_whose_output_was_lost_runs_again(lost: str) -> None:
    stack = Answering((0, lost), (0, WHOLE))
    assert stack.exec("redis", ["echo", "3"]) == (0, "3\n")
    assert stack.asked[0] == stack.asked[1]


def test_complaints_that_come_outside_the_marks_are_kept() -> None:
    stack = Answering((0, f"early\n{OUTPUT_BEGINS}3\n{OUTPUT_ENDS}late\n"))
    assert stack.exec("redis", ["echo", "3"]) == (0, "early\n3\nlate\n")


def test_an_output_that_is_lost_each_time_is_an_error_not_an_empty_answer() -> None:
    stack = Answering(*[(0, "")] * EXEC_ATTEMPTS)
    with pytest.raises(StackError, match=rf"redis: echo .* {EXEC_ATTEMPTS} times.*lost"):
        stack.exec("redis", ["echo", "3"])


def test_a_command_that_failed_runs_once() -> None:
    stack = Answering((1, f"{OUTPUT_BEGINS}no such file\n"))
    assert stack.exec("redis", ["cat", "x"]) == (1, "no such file\n")
    assert len(stack.asked) == 1


def test_a_command_whose_failure_was_lost_is_asked_why_again() -> None:
    stack = Answering((1, ""), (1, f"{OUTPUT_BEGINS}no such file\n"))
    assert stack.exec("redis", ["cat", "x"]) == (1, "no such file\n")


def test_a_failure_without_words_is_a_failure_all_the_same() -> None:
    stack = Answering(*[(127, "sh: not found")] * EXEC_ATTEMPTS)
    assert stack.exec("redis", ["cat", "x"]) == (127, "sh: not found")


def test_a_command_that_ran_too_long_is_an_error() -> None:
    stack = Answering((reach.TIMED_OUT, ""))
    with pytest.raises(StackError, match="took longer"):
        stack.exec("redis", ["sleep", "60"])
