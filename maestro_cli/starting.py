"""Starting an execution on a server and, when asked, staying until it ends; one ending for every verb that waits."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

from maestro_cli.client import Client, check_payload
from maestro_cli.errors import CliError
from maestro_cli.moments import span
from maestro_cli.options import Options
from maestro_cli.output import print_document, word
from maestro_cli.visible import json_text, visible
from maestro_cli.watching import TERMINAL, detached, exit_code_of, still_going

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0


def enqueue(client: Client, values: dict[str, Any]) -> dict[str, Any]:
    """Ask for an execution; what the server made of it."""
    payload = client.run("enqueue_execution", input=values)
    check_payload(payload["enqueueExecution"])
    answer: dict[str, Any] = payload["enqueueExecution"]
    return answer


def wait(client: Client, options: Options, execution_id: str) -> dict[str, Any]:
    """Ask until the execution has ended, no longer than `--timeout`; its state then."""
    deadline = time.monotonic() + options.timeout if options.timeout else None
    pause = _FIRST_PAUSE_SECONDS
    try:
        while True:
            found = get_state(client, execution_id)
            if word(found["status"]) in TERMINAL:
                return found
            if deadline is not None and time.monotonic() >= deadline:
                raise still_going(execution_id, word(found["status"]), options.timeout)
            time.sleep(
                pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))
            )
            pause = min(1.5 * pause, _LONGEST_PAUSE_SECONDS)
    except KeyboardInterrupt:
        raise detached(execution_id) from None


def get_state(client: Client, execution_id: str) -> dict[str, Any]:
    """Status, output and error of an execution."""
    found = client.run("get_execution_status", id=execution_id)["execution"]
    if found is None:
        raise unknown(execution_id)
    state: dict[str, Any] = found
    return state


def unknown(execution_id: str) -> CliError:
    """The error for an execution that is not there."""
    return CliError(
        f"There is no execution {execution_id!r}.",
        code="NOT_FOUND",
        reason="EXECUTION_NOT_FOUND",
        hint="see `mc executions list`",
    )


def show_result(options: Options, state: dict[str, Any]) -> int:
    """Show how an execution ended; the exit code that says the same."""
    status = word(state["status"])
    if options.is_document:
        print_document(options, result_document(state))
    elif options.format != "name":
        _show_ending(options, state, status)
    return exit_code_of(status)


def result_document(state: dict[str, Any]) -> dict[str, Any]:
    """An ended execution as one object; statuses in the CLI's spelling."""
    return {
        "id": state["id"],
        "workflow": state["workflow"]["name"],
        "version": state["workflowVersion"]["version"],
        "status": word(state["status"]),
        "generation": state.get("generation", 0),
        "duration": state.get("duration"),
        "output": state.get("output"),
        "error": state.get("error"),
    }


def _show_ending(options: Options, state: dict[str, Any], status: str) -> None:
    took = f" in {span(state['duration'])}" if state.get("duration") else ""
    options.say(f"{status}{took}")
    if state.get("output") is not None:
        print(json_text(state["output"], indent=2))
    error = state.get("error")
    if error:
        where = f"step {error['stepKey']}: " if error.get("stepKey") else ""
        print(f"error: {visible(where + error['message'])} ({error['type']})", file=sys.stderr)
        print(
            f"hint: see `mc executions get {state['id']}`; `mc retry {state['id']}` tries again",
            file=sys.stderr,
        )
