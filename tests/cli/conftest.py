"""Runs command lines in this process, and compares what they print with the files in `golden/`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maestro_cli.main import run
from tests.support.processes import Finished, Mc

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


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mc]:
    """One `mc dev` for all tests of a module; its `run` talks to it."""
    folder = tmp_path_factory.mktemp("dev")
    home = folder / "home"
    home.mkdir(mode=0o700)
    made = Mc(home=home, folder=folder)
    running = made.start("dev")
    asyncio.run(running.ready())
    yield made
    made.end_all()
