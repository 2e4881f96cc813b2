"""A directory of people, teams and customers: the second subgraph of the tests, as another team would write it.

It owns `Person`, `Team` and `Customer`, and adds to what the engine owns: who owns a workflow, who asked for an
execution. `python -m tests.federation.directory URL` serves it in a process of its own, beside the engine whose graph is
at that address; the first line that it prints is its own address. docs/guides/federation.md shows parts of this file.
"""

import argparse
import base64
import json
import socket
import sys
from typing import Any, Self

import aiohttp
import strawberry
import uvicorn
from strawberry import ID, Info, federation
from strawberry.asgi import GraphQL

PEOPLE = {"ada": "Ada Lovelace", "alice": "Alice Liddell"}
CUSTOMERS = {"c-1": "Analytical Engines", "c-2": "Looking Glass"}
OWNERS = {"greet": "ada"}
# What was started for whom; a real service keeps it beside the customer.
STARTED: dict[str, list[str]] = {}
OF_TEAM = """query OfTeam($team: String!, $first: Int!) {
  executions(filter: {labels: [{key: "team", value: $team}]}, first: $first) { edges { node { id } } }
}"""


@federation.type(keys=["id"])
class Person:
    """Somebody who works here."""

    id: ID

    @classmethod
    def find(cls, id: str | None) -> Self | None:
        return cls(id=ID(id)) if id in PEOPLE else None

    @classmethod
    def resolve_reference(cls, id: ID) -> Self | None:
        return cls.find(id)

    @strawberry.field
    def name(self) -> str:
        return PEOPLE[self.id]

    @strawberry.field
    def workflows(self) -> "list[Workflow]":
        return [Workflow(name=name) for name, owner in OWNERS.items() if owner == self.id]


@federation.type(keys=["name"])
class Workflow:
    """The engine's workflow, and who owns it."""

    name: str

    @classmethod
    def resolve_reference(cls, name: str) -> Self:
        return cls(name=name)

    @strawberry.field
    def owner(self) -> Person | None:
        return Person.find(OWNERS.get(self.name))


@strawberry.type
class Actor:
    """What is needed of the engine's actor."""

    subject: str = federation.field(external=True)


def nobody() -> Actor:
    """Who stands where the gateway did not say who it was."""
    return Actor(subject="")


@federation.type(keys=["id"])
class Execution:
    """The engine's execution, and who asked for it by name."""

    id: ID
    created_by: Actor = federation.field(external=True, default_factory=nobody)

    @classmethod
    def resolve_reference(cls, id: ID, createdBy: Any = None) -> Self:  # noqa: N803 - as gateways say it
        return cls(id=id, created_by=Actor(**createdBy) if createdBy else nobody())

    @federation.field(requires=["createdBy { subject }"])
    def requested_by(self) -> Person | None:
        return Person.find(self.created_by.subject)


@federation.type(keys=["id"])
class Customer:
    """Somebody whom work is done for. This service keeps the ids of what it started for them."""

    id: ID

    @classmethod
    def resolve_reference(cls, id: ID) -> Self:
        return cls(id=id)

    @strawberry.field
    def name(self) -> str:
        return CUSTOMERS.get(self.id, "A customer")

    @strawberry.field
    def executions(self) -> list[Execution | None]:
        return [Execution(id=ID(each)) for each in STARTED.get(self.id, [])]


@federation.type(keys=["id"])
class Team:
    """Several people. What runs for them carries their label, so the engine is asked, as the caller."""

    id: ID

    @strawberry.field
    async def executions(self, info: Info, first: int = 20) -> list[Execution]:
        body = {"query": OF_TEAM, "variables": {"team": self.id, "first": first}}
        headers = {"Authorization": info.context["authorization"]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(info.context["engine"], json=body, headers=headers) as answer,
        ):
            found = (await answer.json())["data"]["executions"]["edges"]
        return [Execution(id=edge["node"]["id"]) for edge in found]


@strawberry.type
class Query:
    @strawberry.field
    def me(self, info: Info) -> Person | None:
        part = info.context["authorization"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return Person.find(claims.get("sub"))

    @strawberry.field
    def customer(self, id: ID) -> Customer | None:
        return Customer(id=id) if id in CUSTOMERS or id in STARTED else None

    @strawberry.field
    def team(self, id: ID) -> Team:
        return Team(id=id)


@strawberry.type
class Mutation:
    @strawberry.mutation
    def keep_execution(self, customer: ID, execution: ID) -> Customer:
        STARTED.setdefault(customer, []).append(execution)
        return Customer(id=customer)


SCHEMA = federation.Schema(
    query=Query, mutation=Mutation, types=[Workflow, Execution], federation_version="2.9"
)


class Directory(GraphQL[Any, None]):
    """The directory over HTTP."""

    def __init__(self, engine: str) -> None:
        super().__init__(SCHEMA)
        self.engine = engine

    async def get_context(self, request: Any, response: Any) -> Any:
        """Who asks, as the gateway handed it on, and where the engine is."""
        asks = request.headers.get("authorization", "")
        return {"request": request, "authorization": asks, "engine": self.engine}


def main() -> None:
    """Serve it on a free port of loopback until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", help="the address of the engine's graph")
    options = parser.parse_args()
    opened = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{opened.getsockname()[1]}/graphql\n")
    sys.stdout.flush()
    app = Directory(options.engine)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off")).run([opened])


if __name__ == "__main__":
    main()
