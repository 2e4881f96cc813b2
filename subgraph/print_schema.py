"""`python -m subgraph.print_schema [--check]`: the SDL of the graph, written to or compared with `schema.graphql`.

The committed file is what gateways compose and reviewers read; `--check` fails when the code says something else.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Final

from subgraph.schema.build import build_schema
from subgraph.schema.sdl import write_sdl

TARGET: Final = Path(__file__).resolve().parent.parent / "schema.graphql"


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or with `--check` compare it; 1 when it is stale."""
    parser = argparse.ArgumentParser(prog="python -m subgraph.print_schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    text = write_sdl(build_schema())
    if not options.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    found = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if found == text:
        return 0
    lines = difflib.unified_diff(
        found.splitlines(keepends=True), text.splitlines(keepends=True), "schema.graphql", "code"
    )
    sys.stdout.writelines(lines)
    sys.stderr.write("schema.graphql is stale: run `make schema` and commit it.\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
