"""The development issuer's key lies in a folder of one user: only a loopback listener may believe its tokens."""

from __future__ import annotations

from maestro_cli.errors import CliError
from runtime.settings import Settings


def check_issuer(settings: Settings) -> None:
    """Refuse to listen where others reach, with tokens that are made for development."""
    if settings.auth.jwks_url is None and not settings.api.is_loopback:
        raise CliError(
            f"The development issuer may serve loopback only, and {settings.api.host} is none.",
            code="USAGE",
            reason="DEV_ISSUER_NOT_LOOPBACK",
            hint="set MC_AUTH_JWKS_URL, MC_AUTH_ISSUER and MC_AUTH_AUDIENCE, or listen on 127.0.0.1",
        )
