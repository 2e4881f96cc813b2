"""What a migration of running executions would come to, as `mc workflows migrate` shows it before."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Final

from maestro_cli.client import Client
from maestro_cli.names import id_of
from maestro_cli.options import Options
from maestro_cli.output import Column, print_document, show_rows, word
from maestro_cli.paging import collect

_COLUMNS: Final = (
    Column("EXECUTION", "executionId"),
    Column("VERDICT", "verdict"),
    Column("WHY", "words"),
)
# What has not ended: what is asked about, and what is moved.
OPEN: Final = ("QUEUED", "RUNNING", "WAITING", "PAUSED", "CANCELLING", "COMPENSATING")
_VERDICTS: Final = ("safe", "needs_mapping", "impossible")


def show_migration(options: Options, workflow: str, before: str, after: str) -> None:
    """Ask what every execution comes to that has not ended, and show it: counts, and what stands in the way."""
    client = Client.of(options)
    key = id_of(client, workflow)

    def fetch(size: int, cursor: str | None) -> dict[str, Any]:
        said = {"workflowId": key, "from": before, "to": after, "first": size, "after": cursor}
        found: dict[str, Any] = client.run("migration_preview", **said)["migrationPreview"]
        return found

    rows = collect(fetch, sys.maxsize)
    for row in rows:
        row["verdict"] = word(row["verdict"])
        for finding in row["findings"]:
            finding["obstacle"] = word(finding["obstacle"])
    counts = Counter(row["verdict"] for row in rows)
    if options.is_document:
        told = {name: counts[name] for name in _VERDICTS}
        print_document(options, {"total": len(rows), **told, "executions": rows})
        return
    if options.format != "name":
        said = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in _VERDICTS)
        print(f"{workflow} {before} -> {after}: {len(rows)} have not ended; {said}")
    for row in rows:
        row["words"] = " ".join(finding["message"] for finding in row["findings"]) or None
    show_rows(options, rows, _COLUMNS, name="executionId")
