"""What expressions of an execution can see. Views, not copies: a scope costs the same for 3 and for 10,000 steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.engine.state import SKIPPED, ExecutionState
from runtime.model.execution import StepStatus


class StepsView(Mapping[str, Mapping[str, Any]]):
    """`steps`: every step of the plan by its id."""

    def __init__(self, state: ExecutionState) -> None:
        self._state = state

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        index = self._state.program.plan.index_of[key]
        state = self._state
        view: dict[str, Any] = {"status": StepStatus(state.status[index]).name.lower()}
        if index in state.outputs:
            view["output"] = state.outputs[index]
        elif state.status[index] == SKIPPED:
            view["output"] = None
        if index in state.errors:
            view["error"] = state.errors[index].as_json()
        return view

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.program.plan.index_of)

    def __len__(self) -> int:
        return len(self._state.program.steps)


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


def scope_of(state: ExecutionState, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The names an expression may use. `secrets` only where a `with` block is rendered."""
    run = state.run
    steps = StepsView(state)
    scope: dict[str, Any] = {
        "params": run.params,
        "trigger": {"payload": run.params, "kind": run.trigger},
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
    return scope
