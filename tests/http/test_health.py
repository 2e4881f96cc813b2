"""What is open without a token: liveness, readiness, metrics on loopback, the schema of documents."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from runtime.embedded.home import socket_folder
from runtime.embedded.redis import EmbeddedRedis
from runtime.services.health import HealthService
from subgraph.app import create_app
from tests.http.serving import GREET, Served, listening, serving


async def test_liveness_needs_nothing(server: Served) -> None:
    answer = await server.request("GET", "/healthz")

    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_readiness_names_each_dependency(server: Served) -> None:
    answer = await server.request("GET", "/readyz")

    assert answer.status == 200
    assert answer.body["status"] == "ready"
    assert answer.body["dependencies"] == {
        "postgresql": {"status": "ok"},
        "redis": {"status": "ok"},
        "schema": {"status": "ok"},
    }


async def test_readiness_fails_by_name_when_redis_is_gone(
    database_url: str, ground_folder: Path, home: Path
) -> None:
    redis = EmbeddedRedis(home / "redis", socket_folder(ground_folder / "second"))
    await redis.start()
    try:
        async with serving(database_url, redis.url, home) as server:
            before = await server.request("GET", "/readyz")
            await redis.stop()
            after = await server.request("GET", "/readyz")
            alive = await server.request("GET", "/healthz")
    finally:
        await redis.stop()

    assert (before.status, after.status, alive.status) == (200, 503, 200)
    assert after.body["status"] == "unavailable"
    assert after.body["dependencies"]["redis"]["status"] == "failed"
    assert after.body["dependencies"]["postgresql"] == {"status": "ok"}


async def test_readiness_fails_when_the_database_takes_no_writes(
    database_url: str, redis_url: str, home: Path
) -> None:
    read_only = f"{database_url}&default_transaction_read_only=on"
    async with serving(read_only, redis_url, home) as server:
        answer = await server.request("GET", "/readyz")

    assert answer.status == 503
    assert answer.body["dependencies"]["postgresql"] == {
        "status": "failed",
        "detail": "PostgreSQL takes no writes: it is read only.",
    }


async def test_readiness_names_a_disk_that_is_full_before_it_refuses(
    server: Served, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rt = server.rt
    health = HealthService(shards=rt.shards, link=rt.link, metrics=rt.metrics, data_folder=home)
    found = shutil.disk_usage(home)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: found._replace(free=3 << 20))

    problem = (await health.check())["postgresql"]
    monkeypatch.undo()
    again = (await health.check())["postgresql"]

    assert problem == "Only 3 MiB are free for the data folder: make room there."
    assert again == problem, "it is looked at every few seconds, not at every request"


async def test_metrics_count_requests_and_operations(server: Served) -> None:
    await server.ask("{ workflows { totalCount } }")
    await server.ask("{ workflows(first: 0) { totalCount } }")
    await server.request("GET", "/no/such/place")

    page = (await server.request("GET", "/metrics")).body

    assert 'maestro_http_requests_total{route="/graphql",status="200"} 2.0' in page
    assert 'maestro_http_requests_total{route="other",status="401"} 1.0' in page
    assert 'maestro_graphql_operations_total{outcome="ok",type="query"} 1.0' in page
    assert 'maestro_graphql_operations_total{outcome="refused",type="query"} 1.0' in page
    assert 'maestro_graphql_operation_seconds_count{type="query"} 2.0' in page


async def test_metrics_through_a_proxy_need_a_token(server: Served) -> None:
    proxied = {"X-Forwarded-For": "203.0.113.9"}

    without = await server.request("GET", "/metrics", headers=proxied)
    viewer = await server.request("GET", "/metrics", headers={**proxied, **server.bearer("viewer")})
    admin = await server.request("GET", "/metrics", headers={**proxied, **server.bearer("admin")})

    assert (without.status, viewer.status, admin.status) == (401, 403, 200)


async def test_metrics_of_a_public_listener_need_a_token(server: Served) -> None:
    settings = replace(server.rt.settings, api=replace(server.rt.settings.api, host="0.0.0.0"))

    async with listening(create_app(replace(server.rt, settings=settings))) as url:
        answer = await Served(server.rt, url).request("GET", "/metrics")

    assert answer.status == 401


async def test_editors_get_the_schema_of_documents(server: Served) -> None:
    answer = await server.request("GET", "/schemas/workflow.json")
    again = await server.request(
        "GET", "/schemas/workflow.json", headers={"If-None-Match": answer.headers["ETag"]}
    )

    assert answer.headers["Content-Type"].startswith("application/schema+json")
    jsonschema.Draft202012Validator(answer.body).validate(yaml.safe_load(GREET))
    assert again.status == 304


async def test_a_fault_outside_graphql_is_masked_too(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(type(server.rt.services.health), "check", fail)

    answer = await server.request("GET", "/readyz")

    assert answer.status == 500
    assert answer.body["code"] == "INTERNAL"
    assert "hunter2" not in str(answer.body)
