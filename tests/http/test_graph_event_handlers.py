"""Event handlers over the graph and by `mc`: how they do for operators, and what they said of a tenant's events for it alone."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from runtime.identity.authenticator import Authenticator
from runtime.model.identity import Principal
from runtime.store.event_bus import Cursor, EventBusStore, Happened, Subscription
from tests.http.serving import Served

LIST = """{ eventHandlers { name stream shard state attempts error failedAt
  passedBy { eventId kind attempts error } } }"""
NAMES = ("board", "other", "quiet", "gone")


async def failing(server: Served, mine: UUID, other: UUID) -> None:
    """Four handlers: one fails on events of the caller, one on another's, one does well, one is run by nobody."""
    bus = EventBusStore(server.rt.shards.catalog)
    wanted = [Subscription(name, "execution", 0, 1 << 7) for name in NAMES]
    for one in wanted:
        await bus.register(one, from_beginning=False)
    held: dict[str, Cursor] = {c.handler: c for c in await bus.hold(1, wanted[:3], 60.0)}
    await bus.note(1, held["board"], 2, "it is full", mine)
    await bus.note(1, held["other"], 3, "secret of another", other)
    for tenant, n in ((mine, 1), (other, 2)):
        event = Happened(
            "execution", UUID(int=n), n, "execution_failed", tenant, datetime.now(UTC), {}
        )
        await bus.skip(held["board"], event, 15, f"of {n}")  # fmt: skip


async def test_an_operator_sees_all_handlers_and_what_they_said_of_its_own_events(server: Served):
    authenticator: Authenticator = server.rt.authenticator
    who: Principal = await authenticator.principal(server.bearer()["Authorization"], None)
    await failing(server, who.tenant_id, UUID(int=77))

    found = (await server.ask(LIST, **server.bearer())).body["data"]["eventHandlers"]

    board, gone, other, quiet = found
    assert [one["name"] for one in found] == sorted(NAMES)
    assert (board["state"], board["attempts"], board["error"]) == ("FAILING", 2, "it is full")
    assert (other["state"], other["attempts"], other["error"]) == ("FAILING", 3, None)
    assert (quiet["state"], gone["state"]) == ("OK", "NOT_RUN")
    assert board["passedBy"] == [
        {
            "eventId": f"{UUID(int=1)}.e.1",
            "kind": "execution_failed",
            "attempts": 15,
            "error": "of 1",
        }
    ]
    assert other["failedAt"] is not None
    assert other["passedBy"] == []


async def test_who_is_no_admin_sees_none(server: Served):
    assert (await server.ask(LIST, **server.bearer("author"))).codes == ["FORBIDDEN"]
