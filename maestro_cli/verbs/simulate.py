"""`mc simulate FILE|NAME[@VERSION]`: how an execution would go; a file is simulated offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from maestro_cli.documents import (
    looks_like_file,
    parse_value,
    read_definition,
    read_input,
    read_json_file,
)
from maestro_cli.errors import FAILED, usage
from maestro_cli.groups import Verb
from maestro_cli.options import Options, imports_option, see_current_folder
from maestro_cli.simulating import Asked, of_file, of_server, show

T = TypeVar("T")

_UNDOES: Final = "compensate"
_KINDS: Final = ("transient", "permanent", "throttled", "timeout")
_BAD_ENDS: Final = frozenset({"FAILED", "TIMED_OUT", "CANCELLED"})


@click.command(cls=Verb)
@click.argument("target", metavar="FILE|NAME[@VERSION]")
@click.option(
    "-i",
    "--input",
    "pairs",
    multiple=True,
    metavar="KEY=VALUE|JSON",
    help="Set one key of the input, or those of a JSON object. Repeatable.",
)
@click.option("-f", "--file", "input_file", metavar="FILE", help="The input: JSON or YAML.")
@click.option(
    "--mock",
    "mocks",
    multiple=True,
    metavar="STEP=JSON",
    help="What a step gives, or a signal that it waits for. Repeatable.",
)
@click.option(
    "--pin", "pins", multiple=True, metavar="STEP=FILE", help="The same, from a JSON file."
)
@click.option(
    "--fail",
    "fails",
    multiple=True,
    metavar="STEP[:N[:KIND]]",
    help="The first N attempts of a step fail, or all; transient, permanent, throttled or timeout.",
)
@click.option(
    "--takes", "durations", multiple=True, metavar="STEP=TIME", help="How long a step takes: 30s."
)
@click.option(
    "--costs", "costs", multiple=True, metavar="STEP=MONEY", help="What an attempt costs: 0.10 EUR."
)
@click.option(
    "--from",
    "from_execution",
    metavar="EXECUTION",
    help="Take outputs and durations from an execution (asks the server).",
)
@imports_option()
@click.option("--events", is_flag=True, help="Show every event too.")
@click.pass_obj
def simulate(options: Options, /, target: str, imports: tuple[str, ...], **flags: Any) -> int:
    """Show how an execution would go: order, branches, inputs, waits, time and cost. Nothing is called."""
    asked = _asked(flags)
    is_file = looks_like_file(target)
    if is_file and asked.from_execution is None:
        see_current_folder(imports)
        found = of_file(target, asked, imports)
    elif imports:
        raise usage("--import is for simulating a FILE in this process.")
    else:
        document = read_definition(target) if is_file else None
        found = of_server(options, target, asked, document)
    show(options, found, with_events=flags["events"])
    return FAILED if found["status"] in _BAD_ENDS else 0


def _asked(flags: dict[str, Any]) -> Asked:
    from runtime.model.values import Duration, Money

    mocks = {step: parse_value(text, f"--mock {step}") for step, text in _pairs(flags, "mocks")}
    for step, file in _pairs(flags, "pins"):
        mocks[step] = read_json_file(file)
    return Asked(
        input=read_input(flags["input_file"], flags["pairs"]),
        mocks=mocks,
        fails=[_failure(text) for text in flags["fails"]],
        durations={
            s: _read(f"--takes {s}", t, Duration.parse) for s, t in _pairs(flags, "durations")
        },
        costs={s: _read(f"--costs {s}", t, Money.parse) for s, t in _pairs(flags, "costs")},
        from_execution=flags["from_execution"],
    )


def _pairs(flags: dict[str, Any], name: str) -> Sequence[tuple[str, str]]:
    found = []
    for text in flags[name]:
        step, separator, value = text.partition("=")
        if not separator or not step:
            raise usage(f"`{text}` is not of the form STEP=VALUE.")
        found.append((step, value))
    return found


def _read(flag: str, text: str, parse: Callable[[str], T]) -> str:
    """The text, once it is known to mean something."""
    try:
        parse(text)
    except ValueError as error:
        raise usage(f"{flag}: {error}.") from error
    return text


def _failure(text: str) -> dict[str, Any]:
    step, *rest = text.split(":")
    if rest[:1] == [_UNDOES]:
        # What undoes a step is called like it, with this behind.
        step, rest = f"{step}:{_UNDOES}", rest[1:]
    count, kind = [*rest, "", ""][:2]
    wrong = len(rest) > 2 or not step or (count and not count.isdecimal())  # noqa: PLR2004
    if wrong or (kind and kind not in _KINDS) or count == "0":
        raise usage(
            f"`--fail {text}` is not of the form STEP[:N[:KIND]].",
            hint="like charge, charge:2 or charge:1:permanent",
        )
    return {
        "step": step,
        "attempts": int(count) if count else None,
        "kind": (kind or "transient").upper(),
    }
