"""How a connector is called: the one path that the worker and the test kit share.

The rendered input is validated, the connector runs under its timeout, its output is validated, and
whatever it raises becomes a StepFailed. Nothing leaves here with a secret in it: messages, details
and outputs go through the context's mask.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import PurePath
from typing import Any, NoReturn, TypeAlias, cast

from pydantic import BaseModel, ValidationError

from runtime.abi.connector import (
    Connector,
    InlineConnector,
    NotMade,
    StepContext,
    Unknown,
    as_is,
)
from runtime.connectors.stack import is_own, stack_of
from runtime.connectors.threads import was_not_begun
from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.execution import Verdict
from runtime.model.plan import Effect
from runtime.model.values import Json

Mask: TypeAlias = Callable[[Any], Any]

LOOK_UP_SECONDS = 30.0
_MAX_TARGET = 300
_LONGEST_SECONDS = 1e12  # Far more than is believed, and JSON has a word for it.
_MAX_MESSAGE = 2_000
# Raised to end a process or a coroutine, and passed on as they are. Whatever else a user's code raises is a failure of
# its step, also what is no Exception: SystemExit, a panic of a compiled library, the timeout of another framework.
_PASSED_ON = (KeyboardInterrupt, GeneratorExit)


async def invoke(connector: Connector, context: StepContext, rendered_input: Json) -> Json:
    """Run one attempt and return its output as JSON; raises StepFailed, or CancelledError as it came.

    The caller cancels the task that awaits this when the step must stop at once.
    """
    value = read_input(connector, rendered_input, context.mask)
    seconds = context.timeout_seconds
    if seconds is None and connector.default_timeout is not None:
        seconds = connector.default_timeout.seconds
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            result = await connector.execute(context, value)
        return write_output(connector, result, context.mask)
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        _fail(connector, context, error)
    except _PASSED_ON:
        raise
    except BaseException as error:
        if isinstance(error, TimeoutError) and deadline.expired():
            # Early releases of Python 3.11 name what was cut off as the context alone.
            raise _timed_out(connector, seconds, error.__cause__ or error.__context__) from error
        _fail(connector, context, error)


def answer_inline(connector: InlineConnector, context: StepContext, rendered_input: Json) -> Json:
    """The same for a connector with `inline = True`: no task, no await, no timeout."""
    value = read_input(connector, rendered_input, context.mask)
    try:
        return write_output(connector, connector.answer(context, value), context.mask)
    except _PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a step's failure, whatever it is
        _fail(connector, context, error)


async def look_up(
    connector: Connector | None, context: StepContext, rendered_input: Json
) -> tuple[Verdict, Json]:
    """Whether a call that is in doubt was made, and its output if so; raises StepFailed.

    A connector without a look-up does not know.
    """
    find = getattr(connector, "look_up", None)
    if connector is None or find is None:
        return Verdict.UNKNOWN, None
    value = read_input(connector, rendered_input, context.mask)
    seconds = LOOK_UP_SECONDS if context.timeout_seconds is None else context.timeout_seconds
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            found = await find(context, value)
        if isinstance(found, Unknown):
            return Verdict.UNKNOWN, None
        if isinstance(found, NotMade):
            return Verdict.NOT_MADE, None
        return Verdict.MADE, write_output(connector, found, context.mask)
    except asyncio.CancelledError as error:
        if _is_cancelled():
            raise
        _fail(connector, context, error)
    except _PASSED_ON:
        raise
    except BaseException as error:
        if isinstance(error, TimeoutError) and deadline.expired():
            raise _timed_out(connector, seconds) from error
        _fail(connector, context, error)


def effect_of(connector: Connector, rendered_input: Json, mask: Mask = as_is) -> Effect:
    """What a second call with this input would do to the outside; raises StepFailed on bad input."""
    if connector.effect_class is not None:
        return connector.effect_class
    value = read_input(connector, rendered_input, mask)
    try:
        # By its word too; any other answer would be taken for a call that may be repeated.
        return Effect(connector.effect(value))
    except _PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code: its step fails, nothing else
        raise _unreadable(f"{connector.name} can't say what its effect is", error, mask) from None


def target_of(connector: Connector, rendered_input: Json, mask: Mask = as_is) -> str | None:
    """Which system a call goes to, when the connector can say; raises StepFailed on bad input."""
    find = getattr(connector, "target", None)
    if find is None:
        return None
    value = read_input(connector, rendered_input, mask)
    try:
        found = find(value)
    except _PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's code: its step fails, nothing else
        raise _unreadable(f"{connector.name} can't say what it calls", error, mask) from None
    return None if found is None else str(mask(str(found)))[:_MAX_TARGET]


def read_input(connector: Connector, rendered_input: Json, mask: Mask = as_is) -> BaseModel:
    """The input as the connector's model; raises StepFailed that names every bad field."""
    try:
        return connector.Input.model_validate({} if rendered_input is None else rendered_input)
    except ValidationError as error:
        problems = mask(_problems(error))
        raise StepFailed(
            f"The input does not fit {connector.name}: {_sentence(problems)}.",
            type="input.invalid",
            details={"problems": problems},
        ) from None
    except _PASSED_ON:
        raise
    except BaseException as error:  # noqa: BLE001 - a user's validator: its step fails, nothing else
        raise _unreadable(f"{connector.name} can't read its input", error, mask) from None


