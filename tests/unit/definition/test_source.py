"""Reading: YAML and JSON become the same values, odd ones are named, hostile ones end quickly."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from runtime.definition.finding import Finding
from runtime.definition.source import read_source
from runtime.model.workflow import DefinitionFormat
from tests.support.effort import effort


def rules(source, format=None):
    return [one.rule for one in read_source(source, format).findings.found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("true", True), ("FALSE", False), ("~", None), ("null", None),
        ("12", 12), ("-3", -3), ("+4", 4), ("007", "007"), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.2.3", "1.2.3"), ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"), ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"), ("'12'", "12"),
        ("!!str 12", "12"), ("!!int '12'", 12), ("!!float 1", 1), ("! 12", "12"), ("|\n  a\n  b\n", "a\nb\n"), ("<<", "<<"), ("=", "="),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = read_source(f"a: {text}").value

    assert found == {"a": value}
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("a: 1\na: 2", "duplicate-key"), ("1: a", "key-not-text"), ("true: a", "key-not-text"),
        ("? [a]\n: b", "key-not-text"), ("? {a: b}\n: c", "key-not-text"), ("? &x [a]\n: *x", "key-not-text"),
        ("\ta: 1", "tab"), ("a:\n\t- b", "tab"), ("a: !Ref x", "yaml-tag"), ("a: !!binary eA==", "yaml-tag"),
        ("a: !!python/object:os.system x", "yaml-tag"), ("a: !!int x", "syntax"), ("a: .nan", "number-range"),
        (f"a: {'9' * 401}", "number-range"), (f"a: -{'9' * 400}.5", "number-range"), (f"a: 0x{'F' * 400}", "number-range"),
        ("a: -.inf", "number-range"), ("a: 1e999", "number-range"), ("a: 99999999999999999999", "number-range"),
        ("a: *b", "syntax"), ("a: &a [*a]", "syntax"), ("a: [", "syntax"), ("a: 'x", "syntax"), ("a: b: c", "syntax"),
        ("", "syntax"), ("# nothing", "syntax"), ("a: 1\n---\nb: 2", "syntax"), ("a: \x01", "character"),
        ('a: "\\0"', "character"), ("\ufeffa: 1", "encoding"), (b"\xff\xfea\x00", "encoding"),
        (b"a: \xe4", "encoding"), ("a: \ud800", "encoding"), ("x: " + "y" * 1_000_001, "too-large"),
        ("a" * 10_000_001, "too-large"), ("ä" * 6_000_000, "too-large"),
    ],
)  # fmt: skip
def test_what_is_odd_is_named(source, rule):
    assert rules(source) == [rule]


@pytest.mark.parametrize(
    "text",
    ['{"a": 1,}', '{"a" 1}', "{'a': 1}", '{"a": 01}', '{"a": .5}', '{"a": tru}', '{"a": "\n"}', '{"a": "\\x"}',
     '{"a": 1} b', '{"a": NaN}', "[1 2]", '{"a"}', "{1: 2}", '{"a": "b', "[", "", "\ufeff{}", '{"a": 1e999}',
     '{"a": "\\ud800"}', '{"a": ' + "9" * 500 + "}", '{"a": "\\u0000"}'],
)  # fmt: skip
def test_json_is_read_strictly(text):
    assert len(rules(text, DefinitionFormat.JSON)) == 1


def test_json_may_have_tabs_surrogate_pairs_and_long_keys():
    value = {"k" * 3000: "\U0001f600", "b": [True, None, -1.5e3, "\t"]}
    text = json.dumps(value, indent="\t")

    assert read_source(text).value == value
    assert read_source(text).format is DefinitionFormat.JSON


def test_a_flow_mapping_in_yaml_is_yaml():
    assert read_source("{a: 1, b: [x]} # not JSON").value == {"a": 1, "b": ["x"]}


BOMBS = {
    "aliases": "a: &a [x,x]\n" + "".join(f"{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n" for p, c in zip("abcdefghijkl", "bcdefghijklm", strict=True)),
    "long aliases": "a: &a '" + "x" * 500_000 + "'\nb: [" + "*a," * 900 + "*a]",
    "many aliases": "a: &a x\nb: [" + "*a," * 2_000 + "*a]",
    "flow depth": "[" * 200_000,
    "mapping depth": "{a: " * 100_000,
    "block depth": "- " * 100_000,
    "events": "[" + "1," * 2_000_000 + "1]",
    "json depth": '{"a":' * 200_000,
    "json events": "[" + "1," * 2_000_000 + "1]",
    "keys": "{" + ",".join(f"k{i}: 1" for i in range(400_000)) + "}",
    "anchors": "".join(f"&a{i} k{i}: 1\n" for i in range(200_000)),
}  # fmt: skip


def refused(name):
    spelling = DefinitionFormat.JSON if name.startswith("json") else DefinitionFormat.YAML
    return rules(BOMBS[name], spelling)[-1]


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_a_moment(name):
    with effort() as spent:
        rule = refused(name)

    assert rule in {"too-large", "too-deep"}
    assert spent.seconds < 3  # Milliseconds; counting 300,000 events takes half a second.


@pytest.mark.parametrize("name", [name for name in BOMBS if name.endswith(("aliases", "depth"))])
def test_bombs_are_refused_without_their_memory(name):
    tracemalloc.start()
    try:
        refused(name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 5_000_000


def locate(text, path, *, on_key=False, format=None):
    source = read_source(text, format)
    finding = Finding("x", "x", path, on_key=on_key)
    source.locate([finding])
    span = finding.span
    assert span is not None
    return (span.line, span.column, span.end_line, span.end_column)


DOCUMENT = "a:\n  - {b: &x [1, 22], c: 'd'}\n  - e: *x\n    f: |\n      text\ng: 3\n"


@pytest.mark.parametrize(
    ("path", "on_key", "place"),
    [
        (("a", 0, "b", 1), False, (2, 16, 2, 18)),
        (("a", 0, "c"), True, (2, 21, 2, 22)),
        (("a", 0, "b"), False, (2, 9, 2, 19)),
        (("a", 0), False, (2, 5, 2, 28)),
        (("a", 1, "e"), False, (3, 8, 3, 10)),
        (("a", 1, "e", 0), False, (3, 8, 3, 10)),
        (("a", 1, "absent"), False, (3, 5, 6, 1)),
        (("g",), False, (6, 4, 6, 5)),
        ((), False, (1, 1, 6, 5)),
    ],
)
def test_places_are_found_again(path, on_key, place):
    assert locate(DOCUMENT, path, on_key=on_key) == place


def test_places_in_json():
    text = '{\n  "a": [1,\n        {"b": "ä😀"}]\n}'

    assert locate(text, ("a", 1, "b")) == (3, 15, 3, 19)
    assert locate(text, ("a", 1, "b"), on_key=True) == (3, 10, 3, 13)
