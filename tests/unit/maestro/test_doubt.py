"""Steps and connectors of users that can find out whether they were called."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from maestro import Connector, NotMade, StepContext, Unknown, step
from maestro.testing import make_context
from runtime.connectors.invoke import look_up
from runtime.connectors.threads import StepThreads
from runtime.model.errors import StepFailed
from runtime.model.execution import Verdict


class Receipt(BaseModel):
    number: int


def transfer(answer: Any) -> Any:
    """A step whose look-up answers like this."""

    @step(name="bank.transfer")
    def transfer(cents: int) -> Receipt:
        raise AssertionError("nobody calls it")

    @transfer.on_doubt
    def find(cents: int, ctx: StepContext) -> Any:
        assert (cents, ctx.attempt) == (5, 2)
        return answer

    return transfer


@pytest.mark.parametrize(
    ("answer", "verdict", "output"),
    [
        (Receipt(number=1), Verdict.MADE, {"number": 1}),
        ({"number": 2}, Verdict.MADE, {"number": 2}),
        (NotMade(), Verdict.NOT_MADE, None),
        (Unknown(), Verdict.UNKNOWN, None),
    ],
)
async def test_a_function_says_whether_the_step_was_called(
    answer: Any, verdict: Verdict, output: Any
):
    context = make_context(services={"threads": StepThreads()}, attempt=2)

    assert await look_up(transfer(answer), context, {"cents": 5}) == (verdict, output)


async def test_what_it_says_must_fit_the_output():
    context = make_context(services={"threads": StepThreads()}, attempt=2)

    with pytest.raises(StepFailed) as failed:
        await look_up(transfer({"number": "x"}), context, {"cents": 5})

    assert failed.value.type == "output.invalid"


async def test_without_a_function_nobody_knows():
    @step(name="test.blind")
    def blind() -> None: ...

    class Blind(Connector):
        """Blind."""

        name = "test.blind_class"
        Input = Output = Receipt

        async def execute(self, context: StepContext, input: Receipt) -> Receipt:
            return input

    connectors: list[Any] = [blind, Blind()]
    for connector in connectors:
        given: Any = {} if connector is blind else {"number": 1}
        found = await look_up(connector, make_context(), given)
        assert found == (Verdict.UNKNOWN, None)


def test_a_function_that_takes_something_else_is_refused():
    @step(name="bank.refuse")
    def refuse(cents: int) -> None: ...

    with pytest.raises(TypeError, match="must take the parameters"):

        @refuse.on_doubt
        def find(euros: int) -> None: ...
