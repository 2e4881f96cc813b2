"""`mc doctor`: what this machine has, what the services say, and what to do about each thing that is not right."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any, Final

import click

from maestro_cli.errors import FAILED
from maestro_cli.groups import Verb
from maestro_cli.options import Options
from maestro_cli.output import print_documents

_GLYPHS: Final = {"ok": "✓", "warning": "!", "failed": "✗", "skipped": "-"}


@click.command(cls=Verb)
@click.pass_obj
def doctor(options: Options) -> int:
    """Check Python, binaries, folder, port, PostgreSQL, Redis, schema, server, clock and token."""
    from maestro_cli.local.checks import all_checks

    checks = [asdict(check) for check in all_checks(options)]
    if options.is_document:
        print_documents(options, checks)
    elif options.format == "name":
        print("\n".join(check["name"] for check in checks))
    else:
        for check in checks:
            _show(check)
    return FAILED if any(check["status"] == "failed" for check in checks) else 0


def _show(check: dict[str, Any]) -> None:
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    glyph = _GLYPHS[check["status"]] if utf8 else check["status"]
    print(f"{glyph} {check['name']:<19} {check['detail']}")
    if check["hint"] and check["status"] in {"failed", "warning"}:
        print(f"  hint: {check['hint']}")
