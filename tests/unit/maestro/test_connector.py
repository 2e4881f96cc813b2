"""The base class: what it reads from what the author wrote, and what the test kit does with it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from maestro import Connector, Effect, StepContext, http_session
from maestro.testing import make_context, run_step
from runtime.model.errors import StepFailed


class Parcel(BaseModel):
    grams: int


class Quote(BaseModel):
    cents: int


class Carrier(Connector):
    """Ask the carrier for a price.

    By weight.
    """

    name = "shop.quote"
    effect_class: Effect | None = Effect.PURE

    rate: int | None = None

    async def open(self) -> None:
        self.rate = 2

    async def close(self) -> None:
        self.rate = None

    async def execute(self, context: StepContext, input: Parcel) -> Quote:
        assert self.rate is not None
        return Quote(cents=input.grams * self.rate)


def test_models_and_summary_are_read_from_the_class():
    assert Carrier.Input is Parcel
    assert Carrier.Output is Quote
    assert Carrier.summary == "Ask the carrier for a price."
    assert Carrier.version == "1.0.0"


def test_models_may_be_named_by_the_class():
    class Named(Connector):
        name = "test.named"
        Input = Parcel
        Output = Quote

        async def execute(self, context: StepContext, input: object) -> object: ...

    assert (Named.Input, Named.Output) == (Parcel, Quote)


def test_the_kit_opens_and_closes_a_connector():
    carrier = Carrier()

    assert run_step(carrier, {"grams": 100}).unwrap() == {"cents": 200}
    assert carrier.rate is None


def test_the_effect_may_depend_on_the_input():
    class Depends(Carrier):
        effect_class: Effect | None = None

        def effect(self, input: Parcel) -> Effect:
            return Effect.PURE if input.grams == 0 else Effect.AT_MOST_ONCE

    assert Depends().effect(Parcel(grams=0)) is Effect.PURE
    assert Carrier().effect(Parcel(grams=1)) is Effect.PURE


def test_secrets_are_rendered_into_the_input_and_masked_on_the_way_out():
    class Token(BaseModel):
        token: str

    class Tell(Connector):
        name = "test.tell"
        Input = Token
        Output = Token

        async def execute(self, context: StepContext, input: Token) -> Token:
            context.log.info(input.token, token=input.token)
            context.heartbeat({"token": input.token})
            return Token(token=f"{len(input.token)}:{input.token}")

    result = run_step(Tell, {"token": "{{ secrets.KEY }}"}, secrets={"KEY": "canary-canary"})

    assert result.unwrap() == {"token": "13:***"}
    assert "canary" not in repr(result)


@pytest.mark.parametrize("what", [3, object, "core.noop"])
def test_what_is_no_step_is_refused(what: object):
    with pytest.raises(TypeError, match="neither a @step function nor a connector"):
        run_step(what)


def test_a_process_without_a_session_says_so():
    with pytest.raises(StepFailed, match="no HTTP session"):
        http_session(make_context())
