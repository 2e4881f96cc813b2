"""One expression, from text to a Python function: Jinja's own parser, our own evaluator.

Jinja reads the text; its syntax tree is turned once into closures over `(scope, meter)`. Only data
can be reached: mapping keys and list indexes, never attributes of Python objects; only the filters,
tests and functions of our own tables can be called. What is not in these tables does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from runtime.expression import operators
from runtime.expression.budget import Meter
from runtime.expression.calls import (
    FUNCTIONS,
    METHODS,
    bind_filter,
    bind_function,
    bind_test,
)
from runtime.expression.error import ExpressionError, Undefined
from runtime.expression.nulls import demands, origins
from runtime.expression.paths import stripped
from runtime.expression.proof import Facts, Prover, fact_of
from runtime.expression.read import Key, follow, path_reader
from runtime.expression.scan import check_nesting

Code: TypeAlias = Callable[[Mapping[str, Any], Meter], Any]

_ENVIRONMENT = Environment(
    autoescape=True
)  # Only its lexer is used; nothing is ever rendered by it.
_MAX_TREE_DEPTH = 100
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PLAIN_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}|\[(?:\d{{1,9}}|'[^'\\]*'|\"[^\"\\]*\")\])*")
_PLAIN_KEY = re.compile(rf"\.({_NAME})|\[(?:(\d+)|'([^']*)'|\"([^\"]*)\")\]")
WORDS = frozenset(
    ("and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None")
)


class Reference(NamedTuple):
    """A name that an expression reads: `("steps", "fetch", "output", "json")`.

    It ends where the path stops being known: at a computed key or at a filter. `is_guarded` says
    that the expression itself provides for its absence (`default`, `is defined`), or has asked before
    whether it is there; `at` leads to the
    string with the expression, inside the value that the template was made from. `needs_value` says that null there
    is an error, which nothing in the expression provides for.
    """

    path: tuple[Key, ...]
    is_guarded: bool = False
    at: tuple[Key, ...] = ()
    needs_value: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    code: Code
    references: tuple[Reference, ...]
    is_path: bool = False
    constant: bool = False


def compile_expression(text: str, offset: int = 0, *, needs_value: bool = False) -> Expression:
    """Read and compile one expression, without its braces; raises ExpressionError.

    `needs_value` says that where its value goes null is an error.
    """
    path = plain_path(text)
    if path is not None:
        return Expression(
            path_reader(path), (Reference(path, needs_value=needs_value),), is_path=True
        )
    compiler = _Compiler(offset)
    code = compiler.read(text, needs_value=needs_value)[0]
    return Expression(
        code=code,
        references=tuple(compiler.references),
        is_path=False,
        constant=not compiler.references,
    )


def read_condition(text: str, offset: int = 0) -> tuple[tuple[Reference, ...], Facts]:
    """What a condition reads, and what is there when it holds.

    It refuses what `compile_expression` refuses.
    """
    path = plain_path(text)
    compiler = _Compiler(offset)
    tree = compiler.read(text)[1]
    references = (Reference(path),) if path is not None else tuple(compiler.references)
    return references, compiler.proofs(tree)[0]


def plain_path(text: str) -> tuple[Key, ...] | None:
    """The keys of a plain path, which is what nearly every expression is; Jinja need not read it."""
    if not _PLAIN_PATH.fullmatch(text):
        return None
    if "[" not in text:
        keys: list[Key] = [*text.split(".")]
        return None if keys[0] in WORDS else tuple(keys)
    root = re.match(_NAME, text)
    start = root.end() if root else 0
    keys = [text[:start]]
    for name, number, single, double in _PLAIN_KEY.findall(text, start):
        keys.append(int(number) if number else name or single or double)
    return None if keys[0] in WORDS else tuple(keys)


def parse_expression(text: str, offset: int) -> nodes.Expr:
    """Jinja's tree of one expression; raises ExpressionError."""
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            raise ExpressionError(f"{token.value!r} is not expected after this expression", offset)
    except TemplateSyntaxError as error:
        raise ExpressionError(_in_words(error.message or "can't be read"), offset) from None
    except RecursionError:
        raise ExpressionError("this expression is nested too deeply", offset) from None
    except (ValueError, OverflowError) as error:
        raise ExpressionError(
            f"a literal in this expression can't be read: {error}", offset
        ) from None
    return tree


def _in_words(message: str) -> str:
    message = message.replace("'end of print statement'", "the end").replace("token ", "")
    return message[:1].lower() + message[1:]


