"""What connectors are told, made of what a worker has."""

from __future__ import annotations

from runtime.abi.connector import StepContext
from runtime.connectors.registry import Registry
from runtime.secrets.file import FileSecrets
from runtime.worker.attempt import Attempt, context_of
from runtime.worker.run import Run
from runtime.worker.step_log import StepLogs
from runtime.worker.trace import Traces


class Contexts:
    """The context of an attempt: with its log, its trace and its mask."""

    def __init__(
        self, logs: StepLogs, registry: Registry, secrets: FileSecrets, traces: Traces
    ) -> None:
        self._logs = logs
        self._registry = registry
        self._secrets = secrets
        self._traces = traces

    def __call__(self, run: Run, attempt: Attempt) -> StepContext:
        """For one call."""
        return context_of(
            attempt,
            run.owned,
            run.prepared.program.plan,
            log=self._logs.of(run.owned, attempt),
            services=self._registry.services,
            mask=self._secrets.mask,
            trace=self._traces.headers(run, attempt),
        )
