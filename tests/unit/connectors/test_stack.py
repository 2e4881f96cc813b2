"""The stack of a step's failure: the author's own lines, no folder, no secret, bounded."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from maestro import step
from runtime.abi.connector import as_is
from runtime.connectors.core_set import Set
from runtime.connectors.stack import MAX_BYTES, is_own, stack_of
from runtime.model.values import Duration
from runtime.secrets.masker import Masker

HERE = "tests/unit/connectors/test_stack.py"


def raised(work: Any) -> BaseException:
    """What a piece of work raises."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - groups and exits are of interest too
        return error
    raise AssertionError("nothing was raised")


def of(work: Any, mask: Any = as_is) -> str:
    return stack_of(raised(work), mask)


def count(n: int) -> int:
    return 1 // n if n == 0 else count(n - 1)


def test_it_tells_lines_of_ones_own_by_module_and_not_by_folder():
    stack = of(lambda: count(1))

    assert stack.startswith("Traceback (most recent call last):\n")
    assert f'File "{HERE}", line ' in stack
    assert "return 1 // n if n == 0 else count(n - 1)" in stack
    assert stack.endswith("ZeroDivisionError: integer division or modulo by zero")
    assert str(Path(__file__).parent) not in stack


def test_frames_of_others_are_told_by_their_module_too():
    stack = of(lambda: json.loads("{"))

    assert 'File "json/__init__.py", line ' in stack
    assert 'File "json/decoder.py", line ' in stack
    assert "/usr/" not in stack
    assert "lib/python" not in stack


def test_frames_of_the_engine_are_left_out():
    stack = of(lambda: Duration.parse("no length"))

    assert "runtime" not in stack.partition("ValueError")[0]
    assert HERE in stack


def test_what_led_to_it_is_told_first():
    def work() -> None:
        try:
            count(0)
        except ZeroDivisionError as error:
            raise LookupError("nothing to share") from error

    stack = of(work)

    assert (
        stack.index("ZeroDivisionError") < stack.index("direct cause") < stack.index("LookupError")
    )


def test_what_happened_meanwhile_is_told_unless_it_was_set_aside():
    def work(*, aside: bool) -> None:
        try:
            count(0)
        except ZeroDivisionError:
            if aside:
                raise LookupError("nothing") from None
            raise LookupError("nothing")  # noqa: B904 - it is what is tested

    assert "During handling" in of(partial(work, aside=False))
    assert "During handling" not in of(partial(work, aside=True))


def test_exceptions_of_a_group_are_told():
    def work() -> None:
        raise BaseExceptionGroup("both", [raised(lambda: count(0)), KeyError("sku")])

    stack = of(work)

    assert stack.index("KeyError: 'sku'") < stack.index("ExceptionGroup: both")
    assert "ZeroDivisionError" in stack


def endless() -> None:
    endless()


def chained() -> None:
    error: BaseException | None = None
    for number in range(1_000):
        one = ValueError(f"number {number}")
        one.__cause__ = error
        error = one
    assert error is not None
    raise error


def in_a_circle() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def wordy() -> None:
    raise ValueError("\N{SNOWMAN}" * 1_000_000)


def crowded() -> None:
    raise ExceptionGroup("many", [ValueError("x" * 500) for _ in range(1_000)])


@pytest.mark.parametrize("work", [endless, chained, in_a_circle, wordy, crowded])
def test_it_is_bounded_whatever_is_raised(work):
    stack = of(work)

    assert len(stack.encode()) <= MAX_BYTES
    assert work.__name__ in stack


def test_of_too_long_a_one_beginning_and_end_are_kept():
    def work() -> None:
        raise ValueError("begin " + "x" * 10_000 + " end")

    stack = of(work)

    assert stack.startswith("Traceback (most recent call last):\n")
    assert "\n  [...]\n" in stack
    assert stack.endswith(" end")


@pytest.mark.parametrize("padding", range(960, 1_040, 7))
def test_a_secret_at_the_cut_is_masked_as_a_whole(padding):
    def work() -> None:
        raise ValueError("x" * padding + "hunter2hunter2" + "y" * 9_000)

    stack = of(work, Masker(["hunter2hunter2"]).mask)

    assert "hunter" not in stack
    assert "unter2" not in stack


def test_it_can_be_stored():
    def work() -> None:
        raise ValueError("nul \x00 half \ud800")

    stack = of(work)

    assert "\x00" not in stack
    assert stack.encode()


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_without_words_is_told_by_its_class():
    def work() -> None:
        raise Silent

    assert "Silent: <exception str() failed>" in of(work)


@step(name="test.own")
def own() -> None:
    """Nothing."""


def test_a_function_is_its_authors_own_and_what_comes_with_the_engine_is_not():
    assert is_own(own)
    assert not is_own(Set())
