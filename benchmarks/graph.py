"""Q: processor time per request of four queries: by a hand-written route, by plans, by Strawberry.

The route speaks the same SQL, asks the same door, sets the same tenant and answers with the same bytes; it knows the
steps of its versions beforehand. What it does not have is GraphQL, and steps that are under way. Strawberry is there
twice: as `strawberry`, what somebody has who uses it as it comes (`plain.py`), and as `library`, our application with
`MC_EXECUTOR=strawberry`, which remembers documents. All are called as ASGI applications in this process, in turns, so
the servers' time is in none of them. Beside them PostGraphile 5 answers the first three shapes, where npm is there.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.line import Effort, Line, at_least, at_most
from benchmarks.plain import plain
from benchmarks.postgraphile import beside
from benchmarks.surroundings import Surroundings, one_process, publish
from runtime.bootstrap import Runtime, open_runtime
from runtime.model.execution import EnqueueRequest, ExecutionStatus, StepStatus
from runtime.model.identity import Principal
from runtime.model.step_table import StepColumn
from runtime.model.values import Duration
from runtime.store import cursor
from runtime.store.statements import statements
from runtime.store.step_table import statement_of
from subgraph.app import create_app
from subgraph.http.middleware import Surroundings as Around

NAME = "graph"
_SQL: Final = statements("execution_record")
_COLUMNS: Final = _SQL["get_many"].partition(" from workflow_executions")[0]
_PAGE: Final = f"{_COLUMNS} from workflow_executions where tenant_id = $1 order by id desc limit $2"
_STEPS: Final = statement_of(
    frozenset(
        {
            StepColumn.STATUS,
            StepColumn.ATTEMPT,
            StepColumn.STARTED_AT,
            StepColumn.FINISHED_AT,
            StepColumn.DURATION,
        }
    )
)
_STATUS: Final = {str(int(status)): status.name for status in StepStatus}
_ONE: Final = "id status priority namespace generation createdAt startedAt finishedAt"
_STEP: Final = "id stepKey type status attempt startedAt finishedAt duration"
QUERIES: Final = {
    "by_key": f"query($id: ID!) {{ execution(id: $id) {{ {_ONE} }} }}",
    "page": f"query($first: Int) {{ executions(first: $first) {{ edges {{ node {{ {_ONE} steps {{ {_STEP} }} }} }} "
    "pageInfo { hasNextPage endCursor } } }",
    "steps": f"query($id: ID!) {{ execution(id: $id) {{ id steps {{ {_STEP} }} }} }}",
    "entities": "query($representations: [_Any!]!) { _entities(representations: $representations) { "
    f"... on Execution {{ {_ONE} }} }} }}",
}

_ROUNDS: Final = 10
_TIMES: Final = {"by_key": 100}


class Routes:
    """What somebody would write who knew these four questions and no others."""

    def __init__(self, runtime: Runtime) -> None:
        self._rt = runtime
        # What the versions of these executions say of their steps.
        self._named: dict[UUID, tuple[list[str], list[str]]] = {}

    async def learn(self, version: UUID) -> None:
        """Keep the keys and types of a version's steps."""
        steps = (await self._rt.plans.get(version)).steps
        self._named[version] = ([step.key for step in steps], [str(step.uses) for step in steps])

    async def answer(self, request: Request) -> Response:
        """Ask the door, read the question, answer it."""
        who = await self._rt.authenticator.principal(request.headers.get("authorization"))
        asked = orjson.loads(await request.body())
        data = await getattr(self, asked["query"])(who, asked["variables"])
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        return Response(
            orjson.dumps({"data": data}), headers=headers, media_type="application/json"
        )

    async def by_key(self, who: Principal, asked: Any) -> Any:
        """One execution."""
        rows = await self._rows(who, [UUID(asked["id"])])
        return {"execution": _one(rows[0])}

    async def entities(self, who: Principal, asked: Any) -> Any:
        """References of a gateway."""
        ids = [UUID(each["id"]) for each in asked["representations"]]
        found = {row["id"]: _one(row) for row in await self._rows(who, ids)}
        return {"_entities": [found.get(key) for key in ids]}

    async def steps(self, who: Principal, asked: Any) -> Any:
        """The steps of one execution."""
        rows = await self._rows(who, [UUID(asked["id"])])
        steps = await self._steps(who, rows)
        return {"execution": {"id": str(rows[0]["id"]), "steps": steps[rows[0]["id"]]}}

    async def page(self, who: Principal, asked: Any) -> Any:
        """A page of executions with their steps."""
        first = asked["first"]
        async with self._database.tenant(who.tenant_id) as connection:
            rows = await connection.fetch(_PAGE, who.tenant_id, first + 1)
        shown = rows[:first]
        steps = await self._steps(who, shown)
        return {
            "executions": {
                "edges": [{"node": {**_one(row), "steps": steps[row["id"]]}} for row in shown],
                "pageInfo": {
                    "hasNextPage": len(rows) > first,
                    "endCursor": cursor.encode("executions:desc", str(shown[-1]["id"])),
                },
            }
        }

    @property
    def _database(self) -> Any:
        return self._rt.shards.databases[0]

    async def _rows(self, who: Principal, ids: list[UUID]) -> Any:
        async with self._database.tenant(who.tenant_id) as connection:
            return await connection.fetch(_SQL["get_many"], who.tenant_id, ids, min(ids), max(ids))

    async def _steps(self, who: Principal, rows: Any) -> dict[UUID, Any]:
        ids = [row["id"] for row in rows]
        async with self._database.tenant(who.tenant_id) as connection:
            settled = await connection.fetch(_STEPS, who.tenant_id, ids, min(ids), max(ids))
        found: dict[UUID, Any] = {}
        for row in settled:
            keys, types = self._named[row["version_id"]]
            start = f"{row['id']}.s."
            found[row["id"]] = [
                {
                    "id": f"{start}{index}",
                    "stepKey": key,
                    "type": type_,
                    "status": _STATUS[status],
                    "attempt": attempt,
                    "startedAt": started,
                    "finishedAt": finished,
                    "duration": _duration(milliseconds),
                }
                for index, (
                    key,
                    type_,
                    status,
                    attempt,
                    started,
                    finished,
                    milliseconds,
                ) in enumerate(
                    zip(
                        keys,
                        types,
                        row["status"].split(","),
                        row["attempt"],
                        row["started_at"].split(","),
                        row["finished_at"].split(","),
                        row["duration"].split(","),
                        strict=True,
                    )
                )
            ]
        return found


