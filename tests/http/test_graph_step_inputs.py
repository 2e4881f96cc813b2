"""Inputs of steps in an answer: bounded, and derived from each large value once, however many of them are asked for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from resolvers import dataloaders
from runtime.model.errors import PayloadTooLarge
from runtime.services.derived_input import Allowance, InputKey
from runtime.services.step_view import StepView
from runtime.store.blob import Blobs
from runtime.store.execution_item import ItemRecords
from runtime.store.execution_record import ExecutionRecords
from tests.http.serving import Served

LARGE = 40_000
LAST = 12
WIDE = (
    "name: wide\nversion: 1.0.0\nparams: {text: {type: string}}\nsteps:\n"
    '  - {id: s0, uses: core.set@1, with: {copy: "{{ params.text }}"}}\n'
    + "".join(
        f"  - {{id: s{n}, uses: core.set@1, depends_on: [s0],\n"
        '     with: {a: "{{ params.text | length }}", b: "{{ steps.s0.output.copy | length }}"}}\n'
        for n in range(1, LAST + 1)
    )
)
EACH = """
name: each
version: 1.0.0
params: {text: {type: string}}
steps:
  - id: all
    type: map
    for_each: "{{ [1, 2, 3, 4, 5] }}"
    task: {uses: core.set@1, with: {size: "{{ params.text | length + item }}"}}
"""
MULTIPLE = (
    "name: multiple\nversion: 1.0.0\nparams: {text: {type: string}}\nsteps:\n  - id: s0\n    uses: core.set@1\n"
    "    with:\n" + "".join(f'      k{n}: "{{{{ params.text }}}}"\n' for n in range(40))
)


async def ended(server: Served, name: str, source: str, length: int) -> str:
    """An execution that is over; its input is a text so long."""
    await server.publish(source, name)
    async with server.client() as session:
        one = await server.enqueue(session, workflowName=name, input={"text": "x" * length})
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    async for _ in server.rt.services.executions.watch(who, UUID(one)):
        continue
    return one


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often executions are read and replayed, values loaded and rows of items read."""
    counts = dict.fromkeys(("attempts", "load", "rows", "of"), 0)
    for kind, name in (ExecutionRecords, "attempts"), (Blobs, "load"), (ItemRecords, "rows"):
        whole = getattr(kind, name)

        async def counted(*given: Any, _whole: Any = whole, _name: str = name, **more: Any) -> Any:
            counts[_name] += bool(given[2])
            return await _whole(*given, **more)

        monkeypatch.setattr(kind, name, counted)
    made = StepView.of

    def of(*given: Any, **more: Any) -> StepView:
        counts["of"] += 1
        return made(*given, **more)

    monkeypatch.setattr(StepView, "of", of)
    return counts


async def test_inputs_of_all_steps_read_an_execution_and_each_large_value_once(
    server: Served, worker: None, calls: dict[str, int]
) -> None:
    one = await ended(server, "wide", WIDE, LARGE)
    calls |= dict.fromkeys(calls, 0)

    answer = await server.ask(
        "query($id: ID!) { execution(id: $id) { steps { input } } }", {"id": one}
    )

    first, *rest = [step["input"] for step in answer.body["data"]["execution"]["steps"]]
    assert first == {"copy": "x" * LARGE}
    assert rest == [{"a": LARGE, "b": LARGE}] * LAST
    assert calls["load"] == 2
    assert calls["attempts"] == calls["of"] == 1

    calls |= dict.fromkeys(calls, 0)
    names = " ".join(
        f"a{n}: execution(id: $id, at: {n}) {{ steps {{ input }} }}" for n in range(6, 9)
    )
    past = await server.ask(f"query($id: ID!) {{ {names} }}", {"id": one})

    shown = [step["input"] for then in past.body["data"].values() for step in then["steps"]]
    assert {"copy": "x" * LARGE} in shown
    # Once for what was there at each event, once more for their inputs.
    assert calls["of"] <= 2 * 3
    assert calls["load"] <= 2


async def test_inputs_of_items_read_their_rows_at_once(
    server: Served, worker: None, calls: dict[str, int]
) -> None:
    one = await ended(server, "each", EACH, LARGE)
    calls |= dict.fromkeys(calls, 0)

    answer = await server.ask(
        'query($id: ID!) { execution(id: $id) { step(key: "all") { items { edges { node { input } } } } } }',
        {"id": one},
    )

    edges = answer.body["data"]["execution"]["step"]["items"]["edges"]
    assert [edge["node"]["input"] for edge in edges] == [{"size": LARGE + n} for n in range(1, 6)]
    assert calls["load"] == 1
    assert calls["rows"] == 2  # The page, and the inputs.


async def test_a_value_counts_once_for_all_who_ask_together(
    server: Served, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ended(server, "wide", WIDE, LARGE)
    monkeypatch.setattr(dataloaders, "Allowance", lambda: Allowance(int(LARGE * 2.5)))
    asked = """query($id: ID!) { execution(id: $id) { steps { input } } }"""

    together = await server.ask(asked, {"id": one})

    assert together.codes == []


async def test_all_inputs_of_an_answer_share_the_allowance(
    server: Served, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks later: which fields of an operation ask together is up to what executes it."""
    one = await ended(server, "shared", WIDE.replace("name: wide", "name: shared"), LARGE)
    monkeypatch.setattr(dataloaders, "Allowance", lambda: Allowance(int(LARGE * 2.5)))
    who = await server.rt.authenticator.principal(server.bearer()["Authorization"], None)
    services = server.rt.services
    loaders = dataloaders.Loaders(
        who,
        services.workflows,
        services.executions,
        services.artifacts,
        services.dead_letters,
        services.bulk,
        services.stats,
        services.human_tasks,
    )

    first = await loaders.step_input.load(InputKey(UUID(one), "s1"))

    assert first == {"a": LARGE, "b": LARGE}
    with pytest.raises(PayloadTooLarge) as caught:
        await loaders.step_input.load(InputKey(UUID(one), "s2"))
    assert caught.value.reason == "STEP_INPUTS"


@pytest.mark.parametrize("length", [30_000, LARGE])
async def test_an_input_over_a_mebibyte_is_null_whatever_it_is_derived_from(
    server: Served, worker: None, length: int
) -> None:
    one = await ended(server, "multiple", MULTIPLE, length)

    answer = await server.ask(
        "query($id: ID!) { execution(id: $id) { steps { input } } }", {"id": one}
    )

    assert answer.body == {"data": {"execution": {"steps": [{"input": None}]}}}
