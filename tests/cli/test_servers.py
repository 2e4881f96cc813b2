"""Which server, which token: the order of precedence, and what must never be sent elsewhere."""

from __future__ import annotations

import json
import os

import pytest

from maestro_cli.errors import CliError
from maestro_cli.options import Options
from maestro_cli.servers import find_dev_server, find_server, get_server

LOCAL = "http://127.0.0.1:8123"


@pytest.fixture
def surroundings(monkeypatch, tmp_path, home):
    monkeypatch.setenv("MC_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "maestro" / "config.toml"


@pytest.fixture
def running_dev(home, surroundings):
    (home / "dev.json").write_text(json.dumps({"url": LOCAL, "pid": os.getpid()}))
    (home / "dev-token").write_text("local-token\n")


def profile(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o600)


def test_without_any_the_error_says_how_to_have_one(surroundings):
    with pytest.raises(CliError) as caught:
        get_server(Options())

    assert caught.value.exit_code == 7
    assert "mc dev" in (caught.value.hint or "")


def test_the_local_dev_server_comes_last(running_dev):
    server = get_server(Options())

    assert (server.url, server.token) == (LOCAL, "local-token")


def test_a_profile_comes_before_the_local_one(running_dev, surroundings):
    profile(
        surroundings,
        'profile = "work"\n[profiles.work]\nurl = "https://mc.example"\ntoken = "p"\nnamespace = "n"\n',
    )

    server = get_server(Options())

    assert (server.url, server.token, server.namespace) == ("https://mc.example", "p", "n")


def test_the_environment_comes_before_the_profile(monkeypatch, surroundings):
    profile(surroundings, 'profile = "work"\n[profiles.work]\nurl = "https://mc.example"\n')
    monkeypatch.setenv("MC_URL", "http://other.example")
    monkeypatch.setenv("MC_TOKEN", "e")

    assert get_server(Options()).url == "http://other.example"
    assert get_server(Options()).token == "e"


def test_flags_come_first(monkeypatch, surroundings):
    monkeypatch.setenv("MC_URL", "http://other.example")
    monkeypatch.setenv("MC_TOKEN", "e")

    server = get_server(Options(endpoint="http://flag.example/", token="f"))

    assert (server.url, server.token, server.origin) == ("http://flag.example", "f", "--endpoint")


def test_the_development_token_goes_to_the_local_server_only(running_dev):
    assert get_server(Options(endpoint="http://elsewhere.example")).token is None
    assert get_server(Options(endpoint=f"{LOCAL}/")).token == "local-token"


def test_a_dev_server_that_is_gone_counts_for_nothing(home, surroundings):
    (home / "dev.json").write_text(json.dumps({"url": LOCAL, "pid": 2**22 + 1}))

    assert find_dev_server(home) is None
    assert find_server(Options()) is None


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "http://"])
def test_an_address_that_is_none_is_a_usage_error(surroundings, url):
    with pytest.raises(CliError) as caught:
        get_server(Options(endpoint=url))

    assert caught.value.exit_code == 2


def test_an_unknown_profile_is_refused_with_the_known_ones(surroundings):
    profile(surroundings, '[profiles.work]\nurl = "http://x"\n')

    with pytest.raises(CliError) as caught:
        get_server(Options(profile="wrok"))

    assert "work" in (caught.value.hint or "")


def test_a_profile_with_a_token_must_be_private(surroundings):
    profile(surroundings, 'profile = "a"\n[profiles.a]\nurl = "http://x"\ntoken = "t"\n')
    surroundings.chmod(0o644)

    with pytest.raises(CliError, match="others may read it"):
        get_server(Options())
