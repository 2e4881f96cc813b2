"""The decisions of an execution, made once more from its record, and compared with it.

What came from outside (outcomes, messages, times, owners) is read from the record and told to the same `advance` that a
worker calls; each event and each row that it decides must be the recorded one. So nothing here says how an execution
goes on: it only says what an event that nobody decided must have come from. Where the owner changed, the state is
rebuilt from what was written until then, by the same `rebuild`.

Three things happen without an event: an owner gives back what it owns in good order, a delay that ends in a pause, and
a look-up that leaves a doubt to a person. They are found by what they lead to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from runtime.engine.advance import advance, proceed
from runtime.engine.causes import CHANGES_OWNER, Causes
from runtime.engine.command import Command, Finish, RecordEvent, RecordStep, RunStep
from runtime.engine.event import BlobLoaded, DoubtJudged, ItemsJoined
from runtime.engine.ledger import (
    Diverged,
    Ledger,
    RowKey,
    digest_of,
    element_of,
    expected_digest,
    facts,
    identity_of,
    recorded,
    shown,
)
from runtime.engine.program import Program
from runtime.engine.replay import known_by_its_maker, rebuild
from runtime.engine.rewinding import earlier_inputs, gives_input
from runtime.engine.scope import MASKED, scope_of
from runtime.engine.state import ExecutionState, Phase, RunInfo
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, NotLoaded, Stored, stored
from runtime.model.checkpoint import Mark, StepRecord
from runtime.model.event import BEGINS_AGAIN, MARKS, EventKind, ExecutionEvent
from runtime.model.execution import TERMINAL, ExecutionStatus, StepStatus, Verdict
from runtime.model.execution_replay import (
    DivergenceKind,
    ExecutionRecord,
    ExecutionReplay,
    ReplayDivergence,
)
from runtime.model.plan import InDoubt
from runtime.model.settled import settled
from runtime.model.values import Json

# Asks for a large value, and is sent it; with a problem when it is not there or not what its digest says. While a proof
# `only_hashes`, nobody looks at the value.
Asking: TypeAlias = Generator[BlobRef, BlobLoaded, None]

# Of the inputs of calls that are made again, so much is kept.
_KEPT_BYTES: Final = 64 * 1024 * 1024
_MARKS: Final = frozenset(MARKS)
# Ends that the worker or the database decided, because the core could not go on, or the output can't be stored.
_BROKEN: Final = frozenset({"engine.defect", "version.unusable", "checkpoint_rejected"})
_NOT_STORED: Final = frozenset({"output_too_large", "output_not_storable", "blob.unavailable"})
# What a new owner is told before it goes on, by its rows: no look-up is answered before that.
_BEFORE_GOING_ON: Final = frozenset(
    {EventKind.STEP_IN_DOUBT, EventKind.STEP_STARTED, EventKind.TIMER_FIRED}
)
_TOLD: Final = CHANGES_OWNER | {
    EventKind.EXECUTION_QUEUED,
    EventKind.EXECUTION_REWOUND,
    EventKind.EXECUTION_RETRIED,
    EventKind.DEAD_LETTERED,
    EventKind.DEAD_LETTER_DISCARDED,
    EventKind.MESSAGE_UNREAD,
    EventKind.STEP_CALL_ANNOUNCED,
    EventKind.STEP_CALL_WITHDRAWN,
}
# What others may tell of a generation that has ended.
_AFTER_END: Final = frozenset(
    {
        EventKind.EXECUTION_REWOUND,
        EventKind.EXECUTION_RETRIED,
        EventKind.DEAD_LETTER_DISCARDED,
        EventKind.MESSAGE_UNREAD,
    }
)


@dataclass(frozen=True, slots=True)
class Redone:
    """An attempt that completed, and the JSON text of its input: None when it has secrets, or is not kept."""

    step: int
    item: int
    attempt: int
    generation: int
    sequence: int
    config: bytes | None


def _unbounded() -> None:
    """Whoever replays waits for as long as it takes."""


class Proof:
    """One replay, begun with `program`; `others` are those that it was migrated to, by version.

    `calls` are the attempts that could be made again, when they are asked for.

    `go_on` is called before each event: what it raises ends the replay there.
    """

    def __init__(
        self,
        program: Program,
        run: RunInfo,
        record: ExecutionRecord,
        *,
        keeps_calls: bool = False,
        others: Mapping[str, Program] | None = None,
        go_on: Callable[[], None] = _unbounded,
    ) -> None:
        self._program = program
        self._others = others or {}
        self._run = run
        self._inputs = earlier_inputs(record.events)
        self._record = record
        self._events = record.events
        self._at = 0
        self._generation = 0
        self._marks: list[Mark] = []
        self._ledger = Ledger.of(record.rows)
        self._state = ExecutionState(program, self._run_now())
        self._finish: Finish | None = None
        self._end_is_due = False
        self._is_to_proceed = False
        # Whether the present generation has ended.
        self._is_over = False
        self._broken: tuple[ExecutionStatus, Json] | None = None
        self._go_on = go_on
        self.only_hashes = False
        self._room = _KEPT_BYTES if keeps_calls else 0
        self._rendered: dict[RowKey, tuple[int, bytes | None]] = {}
        # The list of the map of which an item began last.
        self._items: tuple[int, list[Json]] = -1, []
        self.calls: list[Redone] = []
        self.inputs = 0
        self.outputs = 0
        self._causes = Causes(self._ledger, self._events)
        self._state.here = self._causes.tags(program, 0)
        self._undone = self._orders()

    def prove(self) -> Generator[BlobRef, BlobLoaded, ExecutionReplay]:
        """Walk through the record to its end, or to where it does not follow; asks for large values."""
        divergence = None
        try:
            yield from self._walk()
            yield from self._check_end()
        except Diverged as found:
            divergence = found.divergence
        return ExecutionReplay(
            self._run.id,
            events=self._at,
            attempts=len(self._ledger.made),
            inputs=self.inputs,
            outputs=self.outputs,
            divergence=divergence,
        )

    # --- the walk --------------------------------------------------------------------------------

    def _walk(self) -> Asking:
        for number, event in enumerate(self._events, 1):
            if event.sequence != number:
                what = f"event {number}", f"event {event.sequence}"
                raise Diverged(ReplayDivergence(DivergenceKind.EVENT, *what, number))
            if (number == 1) is not (event.kind is EventKind.EXECUTION_QUEUED):
                due = EventKind.EXECUTION_QUEUED.word if number == 1 else "no such event"
                words = due, _told(event)
                raise Diverged(ReplayDivergence(DivergenceKind.EVENT, *words, number))
        while self._at < len(self._events):
            self._go_on()
            event = self._events[self._at]
            if self._is_over and event.kind not in _AFTER_END:
                raise Diverged(self._here(DivergenceKind.EVENT, "no such event", _told(event)))
            if event.kind in _TOLD:
                self._consume()
                yield from self._told(event)
            elif not self._ends_outside(event):
                yield from self._explain(event)

    def _consume(self) -> None:
        event = self._events[self._at]
        self._at += 1
        self._is_over = self._is_over or event.kind.ends_execution
        if event.kind in _MARKS:
            self._marks.append(Mark(event.kind, event.data))

    def _told(self, event: ExecutionEvent) -> Asking:
        """What others than the core have told: owners, people, the database."""
        if event.kind in BEGINS_AGAIN:
            self._generation += 1
            self._is_over, self._broken = False, None
            self._reload()
            given, found = event.field("input"), identity_of(self._state.run.params)
            if gives_input(event.data) and given != found:
                raise Diverged(self._here(DivergenceKind.INPUT, found, str(given), back=1))
        elif event.kind in CHANGES_OWNER:
            if event.kind is EventKind.EXECUTION_MIGRATED:
                self._migrate(event)
            self._reload()
        elif event.kind is EventKind.DEAD_LETTERED:
            self._broken = ExecutionStatus.DEAD_LETTERED, None
        elif event.kind in {EventKind.STEP_CALL_ANNOUNCED, EventKind.STEP_CALL_WITHDRAWN}:
            key = self._causes.key_of(event, self._generation)
            is_withdrawn = event.kind is EventKind.STEP_CALL_WITHDRAWN
            self._ledger.announced(key, is_withdrawn=is_withdrawn)
            if not is_withdrawn and isinstance(event.field("in"), str):
                yield from self._check_input(key, str(event.field("in")))

    def _migrate(self, event: ExecutionEvent) -> None:
        version = str(event.field("to"))
        if version not in self._others:
            raise Diverged(self._here(DivergenceKind.EVENT, "a known version", _told(event)))
        self._program, self._run = self._others[version], self._run._replace(version=version)

    def _ends_outside(self, event: ExecutionEvent) -> bool:
        """Whether the execution ended here as the worker says, and not as the core decided."""
        error = event.field("error")
        kind = error.get("type") if isinstance(error, dict) else None
        if self._end_is_due and event.kind is EventKind.EXECUTION_COMPLETED:
            self._end_is_due = False
        elif event.kind is EventKind.EXECUTION_FAILED and (
            kind in _BROKEN or (self._end_is_due and kind in _NOT_STORED)
        ):
            self._end_is_due, self._finish = False, None
            self._broken = ExecutionStatus.FAILED, kind
            self._state.phase = Phase.CLOSED
        else:
            return False
        self._consume()
        return True

    def _reload(self) -> None:
        """Go on as whoever owns the execution next does."""
        self._end_is_due, self._finish = False, None
        self._items = -1, []  # Another generation may go over another list.
        kinds = [mark.kind for mark in self._marks]
        retries = [mark.data for mark in self._marks if mark.kind in BEGINS_AGAIN]
        begun = next((n for n, kind in enumerate(kinds[::-1]) if kind in BEGINS_AGAIN), len(kinds))
        self._state = rebuild(
            self._program,
            self._run_now(),
            self._ledger.for_rebuild(),
            retries,
            is_begun=EventKind.EXECUTION_STARTED in kinds[len(kinds) - begun :],
            marks=self._marks,
        ).state
        self._state.here = self._causes.tags(self._program, self._at)
        self._is_to_proceed = True

    def _run_now(self) -> RunInfo:
        """Of the present generation: with the input that it had."""
        params = self._inputs.get(self._generation, self._run.params)
        return self._run._replace(generation=self._generation, params=params)

    def _explain(self, event: ExecutionEvent) -> Asking:
        """Find what this event came from, and let it happen again."""
        at, is_reloaded = self._at, False
        while self._at == at:
            self._order_ends()
            if self._is_to_proceed and not self._causes.is_message(self._state, event):
                self._is_to_proceed = False
                yield from self._take(proceed(self._state))
                continue
            if not (self._is_to_proceed and event.kind in _BEFORE_GOING_ON):
                yield from self._leave_doubts()
            if self._at != at:
                return
            awaited = self._state.awaits
            if awaited is not None and self._causes.waits_for_value(self._state, event):
                loaded = yield awaited
                yield from self._take(advance(self._state, loaded))
                continue
            cause = self._causes.of(self._state, event, self._generation, self._at)
            if isinstance(cause, ItemsJoined) and cause.error is None:
                yield from self._check_join(cause)
            for one in (
                () if cause is None else self._causes.with_overdue(self._state, cause, self._at)
            ):
                yield from self._take(advance(self._state, one))
            for one in self._causes.given_back(self._state) if self._at == at else ():
                yield from self._take(advance(self._state, one))
            if self._at == at:
                if is_reloaded or (cause is not None and self._state.awaits is not None):
                    kind = EventKind.EXECUTION_COMPLETED.word
                    due = shown({"event": kind}) if self._end_is_due else "no such event"
                    raise Diverged(self._here(DivergenceKind.EVENT, due, _told(event)))
                is_reloaded = True
                self._reload()
                self._know_calls()

    def _order_ends(self) -> None:
        """Of ends in one commit only the event that begins to undo them says in which order their owner knew them."""
        places = self._undone.get(self._generation)
        if places:
            self._state.completed.sort(key=lambda step: places.get(step, len(places)))

    def _orders(self) -> dict[int, dict[int, int]]:
        found: dict[int, dict[int, int]] = {}
        generation = 0
        for event in self._events:
            generation += event.kind in BEGINS_AGAIN
            steps = event.field("steps")
            if event.kind is EventKind.EXECUTION_COMPENSATING and isinstance(steps, list):
                told = [one for one in steps if isinstance(one, int)]
                found[generation] = self._ledger.order_of(told, generation) or {}
        return found

    def _know_calls(self) -> None:
        """An owner whose checkpoint was refused reads the rows again, and still knows of its own calls."""
        for place, doubt in tuple(self._state.doubts.items()):
            step, item = place if isinstance(place, tuple) else (place, -1)
            if not doubt.is_told and self._causes.is_known_again(step, item, self._at):
                known_by_its_maker(self._state, place)

    def _leave_doubts(self) -> Asking:
        """A look-up found nothing, and its step asks a person: nothing tells of it but what happens next."""
        for place, doubt in tuple(self._state.doubts.items()):
            step, item = place if isinstance(place, tuple) else (place, -1)
            plan = self._program.steps[step].plan
            is_open = doubt.is_told and not doubt.asks and plan.in_doubt is InDoubt.ASK
            if not is_open or not self._state.goes_on(step):
                continue
            if self._causes.settled_by(step, item, self._at) == "stop":
                attempt = self._causes.attempt_of(self._state, step, item)
                told = DoubtJudged(step, attempt, Verdict.UNKNOWN, item=item)
                yield from self._take(advance(self._state, told))

    # --- what was decided ------------------------------------------------------------------------

    def _take(self, commands: list[Command]) -> Asking:
        for command in commands:
            if self._is_through and not (isinstance(command, Finish) and self._has_ended):
                # Of one that goes on: the rest of this decision comes with its next checkpoint.
                return
            match command:
                case RecordEvent():
                    self._expect(command)
                case RecordStep():
                    yield from self._check_row(command)
                case RunStep():
                    yield from self._begin(command)
                case Finish():
                    self._finish = command
                case _:
                    pass

    @property
    def _is_through(self) -> bool:
        """Whether nothing is recorded any more of one that goes on."""
        return self._at == len(self._events) and self._record.end.status not in TERMINAL

    @property
    def _has_ended(self) -> bool:
        return self._at > 0 and self._events[self._at - 1].kind.ends_execution

    def _expect(self, command: RecordEvent) -> None:
        """The next event must be this one; the end may come later, when its output has to be stored first."""
        event = self._events[self._at] if self._at < len(self._events) else None
        data = None if command.data is None else settled(command.data)
        if event is not None and event.kind is command.kind and settled(event.data) == data:
            self._consume()
        elif command.kind is EventKind.EXECUTION_COMPLETED and (
            event is None or event.kind is not command.kind
        ):
            self._end_is_due = True
        else:
            said = {"event": command.kind.word, "data": data}
            raise Diverged(
                self._here(DivergenceKind.EVENT, shown(said), _told(event), command.data)
            )

    def _check_row(self, command: RecordStep) -> Asking:
        key = RowKey(self._generation, command.step, command.item, command.attempt)
        about: Json = {"step": command.step, "item": command.item}

        def here(kind: DivergenceKind, expected: str, found: str) -> ReplayDivergence:
            return self._here(kind, expected, found, about)

        row = self._ledger.check(key, command, here)
        if command.status is not StepStatus.COMPLETED:
            return
        self._check_digests(row, here)
        output = stored(facts(row).get("output"))
        if command.item < 0 and command.step in self._state.outputs:
            kept = self._state.outputs[command.step]
            if identity_of(kept) != identity_of(output):
                raise Diverged(here(DivergenceKind.OUTPUT, identity_of(kept), identity_of(output)))
        known, found = expected_digest(row, output)
        if known is not None and known != found:
            raise Diverged(here(DivergenceKind.OUTPUT, known, found))
        if isinstance(output, BlobRef):
            problem = yield from self._hashed(output)
            if problem is not None:
                raise Diverged(here(DivergenceKind.OUTPUT, output.digest, problem))
        self.outputs += known is not None or isinstance(output, BlobRef)
        if key in self._rendered:
            sequence, config = self._rendered.pop(key)
            self.calls.append(
                Redone(key.step, key.item, key.attempt, key.generation, sequence, config)
            )

    def _check_digests(self, row: StepRecord, here: Callable[..., ReplayDivergence]) -> None:
        """What completed has the digest of its output; and that of its input, where a call was made."""
        said, plan = facts(row), self._program.steps[row.step].plan
        if not isinstance(said.get("out"), str):
            raise Diverged(here(DivergenceKind.OUTPUT, "a digest", "none"))
        is_called = plan.uses is not None and (plan.map is None or row.item >= 0)
        if is_called and not isinstance(said.get("in"), str):
            raise Diverged(here(DivergenceKind.INPUT, "a digest", "none"))

    def _begin(self, command: RunStep) -> Asking:
        key = RowKey(self._generation, command.step, command.item, command.attempt)
        said = facts(self._ledger.stored.get(key)).get("in")
        if isinstance(said, str):
            yield from self._check_input(key, said)

    def _check_input(self, key: RowKey, digest: str) -> Asking:
        """Render the input as people see it, its secrets masked, and compare the digests."""
        loaded: dict[BlobRef, Json] = {}
        rendered: Json = None
        found = None
        while found is None:
            try:
                rendered = self._input(key, loaded)
                found = digest_of(rendered)
            except NotLoaded as missing:
                value = yield missing.ref
                loaded[missing.ref], found = value.value, value.problem
            except ExpressionError as problem:
                found = f"it can't be rendered: {problem.message}"
            except (TypeError, LookupError):
                found = "it can't be rendered from what is recorded"
        if found != digest:
            about: Json = {"step": key.step, "item": key.item}
            raise Diverged(self._here(DivergenceKind.INPUT, found, digest, about, back=1))
        self.inputs += 1
        self._keep(key, rendered)

    def _keep(self, key: RowKey, rendered: Json) -> None:
        """Keep the input of a call that might be made again, as long as there is room for it."""
        if not self._room:
            return
        config = None
        if not self._program.steps[key.step].uses_secrets:
            raw = orjson.dumps(rendered)
            if len(raw) < self._room:
                config = raw
                self._room -= len(raw)
        self._rendered[key] = self._sequence(1), config

    def _input(self, key: RowKey, loaded: dict[BlobRef, Json]) -> Json:
        """The input of an attempt; raises NotLoaded for large values that are not among these."""

        def resolve(ref: BlobRef) -> Json:
            if ref not in loaded:
                raise NotLoaded(ref)
            return loaded[ref]

        program = self._program.steps[key.step]
        scope = scope_of(self._state, MASKED, resolve, step=key.step)
        if key.item >= 0:
            scope["index"] = key.item
            if program.names_item and program.for_each is not None:
                scope["item"] = self._list(key.step, scope)[key.item]
        rendered: Json = program.config.render(scope)
        return rendered

    def _list(self, step: int, scope: dict[str, Json]) -> list[Json]:
        """The elements of a map, rendered once."""
        if self._items[0] != step:
            template = self._program.steps[step].for_each
            found = [] if template is None else template.render(scope)
            self._items = step, found if isinstance(found, list) else []
        return self._items[1]

    def _check_join(self, cause: ItemsJoined) -> Asking:
        """The output of a map, made again of what its items put out."""
        plan = self._program.steps[cause.step].plan
        is_collecting = plan.map is not None and plan.map.is_collecting
        fan = self._state.fans.get(cause.step)
        made, comma = hashlib.sha256(b"["), b""
        for one in self._ledger.items(cause.step, 0 if fan is None else len(fan.ends)):
            value, ref = one.value, stored(one.value)
            if one.status == StepStatus.COMPLETED and isinstance(ref, BlobRef):
                loaded = yield ref
                value = loaded.value
            made.update(comma + element_of(one, value, is_collecting=is_collecting))
            comma = b","
        made.update(b"]")
        found, row = f"sha256:{made.hexdigest()}", self._causes.row_of(cause, self._generation)
        known = facts(row).get("out")
        if known != found:
            about: Json = {"step": cause.step}
            raise Diverged(self._here(DivergenceKind.OUTPUT, found, str(known), about))

    def _check_end(self) -> Asking:
        """The execution's own row, and rows that nobody decided."""
        end = self._record.end
        if end.generation != self._generation:
            what = f"generation {self._generation}", f"generation {end.generation}"
            raise Diverged(self._here(DivergenceKind.RESULT, *what))
        unexplained = self._ledger.unexplained()
        if unexplained is not None:
            about: Json = {"step": unexplained.step, "item": unexplained.item}
            words = shown(recorded(self._ledger.stored[unexplained]))
            raise Diverged(self._here(DivergenceKind.ROW, "no such row", words, about))
        if self._is_over is not (end.status in TERMINAL):
            words = (
                "its end is an event" if self._end_is_due or not self._is_over else "it has ended"
            )
            raise Diverged(self._here(DivergenceKind.RESULT, words, end.status.name.lower()))
        if self._broken is not None:
            self._check_broken(*self._broken)
            return
        finish = None if self._end_is_due else self._finish
        status = None if finish is None else finish.status
        if finish is None or status is None:
            return
        if status is not end.status:
            due, found = status.name.lower(), end.status.name.lower()
            raise Diverged(self._here(DivergenceKind.RESULT, due, found))
        error = None if finish.error is None else settled(finish.error.as_json())
        if error != settled(end.error):
            raise Diverged(self._here(DivergenceKind.RESULT, shown(error), shown(end.error)))
        if status is ExecutionStatus.COMPLETED:
            yield from self._check_output(settled(finish.output), end.output)

    def _check_broken(self, status: ExecutionStatus, kind: Json) -> None:
        """The row of what ended as its worker or the database said; `kind` is the type of its error, if known."""
        end = self._record.end
        error = end.error if isinstance(end.error, dict) else {}
        due, found = [status.name.lower()], [end.status.name.lower()]
        if kind is not None:
            due, found = [*due, str(kind)], [*found, str(error.get("type"))]
        if due != found:
            words = " ".join(due), " ".join(found)
            raise Diverged(self._here(DivergenceKind.RESULT, *words))

    def _check_output(self, decided: Json, output: Stored) -> Asking:
        found = identity_of(output)
        if identity_of(decided) != found:
            raise Diverged(self._here(DivergenceKind.RESULT, identity_of(decided), found))
        if isinstance(output, BlobRef):
            problem = yield from self._hashed(output)
            if problem is not None:
                raise Diverged(self._here(DivergenceKind.RESULT, output.digest, problem))
        self.outputs += 1

    def _hashed(self, ref: BlobRef) -> Generator[BlobRef, BlobLoaded, str | None]:
        """What is wrong with a large value, of whatever size; None: it is what its digest says."""
        self.only_hashes = True
        loaded = yield ref
        self.only_hashes = False
        return loaded.problem

    # --- words -----------------------------------------------------------------------------------

    def _sequence(self, back: int = 0) -> int:
        return min(self._at + 1 - back, len(self._events))

    def _here(
        self,
        kind: DivergenceKind,
        expected: str,
        found: str,
        about: Json = None,
        *,
        back: int = 0,
    ) -> ReplayDivergence:
        """What does not agree at the event that comes next, or `back` events before."""
        event = self._events[min(self._at, len(self._events) - 1)] if self._events else None
        data = about if about is not None else (None if event is None else event.data)
        step, item = self._causes.place_in(data)
        keys = self._program.steps
        key = keys[step].plan.key if 0 <= step < len(keys) else None
        number = item if item >= 0 else None
        return ReplayDivergence(kind, expected, found, self._sequence(back) or None, key, number)


def _told(event: ExecutionEvent | None) -> str:
    if event is None:
        return "the record ends"
    return shown({"event": event.kind.word, "data": event.data})
