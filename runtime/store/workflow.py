"""Workflows and their immutable versions, as rows and records.

Reads open a connection of the caller's tenant themselves. Changes take the connection of the service's
transaction: name, draft, version, key and domain event are committed together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from runtime.model.identity import Actor
from runtime.model.page import Page, PageRequest
from runtime.model.values import Digest, Json, SemVer
from runtime.model.workflow import (
    DefinitionFormat,
    VersionState,
    Workflow,
    WorkflowStatus,
    WorkflowVersion,
)
from runtime.store import cursor
from runtime.store.execution_row import actor_of
from runtime.store.pool import Database
from runtime.store.statements import statements

T = TypeVar("T")

_SQL: Final = statements("workflow")
_VERSIONS: Final = "workflow_versions"
_NO_VERSION: Final = SemVer(0)


@dataclass(frozen=True, slots=True)
class Draft:
    """The editable document of a workflow: as written, canonical, and its digest."""

    source: str
    format: DefinitionFormat
    definition: Json
    digest: Digest


@dataclass(frozen=True, slots=True)
class Target:
    """What an enqueue is aimed at: a workflow, and the version that it takes, if there is one."""

    workflow_id: UUID
    name: str
    namespace: str
    status: WorkflowStatus
    version_id: UUID | None
    version: str | None
    state: VersionState | None


class WorkflowStore:
    """The catalog of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reads -------------------------------------------------------------------------------------

    async def find(self, tenant: UUID, workflow: UUID) -> Workflow | None:
        """One workflow by id."""
        return _one(await self._rows(tenant, "find", workflow), workflow_of)

    async def find_by_name(self, tenant: UUID, namespace: str, name: str) -> Workflow | None:
        """One workflow by namespace and name."""
        return _one(await self._rows(tenant, "find_by_name", namespace, name), workflow_of)

    async def get_many(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, Workflow]:
        """Those that exist, by id."""
        rows = await self._rows(tenant, "get_many", ids)
        return {row["id"]: workflow_of(row) for row in rows}

    async def get_many_by_name(self, tenant: UUID, names: Sequence[str]) -> dict[str, Workflow]:
        """Those that exist, by name; namespace `default` first."""
        rows = await self._rows(tenant, "get_many_by_name", names)
        return {row["name"]: workflow_of(row) for row in rows}

    async def draft(self, tenant: UUID, workflow: UUID) -> Draft | None:
        """The editable document."""
        return _one(await self._rows(tenant, "draft", workflow), _draft_of)

    async def drafts(self, tenant: UUID, ids: Sequence[UUID]) -> dict[UUID, WorkflowVersion]:
        """Documents that differ from every published version, in the shape of a version."""
        rows = await self._rows(tenant, "drafts", ids)
        return {row["id"]: _draft_version(row) for row in rows}

    async def draft_version(self, tenant: UUID, workflow: UUID) -> WorkflowVersion | None:
        """The draft in the shape of a version, published as it is or not."""
        rows = await self._rows(tenant, "draft", workflow)
        return _one(rows, lambda row: _draft_version(row) if row["draft_digest"] else None)

    async def version(
        self, tenant: UUID, workflow: UUID, version: SemVer
    ) -> WorkflowVersion | None:
        """One version by its number."""
        return _one(await self._rows(tenant, "version", workflow, str(version)), version_of)

    async def versions_by_id(
        self, tenant: UUID, ids: Sequence[UUID]
    ) -> dict[UUID, WorkflowVersion]:
        """Those that exist, by id."""
        rows = await self._rows(tenant, "versions_by_id", ids)
        return {row["id"]: version_of(row) for row in rows}

    async def current_versions(
        self, tenant: UUID, workflows: Sequence[UUID]
    ) -> dict[UUID, WorkflowVersion]:
        """The highest published version of each that is not deprecated, by workflow."""
        rows = await self._rows(tenant, "current_versions", workflows)
        return {row["workflow_id"]: version_of(row) for row in rows}

    async def versions(
        self, tenant: UUID, workflow: UUID, request: PageRequest
    ) -> Page[WorkflowVersion]:
        """A page of versions, highest first."""
        size = cursor.check_size(request)
        mark = None
        if request.cursor is not None:
            (mark,) = cursor.decode(_VERSIONS, request.cursor, 1)
        name = "versions_before" if request.backward else "versions"
        rows = await self._rows(tenant, name, workflow, mark, size + 1)
        marks = [cursor.encode(_VERSIONS, row["version_order"]) for row in rows]
        return cursor.page_of(request, [version_of(row) for row in rows], marks)

    async def target(
        self,
        tenant: UUID,
        *,
        workflow: UUID | None,
        namespace: str,
        name: str | None,
        version: str | None,
    ) -> Target | None:
        """What an enqueue needs to know of a workflow, by id or by name."""
        rows = await self._rows(tenant, "target", workflow, namespace, name, version)
        return _one(rows, _target_of)

    # --- changes, inside a transaction -------------------------------------------------------------

    @staticmethod
    async def lock(connection: Any, tenant: UUID, workflow: UUID) -> Any | None:
        """Hold a workflow for the rest of the transaction: its id, name, status, draft_digest."""
        return await connection.fetchrow(_SQL["lock"], tenant, workflow)

    @staticmethod
    async def insert(
        connection: Any,
        workflow: UUID,
        tenant: UUID,
        namespace: str,
        name: str,
        *,
        display_name: str | None,
        description: str | None,
        labels: dict[str, str],
        region: str | None,
        draft: Draft,
        actor: Actor,
    ) -> bool:
        """Make a workflow; False when the name is taken."""
        made = await connection.fetchval(
            _SQL["insert"],
            workflow,
            tenant,
            namespace,
            name,
            display_name,
            description,
            labels,
            region,
            *_columns(draft),
            actor_json(actor),
        )
        return made is not None

    @staticmethod
    async def update(
        connection: Any,
        tenant: UUID,
        workflow: UUID,
        *,
        draft: Draft | None,
        display_name: str | None,
        description: str | None,
        labels: dict[str, str] | None,
    ) -> None:
        """Change what is given."""
        document = _columns(draft) if draft else (None, None, None, None)
        await connection.execute(
            _SQL["update"], tenant, workflow, *document, display_name, description, labels
        )

    @staticmethod
    async def insert_version(
        connection: Any,
        version_id: UUID,
        tenant: UUID,
        workflow: UUID,
        version: SemVer,
        draft: Draft,
        *,
        changelog: str | None,
        actor: Actor,
    ) -> None:
        """Publish a document, under the lock of its workflow."""
        await connection.execute(
            _SQL["insert_version"],
            version_id,
            tenant,
            workflow,
            str(version),
            version_order(version),
            str(draft.digest),
            draft.source,
            draft.format,
            draft.definition,
            changelog,
            actor_json(actor),
        )
        await connection.execute(_SQL["mark_published"], tenant, workflow)

    @staticmethod
    async def published(
        connection: Any,
        tenant: UUID,
        workflow: UUID,
        *,
        version: SemVer | None = None,
        digest: Digest | None = None,
    ) -> WorkflowVersion | None:
        """A published version by number or by content, as the transaction sees it."""
        if version is not None:
            name, value = "version", str(version)
        else:
            name, value = "version_by_digest", str(digest)
        row = await connection.fetchrow(_SQL[name], tenant, workflow, value)
        return version_of(row) if row else None

    @staticmethod
    async def release_before(
        connection: Any, tenant: UUID, workflow: UUID, version: SemVer | None
    ) -> WorkflowVersion | None:
        """The highest release below a number; without one the highest of all. Previews are none."""
        mark = version_order(version) if version is not None else None
        row = await connection.fetchrow(_SQL["release_before"], tenant, workflow, mark)
        return version_of(row) if row else None

    @staticmethod
    async def set_state(
        connection: Any, tenant: UUID, workflow: UUID, version: SemVer, state: VersionState
    ) -> None:
        """Bring a version further in its life, under the lock of its workflow."""
        name = "set_version_state"
        await connection.execute(_SQL[name], tenant, workflow, str(version), int(state))
        await connection.execute(_SQL["touch"], tenant, workflow)

    @staticmethod
    async def archive(connection: Any, tenant: UUID, workflow: UUID) -> None:
        """End a workflow, under its lock."""
        await connection.execute(_SQL["archive"], tenant, workflow)

    @staticmethod
    async def delete(connection: Any, tenant: UUID, workflow: UUID) -> None:
        """Delete a workflow that has no version, under its lock."""
        await connection.execute(_SQL["delete"], tenant, workflow)

    @staticmethod
    async def highest(connection: Any, tenant: UUID, workflow: UUID) -> SemVer | None:
        """The highest version ever published."""
        text = await connection.fetchval(_SQL["highest_version"], tenant, workflow)
        return SemVer.parse(text) if text else None

    @staticmethod
    async def record(
        connection: Any, tenant: UUID, workflow: UUID, kind: str, actor: Actor, data: Json
    ) -> None:
        """Append to the workflow's own history."""
        await connection.execute(
            _SQL["event"], tenant, "workflow", workflow, kind, actor_json(actor), data
        )

    async def _rows(self, tenant: UUID, name: str, *arguments: object) -> list[Any]:
        async with self._database.tenant(tenant) as connection:
            rows: list[Any] = await connection.fetch(_SQL[name], tenant, *arguments)
            return rows


