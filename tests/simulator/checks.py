"""The judge: looks at every commit as it happens, and at the end of it all. Names what is broken by invariant."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import Any
from uuid import UUID

import orjson

from runtime.engine.program import Program as Compiled
from runtime.engine.replay import rebuild
from runtime.engine.state import COMPLETED, PENDING, SKIPPED, Phase
from runtime.model.blob import BlobKey, BlobRef, stored
from runtime.model.checkpoint import InboxKind, Mark, StepRecord
from runtime.model.event import MARKS, EventKind
from runtime.model.execution import TRANSITIONS, StepStatus, WaitKind
from runtime.model.execution import ExecutionStatus as Status
from runtime.worker.run import Run
from tests.simulator.blobs import SimBlobs
from tests.simulator.cache import CacheJudge, given_again
from tests.simulator.children import ChildEnd, FamilyJudge, started
from tests.simulator.foreseen import Foreseen
from tests.simulator.lanes import LaneJudge, is_entry, is_waiting
from tests.simulator.limits import LimitJudge
from tests.simulator.maps import MapJudge, key_of, records_of, shown
from tests.simulator.model import Model
from tests.simulator.past import differences, view
from tests.simulator.people import LATE, TaskJudge, ended_tasks, is_late
from tests.simulator.program import Program
from tests.simulator.replayed import record_of, replay
from tests.simulator.rewinds import AGAIN, inputs_of, kept_values, number_in
from tests.simulator.tables import Commit, Execution
from tests.simulator.undoing import UndoJudge, counting, renewed_since
from tests.simulator.waits import WaitJudge
from tests.simulator.world import World

_SUSPECT = 2
FINAL = frozenset({2, 4, 5, 6, 7})
_ENDS = {
    EventKind.EXECUTION_CANCEL_REQUESTED: Status.CANCELLED,
    EventKind.EXECUTION_DEADLINE_REACHED: Status.TIMED_OUT,
}
_TOLD = {EventKind.SIGNAL_RECEIVED, EventKind.MESSAGE_UNREAD}
_BEGIN_AGAIN = frozenset({"retry", "rewind"})
_WORDS = {COMPLETED: "completed", SKIPPED: "skipped"}


class Judge:
    """Sees all commits of one seed."""

    def __init__(
        self, model: Model, world: World, programs: dict[UUID, Program], blobs: SimBlobs
    ) -> None:
        self.blobs = blobs
        self.model = model
        self.world = world
        self.programs = programs
        self.violations = world.violations
        self.marked: set[int] = set()
        self.unknown: set[int] = set()
        self.must_cancel: set[tuple[UUID, int]] = set()
        self.cancelled: set[UUID] = set()
        self.commits: Counter[str] = Counter()
        self._seen: dict[UUID, tuple[int, int, int, int]] = {}
        self._intents: dict[tuple[Any, ...], int] = {}
        # Generations that may fail though nothing in their program fails: a worker was lost or stood still.
        self._excused: set[tuple[UUID, int]] = set()
        # What was shown of each execution when each of its events was the newest.
        self._shown: dict[tuple[UUID, int], Any] = {}
        self.has_paused = False
        self._programs: dict[UUID, Compiled] = {}
        self.heal_at = inf
        # How each execution ended for the first time.
        self.ends: dict[UUID, ChildEnd] = {}
        # Owners that each execution has lost to a kill or a pause, as the seats tell it.
        self.lost: Counter[UUID] = Counter()
        self.foreseen = Foreseen(self.say)
        counts = {version: len(program.steps) for version, program in programs.items()}
        self._lanes = LaneJudge(model.executions, counts, self.say)
        self._limits = LimitJudge(model.executions, model.limits, self.say)
        self._cache = CacheJudge(model.executions, model.cache, self.say)
        model.on_commit = self.committed

    def say(self, words: str) -> None:
        self.violations.append(words)

    # --- at each commit --------------------------------------------------------------------------

    def committed(self, commit: Commit) -> None:
        self.commits[commit.name] += 1
        if commit.name == "mark":
            self.marked.add(commit.me or 0)
            if not self.model.seats[commit.me or 0].left:
                self.lost.update(
                    e.id for e in self.model.executions.values() if e.owner == commit.me
                )
            return
        if commit.me in self.marked:
            self.say(f"I3: {commit.name} by seat {commit.me} after it was marked dead")
        if commit.name == "enqueue" and commit.me is not None:
            self._nobody_waits(commit)
        for one in commit.touched:
            self._look(self.model.executions[one], commit)
        self._lanes.look(self.model.now, self.heal_at)
        self._limits.look(self.model.now)
        if commit.name == "flush" and commit.me is not None:
            for one in commit.touched:
                e, family = self.model.executions[one], FamilyJudge(self.model.executions, self.say)
                check = family.ends_last if e.status in FINAL else family.look
                check(e)

    def _look(self, e: Execution, commit: Commit) -> None:
        self._ownership(e, commit)
        self._final(e, commit)
        self._numbers(e, commit)
        self._effects(e, commit)
        self._past(e, commit)
        self._large(e)
        self._records(e)
        if commit.name == "send" and e.cancel_requested:
            self.cancelled.add(e.id)
            # Messages are acted on in their order: one that was sent before may bring the end before.
            earlier = {kind for n, (kind, _) in e.messages.items() if n < e.inbox}
            is_first = earlier <= {InboxKind.CANCEL, InboxKind.PAUSE}
            waits = self.waits_of(e)
            is_over = waits.is_ending() or waits.is_undone()
            if e.status == Status.QUEUED and is_first and not is_over:
                self.must_cancel.add((e.id, e.generation))
        self._seen[e.id] = (e.status, e.epoch, e.generation, max(e.events))
        if e.status in FINAL and e.id not in self.ends:
            self.ends[e.id] = ChildEnd(e.status == Status.COMPLETED, e.output)
        is_in_queue = is_waiting(e) and not e.compensating
        is_awake = e.epoch > 0 and e.wait != WaitKind.PAUSED and not is_in_queue
        if e.status == Status.WAITING and is_awake and e.messages:
            self.say(f"I16: {e.id} is parked with {len(e.messages)} unread messages")
        if commit.name == "flush":
            self.waits_of(e).look()
            MapJudge(e, self.programs[e.version].steps, self.say).look()
            self._cache.look(e)
        TaskJudge(e, self.model.tasks.rows, self.say).look()

    def waits_of(self, e: Execution) -> WaitJudge:
        """The judge of its waits, signals and pauses."""
        return WaitJudge(e, self.programs[e.version].every, self.heal_at, self.say)

    def _nobody_waits(self, commit: Commit) -> None:
        """What is born owned has overtaken nobody."""
        waiting = [
            e.id
            for e in self.model.executions.values()
            if e.status == Status.QUEUED and e.takeovers < _SUSPECT and e.id not in commit.touched
        ]
        if waiting:
            self.say(f"fair: {commit.touched} were born owned while {waiting} waited")

    def _large(self, e: Execution) -> None:
        """What a row refers to is durable, and known to be referred to, before the row is."""
        values = [r.get("output") for _, _, r in e.steps.values() if isinstance(r, dict)]
        for value in (*values, e.output):
            ref = stored(value)
            if not isinstance(ref, BlobRef):
                continue
            if BlobKey.of(e.tenant, e.id, ref.digest) not in self.blobs.blobs:
                self.say(f"blob: {e.id} refers to {ref.digest}, which is not stored")
            if (e.id, ref.digest) not in self.model.blob_refs:
                self.say(f"blob: {e.id} refers to {ref.digest}, and nobody knows")

    def _records(self, e: Execution) -> None:
        """Every outcome says what went in, what ran and what came out; one that stayed in doubt what went in."""
        steps = self.programs[e.version].every
        for (step, item, _, attempt), (status, ended, result) in e.steps.items():
            if ended == inf or status not in {StepStatus.COMPLETED, StepStatus.IN_DOUBT}:
                continue
            wanted = {"code", "code_digest"} | (
                {"out"} if status == StepStatus.COMPLETED else set()
            )
            is_map = steps[step].many is not None and item < 0
            is_waited = steps[step].wait is not None or steps[step].ask is not None
            wanted |= set() if is_waited or is_map else {"in"}
            if missing := wanted - set(result):
                self.say(f"record: attempt {attempt} of step {step} of {e.id} lacks {missing}")

    def _ownership(self, e: Execution, commit: Commit) -> None:
        if (e.owner is not None) != (e.status == Status.RUNNING):
            self.say(f"I2: {e.id} has status {e.status} and owner {e.owner}")
        before = self._seen.get(e.id)
        if before is None:
            return
        gained = commit.name in {"claim", "claim_alone", "due", "takeover"}
        if e.epoch != before[1] + gained:
            self.say(f"I2: the epoch of {e.id} went from {before[1]} to {e.epoch} by {commit.name}")
        if commit.name == "flush" and e.owner not in {commit.me, None}:
            self.say(f"I2: {commit.me} wrote to {e.id}, which {e.owner} owns")
        if commit.name == "flush" and before[0] != Status.RUNNING:
            self.say(f"I2: {commit.me} wrote to {e.id}, which nobody owned")

    def _final(self, e: Execution, commit: Commit) -> None:
        before = self._seen.get(e.id)
        # A retry queues it, and it waits for its place in the same statement.
        now = Status.QUEUED if commit.name in _BEGIN_AGAIN and is_entry(e) else e.status
        if before is not None and now not in {before[0], *TRANSITIONS[Status(before[0])]}:
            self.say(f"I5: {e.id} went from {before[0]} to {e.status} by {commit.name}")
        if before is not None and before[0] in FINAL and commit.name not in _BEGIN_AGAIN:
            self.say(f"I5: {e.id} was {before[0]} and is {e.status} by {commit.name}")
        if e.status in FINAL and (before is None or before[0] not in FINAL):
            wanted = (e.id, e.generation) in self.must_cancel
            if wanted and e.status not in {Status.CANCELLED, Status.TIMED_OUT}:
                self.say(f"cancel: {e.id} was told while nobody ran it, and ended as {e.status}")
            self._first_cause(e)

    def _first_cause(self, e: Execution) -> None:
        """What is recorded to have begun the end is what ended it, and is recorded once."""
        since = [EventKind(mark.kind) for mark in marks(e)]
        begun = [place for place, kind in enumerate(since) if kind in AGAIN]
        del since[: begun[-1] + 1 if begun else 0]
        stops = [_ENDS[kind] for kind in since if kind in _ENDS]
        if stops and stops != [e.status] and e.status != Status.DEAD_LETTERED:
            self.say(f"cause: {e.id} ended as {e.status}, and its events tell of {stops}")

    def _numbers(self, e: Execution, commit: Commit) -> None:
        if len(e.events) != max(e.events):
            self.say(f"I12: the events of {e.id} have gaps: {sorted(e.events)} ({commit.name})")
        numbers = sorted(e.events)
        last = self._seen.get(e.id, (0, 0, 0, 0))[3]
        if any(number <= last for number in numbers[last:]):
            self.say(f"I12: {e.id} got an event behind {last}")

    def _past(self, e: Execution, commit: Commit) -> None:
        """What the events tell of the execution is what its rows say, whenever there are new ones."""
        seen = self._seen.get(e.id, (0, 0, 0, 0))[3]
        if max(e.events) == seen:
            return
        if commit.name == "enqueue" and e.owner is not None:
            # As after a claim: no event tells of an owner before its first checkpoint.
            return
        if commit.name in _BEGIN_AGAIN:
            self.foreseen.foresee(e, self._compiled(e), records(e), marks(e))
        if not (e.status == Status.QUEUED and e.messages):
            # What parks with an unread message is queued at once, which no event tells.
            self._shown[e.id, max(e.events)] = view(e, self._compiled(e))
        for words in differences(e, self._compiled(e), seen):
            self.say(f"history: at event {max(e.events)} of {e.id} ({commit.name}) it was {words}")

    def _compiled(self, e: Execution) -> Compiled:
        if e.version not in self._programs:
            self._programs[e.version] = Compiled.of(self.programs[e.version].plan)
        return self._programs[e.version]

    def _effects(self, e: Execution, commit: Commit) -> None:
        good: Counter[tuple[int, int, int]] = Counter()
        given = {row[:3] for row, (*_, said) in e.steps.items() if "cached_from" in said}
        for (step, item, generation, attempt), (status, ended, result) in e.steps.items():
            key = (e.id, step, item, generation, attempt)
            if ended == inf:
                self._intents.setdefault(key, commit.me or 0)
            elif (status == StepStatus.IN_DOUBT and self._is_unexplained(e, key, commit)) or (
                self.has_paused and result.get("error", {}).get("type") == "step.timeout"
            ):
                self._excused.add((e.id, generation))
            good[step, item, generation] += status == COMPLETED
        for (step, item, generation), count in good.items():
            if count > 1:
                self.say(f"I4: {step} {item} of {e.id} completed {count} times in {generation}")
            elif (
                count
                and self.programs[e.version].every[step].calls
                and (item >= 0 or self.programs[e.version].every[step].many is None)
                and (step, item, generation) not in given
                and not self.world.calls[key_of(e.id, step, item, generation)]
            ):
                self.say(f"step {step} of {e.id} completed and was never called")

    def _is_unexplained(self, e: Execution, key: tuple[Any, ...], commit: Commit) -> bool:
        """A doubt that the program does not bring about: an owner was lost, or a look-up found nothing."""
        _, step, item, generation, _ = key
        call = key_of(e.id, step, item, generation)
        given_up = (e.id, generation) in self.world.given_up
        return self._intents.get(key) != commit.me or call in self.world.unsure or given_up

    # --- in the worker, when a checkpoint is answered ---------------------------------------------

    def compare(self, run: Run, me: int) -> None:
        """I6: what is in memory and what its rows say, when nothing is under way between them."""
        e, state = self.model.executions[run.owned.id], run.state
        is_comparable = state.phase in {Phase.GOING, Phase.STOPPING, Phase.UNDOING}
        if e.owner != me or not run.is_quiet or run.is_over or not is_comparable:
            return
        if state.edge_visits > sum(map(len, state.program.plan.successors)):
            self.say(f"I9: {e.id} visited {state.edge_visits} edges")
        again = rebuild(state.program, state.run, records(e), retries(e), marks=marks(e)).state
        live, stored = _durable(state), _durable(again)
        if live != stored:
            self.say(f"I6: {e.id} is {live} in memory and {stored} by its rows")

    def sent(self, me: int) -> None:
        """A flush arrives at the server."""
        if me in self.unknown:
            self.say(f"resend: seat {me} flushes again after an unknown outcome")

    # --- at the end ------------------------------------------------------------------------------

    def at_end(self, accepted: list[UUID]) -> None:
        lost = set(accepted) - set(self.model.executions)
        if lost:
            self.say(f"I7: {lost} were accepted and are not there")
        for (one, at), then in self._shown.items():
            e = self.model.executions[one]
            if view(e, self._compiled(e), at) != then:
                self.say(f"past: at event {at} {one} was not shown as the past shows it")
        for one, e in self.model.executions.items():
            FamilyJudge(self.model.executions, self.say).look(e)
            told = [
                d["n"]
                for kind, d in e.events.values()
                if kind in _TOLD and "n" in d and "name" in d
            ]
            if sorted(told) != e.signals:
                self.say(
                    f"told: the signals {e.signals} of {one} were acknowledged, {told} are told of"
                )
            found = replay(e, self._compiled(e), record_of(e), self.model, self.blobs).divergence
            if found is not None:
                self.say(f"replay: {one} diverges: {found}")
            self.foreseen.compare(e, len(self._compiled(e).plan.steps))
            if e.status not in FINAL:
                self.say(f"I7: {one} is {Status(e.status).name} for ever")
            else:
                TaskJudge(e, self.model.tasks.rows, self.say).at_end()
                UndoJudge(e, self.programs[e.version].steps, self._excused, self.say).look()
                self._as_expected(e)

    def _as_expected(self, e: Execution) -> None:
        program, generation = self.programs[e.version], e.generation
        kept = self._kept(e)
        waits = self.waits_of(e)
        ended = {step: self._value(e, value) for step, value in waits.outputs().items()}
        children = {
            step: replace(self.ends[one], output=self._value(e, self.ends[one].output))
            for step, one in started(e).items()
        }
        seen = _seen(e, program)
        again = given_again(e)
        given = self._given(e, program)
        done, tasks = self._done(e), ended_tasks(self.model.tasks.rows, e.id)
        counts = counting(e, program.steps)[-1]
        now = dict.fromkeys(range(len(program.steps)), generation) | counts
        stood = {step: self._value(e, value) for step, value in kept_values(e, now).items()}
        expected = program.expect(
            generation, kept, ended, seen, done, children, tasks, again, given, stood
        )
        status = Status(e.status)
        if status is Status.CANCELLED and e.id in self.cancelled:
            return
        if status is Status.TIMED_OUT and e.deadline is not None:
            return
        if status is Status.DEAD_LETTERED and self.lost[e.id] > 2:
            return
        if status is Status.FAILED and (
            not expected.succeeds or (e.id, generation) in self._excused or waits.has_timed_out()
        ):
            return
        if status is Status.COMPLETED and self._went_on_excused(e, program):
            return
        if status is not Status.COMPLETED or not expected.succeeds:
            self.say(f"end: {e.id} is {status.name}, expected success is {expected.succeeds}")
            return
        ends = kept | {
            key[0]: word
            for key, found in e.steps.items()
            if key[2] == generation
            and key[1] < 0
            and key[0] < len(program.steps)
            and (word := _word(found, program.steps[key[0]])) is not None
        }
        if ends != expected.ends:
            self.say(f"end: the steps of {e.id} ended {ends}, expected {expected.ends}")
        wanted = shown({"all": [expected.values[i] for i in range(len(program.steps))]})
        if shown(self._value(e, e.output)) != wanted:
            gave = shown(self._value(e, e.output))
            self.say(f"end: {e.id} gave {gave}, expected {wanted}")

    def _went_on_excused(self, e: Execution, program: Program) -> bool:
        """Whether a failure that the program does not bring about was provided for by its step."""
        excused = {generation for one, generation in self._excused if one == e.id}
        return bool(excused) and any(
            step.way.on_error is not None or (step.many is not None and step.many.is_collecting)
            for step in program.steps
        )

    def _value(self, e: Execution, value: Any) -> Any:
        ref = stored(value)
        if not isinstance(ref, BlobRef):
            return value
        return orjson.loads(self.blobs.blobs[BlobKey.of(e.tenant, e.id, ref.digest)])

    def _kept(self, e: Execution) -> dict[int, str]:
        """Good ends of earlier generations that still count."""
        steps = self.programs[e.version].steps
        counts = counting(e, steps)[-1]
        return {
            key[0]: word
            for key, found in e.steps.items()
            if counts.get(key[0]) == key[2]
            and key[1] < 0
            and (word := _word(found, steps[key[0]])) is not None
        }

    def _given(self, e: Execution, program: Program) -> dict[int, int]:
        """What each step computes from of the input with which it ran."""
        if not program.reads_input:
            return {}
        counts, inputs = counting(e, program.steps)[-1], inputs_of(e)
        return {
            step: number_in(inputs[counts.get(step, e.generation)])
            for step in range(len(program.steps))
        }

    def _done(self, e: Execution) -> dict[int, set[int]]:
        """The items that earlier generations have completed."""
        first, found = _first(e), dict[int, set[int]]()
        since = renewed_since(e, self.programs[e.version].steps)
        for (step, item, generation, _), (status, _, _) in e.steps.items():
            oldest = max(first, since.get(step, 0))
            if item >= 0 and status == COMPLETED and oldest <= generation < e.generation:
                found.setdefault(step, set()).add(item)
        return found


def _first(e: Execution) -> int:
    """The oldest generation whose good ends count."""
    first = 0
    for number, data in enumerate(retries(e), 1):
        first = first if data.get("from_failed_step", True) else number
    return first


def _word(row: Any, step: Any) -> str | None:
    """How a step ended for good by this row, if it did and the execution went on."""
    status, _, result = row
    if is_late(step.ask, row):
        return LATE
    return "handled" if result.get("handled") else _WORDS.get(status)


def _seen(e: Execution, program: Program) -> dict[int, list[int]]:
    """What joins saw that began early, since the last retry from the start; of those that have not begun anew since."""
    found: dict[int, list[int]] = {}
    since, generation = renewed_since(e, program.steps), 0
    for mark in marks(e):
        if not isinstance(mark.data, dict):
            continue
        if mark.kind == EventKind.STEP_JOINED:
            found[int(str(mark.data["step"]))] = list(mark.data["seen"])  # type: ignore[arg-type]
        elif mark.kind in AGAIN:
            generation += 1
            is_kept = mark.data.get("from_failed_step", True)
            found = {n: seen for n, seen in found.items() if is_kept and since.get(n) != generation}
    return found


def records(e: Execution) -> list[StepRecord]:
    """The rows of an execution as replay reads them."""
    return records_of(
        [
            (key, (status, ended == inf, 0.0, result))
            for key, (status, ended, result) in e.steps.items()
        ]
    )


def retries(e: Execution) -> list[Any]:
    """What its retries said, in order."""
    return [data for _, (kind, data) in sorted(e.events.items()) if kind in AGAIN]


def marks(e: Execution) -> list[Mark]:
    """The events by which replay reads the rows."""
    found = [(EventKind(kind), data) for _, (kind, data) in sorted(e.events.items())]
    return [Mark(kind, data) for kind, data in found if kind in MARKS]


def _durable(state: Any) -> tuple[Any, ...]:
    """What must be equal: how steps ended, and what follows from that. Running ones have no row yet."""
    ended = [s if s in {COMPLETED, SKIPPED} else PENDING for s in state.status]
    # In one that ends, it makes no difference whether a step was stopped or had not begun.
    left = state.open_steps if state.ending is None else None
    waits = None
    if state.ending is None:
        kept = {name: [one.n for one in signals] for name, signals in state.signals.items()}
        waits = (kept, state.listening, state.is_paused)
    ways = (state.gates, state.chosen, {i: sorted(n) for i, n in state.joined.items()})
    seen = state.seen if state.ending is None else None
    fans = None
    if state.ending is None:
        fans = {
            # Of one that fails it makes no difference whether an item was stopped or had not begun.
            step: bytes(fan.ends) if fan.fault is None else fan.fault[0]
            for step, fan in state.fans.items()
        }
    edges = (state.pending, state.skipped_needs, ways, seen)
    children = {step: child.id for step, child in state.children.items()}
    return ended, state.outputs, edges, left, state.ending, waits, fans, children, state.tasks
