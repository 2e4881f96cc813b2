"""Another input for an execution that is rewound: checked like that of an enqueue, and what it makes begin anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from runtime.definition.lane import lane_of
from runtime.engine.generation_preview import done, maps_with_kept_items
from runtime.engine.program import ProgramCache
from runtime.engine.rewinding import with_input
from runtime.engine.state import RunInfo
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, Stored, goes_out
from runtime.model.checkpoint import Mark
from runtime.model.durable import durable_input
from runtime.model.errors import BadInput
from runtime.model.event import EventKind
from runtime.model.execution import Execution
from runtime.model.identity import Principal
from runtime.model.plan import Plan, StepKind
from runtime.model.settled import settled
from runtime.model.values import Digest, Json
from runtime.services.aside import aside
from runtime.services.judges import Judges
from runtime.services.retrying import Wishes
from runtime.store.blob import Blobs
from runtime.store.generation_preview import PreviewedExecution

_PATH: Final = ("input",)


class EditedInput(NamedTuple):
    """An input that an execution may go on with, its defaults filled in, and its digest as a replay finds it."""

    value: Json
    text: str
    digest: str

    @property
    def goes_out(self) -> bool:
        """Whether it is too large for a row."""
        return goes_out(self.value, len(self.text.encode()))


class EditedInputs:
    """Checks and keeps them."""

    def __init__(self, *, blobs: Blobs, judges: Judges, max_bytes: int) -> None:
        self._blobs = blobs
        self._judges = judges
        self._most = max_bytes
        self._programs = ProgramCache(16)

    async def told(
        self,
        who: Principal,
        execution: Execution,
        plan: Plan,
        found: PreviewedExecution,
        said: dict[str, Json],
        wishes: Wishes,
    ) -> tuple[dict[str, Json], EditedInput | None]:
        """What the event says of a rewind with these wishes, and the input that it gives; raises what is wrong.

        `said` is what it would say without, `found` what the execution has done.
        """
        if wishes.keep:
            size = len(plan.steps) + len(found.history.steps)
            program, run = self._programs.get(plan), RunInfo(execution.id, None, found.generation)
            ended = await aside(size, partial(done, program, run, found.history))
            said = {**said, "keep": [*_kept(plan, said, wishes.keep, ended)]}
        if wishes.input is None:
            return said, None
        edited = await self.checked(who, execution, plan, wishes.input)
        anew = await self.begun_anew(execution.id, plan, found, said)
        return with_input(said, edited.digest, anew), edited

    async def checked(
        self, who: Principal, execution: Execution, plan: Plan, given: Json
    ) -> EditedInput:
        """What the execution would go on with; raises what an enqueue with it raises.

        Also BadInput where its concurrency key would be another one: that says in which database it lies.
        """
        durable_input(given, most=self._most)
        params = await self._judges.input(who.tenant_id, plan, given)
        text = durable_input(params, most=self._most)
        if plan.concurrency is not None:
            before = await self._loaded(execution.tenant_id, execution.id, execution.input)
            if _lane(plan, execution, before) != _lane(plan, execution, params):
                raise BadInput(
                    "With this input it would have another concurrency key: enqueue another execution with it.",
                    reason="CONCURRENCY_KEY",
                    path=_PATH,
                )
        raw = _sorted(params)
        if goes_out(params, len(text.encode())):
            return EditedInput(params, text, str(Digest.of(raw)))
        return EditedInput(params, text, str(Digest.of(_sorted(settled(params)))))

    async def stored(self, who: Principal, id: UUID, edited: EditedInput) -> str:
        """What the row says: the input, or where it lies when it is too large for a row. Durable before the row is."""
        if not edited.goes_out:
            return edited.text
        ref = await self._blobs.put(who.tenant_id, id, _sorted(edited.value), edited.digest)
        return orjson.dumps(ref.as_json()).decode()

    async def begun_anew(
        self, id: UUID, plan: Plan, found: PreviewedExecution, told: Json
    ) -> tuple[int, ...]:
        """The maps that would keep items: these were made from a list which another input may give otherwise.

        `told` is what the event would say of a rewind that gives no other input.
        """
        if not any(step.map is not None for step in plan.steps):
            return ()
        size = len(plan.steps) + len(found.history.steps)
        program, run = self._programs.get(plan), RunInfo(id, None, found.generation)
        mark = Mark(EventKind.EXECUTION_REWOUND, told)
        return await aside(size, partial(maps_with_kept_items, program, run, found.history, mark))

    async def _loaded(self, tenant: UUID, id: UUID, value: Stored) -> Json:
        return await self._blobs.load(tenant, id, value) if isinstance(value, BlobRef) else value


def _kept(
    plan: Plan, said: dict[str, Json], keys: Collection[str], ended: Collection[int]
) -> list[int]:
    """The numbers of the steps to be kept; raises what is wrong with one."""
    again, found = said["again"], list[int]()
    for key in sorted({*keys}):
        number = plan.index_of.get(key)
        if number is None or not isinstance(again, list) or number not in again:
            raise BadInput(
                f"The step {key[:64]!r} is none that this rewind runs again, so there is nothing to keep it from.",
                reason="KEEP_NOT_BEHIND",
                path=("keep",),
            )
        step = plan.steps[number]
        if step.uses is None or step.map is not None:
            raise BadInput(
                f"The step {key!r} makes no call of its own: only single calls are kept.",
                reason="KEEP_NO_CALL",
                path=("keep",),
            )
        if number not in ended:
            raise BadInput(
                f"The step {key!r} has not completed, or was undone: it has nothing that could be kept.",
                reason="KEEP_NOT_COMPLETED",
                path=("keep",),
            )
        found.append(number)
    return sorted(found)


def gateways_of(plan: Plan) -> Sequence[int]:
    """The steps whose outputs say which ways they took."""
    return [step.index for step in plan.steps if step.kind is StepKind.GATEWAY]


def _lane(plan: Plan, execution: Execution, params: Json) -> Json:
    try:
        return lane_of(plan, params, namespace=execution.namespace, trigger=str(execution.trigger))
    except ExpressionError as problem:
        raise BadInput(
            f"The concurrency key of the workflow can't be rendered for this input: {problem.message}.",
            reason="CONCURRENCY_KEY",
            path=_PATH,
        ) from problem


def _sorted(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