def workflow_of(row: Any) -> Workflow:
    """A record from a row of `workflow_records`."""
    digest = row["draft_digest"]
    return Workflow(
        row["id"],
        row["tenant_id"],
        row["namespace"],
        row["name"],
        WorkflowStatus(row["status"]),
        row["created_at"],
        actor_of(row["created_by"]),
        row["updated_at"],
        row["display_name"],
        row["description"],
        dict(row["labels"]),
        row["region"],
        row["current_version_id"],
        Digest(digest) if digest else None,
    )


def version_of(row: Any) -> WorkflowVersion:
    """A record from a row of `workflow_versions`."""
    return WorkflowVersion(
        row["id"],
        row["tenant_id"],
        row["workflow_id"],
        SemVer.parse(row["version"]),
        VersionState(row["state"]),
        Digest(row["digest"]),
        row["source"],
        DefinitionFormat(row["source_format"]),
        row["definition"],
        row["published_at"],
        actor_of(row["published_by"]),
        row["changelog"],
    )


def actor_json(actor: Actor) -> dict[str, Json]:
    """An actor as rows and events keep it."""
    data: dict[str, Json] = {"subject": actor.subject, "kind": str(actor.kind)}
    if actor.display_name is not None:
        data["display_name"] = actor.display_name
    return data


