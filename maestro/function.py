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
from typing import Any, Generic, ParamSpec, TypeVar

from pydantic import BaseModel

from maestro.signature import Signature, read_signature
from runtime.abi.connector import StepContext, Unknown
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
        self._finder: tuple[Callable[..., Any], Signature] | None = None
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
        return await self._run(self.function, self._signature, context, input)

    async def look_up(self, context: StepContext, input: BaseModel) -> Any:
        """What the function that was given to `on_doubt` says; without one nobody knows."""
        if self._finder is None:
            return Unknown()
        return await self._run(*self._finder, context, input)

    def on_doubt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: this function finds out whether a call of the step was made.

        It takes what the step takes, changes nothing, and returns what the step returned, NotMade()
        or Unknown().
        """
        signature = read_signature(function, "Finder", dict(sys._getframe(1).f_locals))  # noqa: SLF001 - see `step`
        if (signature.names, signature.whole_name) != (
            self._signature.names,
            self._signature.whole_name,
        ):
            raise TypeError(
                f"{function.__qualname__} must take the parameters of {self!r}: it is asked about its calls."
            )
        self._finder = (function, signature)
        return function

    async def _run(
        self,
        function: Callable[..., Any],
        signature: Signature,
        context: StepContext,
        input: BaseModel,
    ) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(**signature.arguments(context, input))
        threads = context.services.get(SERVICE)
        if not isinstance(threads, StepThreads):
            raise StepFailed("This process has no threads for steps.", type="step.no_threads")
        return await threads.run(
            context, lambda inner: function(**signature.arguments(inner, input))
        )


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
