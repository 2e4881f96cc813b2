"""Steps of the scenarios that are recorded, in a word each."""

from __future__ import annotations

from typing import Any


def echo(id: str, *needs: str, **more: Any) -> dict[str, Any]:
    given = more.pop("given", {"id": id})
    return {"id": id, "uses": "probe.echo@1", "with": given, "depends_on": list(needs), **more}


def flaky(id: str, failures: int, *needs: str, **more: Any) -> dict[str, Any]:
    given = {"marker": id, "failures": failures, **more.pop("given", {})}
    return {"id": id, "uses": "probe.flaky@1", "with": given, "depends_on": list(needs), **more}


def gate(id: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "uses": more.pop("uses", "probe.gate@1"),
        "with": {"marker": id, **more.pop("given", {})},
        "depends_on": list(needs),
        **more,
    }
