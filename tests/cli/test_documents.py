"""Inputs and files as users give them."""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro_cli.documents import (
    looks_like_file,
    parse_json,
    read_definition,
    read_input,
    write_whole,
)
from maestro_cli.errors import CliError


def test_keys_of_the_input_come_in_a_json_object_too():
    assert read_input(None, ["a=1", '{"a": 2, "b": {"c=d": null}}', "e=3"]) == {
        "a": 2,
        "b": {"c=d": None},
        "e": 3,
    }
    with pytest.raises(CliError, match="-i is not JSON"):
        read_input(None, ['{"a": 2'])
    with pytest.raises(CliError, match="neither key=value nor a JSON object"):
        read_input(None, ["a"])


def test_keys_are_json_where_they_can_be():
    assert read_input(None, ["n=3", "on=true", "name=tea", 'list=["a"]', "eq=a=b", "empty="]) == {
        "n": 3,
        "on": True,
        "name": "tea",
        "list": ["a"],
        "eq": "a=b",
        "empty": "",
    }


def test_single_keys_are_set_in_what_the_file_holds(tmp_path):
    file = tmp_path / "order.json"
    file.write_text('{"id": 1, "lines": []}')

    assert read_input(str(file), ["id=2"]) == {"id": 2, "lines": []}


def test_no_input_is_none():
    assert read_input(None, []) is None


@pytest.mark.parametrize(
    ("name", "text", "at"),
    [
        ("a.json", '{"a": 1,\n  oops}', ":2:3"),
        ("a.json", "[" * 100_000, "a.json"),
        ("a.json", '{"a": NaN}', "a.json"),
        ("a.json", '{"a": 1e400}', "a.json"),
        ("a.json", '{"a": %s}' % ("9" * 5_000), "a.json"),
        ("a.yaml", "a: [1,\nb: 2", ":3:1"),
        ("a.yaml", "[" * 100_000, ":1:65"),
        ("a.yaml", 'a: "\x01"', ":1:5"),
        ("a.yaml", "a: 1\na: 2", ":2:1"),
    ],
)
def test_a_broken_input_file_is_refused_with_its_place(tmp_path, name, text, at):
    file = tmp_path / name
    file.write_text(text)

    with pytest.raises(CliError) as caught:
        read_input(str(file), [])

    assert caught.value.exit_code == 4
    assert str(caught.value.place).endswith(at)


def test_words_of_a_yaml_input_mean_what_they_mean_in_a_definition(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("day: 2026-01-01\nat: 2026-01-01 10:00:00\ncountry: no\ncode: 007\nn: 1.5\n")

    assert read_input(str(file), []) == {
        "day": "2026-01-01",
        "at": "2026-01-01 10:00:00",
        "country": "no",
        "code": "007",
        "n": 1.5,
    }


def test_an_argument_nested_too_deep_is_a_usage_error():
    with pytest.raises(CliError, match="too deep"):
        parse_json("[" * 100_000, "--vars")


@pytest.mark.parametrize("pair", ["novalue", "=x", "n=1e400", "n=[-1e400]", "n=" + "9" * 310])
def test_a_pair_without_key_or_value_or_with_a_number_that_nobody_holds_is_a_usage_error(pair):
    with pytest.raises(CliError) as caught:
        read_input(None, [pair])

    assert caught.value.exit_code == 2


def test_keys_can_not_be_set_in_a_list(tmp_path):
    file = tmp_path / "list.json"
    file.write_text("[1]")

    with pytest.raises(CliError, match="holds no object"):
        read_input(str(file), ["a=1"])


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("order.yaml", True),
        ("dir/order", True),
        ("order.JSON", True),
        ("order-fulfilment", False),
        ("order@1.0.0", False),
    ],
)
def test_a_file_is_told_from_a_name(text, is_file):
    assert looks_like_file(text) is is_file


def test_the_format_of_a_definition_comes_from_its_name_or_its_first_character(tmp_path):
    for name, text, form in (
        ("a.yaml", "{}", "YAML"),
        ("a.json", "{}", "JSON"),
        ("a.txt", " {}", "JSON"),
    ):
        (tmp_path / name).write_text(text)
        assert read_definition(str(tmp_path / name)) == (text, form)


def test_variables_come_from_a_file_too(tmp_path):
    (tmp_path / "v.json").write_text('{"id": 1}')

    assert parse_json(f"@{tmp_path / 'v.json'}", "--vars") == {"id": 1}
    with pytest.raises(CliError, match="must be a JSON object"):
        parse_json("[]", "--vars")


def test_a_file_is_replaced_as_a_whole_and_stays_what_it_was(tmp_path, monkeypatch):
    file, link = tmp_path / "tea.yaml", tmp_path / "link.yaml"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)

    write_whole(str(link), "new")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(CliError, match="can't be written: No space"):
        write_whole(str(link), "newer")

    assert (file.read_text(), file.stat().st_mode & 0o777) == ("new", 0o640)
    assert sorted(tmp_path.iterdir()) == [link, file]
