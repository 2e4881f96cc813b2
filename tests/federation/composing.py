"""Composes two subgraphs, the engine's and another, with the libraries of scripts/compose."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "compose"
NODE = shutil.which("node")
IS_INSTALLED = (SCRIPT / "node_modules" / "@apollo" / "composition").is_dir()


def node_version() -> int:
    """The first number of the version of Node.js; 0 where there is none."""
    if NODE is None:
        return 0
    told = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", told)
    return int(found[1]) if found else 0


def compose(supergraph: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Compose what a file in rover's format names."""
    return subprocess.run(
        [str(NODE), "compose.mjs", str(supergraph), *more],
        cwd=SCRIPT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def supergraph(
    folder: Path,
    other: str,
    name: str = "orders",
    *,
    engine: str = "http://127.0.0.1:8000/graphql",
    url: str = "http://127.0.0.1:9000/graphql",
) -> Path:
    """A file in rover's format for the engine and another subgraph."""
    (folder / "other.graphql").write_text(other, encoding="utf-8")
    path = folder / "supergraph.yaml"
    path.write_text(
        f"""
federation_version: "=2.9.3"
subgraphs:
  maestro: {{routing_url: "{engine}", schema: {{file: "{ROOT}/schema.graphql"}}}}
  {name}: {{routing_url: "{url}", schema: {{file: ./other.graphql}}}}
""",
        encoding="utf-8",
    )
    return path
