"""ExecutionState: one execution in memory, as integers per step. Changed by advance() and replay only.

It is mutable on purpose: a completion touches only the out-edges of its step, so a whole execution costs
O(edges) (`edge_visits` counts them, a property test watches it). Items of a map are in its Fan; where steps and items
are kept side by side, the key of an item is (step, item).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, NamedTuple
from uuid import UUID

from runtime.engine.doubt import Doubt
from runtime.engine.event import Child, RetryDue, Signal, StepError, TimerDue
from runtime.engine.fan import Fan, Place, Range
from runtime.engine.program import Program
from runtime.expression import ExpressionError
from runtime.model.blob import BlobRef, NotLoaded, Stored, stored
from runtime.model.checkpoint import OwnedExecution
from runtime.model.event import EventKind
from runtime.model.execution import ExecutionError, ExecutionStatus, StepStatus
from runtime.model.plan import Plan
from runtime.model.values import Json

PENDING: Final = int(StepStatus.PENDING)
RUNNING: Final = int(StepStatus.RUNNING)
WAITING: Final = int(StepStatus.WAITING)
RETRYING: Final = int(StepStatus.RETRYING)
IN_DOUBT: Final = int(StepStatus.IN_DOUBT)
COMPLETED: Final = int(StepStatus.COMPLETED)
SKIPPED: Final = int(StepStatus.SKIPPED)


class Phase(Enum):
    """Where the execution stands: not begun, going on, waiting for its running steps to end, undoing them, closed."""

    NEW = "new"
    GOING = "going"
    STOPPING = "stopping"
    UNDOING = "undoing"
    CLOSED = "closed"


class RunInfo(NamedTuple):
    """What is fixed for one generation of an execution, and what expressions see of it; not of its `purpose`."""

    id: UUID
    params: Stored
    generation: int = 0
    trigger: str = "api"
    version: str | None = None
    namespace: str = "default"
    created_at: str | None = None
    identity: str | None = None
    purpose: str | None = None


def run_of(owned: OwnedExecution, plan: Plan) -> RunInfo:
    """What is fixed for the generation of an execution that a worker has come to own."""
    meta = owned.meta
    version, purpose = meta.get("version") or plan.version, meta.get("purpose")
    return RunInfo(
        id=owned.id,
        params=stored(owned.input),
        generation=owned.generation,
        trigger=str(meta.get("trigger", "api")),
        version=None if version is None else str(version),
        namespace=owned.namespace,
        created_at=owned.created_at.isoformat(),
        identity=f"{meta.get('tenant', owned.tenant_id)}/{owned.namespace}/{plan.name}",
        purpose=purpose if isinstance(purpose, str) else None,
    )


class Kept(NamedTuple):
    """What a step gave that a rewind keeps: its output, what its row says of the call, and which one that was."""

    output: Stored
    facts: dict[str, Json]
    source: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the execution will end once its running steps have: decided once, the first cause wins.

    `undoes`: before that, what its steps have done is undone, as far as they say how.
    """

    status: ExecutionStatus
    event: EventKind
    data: dict[str, Json]
    error: ExecutionError | None = None
    undoes: bool = True


