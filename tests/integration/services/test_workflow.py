"""Draft, validate, publish: versions never change, keys keep their word, tenants stay apart."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from runtime.definition import validate as validate_document
from runtime.model.errors import (
    BadInput,
    Conflict,
    Denied,
    IdempotencyConflict,
    Invalid,
    NotFound,
)
from runtime.model.page import PageRequest
from runtime.model.values import Digest, SemVer
from runtime.model.workflow import (
    DefinitionFormat,
    VersionState,
    WorkflowFilter,
    WorkflowOrder,
    WorkflowOrderField,
    WorkflowStatus,
)
from runtime.services.publishing import Number
from runtime.store.plan import PlanStore
from tests import make
from tests.integration.services.conftest import NOOP, document

JSON = DefinitionFormat.JSON
TWO_STEPS = [NOOP, {"id": "two", "uses": "core.noop@1", "depends_on": ["one"]}]


async def test_created_workflow_is_a_draft_with_history(room):
    workflow = await room.create(labels={"team": "a"})

    found = await room.workflows.find(room.who, name="w")
    kinds = await room.engine.sql.fetch("select kind from domain_events where id = $1", workflow.id)

    assert found == workflow
    assert (found.status, found.current_version_id, found.labels) == (
        WorkflowStatus.DRAFT,
        None,
        {"team": "a"},
    )
    assert [row["kind"] for row in kinds] == ["created"]


async def test_name_taken_is_a_conflict(room):
    await room.create()

    with pytest.raises(Conflict) as caught:
        await room.create()

    assert caught.value.reason == "WORKFLOW_EXISTS"


@pytest.mark.parametrize(("count", "is_aside"), [(300, True), (10, False)])
async def test_others_get_their_turn_while_documents_are_judged(
    room, monkeypatch, count: int, is_aside: bool
):
    """One operation may ask for fifty at once: what takes a moment is judged in a process of its own."""
    source = document(steps=[{"id": f"s{n}", "uses": "core.noop@1"} for n in range(count)])
    here: list[str] = []

    def noted(source: str, *arguments: Any, **more: Any) -> Any:
        here.append(source)
        return validate_document(source, *arguments, **more)

    monkeypatch.setattr("runtime.services.judges.validate", noted)

    judged = await room.workflows.validate(room.who, source, JSON)

    assert judged.ok
    assert here == ([] if is_aside else [source])


async def test_a_document_with_errors_is_refused_with_all_of_them(room):
    source = document(
        steps=[
            {"id": "a", "uses": "core.noop@1", "depends_on": ["b"]},
            {"id": "a", "uses": "no.such@1"},
        ]
    )

    with pytest.raises(Invalid) as caught:
        await room.workflows.create(room.who, name="w", source=source, format=JSON)

    rules = {problem.rule for problem in caught.value.problems}
    assert {"duplicate-step", "unknown-connector"} <= rules
    assert await room.workflows.count(room.who, WorkflowFilter()) == 0
    assert await room.engine.sql.fetchval("select count(*) from domain_events") == 0


async def test_a_draft_with_errors_leaves_the_one_before(room):
    workflow = await room.create(labels={"a": "1"})
    source = document(steps=[{"id": "a", "uses": "no.such@1"}, {"id": "a", "uses": "core.noop@1"}])

    with pytest.raises(Invalid) as caught:
        await room.workflows.update(
            room.who, workflow.id, source=source, format=JSON, labels={"b": "2"}
        )

    assert len(caught.value.problems) >= 2
    assert await room.workflows.find(room.who, id=workflow.id) == workflow
    told = "select count(*) from domain_events where id = $1"
    assert await room.engine.sql.fetchval(told, workflow.id) == 1


async def test_a_document_of_another_name_is_refused(room):
    with pytest.raises(Invalid, match="named") as caught:
        await room.workflows.create(room.who, name="w", source=document("v"), format=JSON)

    (found,) = caught.value.problems
    assert (found.rule, found.path, found.line is None) == ("name-mismatch", ("name",), False)


async def test_publish_makes_a_version(room):
    change = await room.publish()

    version = change.version
    assert change.created
    assert (change.workflow.status, change.workflow.current_version_id) == (
        WorkflowStatus.PUBLISHED,
        version.id,
    )
    assert (version.version, version.state) == (SemVer(1), VersionState.PUBLISHED)
    assert version.published_by == room.who.actor


async def test_same_content_again_is_the_same_version(room):
    first = await room.publish()

    again = await room.workflows.publish(room.who, first.workflow.id)

    assert (again.version, again.created) == (first.version, False)


async def test_same_number_with_other_content_is_refused(room):
    first = await room.publish()
    await room.workflows.update(
        room.who, first.workflow.id, source=document(steps=TWO_STEPS), format=JSON
    )

    with pytest.raises(Conflict) as caught:
        await room.workflows.publish(room.who, first.workflow.id)

    assert caught.value.reason == "VERSION_EXISTS"


async def test_number_by_argument(room):
    workflow = await room.create(version=None)

    change = await room.workflows.publish(room.who, workflow.id, number=Number(SemVer(3, 1)))

    assert change.version.version == SemVer(3, 1)


async def test_two_numbers_that_differ_are_refused(room):
    workflow = await room.create(version="1.0.0")

    with pytest.raises(BadInput) as caught:
        await room.workflows.publish(room.who, workflow.id, number=Number(SemVer(2)))

    assert caught.value.reason == "VERSION_MISMATCH"


async def test_publish_with_a_key_gives_the_first_answer_after_the_draft_moved_on(room):
    workflow = await room.create()
    first = await room.workflows.publish(room.who, workflow.id, idempotency_key="k")
    await room.workflows.update(
        room.who, workflow.id, source=document(version="2.0.0", steps=TWO_STEPS), format=JSON
    )

    again = await room.workflows.publish(room.who, workflow.id, idempotency_key="k")

    assert (again.version, again.created) == (first.version, False)


async def test_create_with_a_key(room):
    arguments = {"name": "w", "source": document(), "format": JSON, "idempotency_key": "k"}

    first = await room.workflows.create(room.who, **arguments)
    again = await room.workflows.create(room.who, **arguments)

    assert (again.workflow, first.created, again.created) == (first.workflow, True, False)
    with pytest.raises(IdempotencyConflict):
        await room.workflows.create(room.who, **arguments | {"description": "other"})


async def test_publish_at_once_makes_one_version(room):
    workflow = await room.create()

    found = await asyncio.gather(
        *(room.workflows.publish(room.who, workflow.id, idempotency_key="k") for _ in range(6))
    )

    assert len({change.version.id for change in found}) == 1
    assert sum(change.created for change in found) == 1


@pytest.mark.parametrize("action", ["update", "publish"])
async def test_a_draft_that_moved_on_is_a_conflict(room, action):
    workflow = await room.create()

    with pytest.raises(Conflict) as caught:
        await getattr(room.workflows, action)(
            room.who, workflow.id, expected_digest=Digest.of(b"old")
        )

    assert caught.value.reason == "DRAFT_CHANGED"


async def test_update_changes_what_is_given(room):
    workflow = await room.create(labels={"a": "1"})

    change = await room.workflows.update(room.who, workflow.id, display_name="W", labels={"b": "2"})

    assert (change.workflow.display_name, change.workflow.labels) == ("W", {"b": "2"})
    assert change.workflow.draft_digest == workflow.draft_digest


async def test_draft_is_shown_until_it_is_published(room):
    workflow = await room.create()

    before = await room.workflows.drafts(room.who, [workflow.id])
    await room.workflows.publish(room.who, workflow.id)

    assert before[workflow.id].state is VersionState.DRAFT
    assert await room.workflows.drafts(room.who, [workflow.id]) == {}


async def test_versions_come_highest_first_by_semver(room):
    workflow = await room.create(version=None)
    for number, text in enumerate(
        ["1.9.0", "1.10.0", "2.0.0-rc.1", "2.0.0-rc.11", "2.0.0-rc.2", "2.0.0"]
    ):
        steps = [{**NOOP, "id": f"s{number}"}]
        await room.workflows.update(
            room.who, workflow.id, source=document(version=None, steps=steps), format=JSON
        )
        wanted = Number(SemVer.parse(text), may_be_smaller=True)
        await room.workflows.publish(room.who, workflow.id, number=wanted)

    first = await room.workflows.versions(room.who, workflow.id, PageRequest(4))
    rest = await room.workflows.versions(room.who, workflow.id, PageRequest(4, first.cursors[-1]))

    numbers = [str(version.version) for version in (*first.items, *rest.items)]
    assert numbers == ["2.0.0", "2.0.0-rc.11", "2.0.0-rc.2", "2.0.0-rc.1", "1.10.0", "1.9.0"]
    assert (first.has_next, rest.has_next, rest.has_previous) == (True, False, True)


async def test_reads_by_many_ids(room):
    one, two = await room.publish("one"), await room.publish("two")
    ids = [one.workflow.id, two.workflow.id]

    assert set(await room.workflows.get_many(room.who, ids)) == set(ids)
    assert set(await room.workflows.get_many_by_name(room.who, ["one", "two", "three"])) == {
        "one",
        "two",
    }
    assert (await room.workflows.current_versions(room.who, ids))[ids[0]] == one.version
    assert await room.workflows.versions_by_id(room.who, [two.version.id]) == {
        two.version.id: two.version
    }
    assert await room.workflows.version(room.who, ids[0], SemVer(1)) == one.version


async def test_another_tenant_sees_nothing(room):
    published = await room.publish()
    other = make.principal(make.OTHER_TENANT)

    assert await room.workflows.find(other, id=published.workflow.id) is None
    assert await room.workflows.find(other, name="w") is None
    assert await room.workflows.count(other, WorkflowFilter()) == 0
    with pytest.raises(NotFound):
        await room.workflows.publish(other, published.workflow.id)


@pytest.mark.parametrize(
    ("field", "names"),
    [(WorkflowOrderField.NAME, "abcde"), (WorkflowOrderField.CREATED_AT, "ebdac")],
)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_in_any_order_meet_each_workflow_once(room, field, names, descending):
    for name in "ebdac":
        await room.create(name)
    order = WorkflowOrder(field, descending)
    found, cursor = [], None

    while True:
        page = await room.workflows.list(room.who, WorkflowFilter(), order, PageRequest(2, cursor))
        found += [workflow.name for workflow in page.items]
        if not page.has_next:
            break
        cursor = page.cursors[-1]

    assert found == (list(reversed(names)) if descending else list(names))


async def test_a_page_backward_is_the_one_before(room):
    for name in "abcde":
        await room.create(name)
    order = WorkflowOrder(WorkflowOrderField.NAME, descending=False)
    forward = await room.workflows.list(room.who, WorkflowFilter(), order, PageRequest(4))

    back = await room.workflows.list(
        room.who, WorkflowFilter(), order, PageRequest(2, forward.cursors[-1], backward=True)
    )

    assert [workflow.name for workflow in back.items] == ["b", "c"]
    assert (back.has_previous, back.has_next) == (True, True)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (WorkflowFilter(name_contains="A"), {"a_1", "ba"}),
        (WorkflowFilter(name_contains="_"), {"a_1"}),
        (WorkflowFilter(name_contains="%"), set()),
        (WorkflowFilter(labels=(("team", "x"),)), {"ba"}),
        (WorkflowFilter(status=(WorkflowStatus.PUBLISHED,)), {"c"}),
        (WorkflowFilter(namespace=("elsewhere",)), set()),
        (WorkflowFilter(updated_from=make.now()), {"a_1", "ba", "c"}),
        (WorkflowFilter(updated_to=make.now()), set()),
    ],
)
async def test_filters(room, wanted, names):
    if wanted.updated_from or wanted.updated_to:
        wanted = replace(
            wanted,
            **{"updated_from": make.now()} if wanted.updated_from else {"updated_to": make.now()},
        )
    await room.create("a_1")
    await room.create("ba", labels={"team": "x"})
    await room.publish("c")

    page = await room.workflows.list(room.who, wanted, WorkflowOrder(), PageRequest(10))

    assert {workflow.name for workflow in page.items} == names
    assert await room.workflows.count(room.who, wanted) == len(names)


@pytest.mark.parametrize("text", ["x", "", "AAAAAAAAAAAA", "é", "W10="])
async def test_a_made_up_cursor_is_refused(room, text):
    with pytest.raises(BadInput, match="cursor"):
        await room.workflows.list(room.who, WorkflowFilter(), WorkflowOrder(), PageRequest(2, text))


async def test_a_cursor_of_another_order_is_refused(room):
    await room.create("a")
    by_name = WorkflowOrder(WorkflowOrderField.NAME)
    page = await room.workflows.list(room.who, WorkflowFilter(), by_name, PageRequest(1))

    with pytest.raises(BadInput, match="cursor"):
        await room.workflows.list(
            room.who, WorkflowFilter(), WorkflowOrder(), PageRequest(1, page.cursors[0])
        )


@pytest.mark.parametrize("action", ["create", "publish", "update", "find", "list"])
async def test_nothing_without_its_scope(room, action):
    nobody = make.principal(scopes=frozenset())
    calls = {
        "create": lambda s: s.create(nobody, name="w", source="", format=JSON),
        "publish": lambda s: s.publish(nobody, make.new_id()),
        "update": lambda s: s.update(nobody, make.new_id()),
        "find": lambda s: s.find(nobody, name="w"),
        "list": lambda s: s.list(nobody, WorkflowFilter(), WorkflowOrder(), PageRequest()),
    }

    with pytest.raises(Denied):
        await calls[action](room.workflows)


async def test_no_validation_without_its_scope(room):
    with pytest.raises(Denied):
        await room.workflows.validate(make.principal(scopes=frozenset()), "", JSON)


async def test_a_large_document_does_not_hold_the_loop(room):
    steps = [{"id": f"s{number}", "uses": "core.noop@1"} for number in range(4_000)]
    judging = asyncio.create_task(room.workflows.validate(room.who, document(steps=steps), JSON))

    turns = 0
    while not judging.done():
        await asyncio.sleep(0)
        turns += 1

    assert (await judging).ok
    assert turns > 10


def calling(name, target):
    return document(name=name, steps=[{"id": "call", "type": "workflow", "workflow": target}])


async def test_a_call_of_what_is_not_published_saves_and_does_not_publish(room):
    saved = await room.workflows.create(
        room.who, name="caller", source=calling("caller", "callee"), format=JSON
    )

    with pytest.raises(Invalid) as caught:
        await room.workflows.publish(room.who, saved.workflow.id)

    assert "unknown-workflow" in {one.rule for one in saved.findings}
    assert "unknown-workflow" in {
        one.rule for one in caught.value.problems if one.severity == "error"
    }


async def test_published_workflows_and_their_versions_are_known_when_they_are_called(room):
    await room.publish(name="callee", version="1.2.0")

    fine = await room.workflows.validate(room.who, calling("caller", "callee@^1.1"), JSON)
    late = await room.workflows.validate(room.who, calling("caller", "callee@2"), JSON)

    assert fine.problems == ()
    assert {one.rule for one in late.problems} == {"unknown-workflow"}


async def test_plans_are_kept_while_there_is_room_for_their_steps(room, monkeypatch):
    """Large ones, which are compiled aside, and small ones count alike."""
    monkeypatch.setattr("runtime.store.plan._MOST_STEPS", 450)
    plans = PlanStore(room.engine.database)
    ids = []
    for number, many in enumerate((300, 100, 20, 400)):
        steps = [{"id": f"s{step}", "uses": "core.noop@1"} for step in range(many)]
        ids.append((await room.publish(f"w{number}", steps=steps)).workflow.current_version_id)

    found = [await plans.get(one) for one in ids]

    assert [len(plan.steps) for plan in found] == [300, 100, 20, 400]
    assert [
        (await plans.get(one)) is plan for one, plan in zip(ids[2:], found[2:], strict=True)
    ] == [
        True,
        True,
    ]
    again = await plans.get(ids[0])
    assert (again is found[0], len(again.steps)) == (False, 300)
