"""`python -m subgraph.print_schema [--check]`: the schemas of graph and documents, written to or compared with files.

The committed files are what gateways compose, editors load and reviewers read; `--check` fails when the code says
something else.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime.definition import schema_text
from subgraph.schema.build import build_schema
from subgraph.schema.sdl import write_sdl

ROOT: Final = Path(__file__).resolve().parent.parent
TARGETS: Final[dict[str, Callable[[], str]]] = {
    "schema.graphql": lambda: write_sdl(build_schema()),
    "runtime/definition/workflow.schema.json": schema_text,
}


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with `--check` compare them; 1 when one is stale."""
    parser = argparse.ArgumentParser(prog="python -m subgraph.print_schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    stale = [
        name
        for name, make in TARGETS.items()
        if not _is_fresh(name, make(), check=options.check) and options.check
    ]
    for name in stale:
        sys.stderr.write(f"{name} is stale: run `make schema` and commit it.\n")
    return 1 if stale else 0


def _is_fresh(name: str, text: str, *, check: bool) -> bool:
    """Whether a file said what the code says; without `check` it does so afterwards."""
    target = ROOT / name
    found = target.read_text(encoding="utf-8") if target.exists() else ""
    if check:
        lines = difflib.unified_diff(
            found.splitlines(keepends=True), text.splitlines(keepends=True), name, "code"
        )
        sys.stdout.writelines(lines)
    elif found != text:
        target.write_text(text, encoding="utf-8")
    return found == text


if __name__ == "__main__":
    sys.exit(main())
