"""The verbs' table: help, typos, flags before and after the verb, and what a start may import."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest

from maestro_cli.main import SECTIONS, root

HEAVY = (
    "aiohttp",
    "asyncpg",
    "gql",
    "graphql",
    "json",
    "pathlib",
    "pydantic",
    "rich",
    "runtime",
    "sqlalchemy",
    "strawberry",
    "yaml",
)


def test_help_is_stable(cli, golden):
    golden("help.txt", cli("--help").stdout)


@pytest.mark.parametrize("verb", ["execute", "executions", "validate", "worker", "dev", "token"])
def test_help_of_a_verb_is_stable(cli, golden, verb):
    golden(f"help-{verb}.txt", cli(verb, "--help").stdout)


def every_command(command, context, path=()):
    """Each verb, and each verb below a noun, with what is typed to come to it."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from every_command(command.get_command(context, name), context, (*path, name))


def test_no_flag_means_two_things():
    commands = root()

    for path, command in every_command(commands, click.Context(commands)):
        options = [one for one in command.params if isinstance(one, click.Option)]
        flags = [flag for one in options for flag in (*one.opts, *one.secondary_opts)]
        assert sorted(flags) == sorted(set(flags)), path


def test_every_verb_of_the_table_is_a_command_with_a_summary_of_its_own():
    commands = root()
    context = click.Context(commands)

    for entry in (entry for entries in SECTIONS.values() for entry in entries):
        command = commands.get_command(context, entry.name)

        assert command is not None
        assert command.help


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["exexute"], ["completion", "bash"]],
    ids=["help", "typo", "completion"],
)
def test_a_start_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom maestro_cli.main import run\n"
        f"run({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.splitlines()[-1] == "[]"


def test_one_shot_verbs_import_neither_aiohttp_nor_gql(home):
    code = (
        "import sys\nfrom maestro_cli.main import run\n"
        "run(['executions', 'list', '--endpoint', 'http://127.0.0.1:9', '--token', 'x'])\n"
        "print([name for name in ('aiohttp', 'gql', 'graphql', 'rich', 'pydantic') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"MC_HOME": str(home)},
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [(["excute"], "execute"), (["ex", "lst"], "list"), (["execute", "--wacht", "x"], "--watch")],
)
def test_a_typo_names_the_nearest(cli, arguments, guess):
    done = cli(*arguments)

    assert done.code == 2
    assert done.stderr.startswith("error: No such ")
    assert "did you mean" in done.stderr
    assert guess in done.stderr


def test_usage_errors_are_json_when_json_is_asked_for(cli):
    done = cli("execute", "-o", "json", "--wacht", "x")

    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == "USAGE"
    assert json.loads(done.stderr)["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "json", "version"],
        ["version", "-o", "json"],
        ["-o", "yaml", "version", "--output=json"],
    ],
)
def test_global_flags_stand_before_or_after_the_verb(cli, arguments):
    assert json.loads(cli(*arguments).stdout)["server"] is None


def test_aliases_are_the_same_verbs(cli):
    assert (
        cli("run", "--help").stdout.replace("mc run", "mc execute")
        == cli("execute", "--help").stdout
    )
    assert cli("ex", "--help").code == 0


def test_an_unknown_variable_is_refused_with_the_nearest_one(cli, monkeypatch):
    monkeypatch.setenv("MC_DATABSE_URL", "postgresql://x")

    done = cli("executions", "list")

    assert done.code == 2
    assert "MC_DATABASE_URL" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_the_program_by_its_name(cli, shell):
    done = cli("completion", shell, program="maestro")

    assert done.code == 0
    assert "_MAESTRO_COMPLETE" in done.stdout


def test_one_script_completes_both_names(cli):
    done = cli("completion", "bash", program="mc")

    assert "_MC_COMPLETE=bash_complete" in done.stdout
    assert "_MAESTRO_COMPLETE=bash_complete" in done.stdout
    assert done.stdout.count("complete -o nosort -F") == 2


def test_completion_offers_verbs_by_their_beginning():
    done = subprocess.run(
        [sys.executable, "-m", "maestro_cli"],
        capture_output=True,
        text=True,
        check=False,
        env={"_MC_COMPLETE": "bash_complete", "COMP_WORDS": "mc ex", "COMP_CWORD": "1"},
    )

    assert done.stdout.split() == ["plain,execute", "plain,executions"]
