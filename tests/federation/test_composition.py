"""Composition: two independent libraries make a supergraph of what is committed, and refuse what they must."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "compose"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="composition: node not found"),
    pytest.mark.skipif(
        not (SCRIPT / "node_modules" / "@apollo" / "composition").is_dir(),
        reason="composition: npm ci --prefix scripts/compose was not run",
    ),
]

OTHER = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])
type Query { orders: [Order!]! }
type Order @key(fields: "id") { id: ID! execution: Execution pageInfo: PageInfo! }
type Execution @key(fields: "id") { id: ID! order: Order }
type PageInfo @shareable {
  hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String
}
"""


def compose(supergraph: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(NODE), "compose.mjs", str(supergraph)],
        cwd=SCRIPT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def supergraph(folder: Path, other: str) -> Path:
    (folder / "other.graphql").write_text(other, encoding="utf-8")
    path = folder / "supergraph.yaml"
    path.write_text(
        f"""
federation_version: "=2.9.3"
subgraphs:
  maestro: {{routing_url: "http://127.0.0.1:8000/graphql", schema: {{file: "{ROOT}/schema.graphql"}}}}
  orders: {{routing_url: "http://127.0.0.1:9000/graphql", schema: {{file: ./other.graphql}}}}
""",
        encoding="utf-8",
    )
    return path


def test_the_committed_supergraph_composes() -> None:
    done = compose(ROOT / "supergraph.yaml")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("composed 1 subgraph(s)") == 2


def test_another_subgraph_can_extend_an_execution(tmp_path: Path) -> None:
    done = compose(supergraph(tmp_path, OTHER))

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("composed 2 subgraph(s)") == 2


def test_a_type_that_contradicts_ours_is_refused_by_both(tmp_path: Path) -> None:
    done = compose(
        supergraph(tmp_path, OTHER.replace("hasNextPage: Boolean!", "hasNextPage: [Int!]!"))
    )

    assert done.returncode == 1
    assert "@apollo/composition: FIELD_TYPE_MISMATCH" in done.stderr
    assert "@theguild/federation-composition: FIELD_TYPE_MISMATCH" in done.stderr


def test_a_version_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    path = supergraph(tmp_path, OTHER)
    path.write_text(path.read_text().replace("=2.9.3", "2"), encoding="utf-8")

    done = compose(path)

    assert done.returncode == 1
    assert "must pin a release" in done.stderr
