"""Paths in Jinja's tree: a name with constant keys behind it."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes

from runtime.expression.read import Key


def path_of(node: nodes.Node) -> tuple[Key, ...] | None:
    """The keys of a path that is written out; None for anything else."""
    base, keys = stripped(node)
    return (base.name, *keys) if isinstance(base, nodes.Name) else None


def stripped(node: nodes.Node) -> tuple[nodes.Node, list[Key]]:
    """What stands before the constant keys at the end of `base.key[3]`, and these keys."""
    keys: list[Key] = []
    while (found := constant_key(node)) is not None:
        node, key = found
        keys.append(key)
    keys.reverse()
    return node, keys


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
