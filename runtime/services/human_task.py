"""HumanTaskService: work that waits for people: created, taken, handed on, answered, and found again.

Every deed is decided by the rules of the model under the lock of the task's row, whichever way it was asked for, and
leaves an entry in the task's history with who, when, what and why.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from runtime.clock import Clock
from runtime.entropy import Entropy
from runtime.model import human_task_rules as rules
from runtime.model.errors import (
    BadInput,
    Denied,
    Invalid,
    MaestroError,
    NotFound,
    PayloadTooLarge,
)
from runtime.model.execution import ExecutionStatus
from runtime.model.human_task import (
    HumanTask,
    HumanTaskChange,
    HumanTaskFilter,
    NewHumanTask,
    state_of,
)
from runtime.model.human_task_rules import Changed, Person
from runtime.model.identity import Principal
from runtime.model.ids import slot_for
from runtime.model.page import Page, PageRequest
from runtime.model.values import Json
from runtime.queue.keys import class_of
from runtime.queue.stream import RedisQueue
from runtime.queue.wakeup import Wakeup
from runtime.services.access import ADMIN_TASKS, READ_TASKS, WRITE_TASKS, require
from runtime.services.judges import Judges
from runtime.services.message import finished
from runtime.services.storable import json_of, not_storable
from runtime.store.human_task import Decide, HumanTaskStore, Key, Outcome, Seeker
from runtime.store.idempotency import body_digest, check_key
from runtime.store.pool import Database
from runtime.store.shards import Shards
from runtime.store.tenant import TenantStore

MAX_NAME: Final = 255
MAX_TITLE: Final = 255
MAX_TEXT: Final = 20_000
MAX_PLACE: Final = 2_000
MAX_LIST: Final = 100
MAX_AT_ONCE: Final = 100
MAX_JSON_BYTES: Final = 65_536
MAX_RESPONSE_BYTES: Final = 32_768
MAX_PRIORITY: Final = 32_000
_LISTS: Final = ("outcomes", "candidate_users", "candidate_groups", "excluded", "attachments")
_LONG: Final = frozenset({"attachments"})


class HumanTaskService:
    """What people and programs may do with tasks."""

    def __init__(
        self,
        shards: Shards,
        tenants: TenantStore,
        judges: Judges,
        queue: RedisQueue,
        wakeup: Wakeup,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._shards = shards
        self._tenants = tenants
        self._judges = judges
        self._queue = queue
        self._wakeup = wakeup
        self._clock = clock
        self._entropy = entropy
        self._store = HumanTaskStore(shards)

    # --- reading -----------------------------------------------------------------------------------

    async def get_many(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, HumanTask]:
        """Those of the caller's tenant, by id."""
        require(who, READ_TASKS)
        return await self._store.get_many(who.tenant_id, ids)

    async def get(self, who: Principal, id: UUID) -> HumanTask:
        """One of them; raises NotFound."""
        found = (await self.get_many(who, [id])).get(id)
        if found is None:
            raise _unknown(id)
        return found

    async def list(
        self, who: Principal, wanted: HumanTaskFilter, page: PageRequest
    ) -> Page[HumanTask]:
        """A page: the newest first; of what is overdue, what has been so for the longest time."""
        require(who, READ_TASKS)
        tenant = await self._tenants.get(who.tenant_id) if self._shards.count > 1 else None
        spread = tenant is not None and tenant.spread
        homes: tuple[Database, ...] = self._shards.of_tenant(who.tenant_id, spread=spread)
        if wanted.execution_id is not None:
            homes = (self._shards.holding(wanted.execution_id),)
        seeker = Seeker(who.subject, who.groups)
        return await self._store.page(who.tenant_id, wanted, seeker, page, homes)

    async def history(self, who: Principal, id: UUID, page: PageRequest) -> Page[HumanTaskChange]:
        """What happened to a task, in order: all of it."""
        require(who, READ_TASKS)
        return await self._store.history(who.tenant_id, id, page)

    # --- deeds -------------------------------------------------------------------------------------

    async def create(
        self, who: Principal, new: NewHumanTask, *, key: str | None = None
    ) -> HumanTask:
        """Begin a task that stands on its own; a key that was used for the same gives the first one.

        Raises BadInput for what no task can be, Invalid for a form that is no JSON Schema, with all that is wrong.
        """
        _require_write(who)
        _person(who)
        now = self._clock.now()
        slot = slot_for(str(who.tenant_id))
        made = self._entropy.uuid7(int(now.timestamp() * 1000), slot)
        task = new.begun(made, who.tenant_id, who.actor, now)
        _check_words(task)
        if task.form is not None:
            await self._judges.schema(who.tenant_id, task.form, "form")
        claimed = _key(key, "create", {**state_of(task), "created_at": None})
        # A request that is repeated later is the same one, also when its times have passed since.
        if claimed is None or not await self._store.is_used(who.tenant_id, slot, claimed):
            rules.check_task(task, now)
        first = await self._store.open(task, claimed)
        self._ring(task)
        return task if first == made else await self.get(who, first)

    async def update(
        self, who: Principal, id: UUID, said: Mapping[str, Any], *, reason: str | None = None
    ) -> HumanTask:
        """Set some of `human_task_rules.UPDATABLE`; what changes nothing and has a reason is a comment."""

        def decide(task: HumanTask, at: datetime) -> Changed | None:
            _check_words(replace(task, **said))
            person = _person(who)
            found = rules.update(task, person, said, at, reason) if said else None
            return rules.comment(task, person, at, reason) if found is None and reason else found

        return await self._change(who, id, decide)

    async def claim(self, who: Principal, id: UUID, *, reason: str | None = None) -> HumanTask:
        """Take a task; nothing for who has it already."""
        return await self._change(
            who, id, lambda task, at: rules.claim(task, _person(who), at, reason)
        )

    async def release(self, who: Principal, id: UUID, *, reason: str | None = None) -> HumanTask:
        """Give it back to its candidates."""
        return await self._change(
            who, id, lambda task, at: rules.release(task, _person(who), at, reason)
        )

    async def assign(
        self, who: Principal, id: UUID, to: str, *, reason: str | None = None
    ) -> HumanTask:
        """Give it to somebody."""
        _check_name("assignee", to)
        return await self._change(
            who, id, lambda task, at: rules.assign(task, _person(who), to, at, reason)
        )

    async def delegate(
        self, who: Principal, id: UUID, to: str, *, reason: str | None = None
    ) -> HumanTask:
        """Hand it on."""
        _check_name("assignee", to)
        return await self._change(
            who, id, lambda task, at: rules.delegate(task, _person(who), to, at, reason)
        )

    async def escalate(
        self, who: Principal, id: UUID, to: str | None = None, *, reason: str | None = None
    ) -> HumanTask:
        """Do the next step of its chain now, or give it to somebody who is named."""
        if to is not None:
            _check_name("to", to)
        return await self._change(
            who, id, lambda task, at: rules.escalate(task, _person(who), to, at, reason)
        )

    async def cancel(self, who: Principal, id: UUID, *, reason: str | None = None) -> HumanTask:
        """End one that stands on its own without an answer."""
        return await self._change(
            who, id, lambda task, at: rules.cancel(task, _person(who), at, reason)
        )

    async def complete(
        self,
        who: Principal,
        id: UUID,
        outcome: str,
        response: Json = None,
        *,
        reason: str | None = None,
        key: str | None = None,
    ) -> HumanTask:
        """Answer a task: an outcome, and what its form asks for. Repeated with its key it changes nothing.

        Raises Invalid with every fault of the response, field by field; InvalidState, with who and when, for who comes
        second; and whatever the rules say.
        """
        _require_write(who)
        if len(json_of("response", response)) > MAX_RESPONSE_BYTES:
            raise PayloadTooLarge(
                f"A response has at most {MAX_RESPONSE_BYTES:,} bytes of JSON: pass a reference to where data lies.",
                reason="RESPONSE_TOO_LARGE",
                path=("response",),
            )
        claimed = _key(key, "complete", [str(id), who.subject, outcome, response])
        task, person = await self.get(who, id), _person(who)
        try:
            # What is refused in any case is not judged first, and is told with its reason.
            rules.answer(task, person, outcome, response, self._clock.now())
        except MaestroError as error:
            if claimed is None:
                raise
            return await self._change(who, id, _refusing(error), claimed)
        filled = await self._filled(task, response)
        return await self._change(
            who,
            id,
            lambda task, at: rules.answer(task, person, outcome, filled, at, reason),
            claimed,
        )

    async def assign_many(
        self, who: Principal, ids: Sequence[UUID], to: str, *, reason: str | None = None
    ) -> builtins.list[HumanTask | MaestroError]:
        """Give several to somebody, each for itself and in their order; in the place of one that is refused, why."""
        return await _each(who, ids, lambda one: self.assign(who, one, to, reason=reason))

    async def complete_many(
        self,
        who: Principal,
        ids: Sequence[UUID],
        outcome: str,
        response: Json = None,
        *,
        reason: str | None = None,
        key: str | None = None,
    ) -> builtins.list[HumanTask | MaestroError]:
        """Give several the same answer, each for itself and in their order; the key is one for each of them."""

        def complete(id: UUID) -> Awaitable[HumanTask]:
            own = None if check_key(key) is None else str(uuid5(id, str(key)))
            return self.complete(who, id, outcome, response, reason=reason, key=own)

        return await _each(who, ids, complete)

    async def _filled(self, task: HumanTask, response: Json) -> Json:
        """The response with the defaults of the form, which never changes; raises Invalid."""
        if task.form is None:
            return response
        try:
            return await self._judges.form(task.tenant_id, task.form, response)
        except Invalid as error:
            raise Invalid(
                [replace(one, path=("response", *one.path[1:])) for one in error.problems],
                reason="RESPONSE_INVALID",
            ) from None

    async def _change(
        self, who: Principal, id: UUID, decide: Decide, key: Key | None = None
    ) -> HumanTask:
        _require_write(who)
        found = await self._store.change(who.tenant_id, id, decide, key)
        if found is None:
            raise _unknown(id)
        self._wake(found)
        self._ring(found.task)
        return found.task

    def _ring(self, task: HumanTask) -> None:
        """Let whoever serves times look, where one may come sooner than it would."""
        if task.next_at is not None:
            self._wakeup.publish_events(self._shards.shard_of(task.id), [task.id])

    def _wake(self, outcome: Outcome) -> None:
        """Tell whoever has the execution that a message is there; raises when the execution takes none any more."""
        told, origin = outcome.told, outcome.task.origin
        if told is None or origin is None:
            return
        if not told.n:
            raise finished(origin.execution_id, told.status)
        shard = self._shards.shard_of(origin.execution_id)
        self._wakeup.publish_inbox(shard, [origin.execution_id])
        if told.status is ExecutionStatus.QUEUED:
            self._queue.add(shard, [(origin.execution_id, class_of(told.priority))])


