"""`mc execute NAME[@VERSION] | FILE` (also `mc run`): start an execution; wait for it or watch it.

A file is published first; without any server it runs on an engine in this process, on a temporary folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from maestro_cli.documents import looks_like_file, read_input
from maestro_cli.errors import CliError, usage
from maestro_cli.groups import Verb
from maestro_cli.names import check_version
from maestro_cli.options import Options, imports_option, see_current_folder
from maestro_cli.output import print_document

_PRIORITIES: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class _Request:
    """What the command line asked for."""

    target: str
    value: Any
    is_file: bool
    wait: bool
    watch: bool
    flags: Mapping[str, Any]


@click.command(cls=Verb)
@click.argument("target", metavar="NAME[@VERSION]|FILE")
@click.option(
    "-i",
    "--input",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE|JSON",
    help="Set one key of the input, or those of a JSON object. Repeatable.",
)
@click.option(
    "-f",
    "--file",
    "input_file",
    metavar="FILE",
    help="The input: JSON or YAML; - is standard input.",
)
@click.option(
    "--version", "version", metavar="SEMVER", help="Run this version instead of the current one."
)
@click.option(
    "--idempotency-key", metavar="KEY", help="The same key gives the same execution again."
)
@click.option("--priority", type=int, metavar="N", help="Higher goes first; 0 is normal.")
@click.option(
    "--label", "labels", multiple=True, metavar="KEY=VALUE", help="To find it by. Repeatable."
)
@click.option("--wait", "-w", is_flag=True, help="Stay until it ends; the exit code says how.")
@click.option("--watch", is_flag=True, help="Stay and show what happens.")
@imports_option("Package with connectors, for a run in this process.")
@click.option(
    "--local", is_flag=True, help="Run a FILE in this process although a server is there."
)
@click.pass_obj
def execute(
    options: Options, /, target: str, local: bool, wait: bool, watch: bool, **flags: Any
) -> int:
    """Start a workflow by its name, or from a definition file. Prints the execution's id first."""
    value = read_input(flags["input_file"], flags["pairs"])
    _check_flags(target, flags["version"], flags["priority"])
    is_file = looks_like_file(target)
    if is_file and target != "-" and not Path(target).exists():
        raise usage(f"There is no file {target}.")
    request = _Request(target, value, is_file=is_file, wait=wait, watch=watch, flags=flags)
    if is_file and (local or _has_no_server(options)):
        from maestro_cli.local.once import run_once

        staying = replace(request, wait=True)
        see_current_folder(flags["imports"])
        return run_once(options, lambda mine: _on_server(mine, staying), imports=flags["imports"])
    if local or flags["imports"]:
        raise usage("--local and --import are for running a FILE in this process.")
    return _on_server(options, request)


def _check_flags(target: str, version: str | None, priority: int | None) -> None:
    """What no server could accept is refused in the words that were typed."""
    if priority is not None and not -_PRIORITIES <= priority < _PRIORITIES:
        raise usage(f"--priority {priority} is no 32-bit integer.")
    if version is not None:
        check_version(target, version)


def _has_no_server(options: Options) -> bool:
    from maestro_cli.servers import find_server

    return find_server(options) is None


def _on_server(options: Options, request: _Request) -> int:
    from maestro_cli import starting
    from maestro_cli.client import Client

    client = Client.of(options)
    name, version = _named(request.target, request.flags["version"])
    if request.is_file:
        from maestro_cli.publishing import publish_file

        done = publish_file(client, options, request.target)
        name, version = done.name, done.version
        options.say(f"published {done.name} {done.version}")
    flags = request.flags
    values = {
        "workflowName": name,
        "version": version,
        "input": request.value,
        "idempotencyKey": flags["idempotency_key"],
        "priority": flags["priority"],
        "labels": [_label(text) for text in flags["labels"]] or None,
        "namespace": client.server.namespace,
    }
    answer = starting.enqueue(client, values)
    execution_id: str = answer["execution"]["id"]
    stays = request.wait or request.watch
    _show_start(options, answer, stays=stays)
    if not stays:
        return 0
    try:
        state = _stay(client, options, execution_id, watches=request.watch)
    except CliError:
        # Whoever reads documents must not lose the id of what goes on.
        if options.is_document:
            print_document(options, _start_document(answer))
        raise
    return starting.show_result(options, state)


def _stay(client: Any, options: Options, execution_id: str, *, watches: bool) -> dict[str, Any]:
    from maestro_cli import starting
    from maestro_cli.watching import watch as follow

    if not watches:
        return starting.wait(client, options, execution_id)
    follow(client, options, execution_id)
    return starting.get_state(client, execution_id)


def _show_start(options: Options, answer: dict[str, Any], *, stays: bool) -> None:
    """The id, first of all. As a document it comes once: now, or with the result."""
    started = answer["execution"]
    if not options.is_document:
        print(started["id"], flush=True)
    elif not stays:
        print_document(options, _start_document(answer))
    if not answer["created"]:
        options.say("the idempotency key was known: this is the execution it made")


def _start_document(answer: dict[str, Any]) -> dict[str, Any]:
    started = answer["execution"]
    return {
        "id": started["id"],
        "workflow": started["workflow"]["name"],
        "version": started["workflowVersion"]["version"],
        "status": started["status"].lower(),
        "created": answer["created"],
    }


def _named(target: str, version: str | None) -> tuple[str, str | None]:
    name, separator, tail = target.partition("@")
    if separator and version and tail != version:
        raise usage(f"{target} and --version {version} name two versions.")
    return name, version or tail or None


def _label(text: str) -> dict[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise usage(f"`--label {text}` is not of the form key=value.")
    return {"key": key, "value": value}
