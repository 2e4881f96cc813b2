"""From an Authorization header to a Principal: verify, map the tenant's name, add up the scopes.

One door for all faces.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final
from uuid import UUID

from runtime.clock import Clock
from runtime.identity.roles import scopes_of
from runtime.identity.tokens import Claims, TokenVerifier
from runtime.model.errors import Denied, Unauthenticated
from runtime.model.identity import Principal

_CACHE_SECONDS: Final = 30.0
_CACHE_SIZE: Final = 1024
_MAX_PURPOSE_CHARS: Final = 256


class Authenticator:
    """Verified tokens are remembered for at most 30 seconds and never past their expiry."""

    def __init__(
        self,
        verifier: TokenVerifier,
        resolve_tenant: Callable[[str], Awaitable[UUID | None]],
        clock: Clock,
    ) -> None:
        self._verifier = verifier
        self._resolve_tenant = resolve_tenant
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Principal]] = OrderedDict()

    async def principal(self, authorization: str | None, purpose: str | None = None) -> Principal:
        """The caller behind `Bearer <token>`; raises Unauthenticated or Denied."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(reason="TOKEN_MISSING")
        principal = self._remembered(token)
        if principal is None:
            principal = await self._verify(token)
        return principal if not purpose else _with_purpose(principal, purpose)

    def _remembered(self, token: str) -> Principal | None:
        found = self._known.get(token)
        if found is None:
            return None
        until, principal = found
        if self._clock.monotonic() < until and self._clock.now().timestamp() < principal.expires_at:
            return principal
        del self._known[token]
        return None

    async def _verify(self, token: str) -> Principal:
        claims = await self._verifier.verify(token)
        tenant_id = await self._resolve_tenant(claims.tenant)
        if tenant_id is None:
            raise Denied("The token's tenant is not known here.", reason="TENANT_UNKNOWN")
        principal = _principal(claims, tenant_id)
        self._known[token] = (self._clock.monotonic() + _CACHE_SECONDS, principal)
        if len(self._known) > _CACHE_SIZE:
            self._known.popitem(last=False)
        return principal


def _principal(claims: Claims, tenant_id: UUID) -> Principal:
    return Principal(
        tenant_id=tenant_id,
        tenant=claims.tenant,
        subject=claims.subject,
        scopes=scopes_of(claims.roles, claims.scopes),
        roles=claims.roles,
        groups=claims.groups,
        expires_at=claims.expires_at,
    )


def _with_purpose(principal: Principal, purpose: str) -> Principal:
    if len(purpose) > _MAX_PURPOSE_CHARS or not purpose.isprintable():
        raise Denied(
            "The purpose of access must be at most 256 printable characters.",
            reason="PURPOSE_INVALID",
        )
    return replace(principal, purpose=purpose)
