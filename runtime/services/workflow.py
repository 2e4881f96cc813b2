"""WorkflowService: draft, validate, publish, compare; deprecate and archive versions, which never change.

A change, its idempotency key and its entry in the workflow's history are one transaction under the
caller's tenant. Documents are validated before the transaction begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from runtime.abi.surroundings import Surroundings
from runtime.clock import Clock
from runtime.connectors.registry import Registry
from runtime.definition import Validation
from runtime.entropy import Entropy
from runtime.model.errors import (
    BadInput,
    Conflict,
    IdempotencyConflict,
    Invalid,
    InvalidState,
    NotFound,
    Problem,
)
from runtime.model.identity import Principal
from runtime.model.page import Page, PageRequest
from runtime.model.values import Digest, Json, SemVer
from runtime.model.workflow import (
    DefinitionFormat,
    VersionState,
    Workflow,
    WorkflowChange,
    WorkflowDiff,
    WorkflowFilter,
    WorkflowOrder,
    WorkflowStatus,
    WorkflowVersion,
)
from runtime.services.access import READ_WORKFLOWS, require
from runtime.services.called import CalledWorkflows
from runtime.services.judges import Judges
from runtime.services.naming import check_changelog, check_description, check_namespace
from runtime.services.publishing import Number, Publication, Publisher
from runtime.store.idempotency import body_digest, check_key, claim_key, find_key
from runtime.store.pool import Database
from runtime.store.workflow import Draft, WorkflowStore
from runtime.store.workflow_list import WorkflowList
from runtime.telemetry.metrics import Metrics

_CREATE: Final = "create_workflow"
_PUBLISH: Final = "publish_workflow"
_CAP: Final = 10_000
_ANY: Final = Number()


class WorkflowService:
    """What callers may do with definitions."""

    def __init__(
        self,
        *,
        database: Database,
        registry: Registry,
        judges: Judges,
        clock: Clock,
        entropy: Entropy,
        metrics: Metrics,
        on_changed: Callable[[UUID], None] | None = None,
        secret_names: Callable[[], frozenset[str] | None] = lambda: None,
        agents: frozenset[str] = frozenset(),
    ) -> None:
        self._database = database
        self._judges = judges
        self._clock = clock
        self._entropy = entropy
        self._metrics = metrics
        self._on_changed = on_changed
        self._secret_names = secret_names
        self._agents = agents
        self._store = WorkflowStore(database)
        self._publisher = Publisher(self._store, registry.catalog, self._new_id)
        self._called = CalledWorkflows(self._store)
        self._list = WorkflowList(database)

    # --- reads -------------------------------------------------------------------------------------

    async def find(
        self,
        who: Principal,
        *,
        id: UUID | None = None,
        name: str | None = None,
        namespace: str | None = None,
    ) -> Workflow | None:
        """One workflow by id, or by name within a namespace."""
        require(who, READ_WORKFLOWS)
        if id is not None:
            return await self._store.find(who.tenant_id, id)
        if name is None:
            raise BadInput("Name a workflow by `id` or by `name`.", reason="WORKFLOW_REFERENCE")
        return await self._store.find_by_name(who.tenant_id, namespace or "default", name)

    async def get_many(self, who: Principal, ids: Sequence[UUID]) -> dict[UUID, Workflow]:
        """Those of the caller's that exist, by id."""
        require(who, READ_WORKFLOWS)
        return await self._store.get_many(who.tenant_id, ids)

    async def get_many_by_name(self, who: Principal, names: Sequence[str]) -> dict[str, Workflow]:
        """Those of the caller's that exist, by name."""
        require(who, READ_WORKFLOWS)
        return await self._store.get_many_by_name(who.tenant_id, names)

    async def list(
        self, who: Principal, filter: WorkflowFilter, order: WorkflowOrder, page: PageRequest
    ) -> Page[Workflow]:
        """A page of the caller's workflows."""
        require(who, READ_WORKFLOWS)
        return await self._list.page(who.tenant_id, filter, order, page)

    async def count(self, who: Principal, filter: WorkflowFilter) -> int:
        """How many there are, counted up to 10,000."""
        require(who, READ_WORKFLOWS)
        return (await self._list.count(who.tenant_id, filter, _CAP))[0]

    async def versions(
        self, who: Principal, workflow_id: UUID, page: PageRequest
    ) -> Page[WorkflowVersion]:
        """A page of a workflow's published versions, highest first."""
        require(who, READ_WORKFLOWS)
        return await self._store.versions(who.tenant_id, workflow_id, page)

    async def version(
        self, who: Principal, workflow_id: UUID, version: SemVer
    ) -> WorkflowVersion | None:
        """One published version."""
        require(who, READ_WORKFLOWS)
        return await self._store.version(who.tenant_id, workflow_id, version)

    async def versions_by_id(
        self, who: Principal, ids: Sequence[UUID]
    ) -> dict[UUID, WorkflowVersion]:
        """Those of the caller's that exist, by id."""
        require(who, READ_WORKFLOWS)
        return await self._store.versions_by_id(who.tenant_id, ids)

    async def current_versions(
        self, who: Principal, workflow_ids: Sequence[UUID]
    ) -> dict[UUID, WorkflowVersion]:
        """What new executions of these workflows take, by workflow."""
        require(who, READ_WORKFLOWS)
        return await self._store.current_versions(who.tenant_id, workflow_ids)

    async def drafts(
        self, who: Principal, workflow_ids: Sequence[UUID]
    ) -> dict[UUID, WorkflowVersion]:
        """Drafts that were not published as they are, by workflow."""
        require(who, READ_WORKFLOWS)
        return await self._store.drafts(who.tenant_id, workflow_ids)

    async def diff(
        self, who: Principal, id: UUID, before: SemVer, after: SemVer | None
    ) -> WorkflowDiff:
        """What differs between two versions; without a second one, what the draft would change."""
        require(who, READ_WORKFLOWS)
        old = await self._store.version(who.tenant_id, id, before)
        if after is None:
            new = await self._store.draft_version(who.tenant_id, id)
        else:
            new = await self._store.version(who.tenant_id, id, after)
        if old is None or new is None:
            raise _no_version(before if old is None else after)
        found = await self._publisher.compare(old.definition, new.definition)
        return WorkflowDiff(old, new, found)

    async def validate(
        self, who: Principal, source: str, format: DefinitionFormat | None
    ) -> Validation:
        """The findings in a document; what only publishing refuses is a warning here."""
        require(who, READ_WORKFLOWS)
        return await self._validated(who, source, format)

    # --- changes -----------------------------------------------------------------------------------

    async def create(
        self,
        who: Principal,
        *,
        name: str,
        source: str,
        format: DefinitionFormat | None,
        display_name: str | None = None,
        description: str | None = None,
        labels: dict[str, str] | None = None,
        namespace: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkflowChange:
        """A workflow with a draft; raises Conflict when the name is taken."""
        require(who, "workflows:write")
        key = check_key(idempotency_key)
        check_namespace(namespace)
        check_description(display_name, description, labels)
        asked = [name, source, format, display_name, description, labels, namespace]
        draft, validation = await self._draft(who, source, format, name)
        own: Any = validation.definition or {}
        made = self._new_id()
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            first = await _claimed(connection, who, _CREATE, key, asked, made)
            if first is None:
                fresh = await self._store.insert(
                    connection,
                    made,
                    who.tenant_id,
                    namespace or own.get("namespace") or "default",
                    name,
                    display_name=display_name,
                    description=description,
                    labels=own.get("labels", {}) | (labels or {}),
                    region=None,
                    draft=draft,
                    actor=who.actor,
                )
                if not fresh:
                    raise Conflict(
                        f"There is a workflow {name!r} already: update that one, or choose another "
                        "name.",
                        reason="WORKFLOW_EXISTS",
                        path=("name",),
                    )
                data = {"name": name, **_said(draft, validation.version)}
                await self._record(connection, who, made, "created", data)
        workflow = await self._store.find(who.tenant_id, first or made)
        return WorkflowChange(workflow, None, validation.problems, created=first is None)

    async def update(
        self,
        who: Principal,
        id: UUID,
        *,
        source: str | None = None,
        format: DefinitionFormat | None = None,
        display_name: str | None = None,
        description: str | None = None,
        labels: dict[str, str] | None = None,
        expected_digest: Digest | None = None,
    ) -> WorkflowChange:
        """Change what is given; raises Conflict when the draft has moved on from `expected_digest`."""
        require(who, "workflows:write")
        check_description(display_name, description, labels)
        before = await self._get(who, id)
        draft: Draft | None = None
        findings: tuple[Problem, ...] = ()
        number: SemVer | None = None
        if source is not None:
            draft, validation = await self._draft(who, source, format, before.name)
            findings, number = validation.problems, validation.version
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            await self._locked_draft(connection, who, id, expected_digest)
            await self._store.update(
                connection,
                who.tenant_id,
                id,
                draft=draft,
                display_name=display_name,
                description=description,
                labels=labels,
            )
            data = _said(draft, number) if draft else {}
            await self._record(connection, who, id, "updated", data)
        return WorkflowChange(await self._get(who, id), None, findings, created=False)

    async def publish(
        self,
        who: Principal,
        id: UUID,
        *,
        number: Number = _ANY,
        expected_digest: Digest | None = None,
        changelog: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkflowChange:
        """Make the draft a version; the same content again gives the version that there is."""
        require(who, "workflows:publish")
        key = check_key(idempotency_key)
        if number.wanted is not None and number.bump is not None:
            raise BadInput("Give a version or a bump, not both.", reason="VERSION_OR_BUMP")
        check_changelog(changelog)
        digest = _asked(id, number, expected_digest, changelog)
        first = await self._published_with(who, key, digest)
        if first is not None:
            return await self._publication(who, id, Publication(first, created=False), ())
        draft = await self._publishable(who, id)
        validation = await self._validated(who, draft.source, draft.format, publishing=True)
        if not validation.ok:
            raise Invalid(validation.problems)
        number = _numbered(number, validation.version)
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            await self._locked_draft(connection, who, id, expected_digest or draft.digest)
            done = await self._publisher.publish(
                connection, who, id, draft, number=number, changelog=changelog
            )
            if done.created:
                await self._record(connection, who, id, "published", _said(draft, done.version))
            if key is not None:
                # Of two equal requests at once the later one finds the key taken, by this same version.
                await claim_key(connection, who.tenant_id, _PUBLISH, key, digest, done.version_id)
        self._tell(who)
        return await self._publication(who, id, done, validation.problems)

    async def deprecate(
        self, who: Principal, id: UUID, version: SemVer, reason: str | None = None
    ) -> WorkflowChange:
        """New executions take this version only when they name it; nothing else changes."""
        return await self._further(who, id, version, VersionState.DEPRECATED, reason)

    async def archive_version(
        self, who: Principal, id: UUID, version: SemVer, reason: str | None = None
    ) -> WorkflowChange:
        """A deprecated version starts no executions any more; those that run it go on."""
        return await self._further(who, id, version, VersionState.ARCHIVED, reason)

    async def archive(self, who: Principal, id: UUID, reason: str | None = None) -> WorkflowChange:
        """The end of a workflow: nothing is started or published any more; what runs goes on."""
        require(who, "workflows:write")
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            row = await self._locked(connection, who, id)
            is_new = WorkflowStatus(row["status"]) is not WorkflowStatus.ARCHIVED
            if is_new:
                await self._store.archive(connection, who.tenant_id, id)
                await self._record(connection, who, id, "archived", _why(reason))
        self._tell(who)
        return WorkflowChange(await self._get(who, id), created=is_new)

    async def delete(self, who: Principal, id: UUID, reason: str | None = None) -> Workflow:
        """Delete a draft of which no version was ever published, so that nothing ever ran; gives what it was."""
        require(who, "workflows:write")
        found = await self._get(who, id)
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            await self._locked(connection, who, id)
            if await self._store.highest(connection, who.tenant_id, id) is not None:
                raise InvalidState(
                    f"Versions of the workflow {found.name!r} were published, and executions may "
                    "refer to them: archive it instead.",
                    reason="WORKFLOW_PUBLISHED",
                )
            await self._store.delete(connection, who.tenant_id, id)
            data = {"name": found.name, **_why(reason)}
            await self._record(connection, who, id, "deleted", data)
        return found

    # -----------------------------------------------------------------------------------------------

    async def _further(
        self,
        who: Principal,
        id: UUID,
        version: SemVer,
        state: VersionState,
        reason: str | None,
    ) -> WorkflowChange:
        """Bring a version to its next state; one that is there already stays, without an event."""
        require(who, "workflows:publish")
        async with self._database.tenant(who.tenant_id) as connection, connection.transaction():
            await self._locked(connection, who, id)
            found = await self._store.published(connection, who.tenant_id, id, version=version)
            if found is None:
                raise _no_version(version)
            is_new = found.state is not state
            if is_new:
                _check_step(found, state)
                await self._store.set_state(connection, who.tenant_id, id, version, state)
                data = {"version": str(version), "digest": str(found.digest), **_why(reason)}
                await self._record(connection, who, id, state.name.lower(), data)
        self._tell(who)
        done = Publication(found.id, created=is_new)
        return await self._publication(who, id, done, ())

    async def _record(
        self, connection: Any, who: Principal, id: UUID, kind: str, data: Mapping[str, Json]
    ) -> None:
        """Append to the workflow's history, which the event bus reads."""
        await self._store.record(connection, who.tenant_id, id, kind, who.actor, dict(data))
        self._metrics.workflow_changes.labels(kind).inc()

    def _tell(self, who: Principal) -> None:
        """What was remembered of the tenant's current versions holds no longer."""
        if self._on_changed is not None:
            self._on_changed(who.tenant_id)

    async def _published_with(self, who: Principal, key: str | None, digest: bytes) -> UUID | None:
        """The version that this key has published already."""
        if key is None:
            return None
        async with self._database.tenant(who.tenant_id) as connection:
            found = await find_key(connection, who.tenant_id, _PUBLISH, key)
        if found is not None and found[1] != digest:
            raise IdempotencyConflict
        return found[0] if found else None

    async def _publication(
        self,
        who: Principal,
        id: UUID,
        done: Publication,
        findings: tuple[Problem, ...],
    ) -> WorkflowChange:
        versions = await self._store.versions_by_id(who.tenant_id, [done.version_id])
        made = versions.get(done.version_id)
        found = done.diff and done.before and made and WorkflowDiff(done.before, made, done.diff)
        return WorkflowChange(
            await self._get(who, id), made, findings, created=done.created, diff=found or None
        )

    async def _publishable(self, who: Principal, id: UUID) -> Draft:
        workflow = await self._get(who, id)
        _refuse_archived(workflow.name, workflow.status)
        draft = await self._store.draft(who.tenant_id, id)
        if draft is None:
            raise InvalidState("There is no draft to publish.", reason="NO_DRAFT")
        return draft

    async def _locked(self, connection: Any, who: Principal, id: UUID) -> Any:
        """Hold a workflow to the end of the transaction; its row as it is now."""
        row = await self._store.lock(connection, who.tenant_id, id)
        if row is None:
            raise _unknown(id)
        return row

    async def _locked_draft(
        self, connection: Any, who: Principal, id: UUID, expected: Digest | None
    ) -> None:
        """Hold a workflow that is not archived and whose draft is the one that the caller has seen."""
        row = await self._locked(connection, who, id)
        _refuse_archived(row["name"], WorkflowStatus(row["status"]))
        if expected is not None and row["draft_digest"] != str(expected):
            raise Conflict(
                "The draft has been changed in between: read it again and repeat.",
                reason="DRAFT_CHANGED",
                path=("expectedDigest",),
            )

    async def _get(self, who: Principal, id: UUID) -> Workflow:
        workflow = await self._store.find(who.tenant_id, id)
        if workflow is None:
            raise _unknown(id)
        return workflow

    async def _validated(
        self,
        who: Principal,
        source: str,
        format: DefinitionFormat | None,
        *,
        publishing: bool = False,
        name: str | None = None,
    ) -> Validation:
        """Judge a document with what is known here; one that calls workflows is judged again with them."""
        known = Surroundings(self._secret_names(), self._agents, name=name)
        judged = self._judges.document
        found = await judged(
            who.tenant_id, source, format, publishing=publishing, surroundings=known
        )
        if not found.calls:
            return found
        called = await self._called.find(who.tenant_id, found.calls)
        known = replace(known, workflows=called)
        return await judged(
            who.tenant_id, source, format, publishing=publishing, surroundings=known
        )

    async def _draft(
        self, who: Principal, source: str, format: DefinitionFormat | None, name: str
    ) -> tuple[Draft, Validation]:
        """A document that can be saved; raises Invalid with every finding when it has errors."""
        validation = await self._validated(who, source, format, name=name)
        if not validation.ok or validation.definition is None or validation.digest is None:
            raise Invalid(validation.problems)
        spelling = format or _spelling(source)
        return Draft(source, spelling, validation.definition, validation.digest), validation

    def _new_id(self) -> UUID:
        return self._entropy.uuid7(int(self._clock.now().timestamp() * 1000))


async def _claimed(
    connection: Any, who: Principal, operation: str, key: str | None, body: Any, made: UUID
) -> UUID | None:
    if key is None:
        return None
    return await claim_key(connection, who.tenant_id, operation, key, body_digest(body), made)


def _numbered(asked: Number, written: SemVer | None) -> Number:
    """The number to publish under: the document's, or what the caller says; both may not be said to differ."""
    if written is None:
        return asked
    if asked.bump is not None:
        raise BadInput(
            f"The document says version {written}, so nothing is counted up: raise it there, or take it out of the "
            "document.",
            reason="VERSION_OR_BUMP",
            path=("bump",),
        )
    if asked.wanted is not None and asked.wanted != written:
        raise BadInput(
            f"The document says version {written}, the request {asked.wanted}: make them the same, or "
            "leave one out.",
            reason="VERSION_MISMATCH",
            path=("version",),
        )
    return replace(asked, wanted=written, is_written=True)


def _asked(id: UUID, number: Number, expected: Digest | None, changelog: str | None) -> bytes:
    """The digest of a request to publish; the word about small steps counts only where it is given."""
    wanted = number.wanted and str(number.wanted)
    body = [str(id), wanted, number.bump, expected and str(expected), changelog]
    return body_digest([*body, True] if number.may_be_smaller else body)


def _said(draft: Draft, version: SemVer | None) -> dict[str, Json]:
    """What an event says of a document: its digest, and the version where there is one."""
    said: dict[str, Json] = {"digest": str(draft.digest)}
    return said if version is None else {"version": str(version), **said}


def _why(reason: str | None) -> dict[str, Json]:
    return {} if reason is None else {"reason": reason}


def _refuse_archived(name: str, status: WorkflowStatus) -> None:
    if status is WorkflowStatus.ARCHIVED:
        raise InvalidState(
            f"The workflow {name!r} is archived: it is changed and published no more.",
            reason="WORKFLOW_ARCHIVED",
        )


def _check_step(found: WorkflowVersion, state: VersionState) -> None:
    """Raise InvalidState unless a version's next state is this one."""
    if state == found.state + 1:
        return
    if found.state is VersionState.ARCHIVED:
        raise InvalidState(f"Version {found.version} is archived.", reason="VERSION_ARCHIVED")
    raise InvalidState(
        f"Version {found.version} is not deprecated yet: deprecate it first, and archive it when "
        "nobody starts it any more.",
        reason="VERSION_NOT_DEPRECATED",
    )


def _no_version(version: SemVer | None) -> NotFound:
    named = "draft" if version is None else f"version {version}"
    return NotFound(f"The workflow has no {named}.", reason="VERSION_NOT_FOUND", path=("version",))


def _spelling(source: str) -> DefinitionFormat:
    return DefinitionFormat.JSON if source.lstrip()[:1] == "{" else DefinitionFormat.YAML


def _unknown(id: UUID) -> NotFound:
    return NotFound(f"There is no workflow {id}.", reason="WORKFLOW_NOT_FOUND")
