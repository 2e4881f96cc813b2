"""`mc handlers list`: a table for people, and the events that were passed by."""

from __future__ import annotations

import pytest

from maestro_cli.client import Client

EVENT = {
    "eventId": "01.e.9",
    "kind": "execution_failed",
    "attempts": 15,
    "error": "it is full",
    "at": "2026-01-01T00:00:00Z",
}
BOARD = {
    "name": "warehouse.board",
    "stream": "execution",
    "shard": 0,
    "state": "FAILING",
    "lag": "PT12S",
    "attempts": 3,
    "error": "no space",
    "failedAt": "2026-01-01T00:00:00Z",
    "missedUntil": None,
    "passedBy": [EVENT],
}


@pytest.fixture(autouse=True)
def answer(monkeypatch):
    monkeypatch.setenv("MC_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(Client, "run", lambda self, name: {"eventHandlers": [BOARD]})


def test_the_table_says_who_fails_and_how_far_behind_it_is(cli):
    title, row = cli("handlers", "list").stdout.splitlines()

    assert title.split()[:4] == ["HANDLER", "STREAM", "SHARD", "STATE"]
    assert row.split() == [
        "warehouse.board", "execution", "0", "failing", "PT12S", "3", "1", "no", "space",
    ]  # fmt: skip


def test_what_was_passed_by_is_a_list_of_its_own(cli):
    assert cli("handlers", "list", "--passed-by", "-o", "name").stdout == "01.e.9\n"
    assert "it is full" in cli("handlers", "list", "--passed-by").stdout
