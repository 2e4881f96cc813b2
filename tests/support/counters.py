"""Counters of executions against the rows that they count: what every test of a crash or a deletion may ask at its end."""

from __future__ import annotations

from typing import Any

# What counters and rows do not agree on, folded rows of all workflows that are not the sum of those of each, and days that are not the sum of
# their hours.
_WRONG = """
with folded as (select tenant_id, workflow_id, version_id, namespace, hour, day, state, slot, currency, n, amount from maestro.execution_counts),
known as (
  select f.* from folded f where f.workflow_id <> '00000000-0000-0000-0000-000000000000'
  union all select tenant_id, workflow_id, version_id, namespace, hour, day, state, slot, coalesce(currency, ''), n, coalesce(amount, 0)
    from maestro.execution_deltas
  union all select tenant_id, workflow_id, version_id, namespace, hour, day, state, slot, coalesce(currency, ''), n, coalesce(amount, 0)
    from maestro.mc_counts_of('maestro.workflow_executions', 'maestro.step_executions', null, -1)),
each as (select * from folded where workflow_id <> '00000000-0000-0000-0000-000000000000'),
all_of_them as (select * from folded where workflow_id = '00000000-0000-0000-0000-000000000000'),
summed as (
  select tenant_id, namespace, hour, day, state, slot, currency, n, amount from each
  union all select tenant_id, namespace, hour, day, state, slot, currency, -n, -amount from all_of_them where namespace <> ''
  union all select tenant_id, '', hour, day, state, slot, currency, n, amount from each
  union all select tenant_id, '', hour, day, state, slot, currency, -n, -amount from all_of_them where namespace = ''),
days as (
  select tenant_id, workflow_id, version_id, namespace, (hour at time zone 'UTC')::date as created_on, day, state, slot, currency, n, amount from folded
   where state not in (0, 1, 3, 8, 9, 10)
  union all select tenant_id, workflow_id, version_id, namespace, created_on, day, state, slot, currency, -n, -amount from maestro.execution_day_counts)
select 'counters' as what, state, sum(n) as n, sum(amount) as amount from known
 group by tenant_id, workflow_id, version_id, namespace, hour, day, state, slot, currency having sum(n) <> 0 or sum(amount) <> 0
union all
select 'all workflows', state, sum(n), sum(amount) from summed
 group by tenant_id, namespace, hour, day, state, slot, currency having sum(n) <> 0 or sum(amount) <> 0
union all
select 'days', state, sum(n), sum(amount) from days
 group by tenant_id, workflow_id, version_id, namespace, created_on, day, state, slot, currency having sum(n) <> 0 or sum(amount) <> 0"""


async def miscounted(connection: Any) -> list[tuple[Any, ...]]:
    """What is counted and is not there, or the other way round; empty as it should be."""
    return [tuple(row) for row in await connection.fetch(_WRONG)]
