"""What becomes of an at-most-once call when nobody knows whether it was made.

One table, in the order in which it is asked: what the connector found, what the step's rule says, what a
person decided. Nothing here calls again unless the call was not made, or its author or a person said so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from runtime.engine.event import STOPPED_TAIL, DoubtJudged, Facts, StepError
from runtime.engine.retry import is_repeated
from runtime.model.execution import Verdict
from runtime.model.plan import Effect, InDoubt, StepPlan
from runtime.model.values import Json

LOST: Final = "in_doubt"


@dataclass(slots=True)
class Doubt:
    """A call in doubt, until it is settled: why, whether its row tells of it, whether it waits for a person by now.

    `tail` is what its row says of the call (as in Facts): the row that settles it says so too.
    """

    error: StepError
    is_told: bool = True
    asks: bool = False
    tail: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether the attempt itself was cut off; else its worker was lost, which is no fault of it."""
        return self.error.type != LOST

    @property
    def facts(self) -> Facts:
        """What the row that settles it says of the call; what that cost has been told already."""
        return Facts(tail=self.tail)

    @property
    def unmade(self) -> Facts:
        """The same, when the call was not made and does not count."""
        return Facts(tail=STOPPED_TAIL + self.tail)


class Course(Enum):
    """How it goes on: the call counts as made, is made again, repeated by the policy, ended, asked about.

    END leaves the step in doubt for good; END_UNMADE and CALL_OFF know that nothing happened.
    """

    COMPLETE = "complete"
    AGAIN = "again"
    RETRY = "retry"
    END = "end"
    END_UNMADE = "end_unmade"
    CALL_OFF = "call_off"
    ASK = "ask"


def course_of(
    doubt: Doubt, judged: DoubtJudged, plan: StepPlan, tries: int, *, is_going: bool
) -> Course:
    """How it goes on; `tries` are the attempts that count, `is_going` is false when all is to end."""
    match judged.verdict:
        case Verdict.MADE:
            return Course.COMPLETE
        case Verdict.NOT_MADE:
            if not is_going:
                return Course.CALL_OFF
            if not doubt.is_cut or judged.by == "person":
                return Course.AGAIN
            return _repeated(doubt, plan, tries) or Course.END_UNMADE
        case Verdict.UNKNOWN if is_going and plan.in_doubt is InDoubt.ASK:
            return Course.ASK
        case Verdict.UNKNOWN if is_going and plan.in_doubt is InDoubt.RETRY:
            return (_repeated(doubt, plan, tries) or Course.END) if doubt.is_cut else Course.AGAIN
    return Course.END


def words_of(judged: DoubtJudged, plan: StepPlan, *, is_going: bool) -> dict[str, Json]:
    """What the event says of it: the verdict, and who settled it."""
    data: dict[str, Json] = {"verdict": judged.verdict.value, "by": judged.by}
    if judged.actor is not None:
        data |= {"actor": judged.actor, "reason": judged.reason}
    elif judged.verdict is Verdict.UNKNOWN and is_going:
        data |= {"by": "rule", "rule": plan.in_doubt.value}
    return data


def _repeated(doubt: Doubt, plan: StepPlan, tries: int) -> Course | None:
    """What was cut off is a failure like any other once a second call does no harm."""
    again = is_repeated(plan.retry, doubt.error, tries, Effect.IDEMPOTENT)
    return Course.RETRY if again else None


def lost(key: str) -> StepError:
    """Why a call is in doubt whose worker is gone."""
    return StepError(
        LOST,
        f"Nobody knows whether step {key!r} made its call: its worker was lost in between, and its "
        "effect is at_most_once. Look at the other side; then resolve the doubt, or retry the "
        "execution if it has ended.",
    )
