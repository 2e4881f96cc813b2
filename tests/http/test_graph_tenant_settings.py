"""What an operator sets over the graph: shown, changed with an event, and by nobody else."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tests.http.serving import Served

SHOW = """query ($id: ID) { tenantSettings(workflowId: $id) {
  workflowId maxRunning maxQueued dispatchWeight retentionDays } }"""
SET = """mutation ($input: UpdateTenantSettingsInput!) { updateTenantSettings(input: $input) {
  settings { workflowId maxRunning maxQueued dispatchWeight retentionDays }
  errors { code path ... on OperationError { reason } } } }"""
SOURCE = "name: set\nsteps:\n  - {id: one, uses: core.noop@1}\n"
NOTHING = dict.fromkeys(
    ("workflowId", "maxRunning", "maxQueued", "dispatchWeight", "retentionDays")
)
OPERATOR = ("settings:write",)


async def asked(server: Served, query: str, scopes: Any = (), **variables: Any) -> Any:
    header = server.bearer("viewer", scopes=scopes)
    return (await server.ask(query, variables, **header)).body


async def changed(server: Served, **input: Any) -> Any:
    body = await asked(server, SET, OPERATOR, input=input)
    assert "errors" not in body, body
    return body["data"]["updateTenantSettings"]


async def events(server: Served, noun: str) -> list[Any]:
    sql = await asyncpg.connect(
        server.rt.shards.catalog.url, server_settings={"search_path": "maestro"}
    )
    try:
        rows = await sql.fetch(
            "select d.actor ->> 'subject' as subject, d.kind, d.data ->> 'reason' as reason, d.data -> 'before' as before, d.data -> 'after' as after "
            "from domain_events d join tenants t on t.id = d.tenant_id where t.name = $1 and d.noun = $2 and d.kind = 'settings' order by d.seq",
            server.tenant, noun,
        )  # fmt: skip
        return [tuple(row) for row in rows]
    finally:
        await sql.close()


async def test_what_is_set_is_shown_and_told_with_actor_and_reason(tenant_server: Served) -> None:
    server = tenant_server

    assert (await asked(server, SHOW))["data"]["tenantSettings"] == NOTHING
    done = await changed(server, maxRunning=5, maxQueued=100, retentionDays=7, reason="busy")
    again = await changed(server, maxRunning=5)
    after = await changed(server, dispatchWeight=3, unset=["MAX_QUEUED"])

    assert done == {
        "settings": NOTHING | {"maxRunning": 5, "maxQueued": 100, "retentionDays": 7},
        "errors": [],
    }
    assert again == done
    shown = NOTHING | {"maxRunning": 5, "retentionDays": 7, "dispatchWeight": 3}
    assert after["settings"] == shown
    assert (await asked(server, SHOW))["data"]["tenantSettings"] == shown
    first, second = await events(server, "tenant")
    assert first[:3] == ("alice", "settings", "busy")
    assert second[3:] == (
        '{"max_queued": 100, "dispatch_weight": null}',
        '{"max_queued": null, "dispatch_weight": 3}',
    )


async def test_a_workflow_has_its_own(tenant_server: Served) -> None:
    server = tenant_server
    await server.publish(SOURCE, "set")
    query = '{ workflows(filter: {nameContains: "set"}) { edges { node { id } } } }'
    (edge,) = (await asked(server, query))["data"]["workflows"]["edges"]
    workflow = edge["node"]["id"]

    done = await changed(server, workflowId=workflow, maxRunning=2, retentionDays=1)
    less = await changed(server, workflowId=workflow, unset=["RETENTION_DAYS"])
    wrong = await changed(server, workflowId=workflow, maxQueued=2)

    assert done["settings"] == NOTHING | {
        "workflowId": workflow,
        "maxRunning": 2,
        "retentionDays": 1,
    }
    assert less["settings"] == NOTHING | {"workflowId": workflow, "maxRunning": 2}
    assert (await asked(server, SHOW, id=workflow))["data"]["tenantSettings"] == less["settings"]
    assert [error["reason"] for error in wrong["errors"]] == ["SETTING_OF_TENANT"]
    assert len(await events(server, "workflow")) == 2


@pytest.mark.parametrize(
    ("input", "reason", "path"),
    [
        ({}, "NOTHING_SET", "unset"),
        ({"maxRunning": 0}, "SETTING_OUT_OF_RANGE", "maxRunning"),
        ({"dispatchWeight": 101}, "SETTING_OUT_OF_RANGE", "dispatchWeight"),
        ({"maxQueued": 1, "unset": ["MAX_QUEUED"]}, "SET_AND_UNSET", "maxQueued"),
        ({"workflowId": "wf_nobodys", "maxRunning": 1}, "WORKFLOW_NOT_FOUND", "workflowId"),
    ],
)
async def test_what_is_refused_is_data(
    tenant_server: Served, input: dict[str, Any], reason: str, path: str
) -> None:
    done = await changed(tenant_server, **input)

    assert done["settings"] is None
    assert [(e["reason"], e["path"]) for e in done["errors"]] == [(reason, ["input", path])]
    assert await events(tenant_server, "tenant") == []


async def test_no_role_changes_its_own_share(tenant_server: Served) -> None:
    server = tenant_server
    header = server.bearer("admin")

    refused = (await server.ask(SET, {"input": {"maxRunning": 1}}, **header)).body
    unknown = await asked(server, SHOW, id="wf_nobodys")

    (error,) = refused["data"]["updateTenantSettings"]["errors"]
    assert (error["code"], error["reason"]) == ("FORBIDDEN", "MISSING_SCOPE")
    assert (await asked(server, SHOW))["data"]["tenantSettings"] == NOTHING
    assert unknown["data"] == {"tenantSettings": None}
    assert unknown["errors"][0]["extensions"]["code"] == "NOT_FOUND"
