"""From one spelling of a document to the other, without loss: flat and manifest.

YAML is moved as text, so comments, quotes, anchors and layout stay; only keys of the language are
spelt anew and parts change their place. The result is read again and must have the same digest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

import yaml

from runtime.definition.canonical import canonical_digest
from runtime.definition.document import Document, is_manifest, read_document
from runtime.definition.finding import Findings, Path
from runtime.definition.language import API_VERSION, METADATA
from runtime.definition.layout import LayoutRefused, format_document
from runtime.definition.locator import Locator
from runtime.definition.shape import camel
from runtime.definition.source import Source, read_source
from runtime.definition.template import TooMuch
from runtime.definition.yaml_text import drive_yaml
from runtime.model.errors import Invalid
from runtime.model.values import Json
from runtime.model.workflow import DefinitionFormat

_ABOUT: Final = frozenset(METADATA.fields)
_HEAD: Final = {"apiVersion": API_VERSION, "kind": "Workflow"}
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./@-]*")
_WIDE: Final = 10**9


class Spelling(StrEnum):
    """The two ways to write a document."""

    FLAT = "flat"
    MANIFEST = "manifest"


def convert(source: Source, to: Spelling) -> str:
    """The document in the other spelling; raises Invalid when its form is wrong."""
    keys: list[tuple[Path, str]] = []
    document = _read(source, keys)
    value = source.value if isinstance(source.value, dict) else {}
    if is_manifest(value) is (to is Spelling.MANIFEST):
        return format_document(source)
    names = {path: _spelt(name, to) for path, name in keys if path[-1] != _spelt(name, to)}
    wanted = _arranged(_renamed(value, (), names), to)
    if source.format is DefinitionFormat.JSON:
        text = json.dumps(wanted, ensure_ascii=False, indent=2) + "\n"
    else:
        text = _moved(source, names, to)
        if not _says(text, wanted):
            # Flow mappings at the top, or anchors that would be used before they are set.
            text = _written(wanted, source.text)
    again = read_source(text, source.format)
    if not again.is_read or canonical_digest(_read(again).value) != canonical_digest(
        document.value
    ):
        raise LayoutRefused
    return text


def _read(source: Source, keys: list[tuple[Path, str]] | None = None) -> Document:
    findings = Findings([*source.findings.found])
    document = Document({})
    if source.is_read:
        try:
            document = read_document(source.value, findings, keys)
        except TooMuch as refused:
            findings.error("too-large", "this document holds too many expressions", refused.path)
    if findings.has_errors:
        source.locate(findings.found)
        raise Invalid([one.as_problem() for one in findings.found])
    return document


def _spelt(name: str, to: Spelling) -> str:
    """A key in the spelling that is asked for."""
    name = {"steps": "tasks"}.get(name, name) if to is Spelling.MANIFEST else name
    name = {"tasks": "steps"}.get(name, name) if to is Spelling.FLAT else name
    return camel(name) if to is Spelling.MANIFEST else name


def _renamed(value: Json, path: Path, names: dict[Path, str]) -> Any:
    if isinstance(value, dict):
        return {
            names.get((*path, key), key): _renamed(one, (*path, key), names)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_renamed(one, (*path, index), names) for index, one in enumerate(value)]
    return value


def _arranged(value: dict[str, Json], to: Spelling) -> dict[str, Json]:
    """The parts of a document where the spelling has them."""
    if to is Spelling.FLAT:
        inner = [value.get(key) for key in ("metadata", "spec")]
        return {key: one for part in inner if isinstance(part, dict) for key, one in part.items()}
    about: dict[str, Json] = {key: one for key, one in value.items() if _is_about(key)}
    spec: dict[str, Json] = {key: one for key, one in value.items() if key not in about}
    return {**_HEAD, "metadata": about, "spec": spec}


def _is_about(key: str) -> bool:
    return key in _ABOUT or any(camel(one) == key for one in _ABOUT)


def _says(text: str, wanted: Json) -> bool:
    again = read_source(text, DefinitionFormat.YAML)
    return again.is_read and json.dumps(again.value) == json.dumps(wanted)


# --- as text -------------------------------------------------------------------------------------


def _moved(source: Source, names: dict[Path, str], to: Spelling) -> str:
    """The text with its keys spelt anew and its parts moved."""
    text = format_document(_respelt(source, names))
    head, parts = _parts(text.split("\n"))
    if to is Spelling.MANIFEST:
        about = [line for key, lines in parts if _is_about(key) for line in lines]
        spec = [line for key, lines in parts if not _is_about(key) for line in lines]
        start = [f"{key}: {value}" for key, value in _HEAD.items()]
        out = [*head, *start, "metadata:", *_shifted(about, 2), "spec:", *_shifted(spec, 2)]
    else:
        out = head
        for key, lines in parts:
            out += _opened(lines) if key in {"metadata", "spec"} else _comments(lines)
    return "\n".join(out).strip("\n") + "\n"


def _respelt(source: Source, names: dict[Path, str]) -> Source:
    locator = Locator(names)
    drive_yaml(source.text, locator)
    edits = []
    for path, name in names.items():
        place = locator.place(path, on_key=True)
        if place is not None:
            edits.append((place[0].start_mark.index, place[1].end_mark.index, name))
    text = source.text
    for start, end, name in sorted(edits, reverse=True):
        text = text[:start] + name + text[end:]
    return read_source(text, DefinitionFormat.YAML)


def _parts(lines: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """What stands before the first key, and each key of the top with its lines and those above it."""
    parts: list[tuple[str, list[str]]] = []
    above: list[str] = []
    head: list[str] = []
    for line in lines:
        key = re.match(r"""(?:'([^']*)'|"([^"]*)"|([^\s#'"{\[][^:#]*)):(?:\s|$)""", line)
        if key is not None:
            if not parts:  # Comments at the top belong to the document.
                head, above = above, []
            parts.append(
                (next(one for one in key.groups() if one is not None).strip(), [*above, line])
            )
            above = []
        elif parts and line and not line.startswith("#"):
            parts[-1][1].extend([*above, line])
            above = []
        else:
            above.append(line)
    return head, [*parts, ("", above)] if any(above) else parts


def _shifted(lines: Iterable[str], columns: int) -> list[str]:
    return [" " * columns + line if line.strip() else line for line in lines]


def _opened(lines: list[str]) -> list[str]:
    """What stands below `metadata:` or `spec:`, one level further out; comments beside it stay."""
    at = next(index for index, line in enumerate(lines) if line[:1] not in {"#", ""})
    beside = lines[at].partition("#")
    note = [f"#{beside[2]}"] if beside[1] else []
    return [
        *lines[:at],
        *note,
        *(line[2:] if line[:2] == "  " else line for line in lines[at + 1 :]),
    ]


def _comments(lines: list[str]) -> list[str]:
    """The comments of a part that the other spelling does not have."""
    out = []
    for line in lines:
        note = re.search(r"(?:^|\s)#.*", line)
        out += [note[0].strip()] if note else []
    return out


# --- written anew --------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Quotes what is no plain word: PyYAML writes YAML 1.1, and we read 1.2."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - nothing is shared in JSON
        """Values are written out."""
        return True


def _represent(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


def _written(value: Json, text: str) -> str:
    """The value as YAML, below all comments of the text that it came from."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": _WIDE}
    body: str = yaml.dump(value, Dumper=_Dumper, **options)
    notes: list[str] = []
    end = 0
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        gap = text[end : max(end, token.start_mark.index)]
        notes += re.findall(r"#.*", gap)
        end = max(end, token.end_mark.index)
    return "\n".join([*notes, ""]) * bool(notes) + body
