"""Ids: one thing has one id, and what is no id names nothing."""

from __future__ import annotations

from uuid import UUID

import pytest

from resolvers.ids import (
    ExecutionId,
    VersionId,
    WorkflowId,
    execution_uuid,
    parse_id,
    version_uuid,
    workflow_uuid,
)
from runtime.model.ids import StepExecutionId

KEY = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


@pytest.mark.parametrize(
    "id",
    [
        WorkflowId(KEY),
        VersionId(KEY),
        ExecutionId(KEY),
        StepExecutionId(KEY, 3),
        StepExecutionId(KEY, 3, 7),
    ],
)
def test_an_id_reads_back(id: object) -> None:
    assert parse_id(str(id)) == id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "wf_",
        "wf_x",
        f"wfx_{KEY}",
        KEY.hex,
        f"{{{KEY}}}",
        f"urn:uuid:{KEY}",
        f"{KEY}.s",
        f"{KEY}.s.x",
        f"{KEY}.s.1.2.3",
        f"{KEY}.s.01",
        f"{KEY}.e.1",
        f"{KEY.hex}.s.1",
        "💥" * 36,
    ],
)
def test_what_is_no_id_names_nothing(text: str) -> None:
    assert parse_id(text) is None


def test_a_bare_uuid_is_enough_where_the_noun_is_clear() -> None:
    assert workflow_uuid(str(KEY)) == workflow_uuid(f"wf_{KEY}") == KEY
    assert version_uuid(str(KEY)) == version_uuid(f"wfv_{KEY}") == KEY


def test_an_id_of_another_noun_is_none_of_this_one() -> None:
    assert execution_uuid(f"wf_{KEY}") is None
    assert workflow_uuid(f"wfv_{KEY}") is None