def _unreadable(what: str, error: BaseException, mask: Mask) -> StepFailed:
    """A validator or an effect that raised what it should not: words without secrets, no cause."""
    text = str(mask(f"{what}: {type(error).__name__}: {error}"))
    return StepFailed(text[:_MAX_MESSAGE], type="input.invalid")


def write_output(connector: Connector, result: Any, mask: Mask = as_is) -> Json:
    """The output as JSON; what is no Output yet is read as one."""
    try:
        # Any, because what a model of a root value dumps is no dictionary, whatever pydantic's types say.
        output: Any = (
            result
            if isinstance(result, connector.Output)
            else connector.Output.model_validate(result)
        )
        data = output.model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        problems = _problems(error)
        raise StepFailed(
            f"What {connector.name} returned does not fit its output model: {_sentence(problems)}.",
            type="output.invalid",
            details={"problems": problems},
        ) from None
    return cast("Json", mask(data))


def _problems(error: ValidationError) -> list[dict[str, Json]]:
    """Where and what, without the values: they may be secrets."""
    return [
        {
            "path": [str(part) for part in one["loc"]],
            "message": one["msg"].removeprefix("Value error, "),
            "rule": one["type"],
        }
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _sentence(problems: list[dict[str, Json]]) -> str:
    parts = (
        f"{'.'.join(cast('list[str]', one['path'])) or 'the whole'}: {one['message']}"
        for one in problems
    )
    return "; ".join(parts)


def _is_cancelled() -> bool:
    """Whether somebody cancelled this task; else the step awaited something of its own that was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _timed_out(
    connector: Connector, seconds: float | None, cut: BaseException | None = None
) -> StepFailed:
    if was_not_begun(cut):
        return StepFailed(
            f"{connector.name} got no thread within the {seconds:g} s that an attempt may take, because "
            "other synchronous steps have all that this worker has. It was not called.",
            kind=StepErrorKind.TIMEOUT,
            type="step.timeout",
            details={"timeout_seconds": seconds},
            uncertain=False,
        )
    return StepFailed(
        f"{connector.name} took longer than the {seconds:g} s that an attempt may take.",
        kind=StepErrorKind.TIMEOUT,
        type="step.timeout",
        details={"timeout_seconds": seconds},
    )


def _fail(connector: Connector, context: StepContext, error: BaseException) -> NoReturn:
    """Raise what the engine understands; an unexpected exception may pass, so it is transient."""
    stack = stack_of(error, context.mask) if is_own(connector) else None
    if isinstance(error, StepFailed):
        raise _masked(context, error, stack) from error.__cause__
    context.log.error("The step raised an exception.", **({"stack": stack} if stack else {}))
    failed = StepFailed(
        f"{type(error).__name__}: {error}"[:_MAX_MESSAGE],
        kind=StepErrorKind.TIMEOUT if isinstance(error, TimeoutError) else StepErrorKind.TRANSIENT,
        type=type(error).__name__,
        details={"at": _place(error)},
    )
    raise _masked(context, failed, stack) from error


def _masked(context: StepContext, error: StepFailed, stack: str | None) -> StepFailed:
    """The same failure without secrets, of our own class: a user's may not be built again, nor keep to its types."""
    said: Any = error  # Whatever its class says of the types of its parts.
    failed = StepFailed(
        context.mask(str(said.message)),
        kind=_kind_of(said.kind),
        type=str(said.type),
        retry_after=_seconds_of(said.retry_after),
        details=context.mask(said.details),
        # What is neither of its words may have reached the other side.
        uncertain=None if said.uncertain is None else said.uncertain is not False,
    )
    failed.stack = stack
    return failed


def _kind_of(said: Any) -> StepErrorKind:
    """A kind by its name, too; what is none makes the failure final."""
    try:
        return StepErrorKind(said)
    except ValueError:
        return StepErrorKind.PERMANENT


def _seconds_of(said: Any) -> float | None:
    """How long to wait, when it is a span of time, a number, or the text of one."""
    try:
        seconds = said.total_seconds() if isinstance(said, timedelta) else float(said)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(seconds) else min(seconds, _LONGEST_SECONDS)


def _place(error: BaseException) -> str:
    """File and line where it was raised, without the folders of this machine."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    code = trace.tb_frame.f_code
    return f"{PurePath(code.co_filename).name}:{trace.tb_lineno} in {code.co_name}"
