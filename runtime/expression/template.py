"""Template: a JSON value with expressions in its strings, compiled once, rendered often.

Called by the engine for `with`, `when` and `outputs`, and by validation for the references. A value
without expressions is its own result and costs nothing. A string that is one expression keeps the
type of its value; in other strings values are written as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.expression.budget import CONSTANT, DEFAULT, Limits, Meter, weigh
from runtime.expression.compile import Code, Expression, Reference, compile_expression
from runtime.expression.error import ExpressionError
from runtime.expression.operators import kind_of
from runtime.expression.scan import Piece, has_expression, single, split
from runtime.expression.text import to_text
from runtime.model.errors import MaestroError
from runtime.model.values import Json

_JSON_TYPES = frozenset((dict, list, str, int, float, bool, type(None)))
_UNWEIGHED_EXPRESSIONS = 16


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled value. `references` are the names its expressions read, in order."""

    source: Json
    references: tuple[Reference, ...] = ()
    is_constant: bool = True
    is_heavy: bool = field(default=False, repr=False)
    _code: Code | None = field(default=None, repr=False)

    def render(self, scope: Mapping[str, Any], *, limits: Limits = DEFAULT) -> Json:
        """The value in this scope; raises ExpressionError. What it shares with the scope is not copied."""
        code = self._code
        if code is None:
            return self.source
        meter = Meter(limits)
        try:
            result: Json = code(scope, meter)
        except RecursionError:
            raise ExpressionError("this value is nested too deeply") from None
        except (ExpressionError, MaestroError):
            # What a scope refuses by itself (a secret that is not there) says more than we could.
            raise
        except Exception as error:  # noqa: BLE001 - whoever renders knows one kind of error
            raise _no_value(error, 0) from None
        if self.is_heavy:
            weigh(result, meter)
        return result

    def guarded(self, check: Callable[[], None]) -> Template:
        """The same, with a look before each rendering; what `check` raises is the rendering's error."""
        code = self._code
        if code is None:
            return self

        def run(scope: Mapping[str, Any], meter: Meter) -> Any:
            check()
            return code(scope, meter)

        return replace(self, _code=run)


def parse_template(value: Json) -> Template:
    """Compile a JSON value whose strings may hold expressions; raises ExpressionError with a path."""
    builder = _Builder()
    code = builder.build(value, ())
    if code is None:
        return Template(value)
    return Template(
        source=value,
        references=tuple(builder.references),
        is_constant=False,
        is_heavy=builder.computed > 0 or builder.expressions > _UNWEIGHED_EXPRESSIONS,
        _code=code,
    )


def parse_condition(value: Json) -> Template:
    """Compile a condition: true, false, or an expression with or without its braces."""
    if value is None:
        return Template(source=True)
    if isinstance(value, bool):
        return Template(source=value)
    if not isinstance(value, str):
        raise ExpressionError(
            f"a condition is an expression or true or false, not {kind_of(value)}"
        )
    piece = condition_piece(value)
    expression = compile_expression(piece.text, piece.offset)
    code = _guarded(expression, value, piece.offset, ())
    return Template(source=value, references=expression.references, is_constant=False, _code=code)


def condition_piece(text: str) -> Piece:
    """The expression of a condition."""
    if not has_expression(text):
        if not text.strip():
            raise ExpressionError("this condition is empty")
        return Piece(text.strip(), len(text) - len(text.lstrip()))
    piece = single(split(text))
    if piece is None:
        raise ExpressionError(
            "a condition is one expression; put all of it between one pair of braces",
            hint="{{ a == 1 and b }}",
        )
    return piece


def truthy(value: Json) -> bool:
    """Whether a condition holds: null, false, 0 and everything empty do not."""
    return bool(value)


def constant_condition(value: Json, may_compute: Callable[[], bool]) -> bool | None:
    """What a condition always is, when it reads nothing; None when it depends on the execution.

    A document may hold thousands of them: raises ExpressionError when finding out takes more than a moment, and
    says None when `may_compute` says that there were enough.
    """
    template = parse_condition(value)
    if template.references or not (template.is_constant or may_compute()):
        return None
    return truthy(template.render({}, limits=CONSTANT))


