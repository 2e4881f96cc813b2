"""What the hot functions of PostgreSQL do, as small tables in memory. Sequential: one call, one commit.

Each method stands for the statement of the same name in runtime/store/sql and takes its arguments. The
scenarios of tests/simulator/scenarios.py run on this and on real PostgreSQL and must give the same rows.
`mutants` are clauses that are left out on purpose, to prove that the simulator notices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any
from uuid import UUID

import orjson

from runtime.model.blob import BlobRef, stored
from runtime.model.checkpoint import InboxKind
from runtime.model.event import EventKind
from tests.simulator import lanes
from tests.simulator.cache import CacheTable
from tests.simulator.chunk import Chunk
from tests.simulator.dispatch import handed_out
from tests.simulator.limits import Limits
from tests.simulator.maps import records_of, results_of
from tests.simulator.people import TaskTable
from tests.simulator.tables import (
    DEAD,
    FENCED_OFF,
    OPEN,
    OWNED,
    QUEUED,
    RUNNING,
    WAITING,
    Commit,
    Execution,
    Refused,
    Row,
    Seat,
    instant_of,
    json_of,
    read_array,
    rows_of,
)
from tests.simulator.tags import lure, waiting
from tests.simulator.waits import next_due

_COMPLETED, _REWOUND, _RETRIED, _TIMER, _PAUSED = 2, 10, 11, 0, 5
_TAKEN_OVER, _DEAD_LETTERED, _SUSPECT, _POISON = 13, 14, 2, 3
_NEWER = "a newer execution has the same concurrency key"


class Model:
    """The tables, and the functions on them."""

    def __init__(self, clock: Callable[[], float], mutants: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._mutants = mutants
        self.seats: dict[int, Seat] = {}
        self.executions: dict[UUID, Execution] = {}
        self.keys: dict[tuple[UUID, str], tuple[bytes, UUID]] = {}
        self.blob_refs: set[tuple[UUID, str]] = set()
        self.chunks: dict[tuple[UUID, int, int], Chunk] = {}
        self.cache = CacheTable()
        self.tasks = TaskTable(mutants)
        self.limits = Limits()
        self.on_commit: Callable[[Commit], None] = lambda _commit: None
        # Whether some live connection has appeared as this worker, and whether the server runs long enough to judge by it.
        self.is_present: Callable[[int], bool] = lambda _me: False

    @property
    def now(self) -> float:
        """By the clock of the database."""
        return self._clock()

    def call(self, name: str, *arguments: Any) -> list[Row]:
        """Do what the statement does."""
        method: Callable[..., list[Row]] = getattr(self, name)
        return method(*arguments)

    def _commit(self, name: str, me: int | None, touched: Sequence[UUID]) -> None:
        self.on_commit(Commit(name, me, tuple(touched)))

    # --- workers ---------------------------------------------------------------------------------

    def is_live(self, me: int, epoch: int) -> bool:
        return me in self.seats and self.seats[me].epoch == epoch

    def _fence(self, me: int, epoch: int) -> None:
        if not self.is_live(me, epoch):
            raise Refused(FENCED_OFF, "this worker was fenced off")

    def register(self, shard: int, me: int, host: str, lease: float, tags: Any) -> list[Row]:
        if me in self.seats:
            raise Refused("23505", "duplicate key")
        self.seats[me] = Seat(1, self._clock() + lease, host, tags=tuple(tags))
        return rows_of("epoch", [(1,)])

    def beat(self, shard: int, me: int, epoch: int, lease: float, late: float) -> list[Row]:
        names = "live dead due queued inbox lent next_due"
        if not self.is_live(me, epoch) or self.seats[me].dead:
            return rows_of(names, [(0, 0, 0, 0, [], 0, None)])
        now, found = self._clock(), self.executions.values()
        self.seats[me].lease_until, self.seats[me].late_at = now + lease, now + late
        others = [seat for one, seat in self.seats.items() if one != me]
        values = (
            1,
            sum(seat.dead or seat.lease_until < now or seat.is_late(now) for seat in others),
            int(any(self._is_due(e) for e in found))
            + lure(found, self.seats[me].tags)
            + int(any(map(lanes.is_waiting, found)) and "lane_unheard" not in self._mutants),
            int(any(e.status == QUEUED for e in found)),
            sorted(e.id for e in found if e.messages and e.owner == me),
            int(any(c.helper is None for c in self.chunks.values())),
            next_due(found, now),
        )
        return rows_of(names, [values])

    def next_due(self, shard: int) -> list[Row]:
        return rows_of("seconds", [(next_due(self.executions.values(), self._clock()),)])

    def leave(self, shard: int, me: int, epoch: int) -> list[Row]:
        if self.is_live(me, epoch):
            self.seats[me].left = True
            self._mark(me)
        return rows_of("leave", [(sum(e.owner == me for e in self.executions.values()),)])

    def bury(self, shard: int, me: int) -> list[Row]:
        return rows_of("bury", [(len(self._bury(me)),)])

    def _bury(self, me: int) -> list[int]:
        """Seats that a statement holds for key share are skipped: `for update skip locked`."""
        now = self._clock()
        found = [
            one
            for one, seat in self.seats.items()
            if not seat.dead
            and one != me
            and not seat.holders
            and (seat.lease_until < now or (seat.is_late(now) and not self.is_present(one)))
        ]
        for one in found:
            self._mark(one)
        return found

    def _mark(self, me: int) -> None:
        seat = self.seats[me]
        seat.epoch, seat.dead, seat.lease_until = seat.epoch + 1, True, inf
        self._commit("mark", me, ())

    def sweep_workers(self, shard: int) -> list[Row]:
        owners = {e.owner for e in self.executions.values()}
        gone = [one for one, seat in self.seats.items() if seat.dead and one not in owners]
        for one in gone:
            del self.seats[one]
        return rows_of("sweep_workers", [(len(gone),)])

    # --- ownership -------------------------------------------------------------------------------

    def claim(self, shard: int, me: int, epoch: int, ids: Sequence[UUID]) -> list[Row]:
        if "claim_unfenced" not in self._mutants:
            self._fence(me, epoch)
        known = (self.executions[one] for one in sorted(set(ids)) if one in self.executions)
        free = [e for e in known if e.status == QUEUED and e.takeovers < _SUSPECT]
        return self._own("claim", me, self._within(free))

    def claim_alone(self, shard: int, me: int, epoch: int) -> list[Row]:
        self._fence(me, epoch)
        found = self._within(self.limits.suspects(self._suspects()))
        return self._own("claim_alone", me, sorted(found, key=lambda e: e.id)[:1])

    def _within(self, found: Sequence[Execution]) -> list[Execution]:
        return self.limits.within(self.executions.values(), found, self._clock())

    def suspects(self, shard: int, limit: int) -> list[Row]:
        return rows_of("count", [(min(limit, len(self._suspects())),)])

    def _suspects(self) -> list[Execution]:
        found = (e for e in self.executions.values() if e.status == QUEUED)
        return sorted((e for e in found if e.takeovers >= _SUSPECT), key=lambda e: e.id)

    def due(self, shard: int, me: int, epoch: int, limit: int) -> list[Row]:
        self._fence(me, epoch)
        every, now = self.executions.values(), self._clock()
        woken = (e for e in every if self._is_due(e) and (e.in_lane is not False or e.compensating))
        found = sorted(woken, key=lambda e: (e.wake_at, e.id))
        tagged = self.limits.tagged(every, waiting(every, found, self.seats[me].tags))
        timed, found = found[:limit], (found + tagged)[:limit]
        late = lanes.late(every, now)[: limit - len(found)]
        found += late
        found += lanes.ready(every, now, limit - len(found), self._mutants)
        if "due_unlimited" not in self._mutants:
            found = self._within(found)
        self._queue_up([e for e in timed if e not in found], me)
        for e in found:
            if e.lane is not None:
                e.in_lane = e.in_lane or not (e.compensating or e in late)
        return self._own("due", me, found)

    def _queue_up(self, found: Sequence[Execution], me: int) -> None:
        """A time that has come is no place: it waits for one in the queue."""
        for e in found:
            e.status, e.wait, e.wake_at = QUEUED, None, None
        if found:
            self._commit("queue_up", me, [e.id for e in found])

    def trim_lanes(self, shard: int) -> list[Row]:
        told = lanes.oldest(self.executions.values(), self._clock())
        for e in told:
            said = {"actor": {"subject": "concurrency", "kind": "system"}, "reason": _NEWER}
            self._tell(e.tenant, e.id, InboxKind.CANCEL, said)
        return rows_of("told", [([e.id for e in told],)])

    def takeover(self, shard: int, me: int, epoch: int, limit: int) -> list[Row]:
        self._fence(me, epoch)
        dead = {one for one, seat in self.seats.items() if seat.dead}
        found = [e for e in self.executions.values() if e.status == RUNNING and e.owner in dead]
        return self._take_over(me, found[:limit])

    def snapshot(self) -> dict[UUID, int | None]:
        """Who owns what: for the mutant that takes over in one statement."""
        return {e.id: e.owner for e in self.executions.values() if e.status == RUNNING}

    def takeover_at_once(self, me: int, epoch: int, seen: dict[UUID, int | None]) -> list[Row]:
        """The mutant: marks and takes in one statement, so it takes what its snapshot saw."""
        self._fence(me, epoch)
        buried = set(self._bury(me))
        found = [self.executions[one] for one, owner in seen.items() if owner in buried]
        return self._take_over(me, [e for e in found if e.owner in buried])

    def _take_over(self, me: int, found: Sequence[Execution]) -> list[Row]:
        """The poison rule: at the second loss without a checkpoint a suspect, at the third dead."""
        for e in found:
            e.takeovers += not self.seats[e.owner or 0].left
            e.epoch += 1
            e.owner = me if e.takeovers < _SUSPECT else None
            taker = None if e.owner is None else self.seats[me].host
            e.events[max(e.events) + 1] = (_TAKEN_OVER, {"worker": taker})
            if e.takeovers >= _POISON:
                e.status, e.error = DEAD, {"type": "poison"}
                e.events[max(e.events) + 1] = (_DEAD_LETTERED, {"error": e.error})
                self._unread(e)
                self._tasks_ended(e)
            elif e.takeovers == _SUSPECT:
                e.status = QUEUED
        self._commit("takeover", me, [e.id for e in found])
        for e in found:
            self._family_ended(e)
        return rows_of(OWNED + " status", [(*self.row_of(e), e.status) for e in found])

    def _is_due(self, one: Execution) -> bool:
        return one.status == WAITING and one.wake_at is not None and one.wake_at <= self._clock()

    def _own(self, name: str, me: int, found: Sequence[Execution]) -> list[Row]:
        for one in found:
            one.owner, one.epoch = me, one.epoch + 1
            if one.status != RUNNING:
                one.status, one.wait, one.wake_at = RUNNING, None, None
        self._commit(name, me, [one.id for one in found])
        return rows_of(OWNED, [self.row_of(one) for one in found])

    def row_of(self, e: Execution) -> tuple[Any, ...]:
        """What a claim hands over."""
        now = self._clock()
        left = None if e.deadline is None else e.deadline - now
        return (
            e.id, e.tenant, e.workflow, e.version, e.generation, "default", None, e.priority, e.epoch,
            e.takeovers, e.inbox, e.cancel_requested, instant_of(e.created_at), now - e.created_at,
            left, e.meta, e.input,
        )  # fmt: skip

    def refer(self, shard: int, execution: UUID, tenant: UUID, digest: str, size: int) -> list[Row]:
        """A blob is about to be put for an execution, which may not be there yet."""
        self.blob_refs.add((execution, digest))
        return rows_of("refer", [(None,)])

    # --- checkpoints -----------------------------------------------------------------------------

    def flush(self, shard: int, me: int, epoch: int, *columns: Any) -> list[Row]:
        """All or nothing: what would be refused is found before anything is changed."""
        if not self.is_live(me, epoch):
            return rows_of("live closed", [(0, 0)])
        return self.flush_body(me, tuple(map(read_array, columns)))

    def flush_with_children(self, shard: int, me: int, epoch: int, *columns: Any) -> list[Row]:
        """The same, and children, or tasks, that begin or are told something in the same commit."""
        return self.flush(shard, me, epoch, *columns)

    flush_with_tasks = flush_with_children

    def flush_body(self, me: int, columns: Sequence[Any]) -> list[Row]:
        """What follows the fence."""
        columns, family, tasks = columns[:25], columns[25:42], columns[42:]
        steps, events = (
            list(zip(*columns[:10], strict=True)),
            list(zip(*columns[10:15], strict=True)),
        )
        closings = list(zip(*columns[15:22], strict=True))
        self._refuse(me, steps, events, closings)
        if family:
            self._begin_children(family[:13])
            for tenant, one, kind, data in sorted(
                zip(*family[13:], strict=True), key=lambda word: word[1]
            ):
                self._tell(tenant, one, int(kind), json_of(data))
        self.tasks.change(self.executions, tasks)
        now = self._clock()
        for _, one, step, item, generation, attempt, status, _, is_open, result in steps:
            rows, key = self.executions[one].steps, (step, item, generation, attempt)
            if key not in rows or rows[key][1] == inf:
                rows[key] = (int(status), inf if is_open else now, orjson.loads(result))
        for _, one, sequence, kind, data in events:
            self.executions[one].events[sequence] = (int(kind), json_of(data))
            self.executions[one].written[sequence] = now
        for one, number in zip(*columns[23:25], strict=True):
            if "inbox_kept" not in self._mutants:
                self.executions[one].messages.pop(number, None)
        for one in columns[22]:
            if self.executions[one].owner == me:
                self.executions[one].takeovers = 0
        for closing in closings:
            self._close(*closing)
        touched = {row[1]: None for row in (*steps, *events)} | {row[0]: None for row in closings}
        self._commit("flush", me, list(touched))
        for closing in closings:
            self._family_ended(self.executions[closing[0]])
        return rows_of("live closed", [(1, len(closings))])

    def _refuse(self, me: int, steps: list[Any], events: list[Any], closings: list[Any]) -> None:
        keys = [row[1:6] for row in steps]
        if len(set(keys)) != len(keys):
            raise Refused("21000", "a row can't be affected a second time")
        numbers = [row[1:3] for row in events]
        if len(set(numbers)) != len(numbers) or any(
            sequence in self.executions[one].events for one, sequence in numbers
        ):
            raise Refused("23505", "duplicate key value in execution_events")
        if any(self.executions[row[0]].owner != me for row in closings):
            raise Refused("MC004", "not all executions to close are owned")

    def _close(
        self, one: UUID, status: int, wait: Any, wake: Any, seen: int, output: Any, error: Any
    ) -> None:
        e, now = self.executions[one], self._clock()
        parks = int(status) == WAITING
        if parks and e.inbox > seen and "park_blind" not in self._mutants:
            status, wait, wake = QUEUED, None, None
        if status not in {QUEUED, WAITING}:
            self._unread(e)
        e.status, e.wait = int(status), int(wait) if parks and wait is not None else None
        e.wake_at = now + wake if parks and wake is not None else None
        e.output, e.error, e.owner, e.takeovers = json_of(output), json_of(error), None, 0
        self._tasks_ended(e)

    def _begin_children(self, columns: Sequence[Any]) -> None:
        parents, *rows = columns
        nothing = [None] * len(parents)
        ids, tenants, workflows, versions, namespaces, regions, priorities, timeouts, *rest = rows
        given, meta, event, labels = rest
        if not parents:
            return
        self.enqueue(
            0, None, None, [False] * len(parents), ids, tenants, workflows, versions, namespaces, regions,
            priorities, timeouts, nothing, given, meta, nothing, nothing, event, labels,
        )  # fmt: skip
        for parent in parents:
            e = self.executions[parent]
            e.meta = {**(e.meta or {}), "children": True}

    def _family_ended(self, e: Execution) -> None:
        """The trigger: the end of an execution is told to its parent, and one that ends badly cancels its children."""
        meta = e.meta or {}
        if e.status in OPEN:
            return
        if "parent" in meta and "parent_untold" not in self._mutants:
            parent = UUID(meta["parent"])
            ref = stored(e.output)
            if isinstance(ref, BlobRef):
                self.blob_refs.add((parent, ref.digest))
            told = {"child": str(e.id), "status": e.status, "output": e.output, "error": e.error}
            self._tell(e.tenant, parent, InboxKind.CHILD_ENDED, told)
        if "children" in meta and e.status != _COMPLETED:
            for child in self._open_children(e):
                if self.executions[child].generation == 0:
                    said = {"reason": "its parent has ended"}
                    self._tell(e.tenant, child, InboxKind.CANCEL, said)

    def _tasks_ended(self, e: Execution) -> None:
        """The trigger: whoever ends an execution cancels its tasks."""
        if e.status not in OPEN and "tasks" in (e.meta or {}):
            self.tasks.cancel(e.id)

    def task_end(self, id: UUID, status: int, outcome: str | None, by: Any) -> bool:
        """A task is answered, or expires; and its execution is told of it, unless that ends."""
        e = self.executions[self.tasks.rows[id].execution]
        is_over = e.status not in OPEN or e.cancel_requested
        told = None if is_over else self.tasks.end(id, status, outcome, by, self._clock())
        if told is not None and "answer_untold" not in self._mutants:
            self._tell(e.tenant, e.id, InboxKind.HUMAN_TASK_ENDED, told)
        return told is not None

    def _open_children(self, e: Execution) -> list[UUID]:
        """The children that have not ended."""
        started = {
            UUID(d["child"]) for kind, d in e.events.values() if kind == EventKind.CHILD_STARTED
        }
        return sorted(one for one in started if self.executions[one].status in OPEN)

    def _tell(self, tenant: UUID, one: UUID, kind: int, data: Any) -> None:
        cancel, resumes = kind == InboxKind.CANCEL, kind == InboxKind.RESUME
        self.send(0, tenant, one, kind, orjson.dumps(data).decode(), cancel, resumes)

    def _unread(self, e: Execution) -> None:
        """What it has not read goes with its end, and is told."""
        for n, (kind, data) in sorted(e.messages.items()):
            if "unread_untold" not in self._mutants:
                told = {**(data or {}), "n": n, "message": kind}
                e.events[max(e.events) + 1] = (EventKind.MESSAGE_UNREAD, told)
        e.messages.clear()

    # --- reads -----------------------------------------------------------------------------------

    def history_steps(self, shard: int, ids: Sequence[UUID], *_bounds: Any) -> list[Row]:
        now, found = self._clock(), []
        for e in self._of(ids):
            rows = [
                (key, (status, ended == inf, 0.0 if ended == inf else now - ended, result))
                for key, (status, ended, result) in e.steps.items()
            ]
            found += [(e.id, *record) for record in records_of(rows)]
        found.sort(key=lambda r: (r[0], r[3], r[1], r[2], r[4]))
        return rows_of("execution_id step item generation attempt status is_open ago result", found)

    def item_results(
        self, shard: int, execution: UUID, step: int, first: int, behind: int
    ) -> list[Row]:
        found = results_of(self.executions[execution].steps, step, first, behind)
        return rows_of("item status value", found)

    def history_sequence(self, shard: int, ids: Sequence[UUID]) -> list[Row]:
        found = [(one, self.executions[one]) for one in ids]
        last = [(one, max(e.events, default=None), 100 * len(e.steps)) for one, e in found]
        return rows_of("id last bytes", last)

    def history_marks(
        self, shard: int, ids: Sequence[UUID], _low: UUID, _high: UUID, kinds: Sequence[int]
    ) -> list[Row]:
        now = self._clock()
        found = [
            (e.id, *event, now - e.written.get(sequence, now))
            for e in self._of(ids)
            for sequence, event in sorted(e.events.items())
            if event[0] in kinds
        ]
        return rows_of("execution_id kind data ago", found)

    def messages(self, shard: int, ids: Sequence[UUID]) -> list[Row]:
        found = [(e.id, n, *m) for e in self._of(ids) for n, m in sorted(e.messages.items())]
        return rows_of("execution_id n kind data", found)

    def queued(
        self, shard: int, older: float, per_tenant: int, limit: int, after: UUID | None
    ) -> list[Row]:
        every = self.executions.values()
        return handed_out(every, self.limits, older, (per_tenant, limit), after, self._clock())

    def held_back(self, shard: int) -> list[Row]:
        return rows_of("count", [(self.limits.held_back(self.executions.values()),)])

    def _of(self, ids: Sequence[UUID]) -> list[Execution]:
        return [self.executions[one] for one in sorted(set(ids)) if one in self.executions]

    # --- what others ask for ---------------------------------------------------------------------

    def enqueue(
        self, shard: int, me: int | None, epoch: int | None, born: Sequence[bool], *columns: Any
    ) -> list[Row]:
        answers = []
        is_live = me is not None and (
            "born_unfenced" in self._mutants or self.is_live(me, epoch or 0)
        )
        waits = any(e.status == QUEUED and e.takeovers < _SUSPECT for e in self.executions.values())
        may_be_born = is_live and (not waits or "born_overtakes" in self._mutants)
        known_before = {*self.executions}, {*self.keys}
        for number, (wanted, *row) in enumerate(zip(born, *columns, strict=True), 1):
            one, tenant, workflow, version, _, _, priority, timeout, wake_at, *rest = row
            is_born = wanted and may_be_born and wake_at is None
            if self.limits.bound(tenant, workflow) and "born_unlimited" not in self._mutants:
                is_born = False
            given, meta, key, digest, event, _ = rest
            known = self.keys.setdefault((tenant, key), (digest, one)) if key else (digest, one)
            if known[1] == one:
                now = self._clock()
                self.executions[one] = Execution(
                    one, tenant, workflow, version, now, priority,
                    deadline=None if timeout is None else now + timeout,
                    meta=json_of(meta), input=json_of(given), events={1: (1, json_of(event))},
                )  # fmt: skip
                e = self.executions[one]
                if is_born:
                    e.status, e.owner, e.epoch = RUNNING, me, 1
                elif wake_at is not None:
                    e.status, e.wait, e.wake_at = WAITING, _TIMER, wake_at.timestamp()
                if "concurrency" in (e.meta or {}):
                    e.lane = e.meta["concurrency"]["key"]
                    if lanes.is_refused(e, self.executions.values(), self._clock()):
                        self._undo(*known_before)
                        raise Refused("MC006", "the lane is full")
                    lanes.enter(e)
            at, is_fresh = instant_of(self._clock()), known[1] == one
            answers.append(
                (number, known[1], is_fresh, known[0] == digest, at, is_born and is_fresh)
            )
        any_born = any(answer[5] for answer in answers)
        fresh = [answer[1] for answer in answers if answer[2]]
        self._commit("enqueue", me if any_born else None, fresh)
        return rows_of("ordinal id fresh same at born", answers)

    def refused_by_lanes(self, shard: int, *columns: Any) -> list[Row]:
        return lanes.refused(columns, self.keys, self.executions.values(), self._clock())

    def _undo(self, executions: set[UUID], keys: set[tuple[UUID, str]]) -> None:
        """What else a refused statement has brought."""
        for one in self.executions.keys() - executions:
            del self.executions[one]
        for key in self.keys.keys() - keys:
            del self.keys[key]

    def send(
        self,
        shard: int,
        tenant: UUID,
        one: UUID,
        kind: int,
        data: str,
        cancel: bool,
        resumes: bool,
    ) -> list[Row]:
        e = self.executions.get(one)
        names = "known status n"
        if e is None or e.tenant != tenant:
            return rows_of(names, [(False, None, 0)])
        if e.status not in OPEN:
            return rows_of(names, [(True, e.status, 0)])
        e.inbox += 1
        e.cancel_requested = e.cancel_requested or cancel
        is_begun = e.epoch > 0 and (e.in_lane is not False or e.compensating)
        if e.status == WAITING and (cancel or (is_begun and (e.wait != _PAUSED or resumes))):
            e.status, e.wait, e.wake_at = QUEUED, None, None
        e.messages[e.inbox] = (int(kind), json_of(data))
        if kind == InboxKind.SIGNAL:
            e.signals.append(e.inbox)
        self._commit("send" if cancel else "tell", None, [one])
        return rows_of(names, [(True, e.status, e.inbox)])

    def retry(self, *arguments: Any) -> list[Row]:
        return self._begin_again("retry", _RETRIED, *arguments)

    def rewind(self, *arguments: Any) -> list[Row]:
        return self._begin_again("rewind", _REWOUND, *arguments)

    def _begin_again(
        self,
        name: str,
        kind: int,
        shard: int,
        tenant: UUID,
        one: UUID,
        statuses: Sequence[int],
        event: str,
        version: UUID | None = None,
        generation: int | None = None,
        given: str | None = None,
    ) -> list[Row]:
        e = self.executions.get(one)
        names = "known status generation is_seen"
        if e is None or e.tenant != tenant:
            return rows_of(names, [(False, None, None, True)])
        if e.status not in statuses or self._open_children(e):
            return rows_of(names, [(True, e.status, None, True)])
        if version is not None and (e.version, e.generation) != (version, generation):
            return rows_of(names, [(True, e.status, None, False)])
        e.status, e.generation, e.cancel_requested = QUEUED, e.generation + 1, False
        e.output = e.error = e.wake_at = e.wait = None
        e.messages.clear()
        e.takeovers = 0
        allowed = (e.meta or {}).get("timeout_ms")
        e.deadline = None if allowed is None else self._clock() + float(allowed) / 1000
        told = json_of(event) | ({} if given is None else {"input_before": e.input})
        e.input = e.input if given is None else json_of(given)
        e.events[max(e.events) + 1] = (kind, told)
        if e.lane is not None:
            lanes.enter(e)
        self._commit(name, None, [one])
        return rows_of(names, [(True, QUEUED, e.generation, True)])

    def expire(self, me: int) -> None:
        """Let a lease run out."""
        self.seats[me] = replace(self.seats[me], lease_until=self._clock() - 1)