def _one(row: Any) -> dict[str, Any]:
    return {
        "id": str(row["id"]),
        "status": ExecutionStatus(row["status"]).name,
        "priority": row["priority"],
        "namespace": row["namespace"],
        "generation": row["generation"],
        "createdAt": _instant(row["created_at"]),
        "startedAt": _instant(row["started_at"]),
        "finishedAt": _instant(row["finished_at"]),
    }


@lru_cache(maxsize=4_096)
def _duration(milliseconds: str) -> str:
    return str(Duration(int(milliseconds)))


def _instant(at: datetime | None) -> str | None:
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def token_of(runtime: Runtime) -> str:
    """Of an administrator."""
    return runtime.dev_token(tenant="bench", subject="bench", roles=["admin"])


def scope_of(token: str, path: str) -> dict[str, Any]:
    """A POST as ASGI has it."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def ask(app: Any, scope: dict[str, Any], body: bytes) -> bytes:
    """The bytes that an application answers with."""
    parts: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))

    await app(dict(scope), receive, send)
    return b"".join(parts)


async def _milliseconds(
    apps: dict[str, Any], scope: dict[str, Any], bodies: dict[str, bytes], times: int
) -> dict[str, float]:
    """Processor time of one request of each, the least of ten rounds in turns: what disturbs only adds to it."""
    least = dict.fromkeys(apps, inf)
    for _ in range(_ROUNDS):
        for kind, app in apps.items():
            body = bodies[kind]
            await ask(app, scope, body)
            began = time.process_time()
            for _ in range(times):
                await ask(app, scope, body)
            least[kind] = min(least[kind], (time.process_time() - began) / times * 1000)
    return least


async def _calls(app: Any, scope: dict[str, Any], body: bytes) -> float:
    """Python functions entered, or gone on with, per request: the same however busy the machine is."""
    count = 0

    def seen(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        for _ in range(_ROUNDS):
            await ask(app, scope, body)
    finally:
        sys.setprofile(None)
    return count / _ROUNDS


async def _seeded(around: Surroundings, small: int, large: int) -> tuple[list[UUID], UUID]:
    """Executions of ten steps and one of many, all completed."""
    async with one_process(around) as (runtime, _):
        for name, count in (("ten", 10), ("many", large)):
            steps = "\n".join(f"  - {{id: s{n}, uses: core.noop@1}}" for n in range(count))
            await publish(runtime, name, f"name: {name}\nversion: 1.0.0\nsteps:\n{steps}\n")
        who = await runtime.authenticator.principal(f"Bearer {token_of(runtime)}")
        service = runtime.services.executions
        wanted = [EnqueueRequest(workflow_name=name) for name in ["many", *["ten"] * small]]
        made = await service.enqueue_many(who, wanted)
        ids = [each.execution.id for each in made if not isinstance(each, Exception)]
        while True:
            found = await service.get_many(who, ids)
            if all(each.status is ExecutionStatus.COMPLETED for each in found.values()):
                return ids[1:], ids[0]
            await asyncio.sleep(0.1)


async def _tenant(around: Surroundings) -> UUID:
    connection = await asyncpg.connect(around.database_url)
    try:
        tenant: UUID = await connection.fetchval(
            "select tenant_id from maestro.workflow_executions limit 1"
        )
    finally:
        await connection.close()
    return tenant


async def measure(around: Surroundings, effort: Effort) -> Line:
    """The worst of the four ratios to the route; the others are among the facts."""
    ids, large = await _seeded(around, effort.of(100, 60), effort.of(1_000, 50))
    variables: dict[str, Any] = {
        "by_key": {"id": str(ids[0])},
        "page": {"first": 50},
        "steps": {"id": str(large)},
        "entities": {
            "representations": [{"__typename": "Execution", "id": str(key)} for key in ids]
        },
    }
    facts: dict[str, Any] = {}
    async with open_runtime(around.settings) as runtime:
        api = replace(runtime.settings.api, executor="strawberry")
        alone = replace(runtime, settings=replace(runtime.settings, api=api))
        by_hand = Routes(runtime)
        who = await runtime.authenticator.principal(f"Bearer {token_of(runtime)}")
        for each in (await runtime.services.executions.get_many(who, [ids[0], large])).values():
            await by_hand.learn(each.version_id)
        routes = Starlette(
            routes=[Route("/graphql", by_hand.answer, methods=["POST"])],
            middleware=[Middleware(Around, rt=runtime)],
        )
        apps = {
            "route": routes,
            "plan": create_app(runtime),
            "library": create_app(alone),
            "strawberry": plain(runtime),
        }
        scope = scope_of(token_of(runtime), "/graphql")
        for name, query in QUERIES.items():
            bodies = {
                kind: orjson.dumps(
                    {"query": name if kind == "route" else query, "variables": variables[name]}
                )
                for kind in apps
            }
            answers = {kind: await ask(app, scope, bodies[kind]) for kind, app in apps.items()}
            # Strawberry puts spaces into its JSON.
            if any(orjson.dumps(orjson.loads(a)) != answers["route"] for a in answers.values()):
                raise RuntimeError(f"{name}: the answers differ: {answers}")
            least = await _milliseconds(apps, scope, bodies, effort.of(_TIMES.get(name, 5), 2))
            facts |= {f"{name}_{kind}_ms": ms for kind, ms in least.items()}
            if name == "by_key":
                facts |= {f"{k}_calls": await _calls(a, scope, bodies[k]) for k, a in apps.items()}
            facts[f"{name}_to_route"] = least["plan"] / least["route"]
            for kind in ("library", "strawberry"):
                facts[f"{name}_from_{kind}"] = least[kind] / least["plan"]
    other = await beside(
        around.database_url,
        await _tenant(around),
        one=ids[0],
        large=large,
        steps=effort.of(1_000, 50),
        times=effort.of(20, 2),
    )
    if isinstance(other, str):
        facts["postgraphile"] = other
    else:
        facts |= {f"{name}_postgraphile_ms": ms for name, ms in other.items()}
        facts |= {f"{n}_from_postgraphile": ms / facts[f"{n}_plan_ms"] for n, ms in other.items()}
    worst = max(QUERIES, key=lambda name: facts[f"{name}_to_route"])
    return Line(
        bench=NAME,
        letter="Q",
        unit="CPU ms",
        measured=facts[f"{worst}_plan_ms"],
        raw=facts[f"{worst}_route_ms"],
        ratio=facts[f"{worst}_to_route"],
        goals=[
            at_most("ratio", 1.3),
            *(at_least(f"{name}_from_strawberry", 5.0) for name in QUERIES),
            *(at_least(name, 2.0) for name in facts if name.endswith("_from_postgraphile")),
        ],
        facts=facts,
    )
