"""DeadLetterService: look at executions that cost three workers and messages nobody can decode; redrive or discard.

A decision is one transaction over all letters that it names: all of them or none; with several
databases, one in each, begun only when all of them can be decided. A filter means the newest that can be: what
cannot be redriven any more stays open and stands before nothing. Repeating a decision by ids changes nothing and gives
the same letters.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from runtime.model.dead_letter import (
    DeadLetter,
    DeadLetterFilter,
    DeadLetterId,
    DeadLetterStatus,
)
from runtime.model.errors import BadInput, InvalidState, MaestroError, NotFound
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.values import Json
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.services.access import ADMIN_EXECUTIONS, require
from runtime.services.family import child_in_the_way
from runtime.store.dead_letter import DeadLetterStore, Decided, Decision
from runtime.store.family import open_child
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore
from runtime.store.workflow import actor_json

_CAP: Final = 10_000
MOST_AT_ONCE: Final = 1_000
_OUTCOME: Final[dict[Decision, DeadLetterStatus]] = {
    "redrive": DeadLetterStatus.REDRIVEN,
    "discard": DeadLetterStatus.DISCARDED,
}


class DeadLetterService:
    """What callers may do with dead letters."""

    def __init__(
        self, *, shards: Shards, tenants: TenantStore, queue: RedisQueue, wakeup: Wakeup
    ) -> None:
        self._shards = shards
        self._tenants = tenants
        self._store = DeadLetterStore(shards)
        self._queue = queue
        self._wakeup = wakeup

    async def get_many(
        self, who: Principal, ids: Sequence[DeadLetterId]
    ) -> dict[DeadLetterId, DeadLetter]:
        """Those of the caller's that exist, by id."""
        require(who, ADMIN_EXECUTIONS)
        return await self._store.get_many(who.tenant_id, ids)

    async def list(
        self, who: Principal, filter: DeadLetterFilter, page: PageRequest
    ) -> Page[DeadLetter]:
        """A page of the caller's dead letters, the newest first."""
        require(who, ADMIN_EXECUTIONS)
        return await self._store.page(who.tenant_id, filter, page, await self._homes(who))

    async def count(
        self, who: Principal, filter: DeadLetterFilter, cap: int = _CAP
    ) -> tuple[int, bool]:
        """How many there are, counted up to a cap, and whether there are more, or may be."""
        require(who, ADMIN_EXECUTIONS)
        return await self._store.count(who.tenant_id, filter, cap, await self._homes(who))

    async def redrive(
        self,
        who: Principal,
        *,
        ids: Sequence[DeadLetterId] = (),
        filter: DeadLetterFilter | None = None,
        reason: str | None = None,
        limit: int = 100,
    ) -> tuple[builtins.list[DeadLetter], int]:
        """Run executions again, as their next generation; leave messages again. The letters, and how many changed."""
        changed, letters = await self._decide(who, "redrive", ids, filter, reason, limit)
        for letter in changed:
            shard = self._shards.shard_of(letter.execution_id)
            self._queue.add(shard, [(letter.execution_id, class_of(0))])
            if letter.message:
                self._wakeup.publish_inbox(shard, [letter.execution_id])
        return letters, len(changed)

    async def discard(
        self,
        who: Principal,
        *,
        ids: Sequence[DeadLetterId] = (),
        filter: DeadLetterFilter | None = None,
        reason: str | None = None,
        limit: int = 100,
    ) -> tuple[builtins.list[DeadLetter], int]:
        """Leave them dead for good; the letters, and how many changed."""
        changed, letters = await self._decide(who, "discard", ids, filter, reason, limit)
        return letters, len(changed)

    async def _decide(
        self,
        who: Principal,
        decision: Decision,
        ids: Sequence[DeadLetterId],
        filter: DeadLetterFilter | None,
        reason: str | None,
        limit: int,
    ) -> tuple[builtins.list[DeadLetter], builtins.list[DeadLetter]]:
        require(who, ADMIN_EXECUTIONS)
        wanted = await self._wanted(who, decision, ids, filter, limit)
        places: defaultdict[Database, builtins.list[DeadLetterId]] = defaultdict(builtins.list)
        # In order of their ids, so that two decisions over the same letters wait, not deadlock.
        for one in sorted(wanted, key=str):
            places[self._shards.holding(one.execution_id)].append(one)
        if len(places) > 1 and filter is None:
            await self._refuse_early(who, decision, wanted)
        changed: set[DeadLetterId] = set()
        for database, some in places.items():
            async with database.engine() as connection, connection.transaction():
                for one in some:
                    done = await self._decided(connection, who, decision, one, reason)
                    if done.changed:
                        changed.add(one)
                    elif done.status is not _OUTCOME[decision] and filter is None:
                        raise await self._refused(connection, one, decision, done)
        for one in changed:
            shard = self._shards.shard_of(one.execution_id)
            self._wakeup.publish_events(shard, [one.execution_id])
        found = await self._store.get_many(who.tenant_id, wanted)
        letters = [found[one] for one in wanted if one in found]
        return [letter for letter in letters if letter.id in changed], letters

    async def _decided(
        self,
        connection: Any,
        who: Principal,
        decision: Decision,
        one: DeadLetterId,
        reason: str | None,
    ) -> Decided:
        """Decide one letter in the caller's transaction."""
        event: Json = {
            "actor": actor_json(who.actor),
            "reason": reason,
            "from_failed_step": True,
            "dead_letter": str(one),
        }
        return await self._store.decide(
            connection,
            decision,
            self._shards.shard_of(one.execution_id),
            who.tenant_id,
            one,
            actor=who.actor,
            reason=reason,
            event=event,
        )

    async def _refused(
        self, connection: Any, one: DeadLetterId, decision: Decision, done: Decided
    ) -> MaestroError:
        """Why a letter was not decided, as the transaction sees it."""
        if done.status is DeadLetterStatus.OPEN and decision == "redrive" and not one.message:
            shard = self._shards.shard_of(one.execution_id)
            child = await open_child(connection, shard, one.execution_id)
            if child is not None:
                return child_in_the_way(one.execution_id, child)
        return _refusal(one, decision, done)

    async def _refuse_early(
        self, who: Principal, decision: Decision, wanted: Sequence[DeadLetterId]
    ) -> None:
        """Before the first of several transactions: what is seen now to be refused changes nothing at all."""
        found = await self._store.get_many(who.tenant_id, wanted)
        for one in wanted:
            status = found[one].status if one in found else None
            if status not in {DeadLetterStatus.OPEN, _OUTCOME[decision]}:
                raise _refusal(one, decision, Decided(status, changed=False))

    async def _homes(self, who: Principal) -> tuple[Database, ...]:
        """The databases in which dead letters of the caller's tenant may be."""
        tenant = await self._tenants.get(who.tenant_id) if self._shards.count > 1 else None
        spread = tenant is not None and tenant.spread
        return self._shards.of_tenant(who.tenant_id, spread=spread)

    async def _wanted(
        self,
        who: Principal,
        decision: Decision,
        ids: Sequence[DeadLetterId],
        filter: DeadLetterFilter | None,
        limit: int,
    ) -> builtins.list[DeadLetterId]:
        """The letters that are meant: those named, or the newest of a filter that can be decided so."""
        if bool(ids) == (filter is not None):
            raise BadInput(
                "Name dead letters by `ids` or by `filter`, one of both.", reason="IDS_OR_FILTER"
            )
        if len(ids) > MOST_AT_ONCE or not 1 <= limit <= MOST_AT_ONCE:
            raise BadInput(
                f"At most {MOST_AT_ONCE} dead letters are decided at once.", reason="TOO_MANY"
            )
        if filter is None:
            return builtins.list(dict.fromkeys(ids))
        if filter.status not in {(), (DeadLetterStatus.OPEN,)}:
            raise BadInput(
                "Only open dead letters are decided: leave `status` out of the filter.",
                reason="NOT_OPEN",
            )
        only_open = replace(filter, status=(DeadLetterStatus.OPEN,))
        homes = await self._homes(who)
        if decision == "redrive":
            return await self._store.redrivable(who.tenant_id, only_open, limit, homes)
        page = await self._store.page(who.tenant_id, only_open, PageRequest(limit), homes)
        return [letter.id for letter in page.items]


def _refusal(id: DeadLetterId, decision: Decision, done: Decided) -> MaestroError:
    if done.status is None:
        return NotFound(
            f"There is no dead letter {id}.", reason="DEAD_LETTER_NOT_FOUND", path=("ids",)
        )
    if done.status is DeadLetterStatus.OPEN and id.message:
        return InvalidState(
            f"The execution of the message {id} has ended or is gone; the message can only be discarded.",
            reason="EXECUTION_FINISHED",
        )
    if done.status is DeadLetterStatus.OPEN:
        return InvalidState(
            f"The execution of the dead letter {id} is gone; the letter can only be discarded.",
            reason="EXECUTION_GONE",
        )
    return InvalidState(
        f"The dead letter {id} was {done.status.name.lower()} already; it can't be "
        f"{_OUTCOME[decision].name.lower()} any more.",
        reason="DEAD_LETTER_DECIDED",
    )
