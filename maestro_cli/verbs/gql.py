"""`mc gql`: send any GraphQL operation, or follow a subscription; prints the answer as the server gave it."""

from __future__ import annotations

from typing import Any

import click

from maestro_cli.documents import parse_json, read_text
from maestro_cli.groups import Verb
from maestro_cli.options import Options


@click.command(cls=Verb)
@click.argument("query")
@click.option(
    "--vars", "variables", default="{}", metavar="JSON", help="Variables: a JSON object or @file."
)
@click.option(
    "--subscribe",
    is_flag=True,
    help="Follow a subscription: one JSON object a line, until it ends.",
)
@click.pass_obj
def gql(options: Options, query: str, variables: str, subscribe: bool) -> int:
    """Send QUERY (or @file) and print the answer as JSON; exit code by its first error."""
    text, values = read_text(query), parse_json(variables, "--vars")
    if subscribe:
        return _follow(options, text, values)
    from maestro_cli.client import Client, failure_of
    from maestro_cli.output import print_document

    answer = Client.of(options).post(text, values, label="gql")
    print_document(options, answer)
    if answer.get("errors"):
        raise failure_of(answer["errors"])
    return 0


def _follow(options: Options, text: str, values: dict[str, Any]) -> int:
    from maestro_cli.client import Client
    from maestro_cli.live import follow
    from maestro_cli.visible import json_text

    def show(item: dict[str, Any]) -> bool:
        print(json_text(item), flush=True)
        return True

    follow(Client.of(options), text, values, show)
    return 0
