"""Tokens: what is believed, and each way of not being believed."""

from __future__ import annotations

import base64
import stat
from typing import get_args
from uuid import UUID

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from runtime.clock import ManualClock
from runtime.identity.authenticator import Authenticator
from runtime.identity.development import AUDIENCE, ISSUER, DevIssuer
from runtime.identity.roles import ROLE_SCOPES
from runtime.identity.tokens import TokenVerifier
from runtime.model.errors import Denied, Unauthenticated
from runtime.services.access import WRITE_SETTINGS, Scope
from runtime.settings import AuthSettings
from subgraph.http.metrics import SCOPE

TENANTS = {"acme": UUID(int=1)}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def issuer(tmp_path, clock):
    return DevIssuer.open(tmp_path / "home", clock)


@pytest.fixture
def authenticator(issuer, clock):
    async def resolve(name):
        return TENANTS.get(name)

    verifier = TokenVerifier(issuer, DevIssuer.auth_settings(AuthSettings()), clock)
    return Authenticator(verifier, resolve, clock)


def a_token(issuer, *, key=None, alg="Ed25519", **changes):
    now = int(issuer.clock.now().timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "tenant": "acme",
        "iat": now,
        "exp": now + 60,
    }
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    key = key or issuer.key
    return jwt.encode({"alg": alg, "kid": issuer.key.kid}, claims, key, algorithms=[alg])


async def test_a_token_becomes_a_principal_with_the_scopes_of_its_roles(issuer, authenticator):
    token = issuer.issue(
        tenant="acme", subject="ann", roles=["viewer"], scopes=["audit:read"], groups=["legal"]
    )

    principal = await authenticator.principal(f"Bearer {token}", "billing")

    assert (principal.tenant_id, principal.subject, principal.purpose) == (
        UUID(int=1),
        "ann",
        "billing",
    )
    assert {"executions:read", "audit:read"} <= principal.scopes
    assert not principal.has("executions:write")
    assert principal.groups == {"legal"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": 0}, "TOKEN_EXPIRED"),
        ({"exp": None}, "TOKEN_INVALID"),
        ({"exp": True}, "TOKEN_INVALID"),
        ({"nbf": 4_000_000_000}, "TOKEN_NOT_YET_VALID"),
        ({"iat": 4_000_000_000}, "TOKEN_NOT_YET_VALID"),
        ({"iss": "somebody"}, "TOKEN_WRONG_AUDIENCE"),
        ({"aud": "something"}, "TOKEN_WRONG_AUDIENCE"),
        ({"aud": None}, "TOKEN_WRONG_AUDIENCE"),
        ({"sub": None}, "TOKEN_INVALID"),
        ({"tenant": None}, "TOKEN_INVALID"),
        ({"tenant": 7}, "TOKEN_INVALID"),
        ({"tenant": ""}, "TOKEN_INVALID"),
        ({"tenant": "a\nb"}, "TOKEN_INVALID"),
        ({"tenant": "a\0"}, "TOKEN_INVALID"),
        ({"tenant": "a" * 129}, "TOKEN_INVALID"),
        ({"sub": "a\0"}, "TOKEN_INVALID"),
        ({"sub": "a" * 1_025}, "TOKEN_INVALID"),
    ],
)
async def test_a_signed_token_with_wrong_claims_is_refused(issuer, authenticator, changes, reason):
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.principal(f"Bearer {a_token(issuer, **changes)}")

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer abc",
        "Bearer a.b.c",
        "Bearer " + "a." * 9000,
        "Bearer " + base64.urlsafe_b64encode(b"[" * 9000).decode() + ".b.c",
    ],
)
async def test_what_is_no_token_is_refused(authenticator, header):
    with pytest.raises(Unauthenticated):
        await authenticator.principal(header)


async def test_a_token_signed_by_a_stranger_is_refused(issuer, authenticator):
    stranger = OKPKey.generate_key("Ed25519")

    with pytest.raises(Unauthenticated):
        await authenticator.principal(f"Bearer {a_token(issuer, key=stranger)}")


async def test_a_symmetric_signature_made_with_the_public_key_is_refused(issuer, authenticator):
    forged = a_token(
        issuer, key=OctKey.import_key(issuer.key.as_dict(private=False)["x"]), alg="HS256"
    )

    with pytest.raises(Unauthenticated):
        await authenticator.principal(f"Bearer {forged}")


async def test_an_unsigned_token_is_refused(issuer, authenticator):
    head, body, _ = a_token(issuer).split(".")
    none_head = "eyJhbGciOiJub25lIn0"

    for forged in (f"{none_head}.{body}.", f"{head}.{body}."):
        with pytest.raises(Unauthenticated):
            await authenticator.principal(f"Bearer {forged}")


async def test_an_unknown_tenant_is_denied(issuer, authenticator):
    with pytest.raises(Denied):
        await authenticator.principal(f"Bearer {a_token(issuer, tenant='other')}")


async def test_a_remembered_token_is_not_believed_past_its_expiry(issuer, authenticator, clock):
    token = issuer.issue(tenant="acme", subject="ann", ttl_seconds=10)
    await authenticator.principal(f"Bearer {token}")

    clock.move(60)

    with pytest.raises(Unauthenticated):
        await authenticator.principal(f"Bearer {token}")


async def test_a_purpose_that_could_forge_a_header_is_denied(issuer, authenticator):
    with pytest.raises(Denied):
        await authenticator.principal(f"Bearer {a_token(issuer)}", "billing\r\nx: y")


def test_the_key_is_private_and_the_same_after_a_restart(tmp_path, clock):
    first = DevIssuer.open(tmp_path, clock)

    assert DevIssuer.open(tmp_path, clock).key.as_dict() == first.key.as_dict()
    assert stat.S_IMODE((tmp_path / "dev-issuer.json").stat().st_mode) == 0o600


def test_no_role_promises_a_scope_that_nobody_asks_for():
    given = frozenset().union(*ROLE_SCOPES.values())

    # What an operator of the installation is given by name, and nobody by his role.
    assert given == {*get_args(Scope), SCOPE} - {WRITE_SETTINGS}
