"""What an expression that came to something true, or to something false, says of outputs and params: they are there.

`steps.a.status == 'completed'` proves it when it holds, `steps.a.output is none` when it does not, and a part of an
output that was read either way, because reading it would have failed. These are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Final

from jinja2 import nodes

from runtime.expression.nulls import FALSE_TESTS, default_of, demands, is_default
from runtime.expression.paths import path_of, stripped
from runtime.expression.read import Key

Fact = tuple[Key, ...]  # ("steps", ID): it has an output. ("params", NAME): it is given.
Facts = frozenset[Fact]
Proofs = tuple[Facts, Facts]  # When it is true; when it is false.

_NOTHING: Final[Facts] = frozenset()
_OUTPUT: Final = 3  # Keys of `steps.a.output`.
_STATUS_COMPLETED: Final = "completed"


def fact_of(path: tuple[Key, ...]) -> Fact | None:
    """What has to be there so that this path can be read; None if something always is."""
    match path:
        case ("steps" | "tasks", name, *_):
            return ("steps", str(name))
        case ("params", name, *_):
            return ("params", str(name))
        case ("trigger", "payload", name, *_):
            return ("trigger", "payload", str(name))
    return None


class Prover:
    """Finds the proofs of one tree; a part that compilation asks for again is not walked again."""

    def __init__(self) -> None:
        self._known: dict[nodes.Node, Proofs] = {}  # Trees hash by identity.

    def proofs(self, node: nodes.Node) -> Proofs:
        """What is there when the expression is true, and when it is false."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = self._found(node)
        return found

    def _found(self, node: nodes.Node) -> Proofs:
        holds, fails = self._of_node(node)
        if isinstance(node, nodes.Compare) and len(node.ops) > 1:
            return holds, fails
        for one in demands(node):
            path = path_of(one.node)
            if path is not None and len(path) == _OUTPUT:
                found = _step(path, "output")
                holds, fails = holds | found, fails | found
        return holds, fails

    def _of_node(self, node: nodes.Node) -> Proofs:
        match node:
            case nodes.And():
                (left, fails), (right, right_fails) = (
                    self.proofs(node.left),
                    self.proofs(node.right),
                )
                return left | right, fails & (left | right_fails)
            case nodes.Or():
                (left, fails), (right, right_fails) = (
                    self.proofs(node.left),
                    self.proofs(node.right),
                )
                return left & (fails | right), fails | right_fails
            case nodes.Not():
                holds, fails = self.proofs(node.node)
                return fails, holds
            case nodes.CondExpr():
                return self._condition(node)
            case nodes.Compare():
                return self._compared(node)
            case nodes.Test():
                return self._tested(node)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                return self._read(node)
        return (
            self._provided(node) if is_default(node) else self._evaluated(node.iter_child_nodes())
        )

    def _provided(self, node: nodes.Node) -> Proofs:
        """Where what replaces it is false, what came to something true was there; and the other way round."""
        subject, is_true = default_of(node)
        holds, fails = self.proofs(subject)
        return holds if is_true is False else _NOTHING, fails if is_true else _NOTHING

    def _condition(self, node: nodes.CondExpr) -> Proofs:
        holds, fails = self.proofs(node.test)
        then, then_fails = self.proofs(node.expr1)
        if node.expr2 is None:
            return holds | then, (holds | then_fails) & fails
        other, other_fails = self.proofs(node.expr2)
        return (holds | then) & (fails | other), (holds | then_fails) & (fails | other_fails)

    def _compared(self, node: nodes.Compare) -> Proofs:
        first = node.ops[0]
        always = self._evaluated([node.expr, first.expr])[0]
        if len(node.ops) > 1:
            return always, always
        if first.op in {"in", "notin"}:
            found = _among(node.expr, first.expr)
            return (always | found, always) if first.op == "in" else (always, always | found)
        same = _equal(node.expr, first.expr) | _equal(first.expr, node.expr)
        other = _none(node.expr, first.expr) | _none(first.expr, node.expr)
        if first.op == "ne":
            return always | other, always | same
        return (always | same, always | other) if first.op == "eq" else (always, always)

    def _tested(self, node: nodes.Test) -> Proofs:
        path = path_of(node.node)
        if node.name in {"defined", "undefined"}:
            # `steps.a.output` is defined even when it is null; what lies in it is not.
            found = _there(path) if path is not None else _NOTHING
            return (found, _NOTHING) if node.name == "defined" else (_NOTHING, found)
        always = self._evaluated([node.node, *node.args])[0]
        output = _step(path, "output") if path is not None else _NOTHING
        if node.name in {"none", "null"}:
            return always, always | output
        return (always | output, always) if node.name in FALSE_TESTS else (always, always)

    def _read(self, node: nodes.Node) -> Proofs:
        path = path_of(node)
        if path is None:
            base, keys = stripped(node)
            return self._evaluated([base] if keys else node.iter_child_nodes())
        there = _there(path)
        return there | _step(path, "output"), there

    def _evaluated(self, parts: Iterable[nodes.Node]) -> Proofs:
        """Of what is evaluated whatever it comes to."""
        found = reduce(or_, ((holds & fails) for holds, fails in map(self.proofs, parts)), _NOTHING)
        return found, found


def _equal(node: nodes.Node, other: nodes.Node) -> Facts:
    """Of a status that is `completed`, or an output that is something which is not null."""
    path = path_of(node)
    if path is None or len(path) != _OUTPUT:
        return _NOTHING
    if isinstance(other, nodes.Const) and other.value == _STATUS_COMPLETED:
        return _step(path, "status") | _step(path, "output")
    is_something = isinstance(other, nodes.Dict | nodes.List) or (
        isinstance(other, nodes.Const) and other.value is not None
    )
    return _step(path, "output") if is_something else _NOTHING


def _none(node: nodes.Node, other: nodes.Node) -> Facts:
    path = path_of(node)
    is_none = isinstance(other, nodes.Const) and other.value is None
    return (
        _step(path, "output") if is_none and path is not None and len(path) == _OUTPUT else _NOTHING
    )


def _among(node: nodes.Node, others: nodes.Node) -> Facts:
    """Of a value that is one of a written list; of a param whose name is in `params`."""
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        path = path_of(others)
        fact = fact_of((*path, node.value)) if path is not None else None
        return frozenset((fact,)) if fact is not None and fact[0] != "steps" else _NOTHING
    if not isinstance(others, nodes.List | nodes.Tuple) or not others.items:
        return _NOTHING
    return frozenset.intersection(*(_equal(node, one) for one in others.items))


def _there(path: tuple[Key, ...]) -> Facts:
    """What a path that was read without an error proves."""
    fact = fact_of(path)
    if fact is None:
        return _NOTHING
    if fact[0] == "steps":
        return _step(path, "output") if len(path) > _OUTPUT else _NOTHING
    return frozenset((fact,))


def _step(path: tuple[Key, ...], part: str) -> Facts:
    if len(path) < _OUTPUT or path[0] not in {"steps", "tasks"} or path[2] != part:
        return _NOTHING
    return frozenset((("steps", str(path[1])),))