def version_order(version: SemVer) -> str:
    """A text that sorts by bytes as Semantic Versioning orders: `~` puts a release after its previews."""
    core = f"{version.major:010d}.{version.minor:010d}.{version.patch:010d}"
    if not version.prerelease:
        return core + "~"
    parts = (
        f"0{int(part):020d}" if part.isdigit() else f"1{part}"
        for part in version.prerelease.split(".")
    )
    # "!" sorts before every character of an identifier, so a shorter list of them comes first.
    return f"{core}-" + "!".join(parts) + "!"


def _one(rows: list[Any], make: Callable[[Any], T | None]) -> T | None:
    return make(rows[0]) if rows else None


def _columns(draft: Draft) -> tuple[str, str, Json, str]:
    return draft.source, draft.format, draft.definition, str(draft.digest)


def _draft_of(row: Any) -> Draft | None:
    if row["draft_source"] is None:
        return None
    return Draft(
        row["draft_source"],
        DefinitionFormat(row["draft_format"]),
        row["draft_definition"],
        Digest(row["draft_digest"]),
    )


def _draft_version(row: Any) -> WorkflowVersion:
    definition = row["draft_definition"]
    named = definition.get("version") if isinstance(definition, dict) else None
    return WorkflowVersion(
        row["id"],
        row["tenant_id"],
        row["id"],
        SemVer.parse(named) if isinstance(named, str | int) else _NO_VERSION,
        VersionState.DRAFT,
        Digest(row["draft_digest"]),
        row["draft_source"],
        DefinitionFormat(row["draft_format"]),
        definition,
    )


def _target_of(row: Any) -> Target:
    state = row["state"]
    return Target(
        row["workflow_id"],
        row["name"],
        row["namespace"],
        WorkflowStatus(row["status"]),
        row["version_id"],
        row["version"],
        None if state is None else VersionState(state),
    )
