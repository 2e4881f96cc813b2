"""Runs command lines in this process, and compares what they print with the files in `golden/`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from maestro_cli.main import run
from tests.support.processes import Finished

GOLDEN = Path(__file__).parent / "golden"

Run = Callable[..., Finished]


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: Path
) -> Run:
    """Runs `mc` with these arguments in an empty folder, without any server or profile."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MC_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "100")

    def runs(*arguments: str, program: str = "mc") -> Finished:
        code = run(arguments, program=program)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return runs


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with the file of that name; UPDATE_GOLDEN=1 writes it instead."""

    def compare(name: str, text: str) -> None:
        file = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8")

    return compare
