"""From a function's annotations to pydantic models: what a step takes and what it gives.

One parameter that is a pydantic model is the whole input; otherwise each parameter is a field of
it. A parameter annotated with StepContext gets the context and is no input. Whatever can't be read
is refused when the step is defined, in words about the function.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, RootModel, create_model
from pydantic.errors import PydanticUserError

from runtime.abi.connector import StepContext

_PREFIX = "in_"  # A parameter may be called `json` or `copy`, which a model's field may not.


@dataclass(frozen=True, slots=True)
class Signature:
    """How to call a function with a validated input and a context."""

    input_model: type[BaseModel]
    output_model: type[BaseModel]
    context_name: str | None
    names: tuple[str, ...] | None
    whole_name: str | None

    def arguments(self, context: StepContext, value: BaseModel) -> dict[str, Any]:
        """The keyword arguments of the call."""
        found: dict[str, Any] = {}
        if self.context_name is not None:
            found[self.context_name] = context
        if self.whole_name is not None:
            found[self.whole_name] = value
        for name in self.names or ():
            found[name] = getattr(value, _PREFIX + name)
        return found


def read_signature(
    function: Callable[..., Any], title: str, names: Mapping[str, Any] | None = None
) -> Signature:
    """The signature of a step's function; `names` are those visible where it was defined."""
    hints = _hints(function, names)
    context_name: str | None = None
    fields: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name)
        if hint is StepContext:
            context_name = parameter.name
            continue
        _check(function, parameter, hint)
        fields[parameter.name] = parameter
    if len(fields) == 1:
        (only,) = fields
        if inspect.isclass(hints[only]) and issubclass(hints[only], BaseModel):
            return Signature(hints[only], _output(hints, title), context_name, None, only)
    model = _input(function, title, {name: (hints[name], fields[name]) for name in fields})
    return Signature(model, _output(hints, title), context_name, tuple(fields), None)


def _hints(function: Callable[..., Any], names: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(names or {}), include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{_name(function)}: the annotation {error.name!r} is not known where the step is "
            "defined; import it, or define it above."
        ) from error


def _check(function: Callable[..., Any], parameter: inspect.Parameter, hint: Any) -> None:
    if parameter.kind not in {
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    }:
        raise TypeError(
            f"{_name(function)}: {parameter} can't be filled by name; a step takes named parameters."
        )
    if hint is None:
        raise TypeError(
            f"{_name(function)}: give the parameter {parameter.name!r} a type; the input's schema "
            "is made of them."
        )


def _input(
    function: Callable[..., Any],
    title: str,
    fields: Mapping[str, tuple[Any, inspect.Parameter]],
) -> type[BaseModel]:
    definitions: dict[str, Any] = {}
    for name, (hint, parameter) in fields.items():
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        definitions[_PREFIX + name] = (hint, Field(default, alias=name, title=name))
    try:
        return create_model(
            f"{title}Input",
            __config__=ConfigDict(extra="forbid"),
            __doc__="The parameters of the step.",
            **definitions,
        )
    except PydanticUserError as error:
        raise TypeError(f"{_name(function)}: {error.message}") from error


def _output(hints: Mapping[str, Any], title: str) -> type[BaseModel]:
    hint = hints.get("return", Any)
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        return hint
    root = cast("type[BaseModel]", RootModel.__class_getitem__(hint))
    return create_model(f"{title}Output", __base__=root, __doc__="What the step returns.")


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
