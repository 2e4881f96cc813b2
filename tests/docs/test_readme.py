"""The first page: its workflow runs, its GraphQL fits the schema, its commands exist, its step works, its paths are there."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import click
import pytest
from aiohttp import web
from graphql import build_schema, parse, validate

from maestro.testing import run_step
from maestro_cli.main import root
from tests.support.listening import listening
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


(HELLO,) = blocks("yaml")
(STEP,) = blocks("python")
COMMANDS = re.findall(r"^(mc [^#\n]+?)\s*(?:#.*)?$", "\n".join(blocks("sh")), re.MULTILINE)
COMMANDS += re.findall(r"`(mc [^`]+)`", PROSE)
TARGETS = re.findall(r"^make (\w+)$", "\n".join(blocks("sh")), re.MULTILINE)
TARGETS += re.findall(r"`make (\w+)`", PROSE)
PATHS = [path for path in re.findall(r"\]\(([^)#]+)\)", PROSE) if "://" not in path]
PATHS += [path for path in re.findall(r"`([\w./-]+/[\w./-]+)`", PROSE) if not path.startswith("/")]
OPERATIONS = [line for text in blocks("graphql") for line in text.strip().splitlines()]
MADE = {".mc/", ".venv/bin"}


@pytest.fixture
async def page():
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("q", ""))
        return web.Response(status=503 if len(asked) == 1 else 200, text="hello")

    async with listening(answer) as url:
        yield url, asked


async def test_the_first_workflow_is_published_and_runs(mc, page, tmp_path):
    url, asked = page
    (tmp_path / "hello.yaml").write_text(HELLO.replace("https://example.org", url))
    mc.environ["MC_EGRESS_ALLOW"] = "127.0.0.0/8"
    await mc.start("dev").ready()

    checked = await mc.run("validate", "hello.yaml")
    published = await mc.run("publish", "hello.yaml")
    done = await mc.run("execute", "hello", "-i", "who=you", "--wait", "-o", "json")
    watched = await mc.run("execute", "hello", "-i", "who=you", "--watch")

    assert [one.code for one in (checked, published, done, watched)] == [0, 0, 0, 0], watched
    assert json.loads(done.stdout)["output"] == {"text": "found you"}
    assert asked == ["you"] * 3
    assert "sha256:" in published.stdout + published.stderr


async def test_the_first_workflow_runs_with_no_server(mc, page, tmp_path):
    url, asked = page
    (tmp_path / "hello.yaml").write_text(HELLO.replace("https://example.org", url))

    done = await mc.run("execute", "hello.yaml", "-o", "json", MC_EGRESS_ALLOW="127.0.0.0/8")

    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["output"] == {"text": "found world"}
    assert asked == ["world", "world"]


def test_the_step_does_what_it_says():
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(STEP, "README.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page

    result = run_step(names["price"], {"weight_grams": 1_250})

    assert result.output == {"cents": 390 + 12 * 15}
    assert [(line.message, line.fields) for line in result.logs] == [("weighing", {"grams": 1250})]


@pytest.mark.parametrize("text", OPERATIONS)
def test_the_operations_fit_the_schema(text):
    sdl = (ROOT / "schema.graphql").read_text("utf-8")
    schema = build_schema(
        re.sub(r"extend schema @link\(.*?\]\)", "", sdl, flags=re.DOTALL), assume_valid_sdl=True
    )

    assert validate(schema, parse(text)) == []


@pytest.mark.parametrize("line", COMMANDS)
def test_verb_and_flags_exist(line):
    words = shlex.split(line)[1:]
    command: click.Command = root()
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    flags = {flag for one in (*command.params, *root().params) for flag in one.opts}

    assert {word for word in words if word.startswith("-")} <= flags


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(PATHS)))
def test_the_path_is_there(path):
    assert path in MADE or (ROOT / path).exists()


def test_the_page_has_what_these_tests_look_for():
    assert len(COMMANDS) >= 5
    assert len(OPERATIONS) == 2
    assert {"run", "test", "bench"} <= set(TARGETS)
