"""What the next generation of executions would do, as `mc retry --dry-run` and `mc rewind --dry-run` show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from maestro_cli.client import Client
from maestro_cli.options import Options
from maestro_cli.output import Column, print_documents, show_rows, word

_COLUMNS: Final = (
    Column("STEP", "stepKey"),
    Column("ACTION", "action"),
    Column("STATUS", "status", "status"),
    Column("REPEATS", "words"),
    Column("TYPE", "type", wide=True),
)


def show_retries(options: Options, ids: Sequence[str], *, is_kept: bool) -> None:
    """Ask for the preview of a retry of each, and show it: as a table, a document, or the steps that run again."""
    _show(options, "retry_preview", "retryPreview", ids, {"fromFailedStep": is_kept})


def show_rewind(options: Options, id: str, step: str, given: Any, keep: Sequence[str]) -> None:
    """The same for a rewind that keeps some steps, with another input unless that is None."""
    asked = {"stepKey": step, "input": given, "keep": keep}
    _show(options, "rewind_preview", "rewindPreview", [id], asked)


def _show(
    options: Options, name: str, field: str, ids: Sequence[str], asked: Mapping[str, Any]
) -> None:
    client = Client.of(options)
    found = [
        {
            "executionId": one,
            **client.run(name, id=one, **asked)[field],
        }
        for one in ids
    ]
    for preview in found:
        for step in preview["steps"]:
            step["action"] = word(step["action"])
    if options.is_document:
        print_documents(options, [_lowered(one) for one in found])
        return
    for preview in found:
        if options.format == "name":
            _print_names(preview["steps"])
            continue
        _print_head(preview)
        rows = [{**step, "words": _words(step)} for step in preview["steps"]]
        show_rows(options, rows, _COLUMNS, name="stepKey")


def _lowered(preview: Mapping[str, Any]) -> Mapping[str, Any]:
    for step in preview["steps"]:
        step["status"] = None if step["status"] is None else word(step["status"])
        repeats = step["repeats"]
        if repeats is not None and repeats["effect"] is not None:
            repeats["effect"] = word(repeats["effect"])
    return preview


def _print_names(steps: Sequence[Mapping[str, Any]]) -> None:
    for step in steps:
        if step["action"] == "run":
            print(step["stepKey"])


def _print_head(preview: Mapping[str, Any]) -> None:
    runs, reuses, repeats = (int(preview[name]) for name in ("runs", "reuses", "repeats"))
    print(
        f"{preview['executionId']} generation {preview['generation']}: {_of_steps(runs)} again, {reuses} kept, "
        f"{repeats} with calls that are repeated"
    )


def _of_steps(count: int) -> str:
    return "1 step runs" if count == 1 else f"{count} steps run"


def _words(step: Mapping[str, Any]) -> str | None:
    """What would be repeated, in a few words."""
    parts = []
    if step["keptItems"]:
        parts.append(f"{step['keptItems']} items kept")
    repeats = step["repeats"]
    if repeats is not None:
        calls = "1 call" if repeats["calls"] == 1 else f"{repeats['calls']} calls"
        effect = "effect unknown" if repeats["effect"] is None else word(repeats["effect"])
        said = [calls, effect, f"{repeats['completed']} completed"]
        said += [f"{repeats['inDoubt']} in doubt"] if repeats["inDoubt"] else []
        said += ["undone since"] if repeats["isUndone"] else []
        child = repeats["childExecution"]
        said += [] if child is None else [f"child {child['id']}"]
        parts.append(", ".join(said))
    return "; ".join(parts) or None