class _Builder:
    """Walks the value once; gives None for what is constant."""

    def __init__(self) -> None:
        self.references: list[Reference] = []
        self.expressions = 0
        self.computed = 0

    def build(self, value: Json, path: tuple[str | int, ...]) -> Code | None:
        if type(value) is str:
            if not has_expression(value):
                return None
            try:
                return self._text(value, path)
            except ExpressionError as error:
                raise error.at(path) from None
        if type(value) is dict:
            return self._mapping(value, path)
        if type(value) is list:
            return self._list(value, path)
        return None

    def _text(self, text: str, path: tuple[str | int, ...]) -> Code:
        parts = split(text)
        only = single(parts)
        if only is not None:
            return self._expression(only, text, path)
        codes = [
            part if isinstance(part, str) else self._expression(part, text, path) for part in parts
        ]

        def interpolate(scope: Mapping[str, Any], meter: Meter) -> str:
            texts = [
                one if isinstance(one, str) else to_text(one(scope, meter), meter) for one in codes
            ]
            meter.produce(sum(map(len, texts)))
            return "".join(texts)

        return interpolate

    def _expression(self, piece: Piece, text: str, path: tuple[str | int, ...]) -> Code:
        expression = compile_expression(piece.text, piece.offset)
        self.references.extend(one._replace(at=path) for one in expression.references)
        self.expressions += 1
        self.computed += not expression.is_path
        return _guarded(expression, text, piece.offset, path)

    def _mapping(self, value: dict[str, Json], path: tuple[str | int, ...]) -> Code | None:
        for key in value:
            if has_expression(key):
                raise ExpressionError(f"the key {key!r} can't be an expression").at(path)
        parts = [(key, self.build(one, (*path, key))) for key, one in value.items()]
        codes = [(key, code) for key, code in parts if code is not None]
        if not codes:
            return None

        def render(scope: Mapping[str, Any], meter: Meter) -> dict[str, Any]:
            out: dict[str, Any] = dict(value)
            for key, code in codes:
                out[key] = code(scope, meter)
            return out

        return render

    def _list(self, value: list[Json], path: tuple[str | int, ...]) -> Code | None:
        parts = [(index, self.build(one, (*path, index))) for index, one in enumerate(value)]
        codes = [(index, code) for index, code in parts if code is not None]
        if not codes:
            return None

        def render(scope: Mapping[str, Any], meter: Meter) -> list[Any]:
            out: list[Any] = list(value)
            for index, code in codes:
                out[index] = code(scope, meter)
            return out

        return render


def _guarded(
    expression: Expression, text: str, offset: int, path: tuple[str | int, ...]
) -> Callable[[Mapping[str, Any], Meter], Any]:
    """Evaluation with its errors placed, foreign ones translated, and only JSON coming out."""
    code = expression.code

    def run(scope: Mapping[str, Any], meter: Meter) -> Any:
        try:
            value = code(scope, meter)
        except ExpressionError as error:
            error.offset = error.offset or offset
            raise error.at(path) from None
        except ArithmeticError as error:
            words = f"this expression has no value: {error.args[-1]}"
            raise ExpressionError(words, offset).at(path) from None
        except (RecursionError, MaestroError):
            raise
        except Exception as error:  # noqa: BLE001 - a defect of a filter must not end the engine
            raise _no_value(error, offset).at(path) from None
        if type(value) in _JSON_TYPES:
            return value
        return _plain(value, offset, path, text)

    return run


def _no_value(error: Exception, offset: int) -> ExpressionError:
    """A foreign error in words; what it says itself may quote values and stays out."""
    return ExpressionError(f"this expression can't be computed ({type(error).__name__})", offset)


def _plain(value: Any, offset: int, path: tuple[str | int, ...], text: str) -> Any:
    """What is not JSON by its type: tuples become lists, views of the scope are no values."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return str(value)
    shown = text if len(text) <= 60 else "this"  # noqa: PLR2004 - fits into one line
    raise ExpressionError(
        f"{shown} is not a value; name a part of it, like steps.<id>.output", offset
    ).at(path)
