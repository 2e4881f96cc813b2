"""What expressions of an execution can see. Views, not copies: a scope costs the same for 3 and for 10,000 steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from runtime.engine.routes import visible
from runtime.engine.state import SKIPPED, ExecutionState
from runtime.model.blob import BlobRef, NotLoaded
from runtime.model.execution import StepStatus
from runtime.model.values import Json

Resolve: TypeAlias = Callable[[BlobRef], Json]


def nothing_loaded(ref: BlobRef) -> Json:
    """The resolver of a scope in which no large value is at hand: raises NotLoaded, which names it."""
    raise NotLoaded(ref)


class StepsView(Mapping[str, Mapping[str, Any]]):
    """`steps`: every step of the plan by its id. A large output is asked for when its step is touched.

    What the step that looks has not waited for shows as `pending`, whatever has become of it meanwhile.
    """

    def __init__(self, state: ExecutionState, resolve: Resolve, step: int | None = None) -> None:
        self._state = state
        self._resolve = resolve
        self._visible = visible(state, step)

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        index = self._state.program.plan.index_of[key]
        state = self._state
        if self._visible is not None and not self._visible >> index & 1:
            return {"status": "pending", "output": None}
        view: dict[str, Any] = {"status": StepStatus(state.status[index]).name.lower()}
        if index in state.outputs:
            output = state.outputs[index]
            found = self._resolve(output) if isinstance(output, BlobRef) else output
            is_answer = state.program.steps[index].human is not None and index not in state.errors
            if is_answer and isinstance(found, dict):
                # Another word for it, which is not stored.
                found = {**found, "decision": found.get("outcome")}
            view["output"] = found
        elif state.status[index] == SKIPPED or index in state.errors:
            view["output"] = None
        if index in state.errors:
            view["error"] = state.errors[index].as_json()
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.program.plan.index_of)

    def __len__(self) -> int:
        return len(self._state.program.plan.index_of)


class MaskedSecrets(Mapping[str, str]):
    """`secrets` for people: every name is known, and every value is `***`."""

    def __getitem__(self, key: str) -> str:
        return "***"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, key: object) -> bool:
        return True


MASKED = MaskedSecrets()


class _LargeInput(dict[str, Any]):
    """A scope whose input is large: asked for when `params` or `trigger` is touched."""

    def __init__(self, scope: dict[str, Any], resolve: Callable[[], Json], trigger: str) -> None:
        super().__init__(scope)
        self._resolve_input = resolve
        self._trigger = trigger

    def __missing__(self, key: str) -> Any:
        if key == "params":
            return self._resolve_input()
        if key == "trigger":
            return _trigger(self._resolve_input(), self._trigger)
        raise KeyError(key)


def scope_of(
    state: ExecutionState,
    secrets: Mapping[str, str] | None = None,
    resolve: Resolve = nothing_loaded,
    *,
    step: int | None = None,
) -> dict[str, Any]:
    """The names an expression may use. `secrets` only where a `with` block is rendered, `step`: the one that looks.

    `resolve` gives large values that are at hand, and raises NotLoaded for the others.
    """
    run = state.run
    steps = StepsView(state, resolve, step)
    scope: dict[str, Any] = {
        "execution": {
            "id": str(run.id),
            "workflow": state.program.plan.name,
            "version": run.version,
            "namespace": run.namespace,
            "generation": run.generation,
            "created_at": run.created_at,
        },
        "steps": steps,
        "tasks": steps,
        "workload": {"identity": run.identity},
    }
    if secrets is not None:
        scope["secrets"] = secrets
    # What undoes a step, or gives its output, sees the input with which that ran.
    params = run.params if step is None else state.inputs.get(step, run.params)
    if isinstance(params, BlobRef):
        return _LargeInput(scope, lambda: resolve(params), run.trigger)
    scope["params"] = params
    scope["trigger"] = _trigger(params, run.trigger)
    return scope


def _trigger(params: Json, kind: str) -> dict[str, Json]:
    return {"payload": params, "kind": kind}
