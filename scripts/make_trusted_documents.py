"""Writes the manifest of what our own clients send (`subgraph/document/`); with --check, compares it."""

from __future__ import annotations

import sys
from pathlib import Path

from subgraph.document.persisted import PRODUCT, manifest_of
from subgraph.http.graphiql import ready_queries

OPERATIONS = Path(__file__).resolve().parents[1] / "maestro_cli" / "operations"


def main() -> int:
    """Write or compare; 1 when the manifest is stale."""
    sent_by_mc = [path.read_text("utf-8") for path in sorted(OPERATIONS.glob("*.graphql"))]
    text = manifest_of([*sent_by_mc, *ready_queries()])
    if "--check" not in sys.argv:
        PRODUCT.write_text(text, "utf-8")
    elif not PRODUCT.exists() or PRODUCT.read_text("utf-8") != text:
        sys.stderr.write("subgraph/document/trusted_documents.json is stale: run `make schema`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
