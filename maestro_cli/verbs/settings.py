"""`mc settings show` and `set`: limits, weight and retention of a tenant and of its workflows."""

from __future__ import annotations

from typing import Any, Final

import click

from maestro_cli.client import Client, check_payload
from maestro_cli.groups import VerbGroup
from maestro_cli.options import Options
from maestro_cli.output import show_fields, show_one

_NAMES: Final = ("max-running", "max-queued", "dispatch-weight", "retention-days")


@click.group(cls=VerbGroup)
def settings() -> None:
    """What an operator has set for the tenant and its workflows."""


@settings.command()
@click.option("--workflow", metavar="ID", help="Of this workflow instead of the tenant.")
@click.pass_obj
def show(options: Options, workflow: str | None) -> None:
    """Show what is set."""
    found = Client.of(options).run("get_tenant_settings", workflowId=workflow)
    _show(options, found["tenantSettings"])


@settings.command("set")
@click.option("--workflow", metavar="ID", help="Of this workflow instead of the tenant.")
@click.option("--max-running", type=int, metavar="N", help="How many executions may run at once.")
@click.option(
    "--max-queued", type=int, metavar="N", help="How many may wait before more are refused."
)
@click.option(
    "--dispatch-weight", type=int, metavar="N", help="How many it has in a round of tenants."
)
@click.option("--retention-days", type=int, metavar="N", help="How long executions are kept.")
@click.option(
    "--unset", multiple=True, type=click.Choice(_NAMES), help="Take one away; may be repeated."
)
@click.option("--reason", metavar="TEXT", help="Why; stands on the event.")
@click.pass_obj
def set_(
    options: Options,
    *,
    workflow: str | None,
    max_running: int | None,
    max_queued: int | None,
    dispatch_weight: int | None,
    retention_days: int | None,
    unset: tuple[str, ...],
    reason: str | None,
) -> None:
    """Set some, take others away; needs the scope `settings:write`, which no role gives."""
    said = {
        "workflowId": workflow,
        "maxRunning": max_running,
        "maxQueued": max_queued,
        "dispatchWeight": dispatch_weight,
        "retentionDays": retention_days,
        "unset": [name.replace("-", "_").upper() for name in unset] or None,
        "reason": reason,
    }
    payload = Client.of(options).run("update_tenant_settings", input=said)["updateTenantSettings"]
    check_payload(payload)
    _show(options, payload["settings"])


def _show(options: Options, found: dict[str, Any]) -> None:
    said = {name: "-" if value is None else value for name, value in found.items()}
    said["workflowId"] = found["workflowId"]  # None for the tenant's own, which is left out.
    show_one(options, found, lambda: show_fields(said), name="maxRunning")
