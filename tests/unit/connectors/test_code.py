"""The digest of a step's code: any file of its package counts, nothing else does, and sha256sum gives the same."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

import runtime
from runtime.connectors import code
from runtime.connectors.core_noop import Noop
from runtime.registry import import_one
from scripts import compiled

STEP = """
from maestro import step
@step(name="shop.pick", version="1.0.0", effect="pure")
def pick(number: int) -> int:
    "Pick."
    return number
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "shopcode"
    (folder / "steps").mkdir(parents=True)
    for name in ("__init__.py", "steps/__init__.py"):
        (folder / name).write_text("")
    (folder / "prices.py").write_text("PRICE = 1\n")
    (folder / "steps" / "pick.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)
    code.module_digest.cache_clear()
    yield folder
    for name in [one for one in sys.modules if one.startswith("shopcode")]:
        del sys.modules[name]
    code.module_digest.cache_clear()


def of_shop():
    code.module_digest.cache_clear()
    return code.code_digest(import_one("shopcode.steps.pick").pick)


def test_every_file_that_can_be_imported_counts_and_no_other(shop: Path):
    first = of_shop()
    (shop / "notes.txt").write_text("not code")
    assert of_shop() == first

    (shop / "prices.py").write_text("PRICE = 2\n")
    second = of_shop()
    (shop / "more.py").write_text("")

    assert len({first, second, of_shop()}) == 3


def test_anybody_can_work_it_out_again(shop: Path):
    command = "find . -name '*.py' | sed 's|^[.]/||' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    told = subprocess.run(
        ["/bin/sh", "-c", command], cwd=shop, capture_output=True, text=True, check=True
    )
    assert str(of_shop()) == "sha256:" + told.stdout.split()[0]


def test_a_lone_module_is_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lonestep.py").write_text(STEP)
    monkeypatch.syspath_prepend(tmp_path)
    found = code.code_digest(import_one("lonestep").pick)
    (tmp_path / "other.py").write_text("")
    code.module_digest.cache_clear()
    assert code.module_digest("lonestep") == found


def test_code_in_an_archive_has_a_digest_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = tmp_path / "steps.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("zippedstep.py", STEP)
    monkeypatch.syspath_prepend(archive)
    assert code.code_digest(import_one("zippedstep").pick) is not None


def of_sources(folder: Path) -> str:
    """The digest that a package of sources has, by the words of ADR-041."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    lines = [f"{sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    return "sha256:" + sha256("".join(lines).encode()).hexdigest()


def test_what_was_compiled_says_so_and_was_made_of_these_sources(pytestconfig: pytest.Config):
    """Files are what ran: extension modules, and the library in the package that holds the code of all of them."""
    folder = Path(str(runtime.__file__)).parent
    ours = of_sources(compiled.ROOT / "runtime")
    libraries = [path for path in compiled.extensions(folder.parent) if "__mypyc" in path.name]

    assert of_sources(folder) == ours
    assert [path.parent for path in libraries] == [folder] * pytestconfig.getoption("compiled")
    is_other = str(code.module_digest("runtime.connectors.core_noop")) != ours
    assert is_other is pytestconfig.getoption("compiled")


def test_ours_is_that_of_the_engine_and_what_has_no_file_has_none():
    assert code.code_digest(Noop()) == code.module_digest("runtime.connectors.core_noop")
    assert code.module_digest("no.such.module") is None