class ExecutionState:
    """The state of one generation.

    `pending[i]` counts dependencies of step i that have not ended, `skipped_needs` those that were
    skipped; `attempt[i]` is the number of its newest attempt, `ready` a heap of steps that may start
    (entries that are no longer PENDING are dropped when met), `busy` the number of steps that hold a
    place: running, waiting, between two attempts, or in doubt. `listening` are the steps that wait for a
    signal, by its name, in the order in which they began; `signals` are those that nobody has taken yet.
    `doubts` are the calls in doubt, `free` the attempts of a step that do not count, because they made
    no call, `deferred` how many in a row were put off since its last call. While it `is_paused` nothing starts;
    what comes due meanwhile is `overdue`.
    Where ways are chosen: `gates` are the outputs of gateways, `chosen[i]` counts the choosers that lead to step i,
    `joined` the ends that a join of `any` or a number has met, `seen` those it had met when it began before
    all were there, `visible` what follows from that for steps behind it (made when asked for).
    In `skipped_needs` counts every end that does not lead to the step.
    `children` are the executions that steps have started and wait for, `tasks` those that people are to answer.
    `fans` are the maps that are open, `kept` the items that an earlier generation has completed of those that are not.
    `given` are the steps that a rewind keeps and whose turn has not come yet.
    `inputs` are the inputs that what undoes steps, or gives their outputs, sees where that is not the newest: those
    with which the steps ran.
    `completed` are the steps that completed and say how they are undone, in the order of their ends; `undoing` are
    those of them that are still to be undone, next first; `renewed` are the steps that a retry runs again therefore.
    `here` are the tags of the worker that has the execution (None: whatever steps ask for), `elsewhere` the steps that
    would begin now on a worker with theirs.
    The output of a step that failed and went on with one is that of its fallback, under both numbers.
    `awaits` is the large value that a condition or the outputs of the workflow need, `loaded` those that
    have come since, only until they have been used.
    """

    __slots__: ClassVar = (
        "attempt",
        "awaits",
        "busy",
        "children",
        "chosen",
        "completed",
        "deferred",
        "doubts",
        "edge_visits",
        "elsewhere",
        "ending",
        "errors",
        "fans",
        "free",
        "gates",
        "given",
        "here",
        "inputs",
        "is_paused",
        "joined",
        "kept",
        "listening",
        "loaded",
        "lost",
        "open_steps",
        "outputs",
        "overdue",
        "pending",
        "phase",
        "program",
        "ready",
        "renewed",
        "run",
        "running",
        "seen",
        "signals",
        "skipped_needs",
        "status",
        "tasks",
        "undoing",
        "visible",
    )

    def __init__(self, program: Program, run: RunInfo) -> None:
        count = len(program.steps)
        self.program = program
        self.run = run
        self.phase = Phase.NEW
        self.pending = list(program.plan.indegree)
        self.status = [PENDING] * count
        self.attempt = [0] * count
        self.outputs: dict[int, Stored] = {}
        self.awaits: BlobRef | None = None
        self.loaded: dict[BlobRef, Json] = {}
        self.lost: dict[BlobRef, str] = {}
        self.errors: dict[int, StepError] = {}
        self.doubts: dict[Place, Doubt] = {}
        self.free: dict[int, int] = {}
        self.deferred: dict[int, int] = {}
        self.skipped_needs: dict[int, int] = {}
        self.ready: list[int] = list(program.roots)
        self.running = 0
        self.busy = 0
        self.open_steps = len(self.pending)
        self.edge_visits = 0
        self.ending: Ending | None = None
        self.listening: dict[str, list[int]] = {}
        self.signals: dict[str, deque[Signal]] = {}
        self.is_paused = False
        self.gates: dict[int, Json] = {}
        self.chosen: dict[int, int] = {}
        self.joined: dict[int, list[int]] = {}
        self.seen: dict[int, tuple[int, ...]] = {}
        self.visible: dict[int, int] = {}
        self.overdue: list[RetryDue | TimerDue] = []
        self.completed: list[int] = []
        self.undoing: deque[int] = deque()
        self.renewed: set[int] = set()
        self.children: dict[int, Child] = {}
        self.tasks: dict[int, UUID] = {}
        self.fans: dict[int, Fan] = {}
        self.kept: dict[int, tuple[Range, ...]] = {}
        self.here: frozenset[str] | None = None
        self.inputs: dict[int, Stored] = {}
        self.given: dict[int, Kept] = {}
        self.elsewhere: list[int] = []

    def __copy__(self) -> ExecutionState:
        """Another one with the same parts. Said here, since `copy` can't make a compiled one without its arguments."""
        same = ExecutionState(self.program, self.run)
        for name in ExecutionState.__slots__:
            setattr(same, name, getattr(self, name))
        return same

    @property
    def is_idle(self) -> bool:
        """Whether nothing happens until a timer or a message comes: the state could be parked."""
        if self.phase is Phase.STOPPING:
            return self.running == 0 and bool(self.children)
        if self.phase is Phase.UNDOING:
            return self.running == 0
        if self.awaits is not None:
            return False
        waits = self.busy > 0 or self.is_paused or bool(self.elsewhere)
        return self.phase is Phase.GOING and self.running == 0 and waits

    def goes_on(self, step: int) -> bool:
        """Whether further attempts of this step may begin; what undoes steps has its turn after them."""
        if step < len(self.pending) or self.program.steps[step].plan.undoes is None:
            return self.phase is Phase.GOING
        return self.phase is Phase.UNDOING

    @property
    def has_place(self) -> bool:
        """Whether a pause and `max_parallel_steps` let one more step start."""
        limit = self.program.plan.max_parallel_steps
        return not self.is_paused and (limit is None or self.busy < limit)

    def resolve(self, ref: BlobRef) -> Json:
        """A large value that was loaded for the core; raises NotLoaded, or ExpressionError when it is lost."""
        if ref in self.loaded:
            return self.loaded[ref]
        if ref in self.lost:
            raise ExpressionError(self.lost[ref])
        raise NotLoaded(ref)

    def seed(self, step: int, item: int = -1) -> str:
        """What the jitter of a step's delays is a hash of, beside the attempt: equal in every replay."""
        return f"{self.run.id}:{step}:{item}:{self.run.generation}"

    def key(self, step: int) -> str:
        """The id of a step as its author wrote it."""
        return self.program.steps[step].plan.key
