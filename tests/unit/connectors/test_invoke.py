"""The one path by which a connector is called: schema in, schema out, errors as the engine knows them."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel, ConfigDict

from maestro.testing import LogLine, make_context
from runtime.abi.connector import Connector, StepContext
from runtime.connectors.core_fail import Fail
from runtime.connectors.core_set import Set
from runtime.connectors.http_request import HttpRequest
from runtime.connectors.invoke import answer_inline, effect_of, invoke, target_of
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.plan import Effect
from runtime.model.values import Duration
from runtime.secrets.masker import Masker


class In(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n: int
    text: str = ""


class Out(BaseModel):
    n: int
    text: str = ""


class Scripted(Connector):
    """Does what the test says."""

    name = "test.scripted"
    version = "1.0.0"
    summary = "Does what the test says."
    effect_class = Effect.PURE
    Input = In
    Output = Out

    def __init__(self, work: Any) -> None:
        self._work = work

    async def execute(self, context: StepContext, input: In) -> Any:
        return await self._work(context, input)


class Undecided(Scripted):
    """Says by its input what a second call would do."""

    effect_class = None  # type: ignore[assignment] # decided by input

    def effect(self, input: In) -> Any:
        return self._work


class Panic(BaseException):
    """What a library in another language raises, which no `except Exception` catches."""


def raising(error: BaseException) -> Any:
    """A function that raises it, whatever it is called with."""

    def raised(*_: object) -> NoReturn:
        raise error

    return raised


class Lines:
    """A StepLog that keeps what was logged."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def error(self, message: str, **fields: object) -> None:
        self.lines.append(LogLine("error", message, fields))

    debug = info = warning = error


async def failure(work: Any, rendered: Any = None, **context: Any) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        await invoke(Scripted(work), make_context(**context), rendered or {"n": 1})
    return caught.value


async def never(context: StepContext, input: In) -> None:
    await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("answer", [Out(n=2), {"n": 2}, {"n": "2"}])
async def test_an_output_is_what_validates_as_one(answer: Any):
    async def work(context: StepContext, input: In) -> Any:
        return answer

    assert await invoke(Scripted(work), make_context(), {"n": 1}) == {"n": 2, "text": ""}


async def test_every_bad_field_of_an_input_is_named_and_nothing_is_called():
    error = await failure(never, {"n": "x", "text": 1, "more": 1})

    assert (error.kind, error.type) == (StepErrorKind.PERMANENT, "input.invalid")
    paths = [problem["path"] for problem in error.details["problems"]]  # type: ignore[index]  # JSON
    assert paths == [["n"], ["text"], ["more"]]
    assert "n: " in error.message


async def test_a_missing_with_block_is_an_empty_object():
    assert answer_inline(Set(), make_context(), None) == {}


async def test_an_output_that_does_not_fit_fails_the_step():
    async def work(context: StepContext, input: In) -> Any:
        return {"text": "no n"}

    error = await failure(work)

    assert (error.kind, error.type) == (StepErrorKind.PERMANENT, "output.invalid")
    assert "n: Field required" in error.message


@pytest.mark.parametrize(
    ("raised", "kind", "type"),
    [
        (ValueError("odd"), StepErrorKind.TRANSIENT, "ValueError"),
        (ConnectionResetError(), StepErrorKind.TRANSIENT, "ConnectionResetError"),
        (TimeoutError("own"), StepErrorKind.TIMEOUT, "TimeoutError"),
        (SystemExit(3), StepErrorKind.TRANSIENT, "SystemExit"),
        (Panic("index"), StepErrorKind.TRANSIENT, "Panic"),
        (asyncio.CancelledError(), StepErrorKind.TRANSIENT, "CancelledError"),
        (StepFailed("x", kind=StepErrorKind.THROTTLED, type="a"), StepErrorKind.THROTTLED, "a"),
    ],
)
async def test_what_a_step_raises_becomes_its_failure(
    raised: BaseException, kind: StepErrorKind, type: str
):
    async def work(context: StepContext, input: In) -> None:
        raise raised

    error = await failure(work, log=Lines())

    assert (error.kind, error.type) == (kind, type)


async def test_an_unexpected_exception_is_logged_with_the_authors_own_lines():
    async def work(context: StepContext, input: In) -> None:
        raise KeyError("sku")

    log = Lines()
    error = await failure(work, log=log)

    assert error.details == {"at": f"test_invoke.py:{work.__code__.co_firstlineno + 1} in work"}
    (line,) = log.lines
    assert line.fields == {"stack": error.stack}
    assert error.stack is not None
    assert error.stack.endswith("KeyError: 'sku'")
    assert 'invoke.py", line' not in error.stack.replace("test_invoke.py", "")


