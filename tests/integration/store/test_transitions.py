"""I5 in the database: no function makes a transition that the model does not know, whatever the status before."""

from __future__ import annotations

from itertools import product

import pytest

from runtime.entropy import SystemEntropy
from runtime.model.checkpoint import Closing, FlushOutcome, InboxKind
from runtime.model.execution import TRANSITIONS, ExecutionStatus
from runtime.store.execution import RETRYABLE, REWINDABLE
from tests import make

S = ExecutionStatus
ME, OTHER, LEASE = 1, 2, 60.0


async def _begin(room, before: ExecutionStatus, *, takeovers: int = 0):
    """An execution in a status, whatever it takes; a worker that may act, and one that is dead."""
    epoch = await room.store.register(0, ME, "host:1", LEASE)
    await room.store.register(0, OTHER, "host:2", LEASE)
    (execution,) = await room.queue()
    await room.sql.execute(
        "update workflow_executions set status = $2, owner = $3, takeovers = $6, epoch = 7, wait = $4,"
        " wake_at = now() - interval '1 second', finished_at = $5 where id = $1",
        execution, before, OTHER if before is S.RUNNING else None, 0 if before is S.WAITING else None,
        make.now() if before.is_terminal else None, takeovers,
    )  # fmt: skip
    if before is S.RUNNING:
        return execution, epoch
    await room.sql.execute(
        "insert into dead_letters (execution_id, generation, shard, tenant_id, reason, error, losses, evidence)"
        " values ($1, 0, 0, $2, 'owner_lost', '{}', 3, '{}')",
        execution,
        make.TENANT,
    )
    return execution, epoch


async def _claim(room, one, epoch):
    await room.store.claim(0, ME, epoch, [one])


async def _claim_alone(room, _one, epoch):
    await room.store.claim_alone(0, ME, epoch)


async def _due(room, _one, epoch):
    await room.store.due(0, ME, epoch, 10)


async def _takeover(room, _one, epoch):
    await room.expire(OTHER)
    await room.store.bury(0, ME)
    await room.store.takeover(0, ME, epoch, 10)


async def _give_up(room, one, epoch):
    await room.sql.execute(
        "update workflow_executions set owner = $2 where owner is not null and id = $1", one, ME
    )
    await room.store.give_up(0, ME, epoch, one, {})


async def _send(room, one, _epoch):
    async with room.database.engine() as connection:
        await room.store.send(0, make.TENANT, one, InboxKind.CANCEL, {}, connection)


async def _retry(room, one, _epoch):
    async with room.database.engine() as connection:
        await room.store.retry(0, make.TENANT, one, {}, connection)


async def _begin_again(room, one, _epoch):
    async with room.database.engine() as connection:
        await room.store.rewind(0, make.TENANT, one, {}, connection)


async def _migrate(room, one, _epoch):
    async with room.database.engine() as connection:
        row = await room.row(one)
        await connection.fetch(
            "select * from mc_migrate(0::smallint, $1, $2, $3, $4, '2.0.0', $5, 1, '{}')",
            make.TENANT, one, row["version_id"], SystemEntropy().uuid7(1), row["epoch"],
        )  # fmt: skip


async def _decide(room, one, verb):
    await room.sql.execute(
        f"select * from mc_{verb}_2(0::smallint, $1, $2, 0::smallint, 0, '{{}}', null, '{{}}')",
        make.TENANT,
        one,
    )


async def _redrive(room, one, _epoch):
    await _decide(room, one, "redrive")


async def _discard(room, one, _epoch):
    await _decide(room, one, "discard")


async def _enqueue_again(room, one, _epoch):
    with pytest.raises(Exception, match=r"duplicate key|can't be stored"):
        await room.enqueuer.enqueue(make.enqueue_row(id=one))


FUNCTIONS = {
    function.__name__.strip("_"): function
    for function in (
        _claim, _claim_alone, _due, _takeover, _give_up, _send, _retry, _begin_again, _migrate,
        _redrive, _discard, _enqueue_again,
    )
}  # fmt: skip
MAKES = {
    "claim": {S.QUEUED: S.RUNNING},
    "claim_alone": {S.QUEUED: S.RUNNING},
    "due": {S.WAITING: S.RUNNING},
    "takeover": {S.RUNNING: S.DEAD_LETTERED},
    "give_up": {S.RUNNING: S.DEAD_LETTERED},
    "send": {S.WAITING: S.QUEUED},
    "retry": dict.fromkeys(RETRYABLE, S.QUEUED),
    "begin_again": dict.fromkeys(REWINDABLE, S.QUEUED),
    "migrate": {S.WAITING: S.QUEUED},
    "redrive": {S.DEAD_LETTERED: S.QUEUED},
    "discard": {},
    "enqueue_again": {},
}


@pytest.mark.parametrize(("name", "before"), list(product(FUNCTIONS, S)))
async def test_a_function_leaves_alone_what_it_is_not_for(room, name, before):
    execution, epoch = await _begin(room, before, takeovers=0 if name == "claim" else 2)

    await FUNCTIONS[name](room, execution, epoch)

    after = S((await room.row(execution))["status"])
    assert after is MAKES[name].get(before, before)
    assert after is before or after in TRANSITIONS[before]


@pytest.mark.parametrize("before", [status for status in S if status is not S.RUNNING])
@pytest.mark.parametrize("after", [status for status in S if status is not S.RUNNING])
async def test_a_checkpoint_closes_only_what_its_worker_runs(room, before, after):
    """What is queued, parked or over has no owner, so nobody's flush can change it."""
    execution, epoch = await _begin(room, before)

    (result,) = await room.flush(
        ME, epoch, make.checkpoint(execution, closing=Closing(execution, after))
    )

    assert result.outcome is FlushOutcome.REJECTED
    assert (await room.row(execution))["status"] == before


@pytest.mark.parametrize("after", [status for status in S if status is not S.RUNNING])
async def test_a_checkpoint_may_close_what_runs_as_anything_that_may_follow(room, after):
    epoch, (execution,) = await room.own(count=1)

    (result,) = await room.flush(
        ME, epoch, make.checkpoint(execution, closing=Closing(execution, after))
    )

    assert result.outcome is FlushOutcome.COMMITTED
    assert after in TRANSITIONS[S.RUNNING]
    assert (await room.row(execution))["status"] == after


async def test_no_other_function_writes_a_status(room):
    """Who adds one must add it above."""
    writers = await room.sql.fetch(
        "select p.proname from pg_proc p where p.pronamespace = 'maestro'::regnamespace"
        " and p.prosrc ~* 'update workflow_executions' and p.prosrc ~ '\\mstatus = ' order by 1"
    )
    known = {
        "claim", "claim_alone", "due", "takeover", "send", "begin_again", "migrate", "flush", "give_up",
    }  # fmt: skip

    found = {row["proname"].removeprefix("mc_").rstrip("_0123456789") for row in writers}
    assert found <= known
