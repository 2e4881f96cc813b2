"""Program: a Plan with its templates parsed. Made once per digest and shared by all executions of it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from runtime.expression import Template, parse_condition, parse_template
from runtime.model.plan import HumanPlan, Plan, StepPlan, WaitPlan
from runtime.model.route import Case, Gateway
from runtime.model.values import Digest


@dataclass(frozen=True, slots=True)
class StepProgram:
    """One step, ready to run: its plan, its parsed `with` and `when`; of a gateway its conditions, None: else.

    `cache_key` is what makes two calls the same, where that is written.
    Of a map `for_each` is its list, and whether the input of an item `names_item`.
    """

    plan: StepPlan
    config: Template
    condition: Template | None
    uses_secrets: bool
    wait: WaitPlan | None = None
    human: HumanPlan | None = None
    cases: tuple[Template | None, ...] = ()
    for_each: Template | None = None
    cache_key: Template | None = None
    names_item: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A plan, ready to run. `roots` are the steps that wait for nothing, in document order.

    Behind its `steps` stand those that undo some of them, then those that give the outputs of some that have failed, as
    the plan numbers them.
    """

    plan: Plan
    steps: tuple[StepProgram, ...]
    outputs: Template | None
    roots: tuple[int, ...]

    @classmethod
    def of(cls, plan: Plan) -> Program:
        """Parse the templates of a plan; O(size of the document)."""
        gateways = {} if plan.routes is None else plan.routes.gateways
        return cls(
            plan=plan,
            steps=tuple(
                _step(step, gateways.get(step.index))
                for step in plan.steps + plan.compensations + plan.fallbacks
            ),
            outputs=None if plan.outputs is None else parse_template(plan.outputs),
            roots=tuple(i for i, count in enumerate(plan.indegree) if count == 0),
        )


class ProgramCache:
    """The programs used last, by digest. Equal digests mean equal plans, so nothing ever expires."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._programs: OrderedDict[Digest, Program] = OrderedDict()

    def get(self, plan: Plan) -> Program:
        """The program of a plan, parsed on first use."""
        found = self._programs.get(plan.digest)
        if found is not None:
            self._programs.move_to_end(plan.digest)
            return found
        program = self._programs[plan.digest] = Program.of(plan)
        if len(self._programs) > self._limit:
            self._programs.popitem(last=False)
        return program


def written_as(plan: StepPlan) -> str:
    """What messages call that of a step which is rendered before it begins."""
    if plan.stands_for is None:
        return f"`with` of step {plan.key!r}"
    return f"`output` in `on_error` of step {plan.key.rpartition(':')[0]!r}"


def _step(plan: StepPlan, gateway: Gateway | None) -> StepProgram:
    config = parse_template({} if plan.config is None else plan.config)
    return StepProgram(
        plan=plan,
        config=config,
        condition=None if plan.when is None else parse_condition(plan.when),
        uses_secrets=any(reference.path[:1] == ("secrets",) for reference in config.references),
        wait=plan.wait,
        human=plan.human,
        cases=() if gateway is None else tuple(map(_condition, gateway.cases)),
        cache_key=None
        if plan.cache is None or plan.cache.key is None
        else parse_template(plan.cache.key),
        for_each=None if plan.map is None else parse_template(plan.map.for_each),
        names_item=plan.map is not None
        and any(reference.path[:1] == ("item",) for reference in config.references),
    )


def _condition(case: Case) -> Template | None:
    return None if case.is_else else parse_condition(case.when)
