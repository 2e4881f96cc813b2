"""Every span, attribute and metric, with its meaning.

Code takes names from here; the reference page lists this table.
"""

from __future__ import annotations

from typing import Final

SPANS: Final[dict[str, str]] = {
    "graphql": "One GraphQL request at the API.",
    "execution.enqueue": "Durable acceptance of an execution.",
    "execution.run": "The time one worker owned an execution.",
    "step.run": "One attempt of one step.",
    "connector.call": "The call of a connector within an attempt.",
}

ATTRIBUTES: Final[dict[str, str]] = {
    "maestro.execution.id": "The execution's id.",
    "maestro.workflow": "The workflow's name.",
    "maestro.workflow.version_id": "The id of the version that runs.",
    "maestro.tenant": "The tenant's name.",
    "maestro.namespace": "The namespace inside the tenant.",
    "maestro.step": "The step's key.",
    "maestro.attempt": "The number of the attempt, from 1.",
    "maestro.generation": "The generation of the execution, from 0.",
    "maestro.connector": "The connector and its version.",
    "maestro.status": "How it ended.",
    "maestro.purpose": "The purpose of access.",
    "maestro.authority": "The authority that the workflow acts under.",
    "maestro.license": "The licence that the data is under.",
    "graphql.operation.name": "The operation's name.",
    "graphql.operation.type": "query, mutation or subscription.",
}

METRICS: Final[dict[str, str]] = {
    "maestro_http_requests_total": "HTTP requests by route and status.",
    "maestro_http_request_seconds": "Duration of HTTP requests by route.",
    "maestro_graphql_operations_total": "GraphQL operations by type and outcome.",
    "maestro_graphql_fallbacks_total": "GraphQL operations that the library answered instead of a plan, by reason.",
    "maestro_graphql_operation_seconds": "Duration of GraphQL operations by type.",
    "maestro_rate_refusals_total": "Requests refused because a tenant's budget (requests, cost) was used up.",
    "maestro_rate_unchecked_total": "Requests let through unchecked because Redis did not answer.",
    "maestro_workflow_changes_total": "Changes of workflows, by kind (created, published, deprecated, ...).",
    "maestro_enqueued_total": "Executions accepted.",
    "maestro_enqueue_batch_size": "Executions per accepting commit.",
    "maestro_queue_lag_seconds": "Time from acceptance to claim.",
    "maestro_executions_running": "Executions that this worker owns, by shard.",
    "maestro_executions_finished_total": "Executions ended here, by status.",
    "maestro_execution_seconds": "Duration of executions from acceptance to end.",
    "maestro_steps_total": "Attempts of steps ended here, by connector and status.",
    "maestro_step_seconds": "Duration of attempts, by connector.",
    "maestro_step_retries_total": "Attempts that will be repeated, by connector.",
    "maestro_doubts_total": "Calls that were in doubt, by verdict and by who gave it (look_up, person).",
    "maestro_breakers_open": "Circuit breakers that this worker knows to be open or half open.",
    "maestro_breakers_opened_total": "Times that a circuit breaker was opened here, by connector.",
    "maestro_breaker_refusals_total": "Attempts put off because a circuit breaker is open, by connector.",
    "maestro_flush_rows": "Rows (steps and events) per checkpointing commit.",
    "maestro_flush_seconds": "Duration of checkpointing commits.",
    "maestro_flush_waiting": "Checkpoints that wait for the next commit, by shard.",
    "maestro_lease_seconds": "What was left of the lease when it was renewed, by shard.",
    "maestro_takeovers_total": "Executions taken over from dead workers.",
    "maestro_dead_letters_total": "Executions that ended as dead letters.",
    "maestro_undecodable_messages_total": "Messages that can't be decoded: dead letters, or stream entries, dropped.",
    "maestro_fenced_total": "Times this process found itself fenced off.",
    "maestro_swept_total": "Queued executions that the sweeper handed out again.",
    "maestro_dispatch_lag_seconds": "Age of the oldest queued execution that the dispatcher saw; 0: nothing waits.",
    "maestro_dispatch_tenants": "Tenants with backlog in the dispatcher's last pass.",
    "maestro_dispatch_held_tenants": "Tenants with backlog of which a limit on running executions is reached.",
    "maestro_stream_entries": "Entries in the streams of queued executions, delivered ones included.",
    "maestro_days_dropped_total": "Days of executions that retention replaced by what is kept of them.",
    "maestro_executions_dropped_total": "Executions that retention dropped.",
    "maestro_bytes_freed_total": "Bytes that retention gave back to the disk.",
    "maestro_handler_events_total": "Events that event handlers have taken, by handler.",
    "maestro_handler_failures_total": "Calls of event handlers that failed, by handler.",
    "maestro_handler_skipped_total": "Events recorded and passed by because a handler went on failing on them.",
    "maestro_handler_lag_seconds": "Age of the oldest event that a handler run here has not had.",
    "maestro_blobs_put_total": "Large values written to the blob store (those that were there already do not count).",
    "maestro_blob_bytes_put_total": "Bytes written to the blob store.",
    "maestro_blobs_read_total": "Large values loaded from the blob store for expressions.",
    "maestro_blobs_damaged_total": "Blobs found whose content does not give their digest.",
    "maestro_blobs_released_total": "Blobs deleted because no execution refers to them any more.",
    "maestro_step_cache_total": "Look-ups of steps with `cache`, by outcome: `hit`, `miss`, or `error` (called).",
    "maestro_replays_total": "Replays of executions made at the API, by what they found: `equal` or `diverged`.",
    "maestro_simulations_total": "Simulations made at the API, by how they ended; `stopped`: broken off.",
    "maestro_bulk_results_total": "Executions that bulk operations have acted on, by outcome: `done` or `refused`.",
    "maestro_subscribers": "Open subscriptions.",
    "maestro_dependency_up": "Whether PostgreSQL and Redis answer.",
}
