"""The input of a step that people are shown is the one that its row's digest is of: same expressions, same data, no secret."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from runtime.connectors.cancel import CancelSignal
from runtime.connectors.core_noop import Noop
from runtime.engine.command import RunStep
from runtime.engine.program import Program
from runtime.engine.state import COMPLETED, ExecutionState, RunInfo
from runtime.model.event import EventKind, ExecutionEvent
from runtime.model.execution import Execution, ExecutionStatus, StepStatus, TriggerKind
from runtime.model.identity import SYSTEM
from runtime.secrets.masker import Masker
from runtime.services.step_view import steps_of
from runtime.store.execution_record import AttemptRow
from runtime.telemetry.metrics import Metrics
from runtime.worker.attempt import begin
from runtime.worker.encode import digest, written
from runtime.worker.prepared import PreparedStep
from tests.support.plans import EXECUTION, plan_of

METRICS = Metrics()
COUNTER, SECONDS = METRICS.steps.labels("a", "b"), METRICS.step_seconds.labels("a")
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
SECRETS = {"TOKEN": "s3cr3t-token-value", "PIN": "0407-1199-2025"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
TEXTS = st.sampled_from(
    [
        "{{ steps.first.output }}",
        "{{ steps.first.status }} of {{ execution.workflow }}@{{ execution.version }}",
        "{{ params }}",
        "{{ params.amount * 3 }}",
        "{{ trigger.kind }}: {{ trigger.payload.amount }}",
        "{{ execution.id }} in {{ execution.namespace }}, made {{ execution.created_at }}",
        "{{ execution.generation }}",
        "{{ workload.identity }}",
        "Bearer {{ secrets.TOKEN }}",
        "{{ secrets.TOKEN | upper }}-{{ secrets.PIN }}",
        "plain",
    ]
)
BLOCKS = st.recursive(
    TEXTS | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
).map(lambda one: one if isinstance(one, dict) else {"it": one})  # fmt: skip


def called(program: Program, run: RunInfo, upstream):
    """What a worker renders and records."""
    state = ExecutionState(program, run)
    state.status[0], state.outputs[0] = COMPLETED, upstream
    step = program.steps[1]
    prepared = PreparedStep(
        program=step,
        connector=Noop(),
        connector_name="core.noop",
        timeout_seconds=None,
        tail="",
        constant=written(step.config.source) if step.config.is_constant else None,
        completed=COUNTER,
        seconds=SECONDS,
    )
    return begin(
        RunStep(1, 1),
        prepared,
        state,
        secrets=SECRETS,
        mask=Masker(SECRETS.values()).mask,
        cancel=CancelSignal(),
        now=0.0,
    )


@given(
    block=BLOCKS,
    upstream=JSON,
    amount=st.integers(0, 999),
    made_in=st.integers(0, 2),
    more=st.integers(0, 2),
)
def test_the_input_shown_is_the_one_of_the_digest(block, upstream, amount, made_in, more):
    program = Program.of(
        plan_of({"first": [], "second": ["first"]}, steps={"second": {"config": block}})
    )
    params = {"amount": amount}
    run = RunInfo(
        EXECUTION, params, made_in, version="1.2.3", created_at=AT.isoformat(), identity="acme/default/test"
    )  # fmt: skip
    attempt = called(program, run, upstream)
    generation = made_in + more
    execution = Execution(
        EXECUTION, UUID(int=1), UUID(int=2), UUID(int=3), ExecutionStatus.QUEUED, "default", generation,
        0, AT, SYSTEM, TriggerKind.API, input=params,
    )  # fmt: skip
    rows = [
        AttemptRow(0, -1, made_in, 1, StepStatus.COMPLETED, AT, AT, {"output": upstream}),
        AttemptRow(1, -1, made_in, 1, StepStatus.COMPLETED, AT, AT, {"in": attempt.input_digest}),
    ]
    retries = [
        ExecutionEvent(EXECUTION, UUID(int=1), n + 2, EventKind.EXECUTION_RETRIED, AT, {"from_failed_step": True})
        for n in range(generation)
    ]  # fmt: skip

    _, shown = steps_of(execution, program, "1.2.3", "acme", rows, retries)

    assert digest(shown.input) == shown.input_hash == attempt.input_digest
    told, sent = orjson.dumps(shown.input).decode(), orjson.dumps(attempt.rendered).decode()
    assert not any(secret.lower() in told.lower() for secret in SECRETS.values())
    if "secrets." not in str(block):
        assert shown.input == attempt.rendered
    else:
        assert any(secret.lower() in sent.lower() for secret in SECRETS.values())
