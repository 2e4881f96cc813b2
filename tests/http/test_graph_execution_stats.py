"""Statistics through the graph: of the tenant, of one workflow, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.serving import Served

ENQUEUE = """mutation($input: [EnqueueExecutionInput!]!) { enqueueExecutions(input: $input) { createdCount } }"""
NUMBERS = """from to queued running completed failed cancelled timedOut deadLettered successRate durationP50 durationP95
  oldestQueuedAt backlogAge isPartial cost { amount currency }"""
STATS = f"""query($filter: ExecutionStatsFilter, $window: Duration = "PT24H", $created: TimeRange) {{
  executionStats(filter: $filter, window: $window) {{ {NUMBERS} }}
  workflow(name: "greet") {{ stats {{ queued completed }} }}
  executions(filter: {{status: [QUEUED], created: $created}}) {{ totalCount }} }}"""


async def asked(server: Served, **variables: Any) -> Any:
    return (await server.ask(STATS, variables)).body


async def test_numbers_are_those_of_the_lists(server: Served) -> None:
    await server.publish()
    inputs = [{"workflowName": "greet", "input": {"name": name}} for name in ("a", "b")]
    await server.ask(ENQUEUE, {"input": inputs})

    found = (await asked(server))["data"]
    narrowed = await asked(
        server, filter={"workflowName": ["greet"], "version": "1.0.0", "namespace": ["default"]}
    )
    elsewhere = await asked(server, filter={"namespace": ["other"]})

    stats = found["executionStats"]
    assert stats["queued"] == found["executions"]["totalCount"] == 2
    assert found["workflow"]["stats"] == {"queued": 2, "completed": 0}
    assert (stats["successRate"], stats["durationP95"], stats["cost"]) == (None, None, [])
    assert stats["from"].endswith(":00:00.000000Z")
    assert stats["oldestQueuedAt"] > stats["from"]
    assert stats["isPartial"] is False
    assert narrowed["data"]["executionStats"]["queued"] == 2
    assert elsewhere["data"]["executionStats"]["queued"] == 0
    assert elsewhere["data"]["executionStats"]["backlogAge"] is None


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"window": "PT59M"}, "STATS_WINDOW"),
        ({"window": "PT769H"}, "STATS_WINDOW"),
        ({"filter": {"created": {"from": "2020-01-01T00:00:00Z"}}}, "STATS_WINDOW"),
        ({"filter": {"version": "1.0.0"}}, "STATS_VERSION"),
    ],
)
async def test_what_is_not_counted_is_refused(server: Served, variables: Any, reason: str) -> None:
    (error,) = (await asked(server, **variables))["errors"]

    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["reason"] == reason
    assert error["path"] == ["executionStats"]
