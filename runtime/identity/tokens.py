"""JSON Web Tokens (RFC 7519): fixed algorithms, one issuer, one audience, and the clock.

joserfc checks signatures only; everything else is checked here, because a token that is merely
signed proves nothing: `iss` and `aud` must be ours, `exp` must be there and ahead, `nbf` and `iat`
not ahead, `sub` and the tenant present.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from runtime.clock import Clock
from runtime.model.errors import Unauthenticated
from runtime.settings import AuthSettings

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "Ed25519")
LEEWAY_SECONDS: Final = 30
_MAX_TOKEN_CHARS: Final = 16_384
_MAX_TENANT_CHARS: Final = 128
_MAX_SUBJECT_CHARS: Final = 1_024
_DOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    subject: str
    tenant: str
    scopes: frozenset[str]
    roles: frozenset[str]
    groups: frozenset[str]
    expires_at: float


class KeySource(Protocol):
    """Where public keys come from: the development issuer, or a provider's JWKS address."""

    async def keys(self, *, key_id: str | None) -> KeySet:
        """The keys to verify with; may refetch when it does not know the key id."""


class TokenVerifier:
    """Turns a token into Claims, or raises Unauthenticated with the reason."""

    def __init__(self, source: KeySource, auth: AuthSettings, clock: Clock) -> None:
        self._source = source
        self._auth = auth
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Check signature, algorithm, issuer, audience and times."""
        if len(token) > _MAX_TOKEN_CHARS or token.count(".") != _DOTS:
            raise Unauthenticated(
                "The bearer token is not a JSON Web Token.", reason="TOKEN_MALFORMED"
            )
        keys = await self._source.keys(key_id=_key_id(token))
        try:
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated(
                "The bearer token's signature could not be verified.", reason="TOKEN_INVALID"
            ) from error
        return self._check(decoded.claims)

    def _check(self, claims: Mapping[str, Any]) -> Claims:
        now = self._clock.now().timestamp()
        expires = claims.get("exp")
        if expires is None or not _is_number(expires):
            raise Unauthenticated("The bearer token has no expiry.", reason="TOKEN_INVALID")
        if expires <= now - LEEWAY_SECONDS:
            raise Unauthenticated(
                "The bearer token has expired; get a new one.", reason="TOKEN_EXPIRED"
            )
        for name in ("nbf", "iat"):
            value = claims.get(name)
            if value is not None and (not _is_number(value) or value > now + LEEWAY_SECONDS):
                raise Unauthenticated(
                    "The bearer token is not valid yet.", reason="TOKEN_NOT_YET_VALID"
                )
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._auth.issuer or self._auth.audience not in audiences:
            raise Unauthenticated(
                "The bearer token was made for something else.", reason="TOKEN_WRONG_AUDIENCE"
            )
        return Claims(
            subject=_name("subject", claims.get("sub"), _MAX_SUBJECT_CHARS),
            tenant=_name("tenant", claims.get(self._auth.tenant_claim), _MAX_TENANT_CHARS),
            scopes=_words(claims.get(self._auth.scope_claim)),
            roles=_words(claims.get(self._auth.roles_claim)),
            groups=_words(claims.get(self._auth.groups_claim)),
            expires_at=float(expires),
        )


def _name(what: str, value: object, most: int) -> str:
    """A name that is stored and shown: bounded, and without characters that can't be either."""
    if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
        raise Unauthenticated(
            f"The bearer token's {what} must be a name of 1 to {most} printable characters.",
            reason="TOKEN_INVALID",
        )
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key_id(token: str) -> str | None:
    """The key id in a token's header; None when it names none.

    The header is not believed for anything else.
    """
    try:
        header = jwt_header(token)
    except (ValueError, RecursionError):
        return None
    key_id = header.get("kid")
    return key_id if isinstance(key_id, str) else None


def jwt_header(token: str) -> dict[str, Any]:
    """The unverified protected header; raises ValueError when it is not a JSON object."""
    part = token.split(".", 1)[0]
    header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    if not isinstance(header, dict):
        raise ValueError("not an object")  # noqa: TRY004 - the document is bad, not the call
    return header


def _words(value: object) -> frozenset[str]:
    """A claim that is a space-separated string (RFC 8693) or a list of strings (RFC 9068)."""
    if isinstance(value, str):
        return frozenset(value.split())
    if isinstance(value, list):
        return frozenset(word for word in value if isinstance(word, str))
    return frozenset()
