"""The door looks again: who was let in may not listen for longer than his token is good."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.clock import SystemClock
from runtime.model.errors import Denied, MaestroError, Unauthenticated, Unavailable
from runtime.model.identity import Principal
from subgraph.context import Door
from tests import make

HOUR = 3_600.0


class Authenticator:
    """Answers in turn; the last answer for ever."""

    def __init__(self, *answers: Principal | MaestroError) -> None:
        self.answers = list(answers)

    async def principal(self, authorization: str | None, purpose: str | None = None) -> Principal:
        """What is next."""
        assert (authorization, purpose) == ("Bearer t", "audit")
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, MaestroError):
            raise answer
        return answer


def who(seconds: float = HOUR) -> Principal:
    return replace(make.principal(), expires_at=SystemClock().now().timestamp() + seconds)


def door_of(*answers: Principal | MaestroError, again: float = 30.0) -> Door:
    rt: Any = SimpleNamespace(clock=SystemClock(), authenticator=Authenticator(*answers))
    return Door(rt, again_seconds=again)


async def looked(before: Principal, *answers: Principal | MaestroError) -> MaestroError | None:
    door = door_of(*answers)
    return await door.look_again(before, {"x-purpose": "audit"}, {"authorization": "Bearer t"})


@pytest.mark.parametrize(
    "refusal",
    [Unauthenticated(reason="TOKEN_INVALID"), Denied("No.", reason="TENANT_UNKNOWN")],
)
async def test_a_token_that_is_taken_back_ends_it(refusal: MaestroError) -> None:
    assert await looked(who(), refusal) is refusal


async def test_a_token_that_gives_something_else_ends_it() -> None:
    found = await looked(who(), replace(who(), scopes=frozenset()))

    assert found
    assert found.reason == "TOKEN_CHANGED"


async def test_a_token_that_runs_out_ends_it() -> None:
    found = await looked(who(-1), who())

    assert found
    assert found.reason == "TOKEN_EXPIRED"


@pytest.mark.parametrize("answer", [None, Unavailable("Away.")])
async def test_one_stays_whose_token_is_good_or_can_not_be_looked_at(
    answer: MaestroError | None,
) -> None:
    same = who()

    assert await looked(same, answer or same) is None


def test_one_is_looked_at_again_before_his_token_runs_out() -> None:
    door = door_of(who())

    assert door.next_look(who()) == 30
    assert 8 < door.next_look(who(9)) <= 9
    assert door.next_look(who(-1)) == 0
