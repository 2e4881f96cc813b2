"""One whole service for all journeys; every test is a tenant of its own on it."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.processes import Mc
from tests.support.stack import Stack, open_shop, start_service

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def journey_redis(ground_run, pytestconfig):
    """A Redis for the journeys alone: their worker lives on, and would take what other tests leave in theirs."""
    folder = Path(tempfile.mkdtemp(prefix="mcj-"))
    use = servers.RedisUse.JOURNEYS
    oldest = bool(pytestconfig.getoption("oldest_servers"))
    with servers.redis_server(ground_run, folder, oldest=oldest, use=use) as url:
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def service(ground_run, databases, journey_redis, tmp_path_factory):
    """API, worker and scheduler as three processes."""
    folder = tmp_path_factory.mktemp("service")
    home = folder / "home"
    home.mkdir(mode=0o700)
    mc = Mc(home=home, folder=folder)
    imports = ("tests.support.talking",)
    yield ground_run(start_service(mc, databases.clone(), journey_redis, imports=imports))
    mc.end_all()


@pytest.fixture
def stack(service):
    return Stack.of_tenant(service, f"tenant-{next(_NUMBERS)}")


@pytest.fixture
def shop(tmp_path):
    flags = ("--fail-rate", "0.2", "--reset-rate", "0.15", "--slow-rate", "0.1", "--seed", "7")
    with open_shop(tmp_path, *flags) as made:
        yield made
