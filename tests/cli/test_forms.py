"""A form at the terminal: what is said becomes what its schema means, and nothing in it drives the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click
import pytest

from maestro_cli.errors import CliError
from maestro_cli.forms import fill_in

HOSTILE = "yes\x1b[2J\x9b31m"


class Terminal:
    """Says one word after another, and keeps what was shown before each."""

    def __init__(self, *words: str) -> None:
        self.words = [*words]
        self.shown: list[str] = []

    def isatty(self) -> bool:
        return True

    def ask(self, prompt: str = "", **_: Any) -> str:
        self.shown.append(prompt)
        return self.words.pop(0)


def filled(monkeypatch: pytest.MonkeyPatch, task: dict[str, Any], *words: str) -> Any:
    """What came of it, and all that was shown."""
    terminal = Terminal(*words)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(click.termui, "visible_prompt_func", terminal.ask)
    written: list[str] = []
    monkeypatch.setattr(click.termui, "echo", lambda text="", **_: written.append(str(text)))
    found = fill_in({"title": "Pay?", "outcomes": ["approved", "rejected"], **task}, None)
    assert terminal.words == []
    return found, "".join(written + terminal.shown)


def form(*needed: str, **properties: Any) -> dict[str, Any]:
    return {"form": {"type": "object", "required": [*needed], "properties": properties}}


@pytest.mark.parametrize(
    ("kinds", "words", "value"),
    [
        (["integer", "null"], ["7"], {"a": 7}),
        (["integer", "null"], ["many", "7"], {"a": 7}),
        (["string", "null"], ["7"], {"a": "7"}),
        (["string", "integer"], ["7"], {"a": 7}),
        (["string", "integer"], ["many"], {"a": "many"}),
        (["integer", "null"], [""], {"a": None}),
        (["integer", "null"], ["null"], {"a": None}),
    ],
)
def test_a_field_of_several_types_is_read_as_one_of_them(monkeypatch, kinds, words, value):
    found, _ = filled(monkeypatch, form("a", a={"type": kinds}), "approved", *words)

    assert found == ("approved", value)


def test_what_need_not_be_said_is_left_out(monkeypatch):
    found, _ = filled(monkeypatch, form(a={"type": ["integer", "null"]}), "approved", "")

    assert found == ("approved", {})


def test_outcomes_and_defaults_are_spelled_and_mean_what_they_are(monkeypatch):
    task: dict[str, Any] = {"outcomes": [HOSTILE, "no"], **form(a={"type": "string", "default": HOSTILE})}  # fmt: skip

    found, shown = filled(monkeypatch, task, "yes\\x1b[2J\\x9b31m", "")

    assert found == (HOSTILE, {"a": HOSTILE})
    assert "yes\\x1b[2J\\x9b31m" in shown
    assert shown.isprintable()


def test_outcomes_that_look_alike_are_not_asked_for(monkeypatch):
    with pytest.raises(CliError, match="look alike"):
        filled(monkeypatch, {"outcomes": ["a\x1b", "a\\x1b"], "form": None})
