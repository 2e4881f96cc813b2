"""The tables as SQLAlchemy Core sees them, for lists whose filters are free.

A test compares them, column by column, with what the migrations make. `workflow_records` is a view.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, DateTime, Integer, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import BIGINT, BOOLEAN, BYTEA, JSONB, UUID

metadata: Final = MetaData()

_ID: Final = UUID(as_uuid=True)
_AT: Final = DateTime(timezone=True)


def _column(name: str, kind: Any, *, key: bool = False, null: bool = False) -> Column[Any]:
    return Column(name, kind, primary_key=key, nullable=null, autoincrement=False)


workflows: Final = Table(
    "workflows",
    metadata,
    _column("id", _ID, key=True),
    _column("tenant_id", _ID),
    _column("namespace", Text),
    _column("name", Text),
    _column("status", SmallInteger),
    _column("display_name", Text, null=True),
    _column("description", Text, null=True),
    _column("labels", JSONB),
    _column("region", Text, null=True),
    _column("draft_source", Text, null=True),
    _column("draft_format", Text, null=True),
    _column("draft_definition", JSONB, null=True),
    _column("draft_digest", Text, null=True),
    _column("created_at", _AT),
    _column("created_by", JSONB),
    _column("updated_at", _AT),
    _column("retention_days", Integer, null=True),
    _column("max_running", Integer, null=True),
)

workflow_records: Final = Table(
    "workflow_records",
    metadata,
    _column("id", _ID, key=True),
    _column("tenant_id", _ID),
    _column("namespace", Text),
    _column("name", Text),
    _column("status", SmallInteger),
    _column("created_at", _AT),
    _column("created_by", JSONB),
    _column("updated_at", _AT),
    _column("display_name", Text, null=True),
    _column("description", Text, null=True),
    _column("labels", JSONB),
    _column("region", Text, null=True),
    _column("current_version_id", _ID, null=True),
    _column("draft_digest", Text, null=True),
    info={"is_view": True},
)

workflow_versions: Final = Table(
    "workflow_versions",
    metadata,
    _column("id", _ID, key=True),
    _column("tenant_id", _ID),
    _column("workflow_id", _ID),
    _column("version", Text),
    _column("version_order", Text),
    _column("state", SmallInteger),
    _column("digest", Text),
    _column("source", Text),
    _column("source_format", Text),
    _column("definition", JSONB),
    _column("changelog", Text, null=True),
    _column("published_at", _AT),
    _column("published_by", JSONB),
)

workflow_executions: Final = Table(
    "workflow_executions",
    metadata,
    _column("id", _ID, key=True),
    _column("shard", SmallInteger, key=True),
    _column("tenant_id", _ID),
    _column("workflow_id", _ID),
    _column("version_id", _ID),
    _column("status", SmallInteger),
    _column("wait", SmallInteger, null=True),
    _column("generation", SmallInteger),
    _column("namespace", Text),
    _column("region", Text, null=True),
    _column("inbox", Integer),
    _column("deadline", _AT, null=True),
    _column("meta", JSONB),
    _column("priority", Integer),
    _column("owner", BIGINT, null=True),
    _column("epoch", BIGINT),
    _column("takeovers", SmallInteger),
    _column("wake_at", _AT, null=True),
    _column("cancel_requested", BOOLEAN),
    _column("created_at", _AT),
    _column("started_at", _AT, null=True),
    _column("finished_at", _AT, null=True),
    _column("input", JSONB, null=True),
    _column("output", JSONB, null=True),
    _column("error", JSONB, null=True),
    _column("compensating", BOOLEAN),
    _column("lane", Text, null=True),
    _column("in_lane", BOOLEAN, null=True),
    _column("wanted_tags", Text, null=True),
)

execution_labels: Final = Table(
    "execution_labels",
    metadata,
    _column("tenant_id", _ID),
    _column("shard", SmallInteger, key=True),
    _column("key", Text, key=True),
    _column("value", Text),
    _column("execution_id", _ID, key=True),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    _column("tenant_id", _ID, key=True),
    _column("operation", Text, key=True),
    _column("key", Text, key=True),
    _column("shard", SmallInteger, key=True),
    _column("body_digest", BYTEA),
    _column("result_id", _ID),
    _column("created_at", _AT),
)
