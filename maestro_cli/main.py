"""The entry point of `mc`: a table of verbs, one place where failures become text and codes. Imports click only."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from maestro_cli.errors import INTERRUPTED, USAGE, CliError, from_model, render, usage
from maestro_cli.groups import Root, VerbEntry
from maestro_cli.options import Options, terminal_width

_V: Final = "maestro_cli.verbs"
_WIDEST: Final = 100
_JSON: Final = frozenset({"json", "jsonl"})
# A command that reads 10,000 steps makes a million objects that live until its end: at Python's own 700 they were
# looked through 400 times, an eighth of the command. Processes that stay go by the clock (maestro_cli.local.garbage).
_LOOK_AT_OBJECTS: Final = 100_000

SECTIONS: Final[dict[str, tuple[VerbEntry, ...]]] = {
    "Run the engine": (
        VerbEntry(
            "dev", f"{_V}.dev:dev", "Everything in one process, with its own PostgreSQL and Redis."
        ),
        VerbEntry("serve", f"{_V}.processes:serve", "The API alone."),
        VerbEntry("worker", f"{_V}.processes:worker", "A worker alone: runs steps."),
        VerbEntry(
            "scheduler", f"{_V}.processes:scheduler", "The scheduler alone: sweeps and keeps house."
        ),
        VerbEntry("migrate", f"{_V}.migrate:migrate", "Bring the database's schema up to date."),
        VerbEntry("doctor", f"{_V}.doctor:doctor", "Check this machine and the services."),
    ),
    "Write workflows": (
        VerbEntry("validate", f"{_V}.validate:validate", "Check definition files, offline."),
        VerbEntry("fmt", f"{_V}.fmt:fmt", "Lay out definition files evenly, offline."),
        VerbEntry("convert", f"{_V}.fmt:convert", "Spell a definition the other way, offline."),
        VerbEntry(
            "import", f"{_V}.import_:import_", "Turn a workflow of another system into ours."
        ),
        VerbEntry(
            "simulate",
            f"{_V}.simulate:simulate",
            "Show how an execution would go; nothing is called.",
        ),
        VerbEntry(
            "publish", f"{_V}.publish:publish", "Publish a file or a draft as an immutable version."
        ),
        VerbEntry("diff", f"{_V}.diff:diff", "What changed between two definitions or versions."),
        VerbEntry(
            "workflows",
            f"{_V}.workflows:workflows",
            "List workflows, show them, end versions of them.",
            ("wf",),
        ),
    ),
    "Run workflows": (
        VerbEntry(
            "execute",
            f"{_V}.execute:execute",
            "Start a workflow, by name or from a file.",
            ("run",),
        ),
        VerbEntry(
            "executions",
            f"{_V}.executions:executions",
            "List, show and watch executions; their logs.",
            ("ex",),
        ),
        VerbEntry("why", f"{_V}.why:why", "Say why the steps of an execution are not running."),
        VerbEntry(
            "replay", f"{_V}.replay:replay", "Prove that the record of an execution is consistent."
        ),
        VerbEntry("cancel", f"{_V}.change:cancel", "Cancel executions."),
        VerbEntry("pause", f"{_V}.change:pause", "Start nothing more until they are resumed."),
        VerbEntry("resume", f"{_V}.change:resume", "Let paused executions go on."),
        VerbEntry("signal", f"{_V}.change:signal", "Send a signal to a step that waits for it."),
        VerbEntry("retry", f"{_V}.change:retry", "Run failed executions again, from what failed."),
        VerbEntry(
            "rewind", f"{_V}.change:rewind", "Go back to a step of an execution that has ended."
        ),
        VerbEntry("tasks", f"{_V}.tasks:tasks", "See and answer what waits for people."),
        VerbEntry("bulk", f"{_V}.bulk:bulk", "Do one of these to all executions of a filter."),
        VerbEntry(
            "resolve", f"{_V}.resolve:resolve", "Say whether a call that is in doubt was made."
        ),
        VerbEntry(
            "deadletters",
            f"{_V}.deadletters:deadletters",
            "Judge executions that cost three workers.",
            ("dl",),
        ),
        VerbEntry(
            "breakers", f"{_V}.breakers:breakers", "See which targets are left alone for a while."
        ),
        VerbEntry("handlers", f"{_V}.handlers:handlers", "See how far event handlers are behind."),
        VerbEntry("settings", f"{_V}.settings:settings", "Show and set limits and retention."),
    ),
    "Tools": (
        VerbEntry("gql", f"{_V}.gql:gql", "Send a GraphQL operation."),
        VerbEntry("token", f"{_V}.token:token", "Make tokens of the development issuer."),
        VerbEntry(
            "completion", f"{_V}.completion:completion", "Print the shell's completion script."
        ),
        VerbEntry("version", f"{_V}.version:version", "Print the versions of client and server."),
    ),
}


def root() -> Root:
    """The command tree."""
    return Root(
        SECTIONS,
        name="mc",
        help="Maestro Composer: durable workflows as a GraphQL subgraph.",
        epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 invalid, 5 denied, 6 conflict, 7 not reachable, "
        "8 timed out, 9 cancelled, 130 interrupted.",
        context_settings={
            "help_option_names": ["-h", "--help"],
            "terminal_width": terminal_width(_WIDEST),
        },
    )


def main() -> None:
    """What the installed commands `mc` and `maestro` call."""
    _open_missing_streams()
    _buffer_stdout()
    gc.set_threshold(_LOOK_AT_OBJECTS, *gc.get_threshold()[1:])
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - importing pathlib takes 4 ms
    code = run(sys.argv[1:], program="mc" if name == "__main__.py" else name)
    # Everything is done and closed; without this Python looks through all that was imported once more: 7 ms.
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str], *, program: str = "mc") -> int:
    """Run one command line and give its exit code; all failures are shown here and nowhere else."""
    options, stdout = Options(), sys.stdout
    try:
        result: Any = root().main(
            list(arguments), prog_name=program, standalone_mode=False, obj=options
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away (`mc ... | head`); nothing is wrong, and nothing may be written any more.
        _forget_stdout()
        return 0
    except click.exceptions.NoArgsIsHelpError as bare:
        print(bare.format_message())
        return 0
    except SystemExit:
        # Click's way to say the same where it is the one to notice: it puts another stream in the place of this one.
        if sys.stdout is stdout:
            raise
        _forget_stdout()
        return 0
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place where a failure can become one line
        return _show(error, options, arguments)
    return result if isinstance(result, int) else 0


def _show(error: Exception, options: Options, arguments: Sequence[str]) -> int:
    failure = _failure(error) or _unwritable(error) or _unexpected(error)
    if options.verbose > 1:
        import traceback

        traceback.print_exception(error)
    as_json = options.is_document or _asks_for_json(arguments)
    print(render(failure, as_json=as_json, colored=options.is_colored(sys.stderr)), file=sys.stderr)
    return failure.exit_code


def _failure(error: Exception) -> CliError | None:
    if isinstance(error, CliError):
        return error
    if isinstance(error, click.NoSuchCommand | click.NoSuchOption):
        near = error.possibilities or ()
        guess = f"did you mean {' or '.join(near)}?" if near else _usage_hint(error)
        return usage(error.message, hint=guess)
    if isinstance(error, click.UsageError):
        return usage(error.format_message(), hint=_usage_hint(error))
    if isinstance(error, click.ClickException):
        return CliError(
            error.format_message(), code="USAGE" if error.exit_code == USAGE else "INTERNAL"
        )
    return from_model(error)


def _unwritable(error: Exception) -> CliError | None:
    """What was printed could not be written, e.g. because the disk is full."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _forget_stdout()
        reason = error.strerror if isinstance(error, OSError) else None
        return CliError(f"Standard output can't be written: {reason or error}.")
    return None


