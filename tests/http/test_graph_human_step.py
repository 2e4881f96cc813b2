"""A step that asks people, from publishing to its end: who is asked shows, answers lead on, and what ends takes none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.http.serving import EVENTS, Served, asking

EXAMPLE = (Path(__file__).resolve().parents[2] / "examples/approval.yaml").read_text()
WHY = """query ($id: ID!) { execution(id: $id) { status waitingFor { kind }
  blockedBy { cause stepKey summary taskId assignees candidateGroups until } } }"""
COMPLETE = """mutation ($input: CompleteHumanTaskInput!) { completeHumanTask(input: $input) {
  humanTask { status outcome } errors { code ... on OperationError { reason } } } }"""
CANCEL = """mutation ($input: CancelExecutionInput!) { cancelExecution(input: $input) { errors { code } } }"""
END = "query ($id: ID!) { execution(id: $id) { status output steps { stepKey status output } } }"


class Payment:
    """One execution of the example, and the people who speak to the API."""

    def __init__(self, server: Served, execution: str) -> None:
        self.server = server
        self.execution = execution

    @classmethod
    async def asked_for(cls, server: Served, by: str = "mia") -> Payment:
        """The example is published and started by somebody; its step has asked."""
        await server.publish(EXAMPLE, "payment-approval")
        return await cls.started(server, by)

    @classmethod
    async def started(cls, server: Served, by: str = "mia") -> Payment:
        """One more of what is published."""
        async with server.client(subject=by) as session:
            wanted = {"workflowName": "payment-approval", "input": {"payee": "Acme", "amount": 120}}
            made = cls(server, await server.enqueue(session, **wanted))
        await made.told("HUMAN_TASK_CREATED")
        return made

    async def told(self, kind: str) -> None:
        """Until an event of this kind was recorded."""
        async with self.server.listener() as listener:
            async for one in listener.subscribe(asking(EVENTS, {"id": self.execution})):
                if one["executionEvents"]["type"] == kind:
                    return

    async def ask(self, query: str, **variables: Any) -> Any:
        return (await self.server.ask(query, variables)).body["data"]

    async def blocker(self) -> Any:
        return (await self.ask(WHY, id=self.execution))["execution"]["blockedBy"]

    async def answer(self, who: str, task: str, outcome: str = "approved") -> Any:
        said = {"humanTaskId": task, "outcome": outcome}
        header = self.server.bearer("approver", subject=who)
        found = await self.server.ask(COMPLETE, {"input": said}, **header)
        return found.body["data"]["completeHumanTask"]


async def test_two_people_are_asked_and_what_they_say_leads_on(
    server: Served, worker: None
) -> None:
    payment = await Payment.asked_for(server)
    blocker = await payment.blocker()
    assert (blocker["cause"], blocker["stepKey"]) == ("PERSON", "approve")
    assert (blocker["assignees"], blocker["candidateGroups"]) == (["ann", "bob", "mia"], [])
    assert blocker["summary"] == "It waits for the answers of 2 people: ann, bob, mia."

    refused = await payment.answer("mia", blocker["taskId"])
    first = await payment.answer("ann", blocker["taskId"])
    second = await payment.answer("bob", blocker["taskId"])
    await payment.told("EXECUTION_COMPLETED")

    assert [one["reason"] for one in refused["errors"]] == ["SEPARATION_OF_DUTIES"]
    assert first["humanTask"] == {"status": "OPEN", "outcome": None}
    assert second["humanTask"] == {"status": "COMPLETED", "outcome": "approved"}
    end = (await payment.ask(END, id=payment.execution))["execution"]
    assert (end["status"], end["output"]) == ("COMPLETED", {"decision": "approved", "paid": True})
    [step, *_] = end["steps"]
    assert (step["output"]["outcome"], step["output"]["by"]["subject"]) == ("approved", "bob")


TASKS = """query ($id: ID!, $after: String) { execution(id: $id) { status humanTasks(first: 1, after: $after) {
  edges { node { id stepKey status shortBy } } pageInfo { hasNextPage } } } }"""


async def test_an_execution_shows_its_tasks_to_who_may_see_tasks(
    server: Served, worker: None
) -> None:
    payment = await Payment.asked_for(server)
    other = await Payment.started(server)
    task = (await payment.blocker())["taskId"]

    shown = (await payment.ask(TASKS, id=payment.execution))["execution"]["humanTasks"]
    elsewhere = (await other.ask(TASKS, id=other.execution))["execution"]["humanTasks"]
    header = server.bearer(None, scopes=["executions:read"])
    hidden = (await server.ask(TASKS, {"id": payment.execution}, **header)).body

    node = {"id": task, "stepKey": "approve", "status": "OPEN", "shortBy": 0}
    assert shown == {"edges": [{"node": node}], "pageInfo": {"hasNextPage": False}}
    assert [edge["node"]["id"] != task for edge in elsewhere["edges"]] == [True]
    assert hidden["data"]["execution"]["humanTasks"] is None
    assert [one["extensions"]["code"] for one in hidden["errors"]] == ["FORBIDDEN"]


async def test_the_task_of_what_was_cancelled_can_not_be_completed(
    server: Served, worker: None
) -> None:
    payment = await Payment.asked_for(server)
    task = (await payment.blocker())["taskId"]
    assert (await payment.answer("ann", task))["errors"] == []

    cancelled = await payment.ask(CANCEL, input={"executionId": payment.execution})
    at_once = await payment.answer("bob", task)
    await payment.told("EXECUTION_CANCELLED")
    later = await payment.answer("bob", task)

    assert cancelled["cancelExecution"]["errors"] == []
    told = [(one["code"], one["reason"]) for one in (*at_once["errors"], *later["errors"])]
    assert told[1] == ("INVALID_STATE", "TASK_CANCELLED")
    # Whoever has it may have ended it before the first of the two.
    assert told[0] in {("INVALID_STATE", "EXECUTION_FINISHED"), told[1]}
