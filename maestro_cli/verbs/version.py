"""`mc version`: what this client is, and whether the server answers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any

import click

from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import print_document


def client_version() -> str:
    """The version of this package; that of a source tree when it is not installed."""
    try:
        return installed_version("maestro-composer")
    except PackageNotFoundError:
        return "0.0.0+source"


@click.command(cls=Verb)
@click.pass_obj
def version(options: Options) -> None:
    """Print the version of this client, and the address of the server that verbs would talk to."""
    facts: dict[str, Any] = {
        "client": client_version(),
        "python": platform.python_version(),
        "server": _server_url(options),
    }
    if options.is_document:
        print_document(options, facts)
    elif options.format == "name":
        print(facts["client"])
    else:
        server = facts["server"] or "none"
        print(f"mc {facts['client']} (Python {facts['python']}), server: {server}")


def _server_url(options: Options) -> str | None:
    from maestro_cli.servers import find_server

    server = find_server(options)
    return server.url if server else None
