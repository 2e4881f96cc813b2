"""What an expression that came to something true, or to something false, says about outputs: that they are there.

`steps.a.status == 'completed'` proves it when it holds, `steps.a.output is none` when it does not, and a part of an
output that was read either way, because reading it would have failed. These are lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any, Final

from jinja2 import nodes

from runtime.expression.read import Key

Steps = frozenset[str]
Proofs = tuple[Steps, Steps]  # When it is true; when it is false.

_NOTHING: Final[Steps] = frozenset()
_OUTPUT: Final = 3  # Keys of `steps.a.output`.
_STATUS_COMPLETED: Final = "completed"


class Prover:
    """Finds the proofs of one tree; a part that compilation asks for again is not walked again."""

    def __init__(self) -> None:
        self._known: dict[nodes.Node, Proofs] = {}  # Trees hash by identity.

    def proofs(self, node: nodes.Node) -> Proofs:
        """The ids of the steps that have an output when the expression is true, and when it is false."""
        found = self._known.get(node)
        if found is None:
            found = self._known[node] = self._found(node)
        return found

    def _found(self, node: nodes.Node) -> Proofs:
        match node:
            case nodes.And():
                (left, fails), (right, right_fails) = map(self.proofs, (node.left, node.right))
                return left | right, fails & (left | right_fails)
            case nodes.Or():
                (left, fails), (right, right_fails) = map(self.proofs, (node.left, node.right))
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
        return self._evaluated(() if _is_default(node) else node.iter_child_nodes())

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
        found = _equal(node.expr, first.expr) | _equal(first.expr, node.expr)
        found_none = _equal(node.expr, first.expr, to=None) | _equal(first.expr, node.expr, to=None)
        if len(node.ops) > 1:
            return always, always
        if first.op == "ne":
            return always | found_none, always | found
        return (always | found, always | found_none) if first.op == "eq" else (always, always)

    def _tested(self, node: nodes.Test) -> Proofs:
        path = path_of(node.node)
        if node.name in {"defined", "undefined"}:
            # `steps.a.output` is defined even when it is null; what lies in it is not.
            found = _step(path, "output") if path is not None and len(path) > _OUTPUT else _NOTHING
            return (found, _NOTHING) if node.name == "defined" else (_NOTHING, found)
        always = self._evaluated([node.node, *node.args])[0]
        if node.name == "none" and path is not None:
            return always, always | _step(path, "output")
        return always, always

    def _read(self, node: nodes.Node) -> Proofs:
        path = path_of(node)
        if path is None:
            return self._evaluated(node.iter_child_nodes())
        found = _step(path, "output")
        return found, found if len(path) > _OUTPUT else _NOTHING

    def _evaluated(self, parts: Iterable[nodes.Node]) -> Proofs:
        """Of what is evaluated whatever it comes to."""
        found = reduce(or_, ((holds & fails) for holds, fails in map(self.proofs, parts)), _NOTHING)
        return found, found


def _equal(node: nodes.Node, other: nodes.Node, *, to: str | None = _STATUS_COMPLETED) -> Steps:
    path = path_of(node)
    if path is None or not isinstance(other, nodes.Const) or other.value != to:
        return _NOTHING
    return (
        _step(path, "status" if to is not None else "output") if len(path) == _OUTPUT else _NOTHING
    )


def _is_default(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Filter):
        return node.name in {"default", "d"}
    target = getattr(node, "node", None)
    return isinstance(target, nodes.Getattr) and target.attr == "default"


def _step(path: tuple[Key, ...], part: str) -> Steps:
    if len(path) < _OUTPUT or path[0] not in {"steps", "tasks"} or path[2] != part:
        return _NOTHING
    return frozenset((str(path[1]),))


def path_of(node: nodes.Node) -> tuple[Key, ...] | None:
    """The keys of a path that is written out; None for anything else."""
    keys: list[Key] = []
    while (found := constant_key(node)) is not None:
        node, key = found
        keys.append(key)
    return (node.name, *reversed(keys)) if isinstance(node, nodes.Name) else None


def constant_key(node: nodes.Node) -> tuple[nodes.Node, Key] | None:
    """The base and the key of `base.key`, `base['key']`, `base[3]`; None for anything else."""
    if isinstance(node, nodes.Getattr):
        return node.node, node.attr
    if isinstance(node, nodes.Getitem):
        key: Any = node.arg
        sign = 1
        if isinstance(key, nodes.Neg):
            key, sign = key.node, -1
        if isinstance(key, nodes.Const) and type(key.value) is int:
            return node.node, sign * key.value
        if isinstance(key, nodes.Const) and type(key.value) is str and sign == 1:
            return node.node, key.value
    return None
