"""Guards the walls of the house: sizes, names, heads of modules, words, settings. Each failure says where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from runtime.settings import TABLE

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("maestro", "maestro_cli", "resolvers", "runtime", "subgraph")
ELSEWHERE = ("benchmarks", "examples", "scripts", "tests")
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80
VAGUE_CLASS = re.compile(r"(Manager|Helper|Utils?|Impl)$|^Base[A-Z]")
VAGUE_FILES = {"base", "common", "helper", "helpers", "misc", "util", "utils"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
LAZY_ROOM = "maestro_cli"
TYPING_ONLY_ROOM = "subgraph/types"
NOT_A_NOUN = re.compile(
    r"^(Query|Mutation|Subscription|Node|PageInfo|_.*|"
    r".*(Connection|Edge|Entry|Payload|Input|Error|Problem))$"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if "node_modules" not in path.parts)


def text_files() -> list[Path]:
    suffixes = {".lua", ".py", ".sh", ".sql"}
    found = (path for folder in (*PRODUCT, *ELSEWHERE) for path in (ROOT / folder).rglob("*"))
    return sorted(p for p in found if p.suffix in suffixes and "node_modules" not in p.parts)


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def test_no_file_is_longer_than_a_reader_can_hold():
    lengths = {}
    for path in text_files():
        lines = path.read_text("utf-8").splitlines()
        if not (lines and "generated" in lines[0].lower()):
            lengths[place(path)] = len(lines)

    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES}

    assert too_long == {}


def test_no_function_is_longer_than_a_screen():
    too_long = {
        f"{place(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in python_files(*PRODUCT, *ELSEWHERE)
        for node in functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    }

    assert too_long == {}


def test_no_name_hides_what_a_thing_is_for():
    files = [place(path) for path in python_files(*PRODUCT) if path.stem in VAGUE_FILES]
    classes = [
        f"{place(path)}:{node.lineno} {node.name}"
        for path in python_files(*PRODUCT)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]

    assert files + classes == []


def test_nothing_is_left_for_later():
    left = [
        f"{place(path)}:{number} {line.strip()}"
        for path in text_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]

    assert left == []


def test_every_module_says_what_it_is_for():
    silent = [
        place(path)
        for path in python_files(*PRODUCT)
        if path.read_text("utf-8").strip() and not ast.get_docstring(tree(path))
    ]

    assert silent == []


def test_no_import_hides_inside_a_function():
    hidden = [
        f"{place(path)}:{inner.lineno}"
        for path in python_files(*PRODUCT)
        if not place(path).startswith(LAZY_ROOM)
        for node in functions(path)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]

    assert hidden == []


def test_typing_only_imports_close_the_graph_of_types_and_nothing_else():
    users = [
        place(path)
        for path in python_files(*PRODUCT)
        if "TYPE_CHECKING" in path.read_text("utf-8")
        and not place(path).startswith(TYPING_ONLY_ROOM)
    ]

    assert users == []


def test_every_setting_is_described_for_its_users():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    prose = "\n".join(page.read_text("utf-8") for page in pages if page.exists())

    undescribed = [name for name in TABLE if not re.search(rf"\b{name}\b", prose)]

    assert undescribed == []


def test_every_noun_of_the_schema_is_in_the_glossary():
    schema = (ROOT / "schema.graphql").read_text("utf-8")
    glossary = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    declared = re.findall(r"^(?:type|interface|union) (\w+)", schema, re.MULTILINE)
    words = set(re.findall(r"\*\*(\w+)\*\*", glossary))

    missing = sorted({name for name in declared if not NOT_A_NOUN.match(name)} - words)

    assert missing == []
