"""The compiled tree: which modules it is made of, that it is what runs when it is meant, and that it appears whole."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from scripts import compiled

ENDS = tuple(EXTENSION_SUFFIXES)


def test_each_module_that_is_compiled_is_there_once():
    listed = compiled.modules()

    assert [name for name in listed if not (compiled.ROOT / compiled.source(name)).is_file()] == []
    assert listed == sorted(set(listed))
    assert "runtime.engine.advance" in listed


@pytest.mark.parametrize("name", compiled.modules())
def test_what_runs_is_what_is_meant(name: str, pytestconfig: pytest.Config):
    place = Path(str(importlib.import_module(name).__file__))

    if pytestconfig.getoption("compiled"):
        assert place.name.endswith(ENDS)
        assert place.is_relative_to(compiled.TREE)
    else:
        assert place == compiled.ROOT / compiled.source(name)


def test_what_tests_start_runs_what_is_meant_too(tmp_path: Path, pytestconfig: pytest.Config):
    """`mc serve`, `mc worker` and `mc scheduler` of tests/cli are started like this."""
    program = (
        "import maestro_cli, runtime.worker.run as run; print(maestro_cli.__file__, run.__file__)"
    )

    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout

    root = compiled.TREE if pytestconfig.getoption("compiled") else compiled.ROOT
    assert [Path(place).is_relative_to(compiled.TREE) for place in said.split()] == [
        root == compiled.TREE
    ] * 2
    assert said.split()[1].endswith(ENDS) is pytestconfig.getoption("compiled")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A product of a few lines, and a compiler that leaves one file and says how often it was asked."""
    asked = []

    def compile_in(tree: Path) -> bool:
        asked.append(tree)
        (tree / "runtime" / f"core{ENDS[0]}").write_text(f"build {len(asked)}", "ascii")
        return (tree / "runtime" / "core.py").read_text("utf-8") != "broken"

    for package in compiled.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "core.py").write_text("x = 1\n", "utf-8")
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "runtime" / "sql").mkdir()
    (tmp_path / "runtime" / "sql" / "a.sql").write_text("select 1", "utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.maestro-composer.compiled]\nmodules = ["runtime.core"]\n', "utf-8"
    )
    monkeypatch.setattr(compiled, "ROOT", tmp_path)
    monkeypatch.setattr(compiled, "TREE", tmp_path / "build" / "compiled")
    monkeypatch.setattr(compiled, "compile_in", compile_in)
    return tmp_path


def built(checkout: Path) -> str:
    return (checkout / "build" / "compiled" / "runtime" / f"core{ENDS[0]}").read_text("ascii")


def test_the_tree_has_the_packages_and_the_sources_stay_as_they_were(checkout: Path):
    assert compiled.main() == 0

    assert built(checkout) == "build 1"
    assert (compiled.TREE / "runtime" / "core.py").read_text("utf-8") == "x = 1\n"
    assert (compiled.TREE / "runtime" / "sql" / "a.sql").is_file()
    assert compiled.extensions(checkout) == []


def test_what_has_not_changed_is_not_compiled_again(checkout: Path):
    compiled.main()
    (checkout / "runtime" / "sql" / "a.sql").write_text("select 2", "utf-8")
    compiled.main()

    assert built(checkout) == "build 1"
    assert (compiled.TREE / "runtime" / "sql" / "a.sql").read_text("utf-8") == "select 2"


# Types of a module that is not compiled itself decide what the others are compiled to.
@pytest.mark.parametrize("changed", ["runtime/core.py", "subgraph/core.py"])
def test_what_has_changed_is_compiled_again(checkout: Path, changed: str):
    compiled.main()
    (checkout / changed).write_text("x = 2\n", "utf-8")
    compiled.main()

    assert built(checkout) == "build 2"


def test_a_build_that_fails_leaves_the_tree_before_it(
    checkout: Path, capsys: pytest.CaptureFixture[str]
):
    compiled.main()
    (checkout / "runtime" / "core.py").write_text("broken", "utf-8")

    assert compiled.main() == 1
    assert "python3-dev" in capsys.readouterr().err
    assert built(checkout) == "build 1"
    assert (compiled.TREE / "runtime" / "core.py").read_text("utf-8") == "x = 1\n"


def test_no_list_is_no_tree(checkout: Path, capsys: pytest.CaptureFixture[str]):
    (checkout / "pyproject.toml").write_text(
        "[tool.maestro-composer.compiled]\nmodules = []\n", "utf-8"
    )

    assert compiled.main() == 1
    assert "names no module" in capsys.readouterr().err


def test_the_command_of_the_tree_runs_the_tree_from_whatever_folder(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled.main()
    package = compiled.TREE / "maestro_cli"
    (package / "__main__.py").write_text(
        "import sys, maestro_cli.core; print(maestro_cli.core.__file__, *sys.argv[1:])", "utf-8"
    )
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)

    # From a checkout, whose own packages would otherwise come first.
    said = subprocess.run(
        [compiled.TREE / "bin" / "mc", "worker", "a b"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == f"{package / 'core.py'} worker a b\n"
    assert sys.executable in (compiled.TREE / "bin" / "mc").read_text("utf-8")
