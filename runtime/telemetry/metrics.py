"""Prometheus objects, made once and handed down.

What every request and every step counts belongs to the thread of the event loop (`tally`); the rest is any thread's.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST as PLAIN
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as plain
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

from runtime.telemetry.names import METRICS
from runtime.telemetry.tally import LoopCounter, LoopHistogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200, 86400)
_SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000, 5000)


class Metrics:
    """All metrics of one process, in a registry of their own.

    Names and meanings: `names.METRICS`.
    """

    def __init__(self) -> None:  # noqa: PLR0915 - a line for each
        self.registry = CollectorRegistry()
        self.http_requests = self._loop_counter("maestro_http_requests_total", "route", "status")
        self.http_seconds = self._loop_histogram("maestro_http_request_seconds", _FAST, "route")
        self.graphql_operations = self._loop_counter(
            "maestro_graphql_operations_total", "type", "outcome"
        )
        self.graphql_fallbacks = self._counter("maestro_graphql_fallbacks_total", "reason")
        self.graphql_seconds = self._loop_histogram(
            "maestro_graphql_operation_seconds", _FAST, "type"
        )
        self.rate_refusals = self._counter("maestro_rate_refusals_total", "budget")
        self.backlog_refusals = self._counter("maestro_backlog_refusals_total")
        self.rate_unchecked = self._counter("maestro_rate_unchecked_total")
        self.enqueued = self._counter("maestro_enqueued_total")
        self.enqueue_batch = self._histogram("maestro_enqueue_batch_size", _SIZES)
        self.queue_lag = self._loop_histogram("maestro_queue_lag_seconds", _FAST).labels()
        self.running = self._gauge("maestro_executions_running", "shard")
        self.finished = self._loop_counter("maestro_executions_finished_total", "status")
        self.execution_seconds = self._loop_histogram("maestro_execution_seconds", _LONG).labels()
        self.steps = self._loop_counter("maestro_steps_total", "connector", "status")
        self.step_seconds = self._loop_histogram("maestro_step_seconds", _FAST, "connector")
        self.retries = self._counter("maestro_step_retries_total", "connector")
        self.workflow_changes = self._counter("maestro_workflow_changes_total", "kind")
        self.doubts = self._counter("maestro_doubts_total", "verdict", "by")
        self.breakers_open = self._gauge("maestro_breakers_open")
        self.breakers_opened = self._counter("maestro_breakers_opened_total", "connector")
        self.breaker_refusals = self._counter("maestro_breaker_refusals_total", "connector")
        self.flush_rows = self._histogram("maestro_flush_rows", _SIZES)
        self.flush_seconds = self._histogram("maestro_flush_seconds", _FAST)
        self.flush_waiting = self._gauge("maestro_flush_waiting", "shard")
        self.lease_seconds = self._gauge("maestro_lease_seconds", "shard")
        self.takeovers = self._counter("maestro_takeovers_total")
        self.dead_letters = self._counter("maestro_dead_letters_total")
        self.undecodable = self._counter("maestro_undecodable_messages_total")
        self.fenced = self._counter("maestro_fenced_total")
        self.swept = self._counter("maestro_swept_total")
        self.dispatch_lag = self._gauge("maestro_dispatch_lag_seconds")
        self.dispatch_tenants = self._gauge("maestro_dispatch_tenants")
        self.dispatch_held = self._gauge("maestro_dispatch_held_tenants")
        self.stream_entries = self._gauge("maestro_stream_entries")
        self.days_dropped = self._counter("maestro_days_dropped_total")
        self.executions_dropped = self._counter("maestro_executions_dropped_total")
        self.bytes_freed = self._counter("maestro_bytes_freed_total")
        self.handler_events = self._counter("maestro_handler_events_total", "handler")
        self.handler_failures = self._counter("maestro_handler_failures_total", "handler")
        self.handler_skipped = self._counter("maestro_handler_skipped_total", "handler")
        self.handler_lag = self._gauge("maestro_handler_lag_seconds", "handler", "stream", "shard")
        self.blobs_put = self._counter("maestro_blobs_put_total")
        self.blob_bytes_put = self._counter("maestro_blob_bytes_put_total")
        self.blobs_read = self._counter("maestro_blobs_read_total")
        self.blobs_damaged = self._counter("maestro_blobs_damaged_total")
        self.blobs_released = self._counter("maestro_blobs_released_total")
        self.step_cache = self._counter("maestro_step_cache_total", "outcome")
        self.replays = self._counter("maestro_replays_total", "outcome")
        self.simulations = self._counter("maestro_simulations_total", "outcome")
        self.bulk_results = self._counter("maestro_bulk_results_total", "outcome")
        self.subscribers = self._gauge("maestro_subscribers")
        self.dependency_up = self._gauge("maestro_dependency_up", "dependency")

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page for a scrape and its media type: OpenMetrics when asked for, else plain."""
        if "application/openmetrics-text" in accept:
            page: bytes = openmetrics(self.registry)  # type: ignore[no-untyped-call] # as published
            return page, OPENMETRICS
        return plain(self.registry), PLAIN

    def _counter(self, name: str, *labels: str) -> Counter:
        return Counter(name, METRICS[name], labels, registry=self.registry)

    def _loop_counter(self, name: str, *labels: str) -> LoopCounter:
        return LoopCounter(name, METRICS[name], labels, self.registry)

    def _gauge(self, name: str, *labels: str) -> Gauge:
        return Gauge(name, METRICS[name], labels, registry=self.registry)

    def _histogram(self, name: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, METRICS[name], labels, registry=self.registry, buckets=buckets)

    def _loop_histogram(self, name: str, buckets: tuple[float, ...], *labels: str) -> LoopHistogram:
        return LoopHistogram(name, METRICS[name], labels, self.registry, bounds=buckets)
