"""Composition: two independent libraries make a supergraph of what is committed, and refuse what they must."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from subgraph.schema.sdl import write_sdl
from tests.federation.composing import IS_INSTALLED, NODE, ROOT, compose, supergraph
from tests.federation.directory import SCHEMA

pytestmark = [
    pytest.mark.node,
    pytest.mark.skipif(NODE is None, reason="composition: node not found"),
    pytest.mark.skipif(
        not IS_INSTALLED,
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


def test_the_committed_supergraph_composes() -> None:
    done = compose(ROOT / "supergraph.yaml")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("composed 1 subgraph(s)") == 2


def test_another_subgraph_can_extend_an_execution(tmp_path: Path) -> None:
    done = compose(supergraph(tmp_path, OTHER))

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("composed 2 subgraph(s)") == 2


@pytest.mark.parametrize("more", [(), ("--without-access",)])
def test_the_directory_composes_with_or_without_who_may_use_what(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    made = tmp_path / "supergraph.graphql"

    done = compose(supergraph(tmp_path, write_sdl(SCHEMA)), str(made), *more)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("composed 2 subgraph(s)") == 2
    text = made.read_text("utf-8")
    assert ("@requiresScopes" in text, "@authenticated" in text) == (not more, not more)


def test_a_type_that_contradicts_ours_is_refused_by_both(tmp_path: Path) -> None:
    done = compose(
        supergraph(tmp_path, OTHER.replace("hasNextPage: Boolean!", "hasNextPage: [Int!]!"))
    )

    assert done.returncode == 1
    assert "@apollo/composition: FIELD_TYPE_MISMATCH" in done.stderr
    assert "@theguild/federation-composition: FIELD_TYPE_MISMATCH" in done.stderr


@pytest.mark.parametrize(("code", "said"), [(0, "rover: composed supergraph.yaml"), (1, "")])
def test_rover_composes_too_where_it_is_on_the_path(tmp_path: Path, code: int, said: str) -> None:
    asked = tmp_path / "asked"
    rover = tmp_path / "rover"
    rover.write_text(f'#!/bin/sh\necho "$@" > {asked}\nexit {code}\n')
    rover.chmod(0o755)

    done = subprocess.run(
        [str(shutil.which("sh")), str(ROOT / "scripts" / "compose.sh")],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert said in done.stdout
    assert asked.read_text().startswith("supergraph compose --elv2-license accept --config ")


CONTRACT = """
import { readFileSync } from "node:fs";
import { composeSchemaContract } from "@theguild/federation-composition";
import { parse } from "graphql";
const typeDefs = parse(readFileSync("../../schema.graphql", "utf8"));
const filter = { include: new Set(), exclude: new Set(["operator", "author"]) };
const { errors = [], publicSdl } = composeSchemaContract([{ name: "maestro", url: "http://x", typeDefs }], filter, true);
console.log(errors.map((error) => error.message).join() || publicSdl);
"""


def test_a_contract_leaves_out_what_is_for_operators_and_authors() -> None:
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", CONTRACT],
        cwd=ROOT / "scripts" / "compose",
        capture_output=True,
        text=True,
        check=True,
    )

    assert "enqueueExecution(" in done.stdout
    for name in ("deadLetters(", "redriveDeadLetters(", "publishWorkflow(", "CreateWorkflowInput"):
        assert name not in done.stdout


def test_a_version_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    path = supergraph(tmp_path, OTHER)
    path.write_text(path.read_text().replace("=2.9.3", "2"), encoding="utf-8")

    done = compose(path)

    assert done.returncode == 1
    assert "must pin a release" in done.stderr