class _Compiler:
    """Turns a syntax tree into closures and collects what it reads."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.references: list[Reference] = []
        self._depth = 0
        self._guards = 0
        self._proved: Facts = frozenset()
        self._needed: set[int] = set()  # Nodes of paths.
        self.proofs = Prover().proofs

    def read(self, text: str, *, needs_value: bool = False) -> tuple[Code, nodes.Expr]:
        """The closure of a whole expression, and its tree; raises ExpressionError."""
        check_nesting(text, self.offset)
        tree = parse_expression(text, self.offset)
        try:
            if needs_value:
                self.need(tree)
            return self.compile(tree), tree
        except RecursionError:
            raise ExpressionError("this expression is nested too deeply", self.offset) from None

    def compile(self, node: nodes.Node) -> Code:
        """The closure of one node."""
        compile_node = _COMPILERS.get(type(node))
        if compile_node is None:
            raise ExpressionError(f"{_describe(node)} is not part of this language", self.offset)
        self._depth += 1
        if self._depth > _MAX_TREE_DEPTH:
            raise ExpressionError("this expression is nested too deeply", self.offset)
        for one in demands(node):
            if not (one.is_soft and self._guards):
                self.need(one.node)
        try:
            return compile_node(self, node)
        finally:
            self._depth -= 1

    def need(self, node: nodes.Node) -> None:
        """Say of a part, before it is compiled, that it must not be null."""
        self._needed.update(map(id, origins(node)))

    def const(self, node: nodes.Const) -> Code:
        value = operators.checked(node.value)
        return lambda _scope, _meter: value

    def path(self, node: nodes.Expr) -> Code:
        """A name with keys behind it; or keys behind something that was computed."""
        base, keys = stripped(node)
        if isinstance(base, nodes.Name):
            path = (base.name, *keys)
            is_there = fact_of(path) in self._proved
            is_needed = id(node) in self._needed and not is_there
            self.references.append(
                Reference(path, self._guards > 0 or is_there, needs_value=is_needed)
            )
            return path_reader(path)
        if not keys and isinstance(base, nodes.Getitem):
            return self._computed(base)
        value, rest = self.compile(base), tuple(keys)
        return lambda scope, meter: follow(value(scope, meter), rest)

    def _computed(self, node: nodes.Getitem) -> Code:
        value = self.compile(node.node)
        if isinstance(node.arg, nodes.Slice):
            parts = [self._optional(p) for p in (node.arg.start, node.arg.stop, node.arg.step)]
            return lambda scope, meter: operators.cut(
                meter, value(scope, meter), [part(scope, meter) for part in parts]
            )
        key = self.compile(node.arg)
        return lambda scope, meter: operators.item(value(scope, meter), key(scope, meter))

    def _optional(self, node: nodes.Expr | None) -> Code:
        return self.compile(node) if node is not None else lambda _scope, _meter: None

    def binary(self, node: nodes.BinExpr) -> Code:
        left = self.compile(node.left)
        if isinstance(node, nodes.And):
            right = self._after(node.left, node.right, holds=True)
            return lambda scope, meter: left(scope, meter) and right(scope, meter)
        if isinstance(node, nodes.Or):
            right = self._after(node.left, node.right, holds=False)
            return lambda scope, meter: left(scope, meter) or right(scope, meter)
        right = self.compile(node.right)
        operate = operators.BINARY[type(node)]
        return lambda scope, meter: operate(meter, left(scope, meter), right(scope, meter))

    def _after(self, test: nodes.Expr, node: nodes.Expr | None, *, holds: bool) -> Code:
        """What is evaluated only when a test has come to something true, or to something false."""
        before = self._proved
        self._proved = before | self.proofs(test)[0 if holds else 1]
        try:
            return self._optional(node)
        finally:
            self._proved = before

    def unary(self, node: nodes.UnaryExpr) -> Code:
        value = self.compile(node.node)
        if isinstance(node, nodes.Not):
            return lambda scope, meter: not value(scope, meter)
        operate = operators.UNARY[type(node)]
        return lambda scope, meter: operate(value(scope, meter))

    def compare(self, node: nodes.Compare) -> Code:
        first = self.compile(node.expr)
        rest = [(operators.COMPARE[one.op], self.compile(one.expr)) for one in node.ops]
        if len(rest) == 1:
            operate, other = rest[0]
            return lambda scope, meter: operate(meter, first(scope, meter), other(scope, meter))

        def compare(scope: Mapping[str, Any], meter: Meter) -> Any:
            left = first(scope, meter)
            for operate, code in rest:
                right = code(scope, meter)
                if not operate(meter, left, right):
                    return False
                left = right
            return True

        return compare

    def concat(self, node: nodes.Concat) -> Code:
        parts = [self.compile(part) for part in node.nodes]
        return lambda scope, meter: operators.concat(meter, [p(scope, meter) for p in parts])

    def condition(self, node: nodes.CondExpr) -> Code:
        test, then = self.compile(node.test), self._after(node.test, node.expr1, holds=True)
        other = self._after(node.test, node.expr2, holds=False)
        return lambda scope, meter: (then if test(scope, meter) else other)(scope, meter)

    def list(self, node: nodes.List | nodes.Tuple) -> Code:
        parts = [self.compile(part) for part in node.items]
        return lambda scope, meter: [part(scope, meter) for part in parts]

    def dict(self, node: nodes.Dict) -> Code:
        pairs = [(self.compile(pair.key), self.compile(pair.value)) for pair in node.items]
        return lambda scope, meter: operators.mapping(
            [(key(scope, meter), value(scope, meter)) for key, value in pairs]
        )

    def filter(self, node: nodes.Filter) -> Code:
        if node.node is None:
            raise ExpressionError(f"the filter {node.name} has nothing to work on", self.offset)
        if node.name in {"default", "d"}:
            return self._default(node.node, node)
        value = self.compile(node.node)
        return self._call(bind_filter, node.name, value, node)

    def _default(self, subject: nodes.Expr, node: nodes.Filter | nodes.Call) -> Code:
        """`x | default(y)`: y when x, or anything on the way to it, is not there."""
        value = self._guarded(subject)
        names = ["value", "boolean"]
        given: dict[str, nodes.Expr] = dict(zip(names, node.args, strict=False))
        given |= {str(pair.key): _value_of(pair) for pair in node.kwargs}
        if len(node.args) > len(names) or not given.keys() <= set(names):
            raise ExpressionError(
                "default takes a value, and true to replace empty ones", self.offset
            )
        other = self.compile(given["value"]) if "value" in given else lambda _scope, _meter: ""
        replaces_empty = self._optional(given.get("boolean"))

        def default(scope: Mapping[str, Any], meter: Meter) -> Any:
            try:
                found = value(scope, meter)
            except Undefined:
                return other(scope, meter)
            return found if found or not replaces_empty(scope, meter) else other(scope, meter)

        return default

    def _guarded(self, node: nodes.Expr) -> Code:
        self._guards += 1
        try:
            return self.compile(node)
        finally:
            self._guards -= 1

    def test(self, node: nodes.Test) -> Code:
        if node.name in {"defined", "undefined"}:
            return _presence(self._guarded(node.node), wanted=node.name == "defined")
        return self._call(bind_test, node.name, self.compile(node.node), node)

    def call(self, node: nodes.Call) -> Code:
        """`range(3)`, and methods as another spelling of filters: `name.upper()`."""
        target = node.node
        if isinstance(target, nodes.Name) and target.name in FUNCTIONS:
            return self._call(bind_function, target.name, None, node)
        if isinstance(target, nodes.Getattr) and target.attr == "default":
            return self._default(target.node, node)
        if isinstance(target, nodes.Getattr) and target.attr in METHODS:
            value = self.compile(target.node)
            return self._call(bind_filter, METHODS[target.attr], value, node)
        name = getattr(target, "attr", None) or getattr(target, "name", None) or "this"
        raise ExpressionError(
            f"{name} can't be called; only filters are functions here",
            self.offset,
            hint=f"x | {name}",
        )

    def _call(
        self,
        bind: Callable[[str, int, frozenset[str]], Callable[..., Any]],
        name: str,
        value: Code | None,
        node: nodes.Filter | nodes.Test | nodes.Call,
    ) -> Code:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise ExpressionError(
                "`*` and `**` in arguments are not part of this language", self.offset
            )
        keywords = {str(pair.key): self.compile(_value_of(pair)) for pair in node.kwargs}
        positional = [self.compile(one) for one in node.args]
        try:
            function = bind(name, len(positional), frozenset(keywords))
        except ExpressionError as error:
            error.offset = self.offset
            raise
        if value is not None:
            positional.insert(0, value)
        if not keywords and len(positional) == 1:
            only = positional[0]
            return lambda scope, meter: function(meter, only(scope, meter))
        return lambda scope, meter: function(
            meter,
            *[one(scope, meter) for one in positional],
            **{key: one(scope, meter) for key, one in keywords.items()},
        )


def _presence(value: Code, *, wanted: bool) -> Code:
    def present(scope: Mapping[str, Any], meter: Meter) -> bool:
        try:
            value(scope, meter)
        except Undefined:
            return not wanted
        return wanted

    return present


def _value_of(pair: nodes.Pair | nodes.Keyword) -> nodes.Expr:
    return pair.value


def _describe(node: nodes.Node) -> str:
    return {nodes.Slice: "a slice here", nodes.Keyword: "a keyword argument here"}.get(
        type(node), type(node).__name__.lower()
    )


_COMPILERS: dict[type[nodes.Node], Callable[[_Compiler, Any], Code]] = {
    nodes.Const: _Compiler.const,
    nodes.Name: _Compiler.path,
    nodes.Getattr: _Compiler.path,
    nodes.Getitem: _Compiler.path,
    nodes.And: _Compiler.binary,
    nodes.Or: _Compiler.binary,
    nodes.Not: _Compiler.unary,
    nodes.Compare: _Compiler.compare,
    nodes.Concat: _Compiler.concat,
    nodes.CondExpr: _Compiler.condition,
    nodes.List: _Compiler.list,
    nodes.Tuple: _Compiler.list,
    nodes.Dict: _Compiler.dict,
    nodes.Filter: _Compiler.filter,
    nodes.Test: _Compiler.test,
    nodes.Call: _Compiler.call,
    **dict.fromkeys(operators.BINARY, _Compiler.binary),
    **dict.fromkeys(operators.UNARY, _Compiler.unary),
}
