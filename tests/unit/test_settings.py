"""The environment: unknown variables are refused by name, values are checked, defaults are the contract's."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.model.breaker import BreakerRule
from runtime.model.errors import SetupError
from runtime.settings import Settings


def test_an_empty_environment_gives_the_documented_defaults():
    settings = Settings.from_env({})

    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 8000)
    assert settings.home == Path.cwd() / ".mc"
    assert settings.secrets_path == settings.home / "secrets.yaml"
    assert settings.database_url is None


def test_a_misspelt_variable_names_its_nearest_neighbour():
    with pytest.raises(SetupError, match=r"MC_DATABSE_URL is not .* did you mean MC_DATABASE_URL"):
        Settings.from_env({"MC_DATABSE_URL": "postgresql://x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MC_DATABASE_URL", "mysql://x"),
        ("MC_REDIS_URL", "http://x"),
        ("MC_PORT", "eighty"),
        ("MC_PORT", "70000"),
        ("MC_LOG_FORMAT", "xml"),
        ("MC_AUTH_JWKS_URL", "https://issuer/keys"),
        ("MC_AUTH_ISSUER", "https://issuer"),
        ("MC_INTROSPECTION", "no"),
        ("MC_SHOW_COST", "no"),
        ("MC_RATE_REQUESTS", "many"),
        ("MC_RATE_COST", "0/s"),
        ("MC_MAX_COST", "0"),
        ("MC_MAX_COST", "much"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_variable(name, value):
    with pytest.raises(SetupError, match=name):
        Settings.from_env({name: value})


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("api.example", False),
    ],
)
def test_only_loopback_listeners_are_loopback(host, loopback):
    assert Settings.from_env({"MC_HOST": host}).api.is_loopback is loopback


def test_what_the_graph_shows_and_allows_is_set():
    graph = Settings.from_env({"MC_INTROSPECTION": "off", "MC_MAX_COST": "500"}).api.graph

    assert (graph.shows_schema, graph.max_cost) == (False, 500)


def test_egress_is_a_list():
    assert Settings.from_env({"MC_EGRESS_ALLOW": "127.0.0.0/8, shop:80"}).egress.allow == (
        "127.0.0.0/8",
        "shop:80",
    )


def test_when_a_target_is_left_alone_can_be_set():
    given = {"MC_BREAKER_FAILURES": "3", "MC_BREAKER_OPEN": "500ms", "MC_BREAKER_LONGEST": "1m"}

    assert Settings.from_env(given).worker.breaker == BreakerRule(3, 30.0, 0.5, 60.0)
    assert Settings.from_env({}).worker.breaker == BreakerRule()


@pytest.mark.parametrize(
    ("name", "value"),
    [("MC_BREAKER_FAILURES", "0"), ("MC_BREAKER_OPEN", "soon"), ("MC_BREAKER_WINDOW", "2d")],
)
def test_a_breaker_that_makes_no_sense_is_refused_by_name(name, value):
    with pytest.raises(SetupError, match=name):
        Settings.from_env({name: value})