async def test_a_failure_that_is_meant_has_a_stack_and_no_line():
    async def work(context: StepContext, input: In) -> None:
        raise StepFailed("sold out")

    log = Lines()
    error = await failure(work, log=log)

    assert log.lines == []
    assert error.stack is not None
    assert error.stack.endswith("StepFailed: sold out")


async def test_what_comes_with_the_engine_has_no_stack():
    with pytest.raises(StepFailed) as caught:
        answer_inline(Fail(), make_context(), {"message": "no"})

    assert caught.value.stack is None


async def test_a_step_that_takes_too_long_times_out_by_name():
    error = await failure(never, timeout_seconds=0.01)

    assert (error.kind, error.type) == (StepErrorKind.TIMEOUT, "step.timeout")
    assert "test.scripted took longer than the 0.01 s" in error.message


async def test_the_connectors_own_timeout_holds_when_the_step_names_none():
    class Impatient(Scripted):
        default_timeout = Duration(10)

    with pytest.raises(StepFailed, match=r"0\.01 s"):
        await invoke(Impatient(never), make_context(), {"n": 1})


async def test_who_cancels_the_call_sees_the_cancellation():
    task = asyncio.create_task(invoke(Scripted(never), make_context(), {"n": 1}))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_secret_leaves_in_an_output():
    async def work(context: StepContext, input: In) -> Out:
        return Out(n=1, text="token=hunter2hunter2;")

    mask = Masker(["hunter2hunter2"]).mask

    answer = await invoke(Scripted(work), make_context(mask=mask), {"n": 1})
    assert answer == {"n": 1, "text": "token=***;"}


@pytest.mark.parametrize("error_class", [ValueError, StepFailed])
async def test_no_secret_leaves_in_an_error_or_its_traceback(error_class: type[Exception]):
    async def work(context: StepContext, input: In) -> None:
        raise error_class("bad key hunter2hunter2")

    log = Lines()
    error = await failure(work, log=log, mask=Masker(["hunter2hunter2"]).mask)

    assert "hunter2" not in error.message + repr(error.details) + repr(log.lines) + repr(
        error.stack
    )
    assert "bad key ***" in error.message


async def test_no_secret_leaves_in_the_problems_of_an_input():
    with pytest.raises(StepFailed) as caught:
        await invoke(
            HttpRequest(),
            make_context(mask=Masker(["hunter2hunter2"]).mask),
            {"url": "http://x", "headers": {"hunter2hunter2 !": "x"}},
        )

    assert "hunter2" not in caught.value.message + repr(caught.value.details)


@pytest.mark.parametrize(
    ("method", "effect"),
    [
        ("GET", Effect.PURE),
        ("head", Effect.PURE),
        ("OPTIONS", Effect.PURE),
        ("PUT", Effect.IDEMPOTENT),
        ("DELETE", Effect.IDEMPOTENT),
        ("POST", Effect.AT_MOST_ONCE),
        ("PATCH", Effect.AT_MOST_ONCE),
    ],
)
def test_the_effect_of_an_http_call_follows_its_method(method: str, effect: Effect):
    assert effect_of(HttpRequest(), {"method": method, "url": "http://x"}) is effect


@pytest.mark.parametrize("answer", ["at_most_once", Effect.AT_MOST_ONCE])
def test_an_effect_is_known_by_its_word_too(answer: Any):
    assert effect_of(Undecided(answer), {"n": 1}) is Effect.AT_MOST_ONCE


@pytest.mark.parametrize("answer", [None, "once", 1])
def test_what_is_no_effect_fails_the_step_before_its_call(answer: Any):
    with pytest.raises(StepFailed, match="can't say what its effect is"):
        effect_of(Undecided(answer), {"n": 1})


@pytest.mark.parametrize(
    "error", [SystemExit(3), Panic("index"), asyncio.CancelledError()], ids=repr
)
def test_whatever_a_steps_code_raises_outside_its_call_fails_the_step_alone(error: BaseException):
    """Else it would leave the event loop, and end the worker with all that it carries."""
    odd = Undecided(Effect.PURE)
    odd.effect = odd.target = raising(error)  # type: ignore[method-assign, attr-defined]
    odd.Input = type("Odd", (In,), {"model_validate": raising(error)})  # type: ignore[assignment]
    quick = Set()
    quick.answer = raising(error)  # type: ignore[method-assign]

    with pytest.raises(StepFailed, match="can't read its input"):
        effect_of(odd, {"n": 1})
    del odd.Input
    with pytest.raises(StepFailed, match="can't say what its effect is"):
        effect_of(odd, {"n": 1})
    with pytest.raises(StepFailed, match="can't say what it calls"):
        target_of(odd, {"n": 1})
    with pytest.raises(StepFailed):
        answer_inline(quick, make_context(log=Lines()), None)


def test_who_ends_the_process_ends_it():
    odd = Undecided(Effect.PURE)
    odd.effect = raising(KeyboardInterrupt())  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        effect_of(odd, {"n": 1})
