"""Human tasks over the graph: created, taken, handed on, answered, found; and every rule, told by its reason."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.http.serving import Served

FIELDS = "id title status assignee outcome response answers { by { subject } outcome } endedBy { subject }"
SHOW = f"query ($id: ID!) {{ humanTask(id: $id) {{ {FIELDS} history {{ edges {{ node {{ sequence kind actor {{ subject }} before after comment }} }} }} }} }}"
LIST = "query ($filter: HumanTaskFilter) { humanTasks(filter: $filter, first: 50) { edges { node { id } } } }"
FORM = {
    "type": "object",
    "required": ["amount", "account"],
    "properties": {
        "amount": {"type": "number", "minimum": 1},
        "account": {"type": "string", "minLength": 4},
        "note": {"type": "string", "default": "-"},
    },
    "additionalProperties": False,
}


class Office:
    """People of one tenant who speak to the API."""

    def __init__(self, server: Served) -> None:
        self.server = server

    async def ask(self, who: str, query: str, **variables: Any) -> Any:
        name, _, groups = who.partition(":")
        role = {"max": "admin", "vic": "viewer"}.get(name, "approver")
        header = self.server.bearer(
            role, subject=name, groups=tuple(filter(None, groups.split(",")))
        )
        return (await self.server.ask(query, variables, **header)).body

    async def do(self, who: str, deed: str, **input: Any) -> Any:
        kind = {"claim": "HumanTaskRef", "release": "HumanTaskRef", "cancel": "HumanTaskRef", "delegate": "AssignHumanTask"}.get(deed, f"{deed.capitalize()}HumanTask")  # fmt: skip
        query = f"mutation ($input: {kind}Input!) {{ {deed}HumanTask(input: $input) {{ humanTask {{ {FIELDS} }} errors {{ code message path ... on OperationError {{ reason }} }} }} }}"
        body = await self.ask(who, query, input=input)
        assert "errors" not in body, body
        return body["data"][f"{deed}HumanTask"]

    async def new(self, who: str = "olga", **input: Any) -> str:
        done = await self.do(who, "create", title="Pay?", **input)
        assert done["errors"] == [], done
        return str(done["humanTask"]["id"])

    async def done(self, who: str, deed: str, id: str, **input: Any) -> Any:
        found = await self.do(who, deed, humanTaskId=id, **input)
        assert found["errors"] == [], found
        return found["humanTask"]

    async def refused(self, who: str, deed: str, id: str, **input: Any) -> str:
        found = await self.do(who, deed, humanTaskId=id, **input)
        assert found["humanTask"] is None
        (error,) = found["errors"]
        return str(error["reason"])

    async def show(self, id: str, who: str = "olga") -> Any:
        return (await self.ask(who, SHOW, id=id))["data"]["humanTask"]

    async def ids(self, who: str, **filter: Any) -> list[str]:
        found = await self.ask(who, LIST, filter=filter)
        return [edge["node"]["id"] for edge in found["data"]["humanTasks"]["edges"]]


@pytest.fixture
def office(tenant_server: Served) -> Office:
    return Office(tenant_server)


def soon(minutes: float = 60) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


async def test_a_task_goes_from_hand_to_hand_and_its_history_says_how(office: Office) -> None:
    task = await office.new(candidateGroups=["clerks"], data={"invoice": 17}, dueAt=soon())

    assert (await office.done("ann:clerks", "claim", task, comment="mine"))["assignee"] == "ann"
    assert (await office.done("ann:clerks", "delegate", task, assignee="bob"))[
        "status"
    ] == "ASSIGNED"
    assert (await office.done("bob", "release", task))["status"] == "OPEN"
    assert (await office.done("olga", "assign", task, assignee="cy"))["assignee"] == "cy"
    assert (await office.done("olga", "update", task, title="Pay now?"))["title"] == "Pay now?"
    await office.done("eve", "update", task, comment="it is late")
    assert (await office.done("olga", "escalate", task, to="ann"))["status"] == "ESCALATED"
    over = await office.done("ann", "complete", task, outcome="approved", response={"paid": True})

    assert (over["status"], over["outcome"], over["response"]) == (
        "COMPLETED",
        "approved",
        {"paid": True},
    )
    entries = [edge["node"] for edge in (await office.show(task))["history"]["edges"]]
    assert [(e["kind"], e["actor"]["subject"], e["comment"]) for e in entries] == [
        ("CREATED", "olga", None), ("CLAIMED", "ann", "mine"), ("DELEGATED", "ann", None), ("RELEASED", "bob", None),
        ("ASSIGNED", "olga", None), ("UPDATED", "olga", None), ("COMMENTED", "eve", "it is late"),
        ("ESCALATED", "olga", None), ("COMPLETED", "ann", None),
    ]  # fmt: skip
    assert entries[5]["before"] == {"title": "Pay?"}
    assert entries[5]["after"] == {"title": "Pay now?"}


async def test_every_fault_of_a_response_is_told_by_its_field_and_nothing_changed(
    office: Office,
) -> None:
    task = await office.new(form=FORM)

    found = await office.do("ann", "complete", humanTaskId=task, outcome="approved", response={"amount": 0, "account": "x", "else": 1})  # fmt: skip

    assert {tuple(error["path"][:3]) for error in found["errors"]} >= {
        ("input", "response", "amount"), ("input", "response", "account"), ("input", "response", "else"),
    }  # fmt: skip
    assert {error["reason"] for error in found["errors"]} == {"RESPONSE_INVALID"}
    shown = await office.show(task)
    assert (shown["status"], len(shown["history"]["edges"])) == ("OPEN", 1)
    over = await office.done(
        "ann", "complete", task, outcome="approved", response={"amount": 5, "account": "abcd"}
    )
    assert over["response"] == {"amount": 5, "account": "abcd", "note": "-"}


async def test_ten_faults_are_ten_findings(office: Office) -> None:
    fields = {f"f{n}": {"type": "integer"} for n in range(10)}
    task = await office.new(form={"type": "object", "properties": fields})

    found = await office.do("ann", "complete", humanTaskId=task, outcome="approved", response=dict.fromkeys(fields, "x"))  # fmt: skip

    assert len(found["errors"]) == 10


async def test_of_two_at_once_one_wins_and_the_other_is_told_who_and_when(office: Office) -> None:
    task = await office.new()

    found = await asyncio.gather(
        *(
            office.do(who, "complete", humanTaskId=task, outcome="approved")
            for who in ("ann", "bob")
        )
    )

    (won,) = [one for one in found if one["humanTask"]]
    (lost,) = [one for one in found if not one["humanTask"]]
    winner = won["humanTask"]["endedBy"]["subject"]
    assert lost["errors"][0]["code"] == "INVALID_STATE"
    assert f"by {winner}, at 20" in lost["errors"][0]["message"]


async def test_an_answer_is_repeated_by_its_key_and_another_one_is_none(office: Office) -> None:
    task = await office.new(form=FORM)
    said = {
        "outcome": "approved",
        "response": {"amount": 5, "account": "abcd"},
        "idempotencyKey": "k",
    }

    first = await office.done("ann", "complete", task, **said)
    again = await office.done("ann", "complete", task, **said)

    assert again == first
    other = await office.do("ann", "complete", humanTaskId=task, **(said | {"outcome": "rejected"}))
    assert other["errors"][0]["code"] == "IDEMPOTENCY_CONFLICT"
    twice = [await office.new(idempotencyKey="n", dueAt="2099-01-01T00:00:00Z") for _ in range(2)]
    assert twice[0] == twice[1]
    past = await office.do("olga", "create", title="Pay?", idempotencyKey="p", dueAt=soon(-1))
    assert [error["reason"] for error in past["errors"]] == ["DUE_IN_THE_PAST"]


async def test_a_creation_that_is_repeated_after_its_time_is_the_same_one(office: Office) -> None:
    said = {"title": "Pay?", "idempotencyKey": "late", "dueAt": soon(0.01)}
    first = await office.do("olga", "create", **said)
    while datetime.fromisoformat(str(said["dueAt"])) > datetime.now(UTC):
        await asyncio.sleep(0.05)

    again = await office.do("olga", "create", **said)

    assert first["errors"] == again["errors"] == []
    assert again["humanTask"]["id"] == first["humanTask"]["id"]


async def test_who_can_not_be_named_in_a_task_is_told_so(office: Office) -> None:
    task = await office.new()

    assert await office.refused("x" * 256, "claim", task) == "SUBJECT_TOO_LONG"


RULES: list[tuple[str, dict[str, Any], list[Any], tuple[str, str, dict[str, Any]], str]] = [
    ("no candidate", {"candidateUsers": ["bob"]}, [], ("ann", "claim", {}), "NOT_A_CANDIDATE"),
    ("other group", {"candidateGroups": ["clerks"]}, [], ("ann:bosses", "complete", {"outcome": "approved"}), "NOT_A_CANDIDATE"),
    ("taken", {}, [("bob", "claim", {})], ("ann", "claim", {}), "TASK_TAKEN"),
    ("taken, answered", {}, [("bob", "claim", {})], ("ann", "complete", {"outcome": "approved"}), "TASK_TAKEN"),
    ("not the owner", {}, [], ("ann", "assign", {"assignee": "bob"}), "NOT_THE_OWNER"),
    ("no owner cancels", {}, [], ("ann", "cancel", {}), "NOT_THE_OWNER"),
    ("not the holder", {}, [], ("ann", "delegate", {"assignee": "bob"}), "NOT_YOURS"),
    ("not to be handed on", {"delegation": False}, [("ann", "claim", {})], ("ann", "delegate", {"assignee": "bob"}), "DELEGATION_NOT_ALLOWED"),
    ("who created it", {"separationOfDuties": True}, [], ("olga", "complete", {"outcome": "approved"}), "SEPARATION_OF_DUTIES"),
    ("given to the excluded", {"separationOfDuties": True}, [], ("max", "assign", {"assignee": "olga"}), "ASSIGNEE_EXCLUDED"),
    ("answers twice", {"quorum": 2}, [("ann", "complete", {"outcome": "approved"})], ("ann", "complete", {"outcome": "approved"}), "ANSWERED"),
    ("no such outcome", {}, [], ("ann", "complete", {"outcome": "aproved"}), "UNKNOWN_OUTCOME"),
    ("over", {}, [("olga", "cancel", {})], ("ann", "claim", {}), "TASK_CANCELLED"),
    ("no chain", {}, [], ("ann", "escalate", {}), "NOTHING_TO_ESCALATE"),
    ("late", {}, [], ("olga", "update", {"dueAt": "2020-01-01T00:00:00Z"}), "DUE_IN_THE_PAST"),
    ("less than the quorum", {"quorum": 2, "candidateGroups": ["clerks"]}, [], ("olga", "update", {"candidateGroups": [], "candidateUsers": ["ann"]}), "QUORUM_TOO_LARGE"),
    ("may only look", {}, [], ("vic", "claim", {}), "MISSING_SCOPE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "new", "before", "deed", "reason"), RULES, ids=[one[0] for one in RULES]
)
async def test_a_rule_is_told_by_its_reason_and_nothing_changed(
    office: Office, what: str, new: dict[str, Any], before: list[Any], deed: Any, reason: str
) -> None:
    task = await office.new(**new)
    for who, verb, said in before:
        await office.done(who, verb, task, **said)
    seen = await office.show(task)
    who, verb, said = deed

    assert await office.refused(who, verb, task, **said) == reason, what
    assert await office.show(task) == seen


@pytest.mark.parametrize(
    ("input", "reason"),
    [
        ({"dueAt": "2020-01-01T00:00:00Z"}, "DUE_IN_THE_PAST"),
        ({"quorum": 3, "candidateUsers": ["ann", "bob"]}, "QUORUM_TOO_LARGE"),
        ({"title": " "}, "TEXT_LENGTH"),
        ({"outcomes": []}, "OUTCOMES"),
        ({"candidateUsers": ["x"] * 101}, "LIST_TOO_LONG"),
        ({"form": {"type": "objct"}}, "json-schema"),
        ({"form": 7}, "json-schema"),
        ({"escalations": [{"at": "2099-01-01T00:00:00Z", "outcome": "aproved"}]}, "UNKNOWN_OUTCOME"),
        ({"data": "x" * 70_000}, "DATA_TOO_LARGE"),
        ({"priority": 40_000}, "PRIORITY"),
        ({"description": "a\0b"}, "NOT_STORABLE"),
    ],
)  # fmt: skip
async def test_what_no_task_can_be_is_refused_as_data(
    office: Office, input: dict[str, Any], reason: str
) -> None:
    done = await office.do("olga", "create", **({"title": "Pay?"} | input))

    assert done["humanTask"] is None
    assert reason in {error["reason"] for error in done["errors"]}
    assert await office.ids("olga") == []


async def test_lists_are_by_the_groups_of_the_token(office: Office) -> None:
    first = await office.new(candidateGroups=["clerks"])
    second = await office.new(candidateUsers=["ann"], dueAt=soon())
    third = await office.new()

    assert await office.ids("ann:clerks", mine=True) == [third, second, first]
    assert await office.ids("bob", mine=True) == [third]
    assert await office.ids("bob", group="clerks") == [first]
    assert await office.ids("bob", overdue=True) == []
    await office.done("ann:clerks", "claim", first)
    assert await office.ids("bob:clerks", mine=True) == [third]
    assert await office.ids("bob", assignee="ann") == [first]
    assert await office.ids("bob", status=["CLAIMED"]) == [first]
    assert await office.ids("bob", executionId="nobodys") == []


async def test_several_are_assigned_and_answered_each_by_itself(office: Office) -> None:
    fields = "results { humanTask { id status assignee } errors { code path ... on OperationError { reason } } } errors { code ... on OperationError { reason } }"
    assign = f"mutation ($input: AssignHumanTasksInput!) {{ assignHumanTasks(input: $input) {{ {fields} }} }}"
    complete = f"mutation ($input: CompleteHumanTasksInput!) {{ completeHumanTasks(input: $input) {{ {fields} }} }}"
    mine, others = await office.new(), await office.new("bob")
    ids = [mine, others, "task_nobodys"]

    given = (await office.ask("olga", assign, input={"humanTaskIds": ids, "assignee": "ann"}))[
        "data"
    ]["assignHumanTasks"]
    said = {"humanTaskIds": ids[:2], "outcome": "approved", "idempotencyKey": "k"}
    done = (await office.ask("ann", complete, input=said))["data"]["completeHumanTasks"]
    again = (await office.ask("ann", complete, input=said))["data"]["completeHumanTasks"]
    many = (await office.ask("ann", complete, input=said | {"humanTaskIds": [mine] * 101}))["data"][
        "completeHumanTasks"
    ]
    denied = (await office.ask("vic", complete, input=said))["data"]["completeHumanTasks"]

    assert given["results"][0]["humanTask"] == {"id": mine, "status": "ASSIGNED", "assignee": "ann"}
    assert [[error["reason"] for error in one["errors"]] for one in given["results"]] == [
        [],
        ["NOT_THE_OWNER"],
        ["HUMAN_TASK_NOT_FOUND"],
    ]
    assert given["results"][1]["errors"][0]["path"] == ["input", "humanTaskIds", "1"]
    assert [one["humanTask"]["status"] for one in done["results"]] == ["COMPLETED", "COMPLETED"]
    assert again == done
    assert [error["reason"] for error in many["errors"]] == ["TOO_MANY"]
    assert (denied["results"], denied["errors"][0]["code"]) == ([], "FORBIDDEN")


async def test_a_quorum_of_two_people_completes_it(office: Office) -> None:
    task = await office.new(quorum=2, candidateGroups=["clerks"])

    half = await office.done("ann:clerks", "complete", task, outcome="approved")
    assert (half["status"], half["outcome"]) == ("OPEN", None)
    whole = await office.done("bob:clerks", "complete", task, outcome="approved")
    assert (whole["status"], [one["by"]["subject"] for one in whole["answers"]]) == (
        "COMPLETED",
        ["ann", "bob"],
    )


async def test_a_task_of_another_tenant_or_of_nobody_does_not_exist(
    office: Office, tenant_server: Served
) -> None:
    task = await office.new()
    header = tenant_server.bearer("approver", tenant="elsewhere")

    for other in (task, "task_nobodys", "wf_" + task.removeprefix("task_")):
        found = (await tenant_server.ask(SHOW, {"id": other}, **header)).body
        assert found["data"]["humanTask"] is None
    assert await office.refused("ann", "claim", "task_nobodys") == "HUMAN_TASK_NOT_FOUND"
    assert (await office.show(task))["status"] == "OPEN"


async def test_it_is_a_node_and_an_entity(office: Office) -> None:
    task = await office.new()
    query = """query ($id: ID!, $refs: [_Any!]!) { node(id: $id) { id ... on HumanTask { title execution { id } } }
      _entities(representations: $refs) { ... on HumanTask { title } } }"""

    found = await office.ask("olga", query, id=task, refs=[{"__typename": "HumanTask", "id": task}])

    assert found["data"] == {
        "node": {"id": task, "title": "Pay?", "execution": None},
        "_entities": [{"title": "Pay?"}],
    }


async def test_without_the_scope_nothing_is_shown(office: Office, tenant_server: Served) -> None:
    task = await office.new()
    header = tenant_server.bearer(None, scopes=("executions:read",))

    found = (await tenant_server.ask(SHOW, {"id": task}, **header)).body

    assert found["data"]["humanTask"] is None
    assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"