async def _each(
    who: Principal, ids: Sequence[UUID], deed: Callable[[UUID], Awaitable[HumanTask]]
) -> list[HumanTask | MaestroError]:
    """One after the other, each a transaction of its own: what one is refused changes nothing for the others."""
    _require_write(who)
    if not 1 <= len(ids) <= MAX_AT_ONCE:
        raise BadInput(
            f"1 to {MAX_AT_ONCE} tasks are taken at once.",
            reason="TOO_MANY",
            path=("humanTaskIds",),
        )
    done: list[HumanTask | MaestroError] = []
    for one in ids:
        try:
            done.append(await deed(one))
        except MaestroError as error:
            done.append(error)
    return done


def _refusing(error: MaestroError) -> Decide:
    def decide(_task: HumanTask, _at: datetime) -> Changed | None:
        raise error

    return decide


def _require_write(who: Principal) -> None:
    require(who, READ_TASKS)
    require(who, WRITE_TASKS)


def _person(who: Principal) -> Person:
    if len(who.subject) > MAX_NAME:
        raise Denied(
            f"The subject of your token is longer than the {MAX_NAME} characters of a name in a task.",
            reason="SUBJECT_TOO_LONG",
        )
    return Person(who.actor, who.groups, who.has(ADMIN_TASKS))


