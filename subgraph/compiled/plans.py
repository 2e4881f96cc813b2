"""The door of the room: plans by operation, and the shorter way for who has checked a document already.

`Plans(schema)` makes the schema's own executor try a plan first (`executor.py`), so that every protocol, hook and
extension stays what it is. `Plans.execute` is for a plain request whose document was parsed and validated before:
nothing but the plan runs, unless it can't answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    OperationDefinitionNode,
    Undefined,
    get_operation_ast,
)
from graphql.execution.values import VariableValues
from strawberry.extensions import SchemaExtension
from strawberry.schema import Schema
from strawberry.types.execution import ExecutionResult

from subgraph.compiled.executor import Attempted, PlannedExecutor, attempted
from subgraph.compiled.info import Request
from subgraph.compiled.plan import Plan
from subgraph.compiled.planner import Planner
from subgraph.compiled.reasons import Reason, Unplanned
from subgraph.compiled.run import Attempt, Run
from subgraph.compiled.size import UNBOUND, Bound
from subgraph.compiled.switches import switches_of
from subgraph.compiled.variables import Variables

# What is kept, in letters of text: a token of the tree takes as much as eight of them, a field of a plan as 24.
_MOST_LETTERS: Final = 1_048_576
_OF_AN_OPERATION: Final = 64
_OF_A_TOKEN: Final = 8
_OF_A_FIELD: Final = 24
_LONGEST: Final = 16_384
_MOST_SETTINGS: Final = 16


@dataclass(slots=True)
class _Known:
    """What is known of one operation: its switches, and a plan or the reason against it per setting."""

    operation: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Variables
    letters: int = 0
    switches: tuple[str, ...] = ()
    plans: dict[tuple[Any, ...], Plan | Unplanned] = field(default_factory=dict)


def _ignore(_reason: Reason) -> None:
    """Nobody counts."""


class Plans:
    """The plans of one schema, as many as fit into a bound; the longest unused goes first.

    `silent` are extensions that do nothing around an operation without errors, so that `execute` need not call them;
    any other extension is called as ever, by the library. `fell_back` is told each time that the library had to answer.
    `bound` says how large an answer may be, whoever makes it.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        silent: Iterable[type[SchemaExtension]] = (),
        fell_back: Callable[[Reason], None] = _ignore,
        bound: Bound = UNBOUND,
    ) -> None:
        self._schema = schema
        self._planner = Planner(schema)
        self._fell_back = fell_back
        self._is_short = set(schema.extensions) <= set(silent) and not schema.directives
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._letters = 0
        self._bound = bound
        schema.execution_context_class = type(
            "Planned", (PlannedExecutor,), {"plans": self, "bound": bound}
        )

    async def execute(
        self,
        document: DocumentNode,
        otherwise: Callable[[], Awaitable[ExecutionResult]],
        *,
        context: Any,
        operation_name: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> ExecutionResult:
        """The result of a checked operation; `otherwise` asks Strawberry for it, with everything around it."""
        operation = get_operation_ast(document, operation_name) if self._is_short else None
        if operation is None:
            return await otherwise()
        attempt = Attempt()
        try:
            known = self._known.get(id(operation))
            if known is None:
                known = self._looked_up(operation, _fragments_of(document))
            else:
                self._known.move_to_end(id(operation))
            coerced = known.variables.coerced(variables)
            if isinstance(coerced, list):
                raise Unplanned(Reason.VARIABLES)
            request = Request(self._planner.graph, coerced, context)
            plan = self._plan(known, coerced)
            data = await Run(plan, self._schema, request, self._bound, attempt).answer()
        except Unplanned as unplanned:
            self.note(unplanned)
        else:
            if attempt.result is None:
                return ExecutionResult(data=data, errors=None)
        with attempted(Attempted(operation, attempt)):
            return await otherwise()

    async def run(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        request: Request,
        attempt: Attempt,
    ) -> dict[str, Any] | None:
        """The answer of a plan, or None when it is in the attempt; raises Unplanned when the library has to give it."""
        plan = self.plan(operation, fragments, request.variables)
        return await Run(plan, self._schema, request, self._bound, attempt).answer()

    def note(self, unplanned: Unplanned) -> None:
        """Tell that the library answers."""
        self._fell_back(unplanned.reason)

    def plan(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> Plan:
        """The plan of an operation for these variables; raises Unplanned, and remembers that too."""
        return self._plan(self._looked_up(operation, fragments), variables)

    def _plan(self, known: _Known, variables: VariableValues) -> Plan:
        setting = tuple(variables.coerced.get(name, Undefined) for name in known.switches)
        found = known.plans.get(setting)
        if found is None:
            # Settings are the caller's: neither a plan nor the lack of one is kept for every one of them.
            if len(known.plans) >= _MOST_SETTINGS:
                raise Unplanned(Reason.SIZE)
            found = known.plans[setting] = self._planned(known, variables)
            self._grow(known, _OF_A_FIELD * (found.size if isinstance(found, Plan) else 1))
        if isinstance(found, Unplanned):
            raise Unplanned(found.reason, str(found))
        return found

    def _looked_up(
        self, operation: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
    ) -> _Known:
        known = self._known.get(id(operation))
        if known is not None:
            self._known.move_to_end(id(operation))
            return known
        characters = len(operation.loc.source.body) if operation.loc else _LONGEST
        if characters > _LONGEST:
            raise Unplanned(Reason.SIZE)
        # It holds the operation, whose id therefore belongs to nothing else.
        variables = Variables(self._planner.graph, operation.variable_definitions or ())
        known = _Known(operation, fragments, variables)
        try:
            known.switches = switches_of(operation, fragments)
        except Unplanned as unplanned:
            known.plans[()] = _bare(unplanned)
        self._known[id(operation)] = known
        self._grow(known, _OF_AN_OPERATION + max(characters, _OF_A_TOKEN * _tokens(operation)))
        return known

    def _grow(self, known: _Known, letters: int) -> None:
        """Count what an operation takes, and forget others for it."""
        if self._known.get(id(known.operation)) is not known:
            return  # It is larger than all that is kept, and gone already.
        known.letters += letters
        self._letters += letters
        while self._letters > _MOST_LETTERS:
            _, forgotten = self._known.popitem(last=False)
            self._letters -= forgotten.letters

    def _planned(self, known: _Known, variables: VariableValues) -> Plan | Unplanned:
        if self._schema.exception_handlers:
            return Unplanned(Reason.SIZE)
        try:
            return self._planner.plan(known.operation, known.fragments, variables)
        except Unplanned as unplanned:
            return _bare(unplanned)


def _fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        each.name.value: each
        for each in document.definitions
        if isinstance(each, FragmentDefinitionNode)
    }


def _bare(unplanned: Unplanned) -> Unplanned:
    """The same without the frames of the search, and of the request around it."""
    return Unplanned(unplanned.reason, str(unplanned))


def _tokens(operation: OperationDefinitionNode) -> int:
    """How many tokens the operation's whole document has: its tree is kept with it."""
    token = operation.loc.start_token if operation.loc else None
    while token is not None and token.prev is not None:
        token = token.prev
    count = 0
    while token is not None:
        count, token = count + 1, token.next
    return count
