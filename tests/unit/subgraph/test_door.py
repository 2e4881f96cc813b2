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


async def outlived(before: Principal, *answers: Principal | MaestroError) -> MaestroError:
    rt: Any = SimpleNamespace(clock=SystemClock(), authenticator=Authenticator(*answers))
    door = Door(rt, again_seconds=0)
    return await door.outlived(before, {"x-purpose": "audit"}, {"authorization": "Bearer t"})


@pytest.mark.parametrize(
    "refusal",
    [Unauthenticated(reason="TOKEN_INVALID"), Denied("No.", reason="TENANT_UNKNOWN")],
)
async def test_a_token_that_is_taken_back_ends_it(refusal: MaestroError) -> None:
    same = who()

    assert await outlived(same, same, Unavailable("Away."), same, refusal) is refusal


async def test_a_token_that_gives_something_else_ends_it() -> None:
    found = await outlived(who(), replace(who(), scopes=frozenset()))

    assert found.reason == "TOKEN_CHANGED"


async def test_a_token_that_runs_out_ends_it() -> None:
    assert (await outlived(who(-1), who())).reason == "TOKEN_EXPIRED"
