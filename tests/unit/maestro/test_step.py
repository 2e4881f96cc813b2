"""What `@step` makes of a function: its schema, how it is called, and where it runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

from maestro import Effect, Permanent, Retryable, StepContext, step
from maestro.testing import LogLine, make_context, run_step, run_step_async
from runtime.connectors.invoke import invoke
from runtime.connectors.threads import StepThreads
from runtime.model.errors import StepErrorKind, StepFailed


class Order(BaseModel):
    id: str
    lines: list[str] = Field(min_length=1)


class Reservation(BaseModel):
    id: str
    count: int


@step(name="shop.reserve", version="1.2.0", effect="idempotent", timeout="30s")
def reserve(order: Order, ctx: StepContext) -> Reservation:
    """Reserve the articles.

    Only what is in stock.
    """
    ctx.log.info("Reserving.", order=order.id)
    for number, _ in enumerate(order.lines):
        ctx.heartbeat({"line": number})
    return Reservation(id=f"r-{order.id}", count=len(order.lines))


def test_a_step_says_what_the_decorator_and_the_function_say():
    assert (reserve.name, reserve.version, reserve.effect_class) == (
        "shop.reserve",
        "1.2.0",
        Effect.IDEMPOTENT,
    )
    assert reserve.summary == "Reserve the articles."
    assert reserve.default_timeout is not None
    assert reserve.default_timeout.seconds == 30


def test_one_model_parameter_is_the_whole_input():
    assert reserve.Input is Order
    assert reserve.Output is Reservation


def test_a_decorated_function_is_still_a_function():
    order = Order(id="1", lines=["a"])

    assert reserve(order, make_context()).id == "r-1"


def test_a_step_runs_with_log_and_heartbeat():
    result = run_step(reserve, {"id": "7", "lines": ["a", "b"]})

    assert result.unwrap() == {"id": "r-7", "count": 2}
    assert result.logs == (LogLine("info", "Reserving.", {"order": "7"}),)
    assert result.heartbeats == ({"line": 0}, {"line": 1})


async def test_inside_a_loop_the_kit_says_which_of_its_functions_to_take():
    with pytest.raises(RuntimeError, match="await run_step_async"):
        run_step(reserve, {"id": "7", "lines": []})


def test_an_input_that_does_not_fit_never_reaches_the_function():
    result = run_step(reserve, {"id": 1, "lines": []})

    assert result.error is not None
    assert result.error.type == "input.invalid"
    assert "id: " in result.error.message
    assert "lines: " in result.error.message
    assert result.logs == ()


@dataclass
class Size:
    width: int
    height: int


@step(name="shop.pack", effect="pure")
async def pack(size: Size, json: list[int], *, copy: bool = False) -> dict[str, int]:
    """Pack."""
    return {"area": size.width * size.height, "n": len(json) + copy}


def test_several_parameters_are_the_fields_of_the_input():
    schema = pack.Input.model_json_schema()

    assert list(schema["properties"]) == ["size", "json", "copy"]
    assert schema["required"] == ["size", "json"]
    assert schema["additionalProperties"] is False


def test_fields_are_passed_by_name_with_their_defaults():
    given = {"size": {"width": 2, "height": 3}, "json": [1, 2]}

    assert run_step(pack, given).unwrap() == {"area": 6, "n": 2}
    assert run_step(pack, given | {"copy": True}).unwrap() == {"area": 6, "n": 3}


def test_models_that_are_local_to_a_function_are_understood():
    class Local(BaseModel):
        x: int

    @step(name="test.local")
    async def local(one: Local) -> Local:
        return Local(x=one.x + 1)

    assert run_step(local, {"x": 1}).unwrap() == {"x": 2}


def test_a_step_may_take_and_give_nothing():
    @step(name="test.nothing")
    def nothing() -> None:
        return

    assert run_step(nothing).unwrap() is None
    assert run_step(nothing, {"x": 1}).error is not None


def test_an_output_is_held_to_its_annotation():
    @step(name="test.wrong")
    async def wrong() -> int:
        return "one"  # type: ignore[return-value]  # what the test is about

    error = run_step(wrong).error

    assert error is not None
    assert error.type == "output.invalid"


def bad_args(*values: int) -> None: ...
def bad_kwargs(**values: int) -> None: ...
def bad_positional(x: int, /) -> None: ...
def bad_untyped(x) -> None: ...
def bad_unknown(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - what the test is about
def bad_foreign(x: threading.Lock) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (bad_args, "can't be filled by name"),
        (bad_kwargs, "can't be filled by name"),
        (bad_positional, "can't be filled by name"),
        (bad_untyped, "give the parameter 'x' a type"),
        (bad_unknown, "'Nowhere' is not known"),
        (bad_foreign, "Unable to generate pydantic-core schema"),
    ],
)
def test_a_signature_that_can_not_be_a_schema_is_refused_with_the_functions_name(
    function: Any, said: str
):
    with pytest.raises(TypeError, match=rf"(?s)test_step\.{function.__name__}: .*{said}"):
        step(name="test.bad")(function)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "reserve"},
        {"name": "Shop.reserve"},
        {"name": "shop.reserve@1"},
        {"name": "shop.reserve", "version": "1"},
        {"name": "shop.reserve", "effect": "sometimes"},
        {"name": "shop.reserve", "timeout": "soon"},
    ],
)
def test_bad_words_in_the_decorator_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError):
        step(**options)


def test_what_nobody_declared_is_called_at_most_once():
    @step(name="test.undeclared")
    def undeclared() -> None: ...

    assert undeclared.effect_class is Effect.AT_MOST_ONCE


class OutOfStock(Permanent):
    """There is not enough of it."""


@pytest.mark.parametrize(
    ("error", "kind", "type", "message"),
    [
        (OutOfStock(), StepErrorKind.PERMANENT, "OutOfStock", "There is not enough of it."),
        (Permanent("no"), StepErrorKind.PERMANENT, "Permanent", "no"),
        (Retryable("later"), StepErrorKind.TRANSIENT, "Retryable", "later"),
        (Retryable("busy", retry_after=3), StepErrorKind.THROTTLED, "Retryable", "busy"),
        (Retryable("x", type="shop.busy"), StepErrorKind.TRANSIENT, "shop.busy", "x"),
    ],
)
def test_errors_say_whether_to_try_again(
    error: StepFailed, kind: StepErrorKind, type: str, message: str
):
    @step(name="test.failing")
    def failing() -> None:
        raise error

    found = run_step(failing).error

    assert found is not None
    assert (found.kind, found.type, found.message) == (kind, type, message)
    assert found.retry_after == error.retry_after


def test_a_synchronous_step_runs_in_a_thread_of_its_own():
    @step(name="test.thread")
    def where() -> str:
        return threading.current_thread().name

    @step(name="test.loop")
    async def here() -> str:
        return threading.current_thread().name

    assert run_step(where).unwrap() == "step-step"
    assert run_step(here).unwrap() == threading.main_thread().name


async def test_context_variables_follow_into_the_thread():
    variable = contextvars.ContextVar("variable", default="unset")

    @step(name="test.variables")
    def read() -> str:
        return variable.get()

    variable.set("carried")

    assert (await run_step_async(read)).unwrap() == "carried"


@step(name="test.patient", effect="pure")
def patient(ctx: StepContext) -> str:
    """Wait until told to stop."""
    ctx.heartbeat("waiting")
    while not ctx.cancel.wait_for(5):
        continue
    ctx.cancel.raise_if_cancelled()
    return "never"


def test_a_thread_is_told_to_stop():
    result = run_step(patient, cancel_after=0.05)

    assert result.error is not None
    assert result.error.kind is StepErrorKind.CANCELLED
    assert "cancelled by the test" in result.error.message
    assert result.heartbeats == ("waiting",)


async def test_a_thread_whose_time_is_over_is_told_to_stop():
    stopped = threading.Event()

    @step(name="test.slow")
    def slow(ctx: StepContext) -> None:
        ctx.cancel.wait_for(30)
        stopped.set()

    result = await run_step_async(slow, timeout="50ms")

    assert result.error is not None
    assert result.error.type == "step.timeout"
    assert await asyncio.to_thread(stopped.wait, 5)


def test_a_step_that_ignores_its_token_is_found_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("maestro.testing.steps._GRACE_SECONDS", 0.05)

    @step(name="test.deaf")
    async def deaf() -> None:
        await asyncio.sleep(60)

    error = run_step(deaf, cancel_after=0.01).error

    assert error is not None
    assert error.type == "step.ignored_cancel"


async def test_no_more_threads_run_than_there_are_places():
    running, most, lock = 0, 0, threading.Lock()

    @step(name="test.counted")
    def counted() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    services = {"threads": StepThreads(2)}
    context = make_context(services=services)

    await asyncio.gather(*(invoke(counted, context, None) for _ in range(8)))

    assert most == 2


async def test_a_place_is_free_again_only_when_the_thread_has_ended():
    release, context = threading.Event(), make_context(services={"threads": StepThreads(1)})

    @step(name="test.stubborn", timeout=0.01)
    def stubborn() -> None:
        release.wait(10)

    @step(name="test.next")
    def next_one() -> str:
        return "ran"

    with pytest.raises(StepFailed, match="took longer"):
        await invoke(stubborn, context, None)
    waiting = asyncio.create_task(invoke(next_one, context, None))
    assert not (await asyncio.wait({waiting}, timeout=0.05))[0]
    release.set()
    assert await waiting == "ran"


async def test_threads_are_told_when_the_process_ends():
    threads = StepThreads()
    running = asyncio.create_task(
        invoke(patient, make_context(services={"threads": threads}), None)
    )
    while not threads._tokens:
        await asyncio.sleep(0)

    await threads.close()

    with pytest.raises(StepFailed, match="the process ends"):
        await running


def test_a_process_without_threads_says_so():
    with pytest.raises(StepFailed, match="has no threads"):
        asyncio.run(invoke(patient, make_context(), None))
