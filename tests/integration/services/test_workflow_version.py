"""The life of versions: numbers that promise no more than is true, deprecated, archived, deleted, and what is recorded."""

from __future__ import annotations

import asyncio
from json import loads

import asyncpg
import pytest

from runtime.model.errors import BadInput, Conflict, Denied, InvalidState, NotFound
from runtime.model.execution import EnqueueRequest
from runtime.model.values import Digest, SemVer
from runtime.model.workflow import DefinitionFormat, VersionState, WorkflowStatus
from runtime.model.workflow_diff import Compatibility, VersionBump
from runtime.services.publishing import Number
from tests import make
from tests.integration.services.conftest import NOOP, document

JSON = DefinitionFormat.JSON
TWO = [NOOP, {"id": "two", "uses": "core.noop@1", "depends_on": ["one"]}]
OTHER = [{"id": "other", "uses": "core.noop@1"}]
SLOWER = [{**NOOP, "timeout": "5s"}]


async def rewrite(room, id, **more):
    await room.workflows.update(room.who, id, source=document(**more), format=JSON)


async def republish(room, id, number=Number(), **more):  # noqa: B008 - a frozen record
    await rewrite(room, id, **more)
    return await room.workflows.publish(room.who, id, number=number)


async def events(room, id):
    rows = await room.engine.sql.fetch(
        "select kind, actor, data from domain_events where id = $1 order by seq", id
    )
    return [(row["kind"], loads(row["actor"])["subject"], loads(row["data"])) for row in rows]


@pytest.mark.parametrize(
    ("steps", "expected"), [(OTHER, "2.0.0"), (TWO, "1.1.0"), (SLOWER, "1.0.1")]
)
async def test_without_a_word_the_number_rises_as_the_changes_ask(room, steps, expected):
    first = await room.publish(version=None)

    second = await republish(room, first.workflow.id, version=None, steps=steps)

    assert (str(first.version.version), str(second.version.version)) == ("1.0.0", expected)
    assert second.diff.before.id == first.version.id


@pytest.mark.parametrize(
    ("bump", "expected"), [("major", "2.0.0"), ("minor", "1.1.0"), ("patch", "1.0.1")]
)
async def test_a_bump_counts_from_the_highest_release(room, bump, expected):
    first = await room.publish(version=None)
    await republish(room, first.workflow.id, Number(SemVer.parse("2.0.0-rc.1")), version=None, steps=OTHER)  # fmt: skip

    number = Number(bump=VersionBump(bump), may_be_smaller=True)
    third = await republish(room, first.workflow.id, number, version=None, steps=TWO)

    assert str(third.version.version) == expected


async def test_a_number_in_the_document_is_raised_there(room):
    """A bump beside it would be passed over."""
    first = await room.publish()

    with pytest.raises(BadInput, match="raise it there") as bumped:
        await republish(room, first.workflow.id, Number(bump=VersionBump.PATCH), steps=TWO)
    with pytest.raises(Conflict, match="raise `version` in the document") as taken:
        await republish(room, first.workflow.id, steps=TWO)

    assert (bumped.value.reason, bumped.value.path) == ("VERSION_OR_BUMP", ("bump",))
    assert (taken.value.reason, taken.value.path) == ("VERSION_EXISTS", None)


async def test_previews_of_a_first_release_lead_to_it(room):
    workflow = await room.create(version=None)
    preview = Number(SemVer.parse("2.0.0-rc.1"))
    await room.workflows.publish(room.who, workflow.id, number=preview)

    done = await republish(room, workflow.id, version=None, steps=OTHER)

    assert (str(done.version.version), done.diff) == ("2.0.0", None)


@pytest.mark.parametrize(
    ("steps", "number", "message"),
    [
        (OTHER, Number(SemVer.parse("1.1.0")), "'one' was removed.*2.0.0 or higher"),
        (OTHER, Number(bump=VersionBump.MINOR), "'one' was removed.*2.0.0 or higher"),
        (TWO, Number(bump=VersionBump.PATCH), "there is something new.*1.1.0 or higher"),
    ],
)
async def test_a_number_that_is_too_small_is_refused_unless_told(room, steps, number, message):
    first = await room.publish(version=None)

    with pytest.raises(Conflict, match=message) as caught:
        await republish(room, first.workflow.id, number, version=None, steps=steps)
    told = Number(number.wanted, number.bump, may_be_smaller=True)
    done = await room.workflows.publish(room.who, first.workflow.id, number=told)

    assert caught.value.reason == "VERSION_TOO_SMALL"
    assert done.created


async def test_a_number_below_the_highest_is_measured_from_the_release_below_it(room):
    first = await room.publish(version=None)
    await republish(room, first.workflow.id, version=None, steps=OTHER)

    patch = await republish(
        room, first.workflow.id, Number(SemVer(1, 0, 1)), version=None, steps=SLOWER
    )

    assert patch.diff.before.version == SemVer(1)
    assert patch.workflow.current_version_id != patch.version.id


