"""Who is calling: the Principal made from a verified token, and the actor that events remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID


class ActorKind(StrEnum):
    """What kind of being acted."""

    USER = "user"
    SERVICE = "service"
    AGENT = "agent"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as stored on rows and events."""

    subject: str
    kind: ActorKind = ActorKind.USER
    display_name: str | None = None


SYSTEM = Actor("system", ActorKind.SYSTEM)


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified caller.

    Tenant and identity come from the token, never from a header or an argument.
    """

    tenant_id: UUID
    tenant: str
    subject: str
    scopes: frozenset[str]
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    purpose: str | None = None
    kind: ActorKind = ActorKind.USER
    expires_at: float = field(default=float("inf"), compare=False)

    @property
    def actor(self) -> Actor:
        """The caller as events remember them."""
        return Actor(self.subject, self.kind)

    def has(self, scope: str) -> bool:
        """Whether the caller holds a scope."""
        return scope in self.scopes
