"""Making a draft a version: which number it gets, and whether that number promises no more than is true.

Everything here happens inside of the service's transaction, under the lock of the workflow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from runtime.abi.catalog import Catalog
from runtime.definition import diff_definitions
from runtime.definition.version import bumped, is_enough, proposed
from runtime.model.errors import Conflict
from runtime.model.identity import Principal
from runtime.model.values import SemVer
from runtime.model.workflow import WorkflowVersion
from runtime.model.workflow_diff import Compatibility, DefinitionDiff, VersionBump
from runtime.store.workflow import Draft, WorkflowStore


@dataclass(frozen=True, slots=True)
class Number:
    """What is said about the number: itself, or which part rises; and whether it may be too small.

    `is_written` when the document says it, so that it is raised there.
    """

    wanted: SemVer | None = None
    bump: VersionBump | None = None
    may_be_smaller: bool = False
    is_written: bool = False


@dataclass(frozen=True, slots=True)
class Publication:
    """What publishing came to: the version, whether it was made now, and what differs from the release before."""

    version_id: UUID
    created: bool
    version: SemVer | None = None
    before: WorkflowVersion | None = None
    diff: DefinitionDiff | None = None


class Publisher:
    """Publishes drafts of one catalog."""

    def __init__(
        self, store: WorkflowStore, catalog: Callable[[], Catalog], new_id: Callable[[], UUID]
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._new_id = new_id

    async def publish(
        self,
        connection: Any,
        who: Principal,
        id: UUID,
        draft: Draft,
        *,
        number: Number,
        changelog: str | None,
    ) -> Publication:
        """The version with this content: that which there is, or a new one."""
        tenant = who.tenant_id
        same = await self._store.published(connection, tenant, id, digest=draft.digest)
        if same is not None and number.wanted in {None, same.version}:
            return Publication(same.id, created=False)
        taken = await self._taken(connection, tenant, id, number.wanted)
        if taken is not None and taken.digest == draft.digest:
            return Publication(taken.id, created=False)
        before = await self._store.release_before(connection, tenant, id, number.wanted)
        diff = await self.compare(before.definition, draft.definition) if before else None
        wanted = number.wanted or await self._next(connection, who, id, before, diff, number.bump)
        if taken is not None:
            way = (
                "raise `version` in the document"
                if number.is_written
                else "publish this one under a higher number"
            )
            raise Conflict(
                f"Version {wanted} is published with other content, and versions never change: {way}.",
                reason="VERSION_EXISTS",
                path=_place(number),
            )
        if before is not None and diff is not None and not number.may_be_smaller:
            _refuse_too_small(before.version, wanted, diff, _place(number))
        made = self._new_id()
        await self._store.insert_version(
            connection, made, tenant, id, wanted, draft, changelog=changelog, actor=who.actor
        )
        return Publication(made, created=True, version=wanted, before=before, diff=diff)

    async def compare(self, before: Any, after: Any) -> DefinitionDiff:
        """What differs; compared in a thread, since a definition of one step can be large, and others wait."""
        return await asyncio.to_thread(diff_definitions, before, after, self._catalog())

    async def _next(
        self,
        connection: Any,
        who: Principal,
        id: UUID,
        before: WorkflowVersion | None,
        diff: DefinitionDiff | None,
        bump: VersionBump | None,
    ) -> SemVer:
        """The number after the highest release: by the bump that is asked for, or as the diff proposes."""
        if before is not None and diff is not None:
            if bump is not None:
                return bumped(before.version, bump)
            return proposed(before.version, diff.suggested_bump)
        # Before the first release there may be previews of it.
        highest = await self._store.highest(connection, who.tenant_id, id)
        if highest is None:
            return bumped(None, VersionBump.MAJOR)
        return SemVer(highest.major, highest.minor, highest.patch)

    async def _taken(
        self, connection: Any, tenant: UUID, id: UUID, wanted: SemVer | None
    ) -> WorkflowVersion | None:
        if wanted is None:
            return None
        return await self._store.published(connection, tenant, id, version=wanted)


def _place(number: Number) -> tuple[str, ...]:
    """Where a request says the number; nowhere when the document does."""
    if number.is_written:
        return ()
    return ("version",) if number.bump is None else ("bump",)


def _refuse_too_small(
    release: SemVer, number: SemVer, diff: DefinitionDiff, place: tuple[str, ...]
) -> None:
    """Raise Conflict when a number says less than what happened since the release before it."""
    if is_enough(release, number, diff.suggested_bump):
        return
    worst = [one for one in diff.effects if one.compatibility is Compatibility.BREAKING]
    why = worst[0].message if worst else "there is something new"
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    raise Conflict(
        f"Version {number} is too small a step from {release}: {why}{more}. Publish it as "
        f"{proposed(release, diff.suggested_bump)} or higher, or say that a smaller number is meant.",
        reason="VERSION_TOO_SMALL",
        path=place,
    )
