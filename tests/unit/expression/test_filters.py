"""Every filter and test, by example."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.expression import ExpressionError, parse_template
from runtime.expression.calls import FILTERS, TESTS

ROWS = [{"n": 2, "k": "b", "o": {"p": 1}}, {"n": 1, "k": "a"}, {"n": 2, "k": "B"}]

EXAMPLES: list[tuple[str, Any]] = [
    ("'Ab' | upper", "AB"), ("'Ab' | lower", "ab"), ("'ab cd' | title", "Ab Cd"), ("'ab' | capitalize", "Ab"),
    ("' a ' | trim", "a"), ("'xax' | trim('x')", "a"), ("'aaa' | replace('a', 'b', 2)", "bba"),
    ("'a,b,c' | split(',', 1)", ["a", "b,c"]), ("'hello world' | truncate(8)", "hello..."),
    ("'a' | center(4)", " a  "), ("'a\nb\n\nc' | indent(2)", "a\n  b\n\n  c"), ("'a\nb' | indent(1, true)", " a\n b"),
    ("'one two ' | wordcount", 2),
    ("'ab' | startswith('a')", True), ("'ab' | endswith('a')", False), ("1.5 | string", "1.5"),
    ("'12' | int", 12), ("'3.9' | int", 3), ("'x' | int(0)", 0), ("'1.5' | float", 1.5), ("'x' | float(none)", None),
    ("2.567 | round(1)", 2.6), ("2.1 | round(method='ceil')", 3.0), ("2.9 | round(0, 'floor')", 2.0),
    ("-3 | abs", 3), ("'abc' | length", 3), ("rows | count", 3), ("[3, 4] | first", 3), ("'abc' | last", "c"),
    ("[1, 'a', true] | join('-')", "1-a-true"), ("rows | join(',', attribute='k')", "b,a,B"),
    ("[2, 1] | sort", [1, 2]), ("['b', 'A'] | sort", ["A", "b"]), ("[1, 2] | sort(reverse=true)", [2, 1]),
    ("rows | sort(attribute='n') | map(attribute='n')", [1, 2, 2]),
    ("['a', 'A', 'b'] | unique", ["a", "b"]), ("[1, true, 1] | unique", [1, True]),
    ("rows | unique(attribute='n') | length", 2), ("[1, 2] | reverse", [2, 1]), ("'ab' | reverse", "ba"),
    ("[1, 2] | sum", 3), ("rows | sum(attribute='n')", 5), ("[1, 2] | sum(start=10)", 13), ("[2, 1] | min", 1),
    ("rows | max(attribute='n') | get('k')", "b"), ("'ab' | list", ["a", "b"]), ("{'a': 1} | list", ["a"]),
    ("{'a': 1} | items", [["a", 1]]), ("{'a': 1} | keys", ["a"]), ("{'a': 1} | values", [1]),
    ("{'b': 1, 'a': 2} | dictsort", [["a", 2], ["b", 1]]), ("{'b': 1, 'a': 2} | dictsort(by='value')", [["b", 1], ["a", 2]]),
    ("{'a': 1} | get('b', 2)", 2), ("{'a': 1} | combine({'b': 2})", {"a": 1, "b": 2}),
    ("[[1], [2, 3], 4] | flatten", [1, 2, 3, 4]), ("[1, 2, 3] | batch(2)", [[1, 2], [3]]),
    ("rows | groupby('n') | map('first')", [1, 2]), ("rows | map(attribute='o.p', default=0)", [1, 0, 0]),
    ("['a', 'b'] | map('upper')", ["A", "B"]), ("['a', 'b'] | map(name='upper')", ["A", "B"]), ("[0, 1, 2] | select", [1, 2]), ("[1, 2, 3] | select('odd')", [1, 3]),
    ("[1, 2, 3] | reject('divisibleby', 2)", [1, 3]), ("rows | selectattr('n', 'eq', 2) | length", 2),
    ("rows | rejectattr('o', 'defined') | length", 2), ("rows | selectattr('o') | length", 1),
    ("{'a': [1]} | tojson", '{"a":[1]}'), ("{'a': 'ä'} | json", '{"a":"ä"}'), ("[1] | tojson(indent=1)", "[\n 1\n]"),
    ("'{\"a\": 1}' | fromjson", {"a": 1}), ("'ä' | b64encode", "w6Q="), ("'w6Q=' | b64decode", "ä"),
    ("'a b/c' | urlencode", "a%20b/c"), ("{'q': 'a b', 'n': 1} | urlencode", "q=a+b&n=1"),
    ("'' | hash", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("'a' | hash('md5')", "0cc175b9c0f1b6a831c399e269772661"),
    ("rows | jmespath('[?n>`1`].k')", ["b", "B"]),
    ("'2026-01-31' | parse_date", "2026-01-31T00:00:00Z"), ("'31.01.2026' | parse_date('%d.%m.%Y')", "2026-01-31T00:00:00Z"),
    ("0 | parse_date", "1970-01-01T00:00:00Z"), ("'2026-01-31T12:00:00+02:00' | format_date('%H:%M %z')", "12:00 +0200"),
    ("'2026-01-31T12:00:00Z' | add_duration('-1d12h')", "2026-01-30T00:00:00Z"),
    ("'2026-01-01' | seconds_until('2026-01-01T00:01:00Z')", 60.0),
    ("x.y.z | default('d')", "d"), ("none | default('d')", None), ("'' | default('d', true)", "d"), ("x | d", ""),
    ("'a'.upper()", "A"), ("' a '.strip()", "a"), ("{'a': 1}.get('b')", None), ("{'a': 1}.items()", [["a", 1]]),
    ("{'a': 1}.nope.default(3)", 3),
]  # fmt: skip

TESTS_BY_EXAMPLE: list[tuple[str, Any]] = [
    ("1 is odd", True), ("1 is even", False), ("4 is divisibleby(2)", True), ("none is none", True),
    ("none is null", True), ("true is true", True), ("true is false", False), ("true is boolean", True),
    ("true is number", False), ("1 is number", True), ("1 is integer", True), ("1.0 is float", True),
    ("'a' is string", True), ("{} is mapping", True), ("[] is sequence", True), ("[] is list", True),
    ("'a' is iterable", True), ("[] is empty", True), ("'a' is empty", False), ("[1] is contains(1)", True),
    ("'ab' is startingwith('a')", True), ("'ab' is endingwith('a')", False), ("1 is eq(1)", True),
    ("1 is equalto(2)", False), ("1 is ne(2)", True), ("1 is lt(2)", True), ("1 is le(1)", True),
    ("2 is gt(1)", True), ("1 is ge(2)", False), ("1 is lessthan(2)", True), ("1 is greaterthan(2)", False),
    ("1 is in([1])", True), ("rows is defined", True), ("x.y is undefined", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), EXAMPLES + TESTS_BY_EXAMPLE)
def test_by_example(text, value):
    found = parse_template("{{ " + text + " }}").render({"rows": ROWS})

    assert found == value
    assert type(found) is type(value)


def test_no_filter_and_no_test_is_without_an_example():
    written = " ".join(text for text, _ in EXAMPLES + TESTS_BY_EXAMPLE)
    missing = [name for name in (*FILTERS, *TESTS) if name.isalpha() and name not in written]

    assert missing == []


@pytest.mark.parametrize(
    "text",
    [
        "1 | upper", "'a' | sum", "['a'] | sum", "[] | first", "[] | max", "'x' | int", "('9' * 500) | int",
        "none | int", "'nan' | float", "1 | join", "'a' | items", "'no' | fromjson", "'[NaN]' | fromjson",
        "'1e999' | fromjson", "'%%' | b64decode", "'a' | hash('crc')", "'x' | parse_date", "1e20 | parse_date",
        "'2026-01-01' | format_date('%1000000000d')", "'2026-01-01' | format_date('%Q')",
        "'2026-01-01' | add_duration('3 parsecs')", "'9999-12-31' | add_duration('9y')", "[1] | batch(0)",
        "'a' | split('')", "[1] | map", "[1] | map(attribute='n')", "[1] | map('nofilter')", "[1] | map('upper', name='upper')", "[1] | select('notest')",
        "1 | round(99)", "1 | round(1, 'up')", "'a' | truncate(-1)", "[1] | tojson(99)", "1 | length",
        "{'a': 1} | dictsort(by='x')", "[{}] | jmespath('[')", "[{}] | jmespath('join(`1`, @)')", "[1] | sort(attribute='a')",
        "'a' | replace('a')", "1.5 is odd", "1 is divisibleby(0)", "[1] | default(1, 2, 3)",
    ],
)  # fmt: skip
def test_what_a_filter_cannot_do_is_an_error_in_words(text):
    with pytest.raises(ExpressionError) as caught:
        parse_template("{{ " + text + " }}").render({})

    assert caught.value.message


def test_a_date_format_that_names_a_part_twice_is_an_expression_error():
    with pytest.raises(ExpressionError, match="parse_date"):
        parse_template("{{ '2026 2026' | parse_date('%Y %Y') }}").render({})


DOUBLED = "[1] | jmespath('" + " | ".join(["[@,@][]"] * 80) + "')"
GROWING = [
    DOUBLED,
    DOUBLED.replace("[@,@][]", "[@,@]"),
    "'ab' | jmespath('" + " | ".join(["join(@, [@,@,@,@])"] * 30) + "')",
    "['a'] | jmespath('" + " | ".join(["to_string([@,@])"] * 40) + "')",
    "[1] | jmespath('" + " | ".join(["[@,@]"] * 40) + " | [@, @] | @[0] == [@[1]]')",
]


@pytest.mark.parametrize("expression", GROWING)
def test_a_question_that_doubles_its_value_is_stopped_while_it_runs(expression):
    with pytest.raises(ExpressionError, match=r"elements|bytes"):
        parse_template("{{ " + expression + " }}").render({})


@pytest.mark.parametrize("question", ["to_number('nan')", "to_number('inf')", "[`NaN`]"])
def test_a_question_answers_only_with_numbers_of_json(question):
    with pytest.raises(ExpressionError, match="number"):
        parse_template('{{ {} | jmespath("' + question + '") }}').render({})


DEEP_EXAMPLES = [
    ("[1] == [true]", False), ("{'a': [0]} == {'a': [false]}", False), ("[1] in [[true]]", False),
    ("[1, {'a': 2}] == [1.0, {'a': 2}]", True), ("[[1], [true]] | unique | length", 2),
    ("'abcdefghij' | truncate(1, 'zzzzzzzz')", "z"),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), DEEP_EXAMPLES)
def test_values_are_compared_and_cut_at_every_depth(expression, expected):
    assert parse_template("{{ " + expression + " }}").render({}) == expected


@pytest.mark.parametrize(
    ("expression", "said"),
    [("'[9223372036854775808]' | fromjson", "64 bits"), ("[1] | map('default', 0)", "map can't")],
)
def test_what_a_filter_can_not_do_is_said(expression, said):
    with pytest.raises(ExpressionError, match=said):
        parse_template("{{ " + expression + " }}").render({})


@pytest.mark.parametrize("name", ["upper", "title", "map('upper')", "select", "rejectattr('a')"])
def test_a_filter_names_itself_when_its_value_does_not_fit(name):
    with pytest.raises(ExpressionError, match="^" + name.partition("(")[0] + " needs"):
        parse_template("{{ 1 | " + name + " }}").render({})
