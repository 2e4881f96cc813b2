"""From the keys `cases`, `join`, `on_error`, `on_expiry` of a definition to the Routes of a plan: O(steps + edges)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from runtime.model.plan import StepKind
from runtime.model.route import Case, Gateway, Join, Routes

_KEYS: Final = frozenset(("cases", "join", "on_error", "on_expiry"))
_FAIL: Final = {"action": "fail"}


def read_routes(
    steps: Sequence[dict[str, Any]],
    index_of: Mapping[str, int],
    needs: Sequence[Sequence[int]],
    successors: Sequence[Sequence[int]],
) -> Routes | None:
    """The routes of a definition; None when nothing is chosen in it, as in nearly all."""
    routed = [(i, step) for i, step in enumerate(steps) if not _KEYS.isdisjoint(step)]
    if not routed:
        return None
    gateways = {
        i: _gateway(step, index_of) for i, step in routed if step.get("type") == StepKind.GATEWAY
    }
    recoveries = {i: _goto(step["on_error"], index_of) for i, step in routed if _recovers(step)}
    expiries = {
        i: index_of[rule["goto"]]
        for i, step in routed
        if isinstance(rule := step.get("on_expiry"), dict) and "goto" in rule
    }
    choosers: dict[int, set[int]] = {}
    for i, step in routed:
        for target in _chosen(step, gateways.get(i), index_of):
            choosers.setdefault(target, set()).add(i)
    wants = {i: _wants(step.get("join")) for i, step in routed}
    joins = {
        i: Join(wants.get(i, 0), frozenset(choosers.get(i, ())))
        for i in sorted(wants.keys() | choosers)
        if wants.get(i) or i in choosers
    }
    if not (gateways or recoveries or joins):
        return None
    followed = (
        gateways.keys() | recoveries.keys() | expiries.keys() | {n for i in joins for n in needs[i]}
    )
    partial = [i for i, join in joins.items() if join.wants]
    behind = _behind(partial, successors)
    return Routes(gateways, recoveries, expiries, joins, frozenset(followed), behind)


def _gateway(step: dict[str, Any], index_of: Mapping[str, int]) -> Gateway:
    cases = tuple(
        Case(case.get("when"), _indices(case.get("then", case.get("else")), index_of), "else" in case)
        for case in step["cases"]
    )  # fmt: skip
    return Gateway(cases, step.get("mode") == "inclusive")


def _indices(names: Any, index_of: Mapping[str, int]) -> tuple[int, ...]:
    written = names if isinstance(names, list) else [names]
    return tuple(dict.fromkeys(index_of[name] for name in written))


def _recovers(step: dict[str, Any]) -> bool:
    return bool(step.get("on_error", _FAIL) != _FAIL)


def _goto(rule: Any, index_of: Mapping[str, int]) -> int | None:
    return index_of[rule["goto"]] if "goto" in rule else None


def _chosen(
    step: dict[str, Any], gateway: Gateway | None, index_of: Mapping[str, int]
) -> Iterator[int]:
    """The steps that run only if this one chooses them."""
    for case in () if gateway is None else gateway.cases:
        yield from case.then
    for rule in (step.get("on_error"), step.get("on_expiry")):
        if isinstance(rule, dict) and "goto" in rule:
            yield index_of[rule["goto"]]


def _wants(join: Any) -> int:
    return 1 if join == "any" else join if isinstance(join, int) else 0


def _behind(steps: Sequence[int], successors: Sequence[Sequence[int]]) -> frozenset[int]:
    """These steps and all that come after them."""
    todo, found = list(steps), set(steps)
    while todo:
        for one in successors[todo.pop()]:
            if one not in found:
                found.add(one)
                todo.append(one)
    return frozenset(found)