def _unexpected(error: Exception) -> CliError:
    text = " ".join(str(error).split())
    name = type(error).__name__
    return CliError(
        f"This should not happen: {name}{': ' if text else ''}{text}".rstrip(".") + ".",
        hint="run it again with -vv to see where",
    )


def _forget_stdout() -> None:
    """What is still buffered goes nowhere, so that Python's own last flush has nothing to complain of."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_missing_streams() -> None:
    """A caller may have closed them (`>&-`); what is written there is lost, as it asked."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole process


def _buffer_stdout() -> None:
    """What is printed goes out line by line under PYTHONUNBUFFERED too, not piece by piece.

    A buffer keeps what could not be written: that is how such a failure is told from all others.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        old = sys.stdout
        sys.stdout = open(  # noqa: SIM115 - for the whole process
            old.fileno(), "w", buffering=1, encoding=old.encoding, errors=old.errors, closefd=False
        )


def _usage_hint(error: click.UsageError) -> str | None:
    return f"see `{error.ctx.command_path} --help`" if error.ctx else None


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """A command line that could not be parsed may still have said how it wants its errors."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return any(
        (word in {"-o", "--output"} and value in _JSON)
        or word.removeprefix("-o").removeprefix("--output=") in _JSON - {word}
        for word, value in pairs
    )


if __name__ == "__main__":
    main()