async def test_a_number_in_the_document_is_measured_too(room):
    first = await room.publish()

    with pytest.raises(Conflict) as caught:
        await republish(room, first.workflow.id, version="1.0.1", steps=OTHER)

    assert caught.value.reason == "VERSION_TOO_SMALL"


async def test_content_published_under_two_numbers_comes_back_by_either(room):
    first = await room.publish(version=None)
    twice = await room.workflows.publish(room.who, first.workflow.id, number=Number(SemVer(1, 5)))

    found = [
        await room.workflows.publish(room.who, first.workflow.id, number=Number(number))
        for number in (SemVer(1), SemVer(1, 5), None)
    ]

    assert twice.version.digest == first.version.digest
    assert [(one.version.id, one.created) for one in found] == [
        (first.version.id, False),
        (twice.version.id, False),
        (twice.version.id, False),
    ]


async def test_several_contents_under_one_number_at_once_are_one_version(room):
    key = (await room.create(version=None)).id

    async def one(value):
        steps = [{"id": f"s{value}", "uses": "core.noop@1"}]
        return await republish(room, key, Number(SemVer(1)), version=None, steps=steps)

    done = await asyncio.gather(*(one(value) for value in range(8)), return_exceptions=True)

    kept = await room.engine.sql.fetch("select version, digest from workflow_versions")
    published = [each for each in done if not isinstance(each, BaseException)]
    assert [row["version"] for row in kept] == ["1.0.0"]
    assert {str(each.version.digest) for each in published} == {kept[0]["digest"]}
    assert {type(each) for each in done if isinstance(each, BaseException)} <= {Conflict}


async def test_the_diff_of_two_versions_and_of_the_draft(room):
    first = await room.publish(version=None)
    second = await republish(room, first.workflow.id, version=None, steps=TWO)
    await rewrite(room, first.workflow.id, version=None, steps=OTHER)

    between = await room.workflows.diff(room.who, first.workflow.id, SemVer(1), SemVer(1, 1))
    draft = await room.workflows.diff(room.who, first.workflow.id, SemVer(1, 1), None)

    assert (between.after.id, between.diff.added) == (second.version.id, ("two",))
    assert (draft.diff.added, draft.diff.removed) == (("other",), ("one", "two"))
    assert draft.diff.compatibility is Compatibility.BREAKING


async def test_a_deprecated_version_is_taken_only_by_name(room):
    first = await room.publish(version=None)
    second = await republish(room, first.workflow.id, version=None, steps=TWO)

    done = await room.workflows.deprecate(room.who, first.workflow.id, SemVer(1, 1), "it drips")
    again = await room.workflows.deprecate(room.who, first.workflow.id, SemVer(1, 1))
    now = await room.enqueue()
    named = await room.enqueue(version="1.1.0")

    assert (done.version.state, done.created, again.created) == (
        VersionState.DEPRECATED,
        True,
        False,
    )
    assert done.workflow.current_version_id == first.version.id
    assert (now.version_id, named.version_id) == (first.version.id, second.version.id)


async def test_an_archived_version_starts_nothing_and_was_deprecated_before(room):
    first = await room.publish(version=None)
    key = first.workflow.id

    with pytest.raises(InvalidState) as early:
        await room.workflows.archive_version(room.who, key, SemVer(1))
    await room.workflows.deprecate(room.who, key, SemVer(1))
    done = await room.workflows.archive_version(room.who, key, SemVer(1))
    with pytest.raises(InvalidState) as back:
        await room.workflows.deprecate(room.who, key, SemVer(1))
    with pytest.raises(InvalidState, match=r"version 1\.0\.0.*name another one"):
        await room.enqueue(version="1.0.0")
    with pytest.raises(InvalidState, match=r"All versions .* are deprecated or archived"):
        await room.enqueue()

    assert (early.value.reason, back.value.reason) == ("VERSION_NOT_DEPRECATED", "VERSION_ARCHIVED")
    assert done.version.state is VersionState.ARCHIVED


async def test_an_archived_workflow_is_changed_published_and_started_no_more(room):
    first = await room.publish(version=None)
    key = first.workflow.id
    await rewrite(room, key, version=None, steps=TWO)

    done = await room.workflows.archive(room.who, key)
    again = await room.workflows.archive(room.who, key)
    refused = []
    for call in (
        lambda: room.workflows.publish(room.who, key),
        lambda: room.workflows.update(room.who, key, display_name="x"),
        lambda: room.executions.enqueue(room.who, EnqueueRequest(workflow_name="w")),
    ):
        with pytest.raises(InvalidState) as caught:
            await call()
        refused.append(caught.value.reason)

    assert (done.workflow.status, done.created, again.created) == (
        WorkflowStatus.ARCHIVED,
        True,
        False,
    )
    assert refused == ["WORKFLOW_ARCHIVED"] * 3


