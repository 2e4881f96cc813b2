"""`mc token create`: a token of the development issuer, whose key lies in the data folder."""

from __future__ import annotations

from typing import Final

import click

from maestro_cli.errors import CliError, usage
from maestro_cli.groups import VerbGroup
from maestro_cli.options import DurationType, Options
from maestro_cli.output import print_document

_MAX_NAME: Final = 128


@click.group(cls=VerbGroup)
def token() -> None:
    """Tokens of the development issuer, for a local server."""


@token.command()
@click.option("--tenant", required=True, metavar="NAME", help="Tenant whose data the token opens.")
@click.option("--subject", required=True, metavar="NAME", help="Who the token stands for.")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="viewer, approver, operator, author, admin. Repeatable.",
)
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE", help="A single scope more. Repeatable."
)
@click.option(
    "--group", "groups", multiple=True, metavar="NAME", help="A group of the subject. Repeatable."
)
@click.option(
    "--ttl",
    type=DurationType(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it is valid.",
)
@click.pass_obj
def create(
    options: Options,
    *,
    tenant: str,
    subject: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    groups: tuple[str, ...],
    ttl: float,
) -> None:
    """Print a token signed with the key in $MC_HOME."""
    from runtime.clock import SystemClock
    from runtime.embedded.home import private_folder
    from runtime.identity.development import DevIssuer
    from runtime.identity.roles import ROLE_SCOPES
    from runtime.settings import Settings

    _check_name(tenant, "--tenant")
    _check_name(subject, "--subject")
    unknown = [role for role in roles if role not in ROLE_SCOPES]
    if unknown:
        raise CliError(
            f"There is no role {unknown[0]!r}.",
            code="USAGE",
            hint=f"roles are {', '.join(ROLE_SCOPES)}",
        )
    if not roles and not scopes:
        raise CliError(
            "A token without role and scope opens nothing.", code="USAGE", hint="add --role viewer"
        )
    settings = Settings.from_env()
    if settings.auth.jwks_url:
        raise CliError(
            "MC_AUTH_JWKS_URL names an outside identity provider; the server believes only that one's tokens.",
            code="USAGE",
        )
    issuer = DevIssuer.open(private_folder(settings.home), SystemClock())
    text = issuer.issue(
        tenant=tenant,
        subject=subject,
        roles=roles,
        scopes=scopes,
        groups=groups,
        ttl_seconds=ttl,
    )
    if options.is_document:
        print_document(
            options,
            {"token": text, "tenant": tenant, "subject": subject, "expires_in_seconds": ttl},
        )
    else:
        print(text)


def _check_name(name: str, flag: str) -> None:
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise usage(f"{flag} must be 1 to {_MAX_NAME} printable characters.")
