"""Runs whole workflows on a real engine of their own: PostgreSQL, Redis and a worker, then nothing is left.

    with LocalEngine(imports=["warehouse"]) as engine:
        result = engine.run(Path("dispatch.yaml"), {"order_id": "4711", "lines": [...]})

Starting it takes a few seconds, so one engine usually serves a whole test module.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml

from maestro.testing.steps import LOOPBACK
from runtime.bootstrap import Runtime, open_runtime
from runtime.embedded import embedded_services
from runtime.identity.roles import ROLE_SCOPES
from runtime.model.errors import Invalid
from runtime.model.execution import EnqueueRequest, ExecutionError, StepExecution
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.settings import EgressSettings, Settings, WorkerSettings
from runtime.store.migrate import migrate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How a step ended; `attempts` counts the calls that were made."""

    status: str
    output: Json
    error: ExecutionError | None
    attempts: int


@dataclass(frozen=True, slots=True)
class WorkflowResult:
    """How an execution ended: statuses in lower case, as in `steps.x.status` of an expression."""

    status: str
    output: Json
    error: ExecutionError | None
    steps: Mapping[str, StepOutcome] = field(default_factory=dict)
    logs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it completed."""
        return self.status == "completed"


class LocalEngine:
    """An engine on a temporary folder, from `with` to its end; works in a thread of its own."""

    def __init__(
        self,
        *,
        imports: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        egress_allow: Sequence[str] = LOOPBACK,
        drain_seconds: float = 1.0,
    ) -> None:
        """`imports` names packages with steps; `secrets` are those that `secrets.NAME` finds."""
        self._secrets = dict(secrets or {})
        self._settings = Settings(
            home=Path(),
            worker=WorkerSettings(imports=tuple(imports), drain_seconds=drain_seconds),
            egress=EgressSettings(tuple(egress_allow)),
        )
        self._stack = AsyncExitStack()
        self._runs = 0
        self._runtime: Runtime | None = None
        self._who: Principal | None = None

    def __enter__(self) -> Self:
        self._home = Path(tempfile.mkdtemp(prefix="mc-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-engine")
        self._thread.start()
        try:
            self._do(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def run(
        self, definition: str | Path, input: Any = None, *, timeout_seconds: float = 60.0
    ) -> WorkflowResult:
        """Publish a definition (its text, or the path of a file), execute it, wait for its end.

        Raises TimeoutError, with what each step was doing, for one that has not ended by then.
        """
        _there(self._runtime)
        source = definition.read_text("utf-8") if isinstance(definition, Path) else definition
        return self._do(self._run(source, input, timeout_seconds))

    async def _start(self) -> None:
        if self._secrets:
            path = self._home / "secrets.yaml"
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(self._secrets), "utf-8")
        services = await self._stack.enter_async_context(
            embedded_services(self._home, postgres=True, redis=True)
        )
        settings = replace(
            self._settings,
            home=self._home,
            database_url=services.database_url,
            redis_url=services.redis_url,
        )
        await migrate(settings.database_url or "", lambda _: None)
        runtime = await self._stack.enter_async_context(open_runtime(settings))
        worker = runtime.make_worker()
        task = asyncio.create_task(worker.run())
        self._stack.push_async_callback(asyncio.wait, [task])
        self._stack.push_async_callback(worker.stop, settings.worker.drain_seconds)
        tenant = _there(await runtime.tenants.resolve("default", create=True))
        self._who = Principal(tenant, "default", "test", scopes=ROLE_SCOPES["admin"])
        self._runtime = runtime

    async def _run(self, source: str, input: Json, timeout_seconds: float) -> WorkflowResult:
        runtime, who = _there(self._runtime), _there(self._who)
        self._runs += 1
        namespace = f"run-{self._runs}"  # Definitions of one name do not meet.
        workflows, executions = runtime.services.workflows, runtime.services.executions
        artifacts = runtime.services.artifacts
        found = await workflows.validate(who, source, None)
        if not found.ok or found.name is None:
            raise Invalid(found.problems)
        made = await workflows.create(
            who, name=found.name, source=source, format=None, namespace=namespace
        )
        workflow = _there(made.workflow)
        await workflows.publish(who, workflow.id)
        request = EnqueueRequest(workflow_id=workflow.id, input=input, namespace=namespace)
        run_id = (await executions.enqueue(who, request)).execution.id
        try:
            async with asyncio.timeout(timeout_seconds):
                async for _ in executions.watch(who, run_id):
                    continue  # It ends with the execution.
        except TimeoutError:
            steps = (await executions.steps(who, [run_id]))[run_id]
            told = ", ".join(f"{step.key} {step.status.name.lower()}" for step in steps)
            raise TimeoutError(
                f"The execution has not ended after {timeout_seconds:g} s: {told}."
            ) from None
        execution = _there(await executions.find(who, run_id))
        steps = (await executions.steps(who, [run_id]))[run_id]
        lines = [line.message async for line in executions.follow_logs(who, run_id)]
        return WorkflowResult(
            status=execution.status.name.lower(),
            output=await artifacts.value(who, run_id, execution.output),
            error=execution.error,
            steps={
                step.key: _outcome(step, await artifacts.value(who, run_id, step.output))
                for step in steps
            },
            logs=tuple(lines),
        )

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._runtime = None
        try:
            self._do(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            shutil.rmtree(self._home, ignore_errors=True)


def run_workflow(definition: str | Path, input: Any = None, **options: Any) -> WorkflowResult:
    """One workflow on an engine of its own; takes the options of `LocalEngine`."""
    with LocalEngine(**options) as engine:
        return engine.run(definition, input)


def _outcome(step: StepExecution, output: Json) -> StepOutcome:
    return StepOutcome(step.status.name.lower(), output, step.error, step.attempt)


def _there(value: T | None) -> T:
    if value is None:
        raise RuntimeError("The engine does not run: write `with LocalEngine() as engine:`.")
    return value
