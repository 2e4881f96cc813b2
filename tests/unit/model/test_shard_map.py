"""The shard map: each shard lies in exactly one place, or the process does not start and says why."""

from __future__ import annotations

import pytest

from runtime.model.errors import SetupError
from runtime.model.shard_map import Place, ShardMap, shard_numbers
from runtime.settings import Settings

ONE, TWO = "postgresql://one/mc", "postgresql://two/mc"


def test_shards_are_counted_over_all_places():
    found = ShardMap.checked([Place("a", ONE, (0, 1)), Place("b", TWO, (2, 3))])

    assert found.total == 4
    assert found.catalog.name == "a"
    assert found.place("b").url == TWO


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ([], "no database"),
        ([Place("a", ONE, ())], "'a' holds no shard"),
        ([Place("a", ONE, (0, 1)), Place("b", TWO, (1,))], "shard 1 lies on both 'a' and 'b'"),
        ([Place("a", ONE, (0,)), Place("b", TWO, (3,))], "no database holds shard 1, 2"),
        ([Place("a", ONE, (0, 1)), Place("b", TWO, (2,))], "power of two, and there are 3"),
        ([Place("a", ONE, (1,)), Place("b", TWO, (0,))], "first database must hold shard 0"),
        ([Place("a", ONE, (0,)), Place("a", TWO, (1,))], "two databases have the name 'a'"),
        ([Place("a", ONE, (0,)), Place("b", ONE, (1,))], "'a' and 'b' are the same database"),
    ],
)
def test_what_does_not_fit_is_named(places, words):
    with pytest.raises(SetupError, match=words):
        ShardMap.checked(places)


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (3, (3,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-1, 5", (0, 1, 5)),
        ([4, "6-7"], (4, 6, 7)),
        ([], ()),
    ],
)
def test_shards_are_numbers_and_ranges(value, numbers):
    assert shard_numbers(value) == numbers


@pytest.mark.parametrize("value", ["3-1", "a", "4096", [True], "-1", None, ["0-"]])
def test_other_shards_are_refused(value):
    with pytest.raises(ValueError, match=r".+"):
        shard_numbers(value)


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> dict[str, str]:
        path = tmp_path / "databases.yaml"
        path.write_text(text)
        return {"MC_DATABASES": str(path)}

    return write


def test_a_file_becomes_a_map_and_its_first_database_the_catalog(file):
    settings = Settings.from_env(
        file(
            f"databases:\n- {{dsn: {ONE}, shards: 0-1}}\n- {{name: west, dsn: {TWO}, shards: [2, 3]}}\n"
        )
    )

    assert settings.database_url == ONE
    assert settings.shard_map == ShardMap((Place("1", ONE, (0, 1)), Place("west", TWO, (2, 3))))


def test_one_address_is_a_map_of_one_shard():
    settings = Settings.from_env({"MC_DATABASE_URL": ONE})

    assert settings.shard_map == ShardMap.single(ONE)
    assert Settings.from_env({}).shard_map is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("databases: {}", "no list `databases`"),
        ("- [", "no YAML"),
        (f"- {{dsn: {ONE}, shards: 0, host: x}}", "entry 1 must have"),
        ("- {dsn: 'mysql://x', shards: 0}", "must begin with postgresql://"),
        (f"- {{dsn: {ONE}, shards: none}}", "the `shards` of '1' must be numbers"),
        (f"- {{dsn: {ONE}}}", "'1' holds no shard"),
    ],
)
def test_a_bad_file_says_what_is_wrong(file, text, words):
    with pytest.raises(SetupError, match=words):
        Settings.from_env(file(text))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(SetupError, match=r"/nowhere.yaml can't be read"):
        Settings.from_env({"MC_DATABASES": "/nowhere.yaml"})


def test_a_map_and_an_address_exclude_each_other(file):
    with pytest.raises(SetupError, match="both set"):
        Settings.from_env({**file(f"- {{dsn: {ONE}, shards: 0}}"), "MC_DATABASE_URL": ONE})
