"""How each field of a step is read from a table of steps: values as they stand in an answer, for all steps at once."""

from collections.abc import Iterable
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Final

from runtime.model.execution import StepStatus
from runtime.model.ids import StepExecutionId
from runtime.model.step_table import StepColumn, StepTable
from runtime.model.values import Digest, Duration
from subgraph.compiled.declare import Column, column

_STATUS: Final = {str(int(status)): status.name for status in StepStatus}


@cache
def of(names: frozenset[str]) -> frozenset[StepColumn]:
    """The columns of these names."""
    return frozenset(map(StepColumn, names))


def _ids(table: StepTable) -> Iterable[str]:
    start = str(StepExecutionId(table.execution_id, 0)).removesuffix("0")
    return [start + place for place in table.names.places]


@lru_cache(maxsize=4_096)
def _duration(milliseconds: str) -> str:
    return str(Duration(int(milliseconds)))


def _stored(name: StepColumn) -> Column:
    return column(itemgetter(name), name)


def _digests(name: StepColumn) -> Column:
    return column(lambda table: [str(Digest(text)) if text else None for text in table[name]], name)


ID: Final = column(_ids)
STEP_KEY: Final = column(attrgetter("names.keys"))
TYPE: Final = column(attrgetter("names.types"))
MAX_ATTEMPTS: Final = column(attrgetter("names.max_attempts"))
# A table holds no items of maps.
MAP_INDEX: Final = column(lambda table: [None] * len(table.names.keys))
STATUS: Final = column(
    lambda table: [_STATUS[number] for number in table[StepColumn.STATUS]], StepColumn.STATUS
)
DURATION: Final = column(
    lambda table: map(_duration, table[StepColumn.DURATION]), StepColumn.DURATION
)
ATTEMPT: Final = _stored(StepColumn.ATTEMPT)
STARTED_AT: Final = _stored(StepColumn.STARTED_AT)
FINISHED_AT: Final = _stored(StepColumn.FINISHED_AT)
WORKER_ID: Final = _stored(StepColumn.WORKER_ID)
SKIP_REASON: Final = _stored(StepColumn.SKIP_REASON)
CODE: Final = _stored(StepColumn.CODE)
INPUT_HASH: Final = _digests(StepColumn.INPUT_HASH)
OUTPUT_HASH: Final = _digests(StepColumn.OUTPUT_HASH)
CODE_HASH: Final = _digests(StepColumn.CODE_HASH)
