"""What users hand over: definition files, and the input of an execution from `-f` and `-i key=value`."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from maestro_cli.errors import CliError, Place, usage

_SUFFIXES: Final = {".yaml": "YAML", ".yml": "YAML", ".json": "JSON"}
_STDIN: Final = "-"
_SHOWN_DIGITS: Final = 20


def looks_like_file(text: str) -> bool:
    """Whether an argument means a definition file rather than a workflow's name."""
    path = Path(text)
    return path.suffix.lower() in _SUFFIXES or "/" in text or text == _STDIN


def read_definition(file: str) -> tuple[str, str]:
    """A definition file's text, and the graph's word for its format."""
    text = _read(file)
    suffix = Path(file).suffix.lower()
    guess = "JSON" if text.lstrip().startswith("{") else "YAML"
    return text, _SUFFIXES.get(suffix, guess)


def read_document(file: str) -> tuple[str | bytes, str]:
    """As `read_definition`, but what is no text is left to the validation, which has a finding for it."""
    try:
        return read_definition(file)
    except CliError as error:
        if file == _STDIN or not isinstance(error.__cause__, UnicodeDecodeError):
            raise
    return Path(file).read_bytes(), _SUFFIXES.get(Path(file).suffix.lower(), "YAML")


def write_whole(file: str, text: str) -> None:
    """Replace a file's text; whatever happens in between, it is the old one or the new one."""
    path = Path(file).resolve()  # A link stays one.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        shutil.copymode(path, fresh)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CliError(f"{file} can't be written: {error.strerror}.") from error


def read_input(file: str | None, pairs: Sequence[str]) -> Any:
    """The input of an execution: the file's JSON or YAML, with keys set by `key=value` or a JSON object; or None."""
    value = _parse(file, _read(file)) if file else None
    if not pairs:
        return value
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise usage(f"{file} holds no object, so `-i key=value` can't set a key in it.")
    for pair in pairs:
        if pair.lstrip().startswith("{"):
            value |= parse_json(pair, "-i")
            continue
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise usage(f"`-i {pair}` is neither key=value nor a JSON object.")
        try:
            value[key] = _value(text)
        except _TooLarge as error:
            raise usage(f"`-i {key}=...`: {error}.") from None
    return value


def parse_json(text: str, flag: str) -> dict[str, Any]:
    """A JSON object given on the command line, or in a file named by `@file`."""
    value = parse_value(text, flag)
    if not isinstance(value, dict):
        raise usage(f"{flag} must be a JSON object.")
    return value


def parse_value(text: str, flag: str) -> Any:
    """Any JSON given on the command line, or in a file named by `@file`."""
    try:
        return _json(read_text(text))
    except ValueError as error:
        raise usage(f"{flag} is not JSON: {error}.") from error


def read_json_file(file: str) -> Any:
    """Any JSON in a file; raises CliError with its place."""
    return _parse_json(file, _read(file))


def read_text(argument: str) -> str:
    """An argument's text, or the content of the file that `@file` names."""
    return _read(argument[1:]) if argument.startswith("@") else argument


def _value(text: str) -> Any:
    """`3`, `true`, `["a"]` are what JSON says; anything else is a string. Raises _TooLarge."""
    try:
        return _json(text)
    except _TooLarge:
        raise
    except ValueError:
        return text


def _json(text: str) -> Any:
    """What JSON says; raises ValueError, also for what only Python takes for JSON."""
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_decimal, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


class _TooLarge(ValueError):
    """A number that no server reads."""

    def __init__(self, text: str) -> None:
        shown = text if len(text) <= _SHOWN_DIGITS else f"{text[:_SHOWN_DIGITS]}..."
        super().__init__(
            f"the number {shown} is larger than any that can be held: write it as a string"
        )


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


def _decimal(text: str) -> float:
    """Python reads what is too large as infinity, which is no JSON."""
    number = float(text)
    if math.isinf(number):
        raise _TooLarge(text)
    return number


def _whole(text: str) -> int:
    """Whole numbers that a server reads, and then says of whether it can store them."""
    _decimal(text)
    return int(text)


def _read(file: str) -> str:
    try:
        if file == _STDIN:
            return sys.stdin.read()
        return Path(file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CliError(f"There is no file {file}.", code="USAGE") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(f"{file} can't be read: {reason}.", code="USAGE") from error


def _parse(file: str, text: str) -> Any:
    if Path(file).suffix.lower() not in {".yaml", ".yml"}:
        return _parse_json(file, text)
    from runtime.definition.composer import Composer, Refused
    from runtime.definition.yaml_text import drive_yaml, yaml_span

    composer = Composer()
    try:
        drive_yaml(text, composer)
    except Refused as refused:
        raise _no_yaml(file, refused.message, yaml_span(refused.mark, refused.mark)) from None
    for one in composer.complaints:
        raise _no_yaml(file, one.message, yaml_span(one.mark, one.mark))
    return composer.value


def _parse_json(file: str, text: str) -> Any:
    try:
        return _json(text)
    except ValueError as error:
        place, reason = Place(file), str(error)
        if isinstance(error, json.JSONDecodeError):
            place, reason = Place(file, error.lineno, error.colno), error.msg
        raise CliError(
            f"{file} is not JSON: {reason}.", code="VALIDATION_FAILED", place=place
        ) from error


def _no_yaml(file: str, reason: str, span: Any) -> CliError:
    return CliError(
        f"{file} can't be read as YAML: {reason}.",
        code="VALIDATION_FAILED",
        place=Place(file, span.line, span.column, span.end_line, span.end_column),
    )
