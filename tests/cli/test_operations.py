"""Every operation that the CLI sends is one that the graph takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from maestro_cli.client import operation
from tests.support.processes import ROOT

OPERATIONS = sorted(path.stem for path in (ROOT / "maestro_cli" / "operations").glob("*.graphql"))


@pytest.fixture(scope="module")
def schema():
    return build_schema(
        (ROOT / "schema.graphql").read_text(encoding="utf-8"), assume_valid_sdl=True
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_fits_the_schema(schema, name):
    assert validate(schema, parse(operation(name))) == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_is_sent_by_some_verb(name):
    sources = [
        path.read_text(encoding="utf-8") for path in Path(ROOT / "maestro_cli").rglob("*.py")
    ]

    assert any(f'"{name}"' in source for source in sources)
