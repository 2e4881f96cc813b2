"""Versions through the graph: what changed, numbers that are too small, and the end of versions and workflows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.serving import GREET, Served

OTHER = """name: greet
steps:
  - {id: welcome, uses: core.set@1, with: {'x-id': 2}}
"""
DIFF = """
  compatibility suggestedBump unchanged workflow { name } from { version state } to { version state }
  added { key configHash } removed { key } moved { key before after } hashes { key before after }
  changed { key before { configHash } after { configHash } changes { path kind before after } }
  metadata { path kind } effects { rule message path compatibility }
"""
PUBLISH = f"""mutation($input: PublishWorkflowInput!) {{ publishWorkflow(input: $input) {{
  created version {{ version }} diff {{ {DIFF} }} errors {{ code path message ... on OperationError {{ reason }} }} }} }}"""
UPDATE = """mutation($input: UpdateWorkflowInput!) { updateWorkflow(input: $input) { errors { message } } }"""


@pytest.fixture
def server(tenant_server: Served) -> Served:
    """These tests only speak to it."""
    return tenant_server


def ending(mutation: str, kind: str, shown: str) -> str:
    return f"""mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {shown}
      errors {{ code ... on OperationError {{ reason }} }} }} }}"""


DEPRECATE = ending("deprecateWorkflowVersion", "WorkflowVersionRefInput", "created version { state } workflow { currentVersion { version } }")  # fmt: skip
ARCHIVE_VERSION = ending("archiveWorkflowVersion", "WorkflowVersionRefInput", "version { state }")
ARCHIVE = ending("archiveWorkflow", "WorkflowRefInput", "workflow { status }")
DELETE = ending("deleteWorkflow", "WorkflowRefInput", "deletedId workflow { id }")
CREATE = """mutation($input: CreateWorkflowInput!) { createWorkflow(input: $input) { workflow { id } } }"""


async def done(server: Served, query: str, **input: Any) -> Any:
    answer = await server.ask(query, {"input": input})
    (payload,) = answer.body["data"].values()
    return payload


async def test_what_changed_is_shown_before_and_after_it_is_published(server: Served) -> None:
    key = await server.publish()
    await done(server, UPDATE, workflowId=key, source=OTHER)
    query = f"""query($id: ID!) {{
      workflow(id: $id) {{ diff(from: "1.0.0") {{ {DIFF} }} }}
      workflowDiff(workflowId: $id, from: "1.0.0") {{ {DIFF} }} }}"""

    asked = (await server.ask(query, {"id": key})).body["data"]
    small = await done(server, PUBLISH, workflowId=key, bump="MINOR")
    made = await done(server, PUBLISH, workflowId=key)

    draft = asked["workflow"]["diff"]
    assert asked["workflowDiff"] == draft
    assert (draft["from"]["state"], draft["to"]["state"]) == ("PUBLISHED", "DRAFT")
    assert [one["key"] for one in draft["added"]] == ["welcome"]
    assert (draft["compatibility"], draft["suggestedBump"]) == ("BREAKING", "MAJOR")
    assert {one["rule"] for one in draft["effects"]} >= {"step-removed"}
    assert {one["key"] for one in draft["hashes"]} >= {"welcome"}
    assert [(one["code"], one["reason"]) for one in small["errors"]] == [
        ("CONFLICT", "VERSION_TOO_SMALL")
    ]
    assert (made["version"]["version"], made["diff"]["to"]["version"]) == ("2.0.0", "2.0.0")
    assert made["diff"]["added"] == draft["added"]


async def test_a_changed_step_shows_its_fields(server: Served) -> None:
    key = await server.publish(OTHER)
    await done(server, UPDATE, workflowId=key, source=OTHER.replace("'x-id': 2", "'x-id': [2]"))

    found = (await done(server, PUBLISH, workflowId=key, allowSmaller=True))["diff"]

    (step,) = found["changed"]
    assert step["changes"] == [
        {"path": "with['x-id']", "kind": "CHANGED", "before": 2, "after": [2]}
    ]
    assert step["before"]["configHash"] != step["after"]["configHash"]
    assert found["suggestedBump"] == "PATCH"


async def test_the_end_of_versions_and_of_workflows(server: Served) -> None:
    key = await server.publish()
    early = await done(server, ARCHIVE_VERSION, workflowId=key, version="1.0.0")
    deprecated = await done(server, DEPRECATE, workflowId=key, version="1.0.0", reason="old")
    archived = await done(server, ARCHIVE_VERSION, workflowId=key, version="1.0.0")
    ended = await done(server, ARCHIVE, workflowId=key)
    kept = await done(server, DELETE, workflowId=key)

    assert early["errors"][0]["reason"] == "VERSION_NOT_DEPRECATED"
    assert deprecated == {
        "created": True,
        "version": {"state": "DEPRECATED"},
        "workflow": {"currentVersion": None},
        "errors": [],
    }
    assert archived["version"]["state"] == "ARCHIVED"
    assert ended["workflow"]["status"] == "ARCHIVED"
    assert kept["errors"] == [{"code": "INVALID_STATE", "reason": "WORKFLOW_PUBLISHED"}]


async def test_a_draft_is_deleted(server: Served) -> None:
    made = await done(server, CREATE, name="greet", source=GREET)
    key = made["workflow"]["id"]

    gone = await done(server, DELETE, workflowId=key)
    again = await done(server, DELETE, workflowId=key)

    assert gone == {"deletedId": key, "workflow": None, "errors": []}
    assert again["errors"] == [{"code": "NOT_FOUND", "reason": "WORKFLOW_NOT_FOUND"}]


async def test_a_version_that_is_not_there_is_an_error_of_the_response(server: Served) -> None:
    key = await server.publish()
    query = """query($id: ID!) { workflowDiff(workflowId: $id, from: "7.0.0") { unchanged } }"""

    for asked in (key, "wf_01890a5d-ac96-774b-bcce-b302099a8057", "nothing"):
        answer = await server.ask(query, {"id": asked})

        assert answer.codes == ["NOT_FOUND"]