def _key(key: str | None, deed: str, body: Any) -> Key | None:
    if check_key(key) is None or key is None:
        return None
    return Key(f"{deed}_human_task", key, body_digest(body))


def _unknown(id: UUID) -> NotFound:
    return NotFound(
        f"There is no human task {id}.", reason="HUMAN_TASK_NOT_FOUND", path=("humanTaskId",)
    )


def _check_words(task: HumanTask) -> None:
    """Raise for what can't be stored, or is more than a task holds."""
    _check_text("title", task.title, MAX_TITLE)
    if task.description is not None:
        _check_text("description", task.description, MAX_TEXT)
    for name in _LISTS:
        said: tuple[str, ...] = getattr(task, name)
        _check_length(name, said)
        for one in said:
            _check_text(name, one, MAX_PLACE if name in _LONG else MAX_NAME)
    _check_length("escalations", task.escalations)
    for step in task.escalations:
        for one in (*step.candidate_groups, *step.notify, *filter(None, (step.to, step.outcome))):
            _check_text("escalations", one, MAX_NAME)
    if task.assignee is not None:
        _check_name("assignee", task.assignee)
    if abs(task.priority) > MAX_PRIORITY:
        raise BadInput(
            f"A priority is from -{MAX_PRIORITY:,} to {MAX_PRIORITY:,}.",
            reason="PRIORITY",
            path=("priority",),
        )
    for name in ("data", "form"):
        size = len(json_of(name, getattr(task, name)))
        if name == "data" and size > MAX_JSON_BYTES:
            raise PayloadTooLarge(
                f"The data of a task has at most {MAX_JSON_BYTES:,} bytes of JSON: pass a reference to where it lies.",
                reason="DATA_TOO_LARGE",
                path=("data",),
            )


def _check_name(path: str, name: str) -> None:
    _check_text(path, name, MAX_NAME)


def _check_text(name: str, text: str, most: int) -> None:
    path = _camel(name)
    if "\0" in text:
        raise not_storable(path, f"`{path}` holds the character U+0000, which can't be stored.")
    if not text.strip() or len(text) > most:
        raise BadInput(
            f"`{path}` has 1 to {most:,} characters.", reason="TEXT_LENGTH", path=(path,)
        )


def _check_length(name: str, said: Sequence[object]) -> None:
    path = _camel(name)
    if len(said) > MAX_LIST:
        raise BadInput(
            f"`{path}` has at most {MAX_LIST} entries.", reason="LIST_TOO_LONG", path=(path,)
        )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
