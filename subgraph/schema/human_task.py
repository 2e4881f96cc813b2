"""Root fields that change human tasks: each is one deed, decided by the same rules as every other way to it."""

from collections.abc import Awaitable
from typing import Annotated, Final, cast

import strawberry

from resolvers.context import Info
from resolvers.mutations import human_task as tasks_of
from runtime.model.human_task import HumanTask
from runtime.model.values import Json
from subgraph.directives import access
from subgraph.types.human_task import HumanTaskPayload, HumanTasksPayload
from subgraph.types.inputs.human_task import (
    AssignHumanTaskInput,
    AssignHumanTasksInput,
    CompleteHumanTaskInput,
    CompleteHumanTasksInput,
    CreateHumanTaskInput,
    EscalateHumanTaskInput,
    HumanTaskRefInput,
    UpdateHumanTaskInput,
)

_WHICH: Final = strawberry.argument(description="Which task, and why.")


async def _answer(work: Awaitable[HumanTask]) -> HumanTaskPayload:
    return await HumanTaskPayload.answer(work)


@strawberry.type
class Mutation:
    """Changes of human tasks: the part of the graph's mutations that is about them."""

    @strawberry.mutation(
        description="Create a human task that stands on its own.",
        directives=access("Mutation.createHumanTask"),
    )
    async def create_human_task(
        self,
        info: Info,
        input: Annotated[CreateHumanTaskInput, strawberry.argument(description="The task.")],
    ) -> HumanTaskPayload:
        """Create a task."""
        return await _answer(
            tasks_of.create(info.context, new=input.record(), idempotency_key=input.idempotency_key)
        )

    @strawberry.mutation(
        description="Change a human task, by its owner (who created it, or holds `tasks:admin`); or write a comment.",
        directives=access("Mutation.updateHumanTask"),
    )
    async def update_human_task(
        self,
        info: Info,
        input: Annotated[UpdateHumanTaskInput, strawberry.argument(description="What changes.")],
    ) -> HumanTaskPayload:
        """Change a task."""
        return await _answer(
            tasks_of.update(
                info.context, id=input.human_task_id, said=input.said(), comment=input.comment
            )
        )

    @strawberry.mutation(
        description="Give a human task to somebody, by its owner.",
        directives=access("Mutation.assignHumanTask"),
    )
    async def assign_human_task(
        self,
        info: Info,
        input: Annotated[AssignHumanTaskInput, strawberry.argument(description="To whom.")],
    ) -> HumanTaskPayload:
        """Give a task to somebody."""
        return await _answer(
            tasks_of.assign(
                info.context,
                id=input.human_task_id,
                assignee=input.assignee,
                comment=input.comment,
            )
        )

    @strawberry.mutation(
        description="Take a human task: nobody else answers it until it is released.",
        directives=access("Mutation.claimHumanTask"),
    )
    async def claim_human_task(
        self, info: Info, input: Annotated[HumanTaskRefInput, _WHICH]
    ) -> HumanTaskPayload:
        """Take a task."""
        return await _answer(
            tasks_of.claim(info.context, id=input.human_task_id, comment=input.comment)
        )

    @strawberry.mutation(
        description="Give a human task back to its candidates, by who has it, or its owner.",
        directives=access("Mutation.releaseHumanTask"),
    )
    async def release_human_task(
        self, info: Info, input: Annotated[HumanTaskRefInput, _WHICH]
    ) -> HumanTaskPayload:
        """Give a task back."""
        return await _answer(
            tasks_of.release(info.context, id=input.human_task_id, comment=input.comment)
        )

    @strawberry.mutation(
        description="Hand a human task on, by who has it.",
        directives=access("Mutation.delegateHumanTask"),
    )
    async def delegate_human_task(
        self,
        info: Info,
        input: Annotated[AssignHumanTaskInput, strawberry.argument(description="To whom.")],
    ) -> HumanTaskPayload:
        """Hand a task on."""
        return await _answer(
            tasks_of.delegate(
                info.context,
                id=input.human_task_id,
                assignee=input.assignee,
                comment=input.comment,
            )
        )

    @strawberry.mutation(
        description="Do the next escalation of a human task now, by who may answer it; or give it to somebody, by its "
        "owner.",
        directives=access("Mutation.escalateHumanTask"),
    )
    async def escalate_human_task(
        self,
        info: Info,
        input: Annotated[EscalateHumanTaskInput, strawberry.argument(description="To whom.")],
    ) -> HumanTaskPayload:
        """Escalate a task."""
        return await _answer(
            tasks_of.escalate(
                info.context, id=input.human_task_id, to=input.to, comment=input.comment
            )
        )

    @strawberry.mutation(
        description="Answer a human task. The response is checked against its form, field by field; of two who answer "
        "at once one wins, and the other is told who and when.",
        directives=access("Mutation.completeHumanTask"),
    )
    async def complete_human_task(
        self,
        info: Info,
        input: Annotated[CompleteHumanTaskInput, strawberry.argument(description="The answer.")],
    ) -> HumanTaskPayload:
        """Answer a task."""
        return await _answer(
            tasks_of.complete(
                info.context,
                id=input.human_task_id,
                outcome=input.outcome,
                response=cast("Json", input.response),
                comment=input.comment,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="Give several human tasks to somebody, each by itself: what one is refused changes nothing for the "
        "others.",
        directives=access("Mutation.assignHumanTasks"),
    )
    async def assign_human_tasks(
        self,
        info: Info,
        input: Annotated[AssignHumanTasksInput, strawberry.argument(description="To whom.")],
    ) -> HumanTasksPayload:
        """Give several tasks to somebody."""
        return await HumanTasksPayload.answer(
            tasks_of.assign_many(
                info.context,
                ids=input.human_task_ids,
                assignee=input.assignee,
                comment=input.comment,
            )
        )

    @strawberry.mutation(
        description="Give several human tasks the same answer, each by itself.",
        directives=access("Mutation.completeHumanTasks"),
    )
    async def complete_human_tasks(
        self,
        info: Info,
        input: Annotated[CompleteHumanTasksInput, strawberry.argument(description="The answer.")],
    ) -> HumanTasksPayload:
        """Answer several tasks."""
        return await HumanTasksPayload.answer(
            tasks_of.complete_many(
                info.context,
                ids=input.human_task_ids,
                outcome=input.outcome,
                response=cast("Json", input.response),
                comment=input.comment,
                idempotency_key=input.idempotency_key,
            )
        )

    @strawberry.mutation(
        description="End a human task that stands on its own without an answer, by its owner.",
        directives=access("Mutation.cancelHumanTask"),
    )
    async def cancel_human_task(
        self, info: Info, input: Annotated[HumanTaskRefInput, _WHICH]
    ) -> HumanTaskPayload:
        """End a task without an answer."""
        return await _answer(
            tasks_of.cancel(info.context, id=input.human_task_id, comment=input.comment)
        )
