"""The development issuer: a key pair in the data folder, believed only by a loopback listener.

Made for `mc dev` and tests, so that the path of a request is the same with and without an outside
provider.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey

from runtime.clock import Clock
from runtime.model.errors import SetupError
from runtime.settings import AuthSettings

ISSUER: Final = "urn:maestro-composer:development"
AUDIENCE: Final = "maestro-composer"
_FILE: Final = "dev-issuer.json"


@dataclass(frozen=True, slots=True)
class DevIssuer:
    """Signs tokens with the key of one data folder, and gives the public half to the verifier."""

    key: OKPKey
    clock: Clock

    @classmethod
    def open(cls, home: Path, clock: Clock) -> DevIssuer:
        """Read the folder's key, or make it (mode 0600).

        Two processes that make it at once end with the same key.
        """
        path = home / _FILE
        try:
            if not path.exists():
                _create(path)
            key = OKPKey.import_key(orjson.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise SetupError(
                f"The development key {path} can't be read or made: {error}. "
                "Delete it, or give the folder back its rights.",
                reason="DEV_ISSUER",
            ) from error
        return cls(key, clock)

    def issue(
        self,
        *,
        tenant: str,
        subject: str,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
        groups: Iterable[str] = (),
        ttl_seconds: float = 3600,
    ) -> str:
        """A signed token that is valid from now."""
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "tenant": tenant,
            "roles": sorted(roles),
            "groups": sorted(groups),
            "scope": " ".join(sorted(scopes)),
            "iat": now,
            "exp": now + int(ttl_seconds),
        }
        return jwt.encode(
            {"alg": "Ed25519", "kid": self.key.kid}, claims, self.key, algorithms=["Ed25519"]
        )

    async def keys(self, *, key_id: str | None) -> KeySet:  # noqa: ARG002 - one key answers for every id
        """The public half, for the verifier."""
        return KeySet([OKPKey.import_key(self.key.as_dict(private=False))])

    @staticmethod
    def auth_settings(auth: AuthSettings) -> AuthSettings:
        """The settings under which this issuer's tokens are believed."""
        return AuthSettings(issuer=ISSUER, audience=AUDIENCE) if auth.jwks_url is None else auth


def _create(path: Path) -> None:
    """Write a new key beside, then link it into place; the link fails for whoever is second."""
    key = OKPKey.generate_key("Ed25519", {"use": "sig"})
    key.ensure_kid()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{_FILE}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(key.as_dict(private=True)))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
