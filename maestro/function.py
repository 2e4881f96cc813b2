"""@step: makes a function a connector that workflows use by name.

    @step(name="shop.reserve", version="1.0.0", effect="idempotent", timeout="30s")
    def reserve(order: Order, ctx: StepContext) -> Reservation: ...

The function stays callable as it was. Asynchronous ones run in the worker's loop, synchronous ones
in threads of their own.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

from pydantic import BaseModel

from maestro.signature import read_signature
from runtime.abi.connector import StepContext
from runtime.abi.fields import read_duration
from runtime.connectors.threads import SERVICE, StepThreads
from runtime.model.errors import StepFailed
from runtime.model.plan import Effect
from runtime.model.values import Duration, SemVer

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z][a-z0-9_-]*)+\Z")


class Step(Generic[P, R]):
    """A function as a connector. Calling it calls the function."""

    inline: bool = False

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str,
        version: str,
        effect: Effect,
        timeout: Duration | None,
        names: dict[str, Any],
    ) -> None:
        self.name = name
        self.version = version
        self.effect_class: Effect | None = effect
        self.default_timeout: Duration | None = timeout
        self.summary = _summary(function, name)
        self.function = function
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__
        title = "".join(part.capitalize() for part in re.split(r"\W|_", function.__name__))
        self._signature = read_signature(function, title, names)
        self.Input: type[BaseModel] = self._signature.input_model
        self.Output: type[BaseModel] = self._signature.output_model

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function, as it was written."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<step {self.name}@{self.version}>"

    def effect(self, input: Any) -> Effect:  # noqa: ARG002 - the socket's form
        """What the decorator says."""
        return self.effect_class or Effect.AT_MOST_ONCE

    async def execute(self, context: StepContext, input: BaseModel) -> Any:
        """Call the function: here when it is asynchronous, in a thread when it is not."""
        if inspect.iscoroutinefunction(self.function):
            return await self._call(context, input)
        threads = context.services.get(SERVICE)
        if not isinstance(threads, StepThreads):
            raise StepFailed("This process has no threads for steps.", type="step.no_threads")
        return await threads.run(context, lambda inner: self._call(inner, input))

    def _call(self, context: StepContext, input: BaseModel) -> Any:
        function = cast("Callable[..., Any]", self.function)
        return function(**self._signature.arguments(context, input))


def step(
    *,
    name: str,
    version: str = "1.0.0",
    effect: Effect | str = Effect.AT_MOST_ONCE,
    timeout: str | float | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]:
    """Make a function a connector.

    `effect` says what a second call would do: `pure` and `idempotent` steps are called again after
    a crash, `at_most_once` steps never without being asked. `timeout` bounds an attempt when the
    workflow names none.
    """
    if not _NAME.match(name):
        raise ValueError(
            f"{name!r} is no name of a step: write a group and a name in lower case, shop.reserve"
        )
    if "." not in version:
        raise ValueError(f"{version!r} is not a version; write major.minor.patch, e.g. 1.4.0")
    SemVer.parse(version)
    effect_class = Effect(effect)
    duration = None if timeout is None else read_duration(timeout)
    # Types that are local to a function are visible there and nowhere else.
    names = dict(sys._getframe(1).f_locals)  # noqa: SLF001 - as pydantic does for its models

    def decorate(function: Callable[P, R]) -> Step[P, R]:
        return Step(
            function,
            name=name,
            version=version,
            effect=effect_class,
            timeout=duration,
            names=names,
        )

    return decorate


def _summary(function: Callable[..., Any], name: str) -> str:
    return (inspect.getdoc(function) or name).partition("\n")[0]