async def test_only_a_draft_that_was_never_published_is_deleted(room):
    draft = await room.create("draft")
    published = await room.publish("published")

    gone = await room.workflows.delete(room.who, draft.id)
    with pytest.raises(InvalidState) as caught:
        await room.workflows.delete(room.who, published.workflow.id)

    assert gone == draft
    assert await room.workflows.find(room.who, id=draft.id) is None
    assert caught.value.reason == "WORKFLOW_PUBLISHED"
    assert [kind for kind, _, _ in await events(room, draft.id)] == ["created", "deleted"]
    assert (await room.create("draft")).id != draft.id


async def test_publishing_and_deleting_at_once_is_one_of_the_two(room):
    workflow = await room.create()

    done = await asyncio.gather(
        room.workflows.publish(room.who, workflow.id),
        room.workflows.delete(room.who, workflow.id),
        return_exceptions=True,
    )

    refused = [one for one in done if isinstance(one, Exception)]
    assert [type(one) for one in refused] in ([NotFound], [InvalidState])


async def test_history_tells_who_did_what_to_which_version(room):
    first = await room.publish()
    key, who = first.workflow.id, room.who.actor.subject
    await rewrite(room, key, version="2.0.0", steps=OTHER)
    await room.workflows.deprecate(room.who, key, SemVer(1), "old")
    await room.workflows.archive_version(room.who, key, SemVer(1))
    await room.workflows.archive(room.who, key, "done with it")

    told = await events(room, key)

    assert [(kind, data.get("version"), data.get("reason")) for kind, _, data in told] == [
        ("created", "1.0.0", None),
        ("published", "1.0.0", None),
        ("updated", "2.0.0", None),
        ("deprecated", "1.0.0", "old"),
        ("archived", "1.0.0", None),
        ("archived", None, "done with it"),
    ]
    assert {actor for _, actor, _ in told} == {who}


async def test_each_version_has_one_provenance_that_never_changes(room):
    first = await room.publish(version=None)
    second = await republish(room, first.workflow.id, version=None, steps=TWO)
    source = document(version=None, steps=TWO)

    rows = await room.engine.sql.fetch("select * from version_provenance order by version")

    row = rows[1]
    assert [one["version_id"] for one in rows] == [first.version.id, second.version.id]
    assert (row["digest"], row["source_digest"], row["source_format"]) == (
        str(second.version.digest),
        str(Digest.of(source.encode())),
        "json",
    )
    assert loads(row["actor"])["subject"] == room.who.actor.subject
    assert row["recorded_at"] == second.version.published_at
    for statement in (
        "update version_provenance set digest = 'x'",
        "delete from version_provenance",
    ):
        with pytest.raises(asyncpg.PostgresError, match="never changes"):
            await room.engine.sql.execute(statement)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("delete from workflow_versions", "never changes"),
        ("update workflow_versions set version = '9.0.0'", "never changes"),
        ("update workflow_versions set state = 0", "never changes"),
        ("truncate workflow_versions cascade", "never (changes|deleted)"),
        ("truncate version_provenance", "never changes"),
        ("delete from workflows", "foreign key"),
        ("update workflows set status = 1", "stays archived"),
    ],
)
async def test_the_database_itself_keeps_what_was_published(room, statement, message):
    first = await room.publish()
    await room.workflows.archive(room.who, first.workflow.id)

    with pytest.raises(asyncpg.PostgresError, match=message):
        await room.engine.sql.execute(statement)


@pytest.mark.parametrize("action", ["deprecate", "archive_version", "archive", "delete", "diff"])
async def test_nothing_without_its_scope_and_nothing_of_others(room, action):
    published = await room.publish()
    nobody, other = make.principal(scopes=frozenset()), make.principal(make.OTHER_TENANT)
    more = {
        "deprecate": (SemVer(1),),
        "archive_version": (SemVer(1),),
        "diff": (SemVer(1), SemVer(1)),
    }
    call = getattr(room.workflows, action)

    with pytest.raises(Denied):
        await call(nobody, published.workflow.id, *more.get(action, ()))
    with pytest.raises(NotFound):
        await call(other, published.workflow.id, *more.get(action, ()))


async def test_a_version_that_is_not_there(room):
    workflow = (await room.publish()).workflow

    for call in (
        room.workflows.deprecate(room.who, workflow.id, SemVer(7)),
        room.workflows.diff(room.who, workflow.id, SemVer(1), SemVer(7)),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason == "VERSION_NOT_FOUND"
