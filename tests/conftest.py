"""The fixtures that every test may ask for; what they are made of stands in tests/support."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from tests.support import servers
from tests.support.processes import Mc, clean_environment

# What the whole suite may be run with: `MC_EXECUTOR=strawberry make test`.
KEPT = ("MC_BIN_DIR", "MC_EXECUTOR")
# Whose files have fixtures of a module that start processes, or share dear work of another kind.
APART = (
    "tests/chaos/",
    "tests/cli/",
    "tests/contract/",
    "tests/federation/test_gateways.py",
    "tests/integration/",
    "tests/unit/examples/",
    "tests/unit/test_house.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Choose the servers that tests are given."""
    parser.addoption(
        "--oldest-servers",
        action="store_true",
        help="run against PostgreSQL 16 and Redis 6.2, the oldest that are supported",
    )
    parser.addoption(
        "--compiled",
        action="store_true",
        help="what is tested is build/compiled (make test-compiled)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the compiled tree, leave out what replaces something inside of a compiled module."""
    if config.getoption("compiled"):
        why = pytest.mark.skip(
            reason="interpreted only: it replaces something in a compiled module"
        )
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(why)


def pytest_configure(config: pytest.Config) -> None:
    """Forget the user's own variables, so that every machine runs the same tests."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("MC_TEST_")}
    kept |= {name: os.environ[name] for name in KEPT if name in os.environ}
    clean = clean_environment()
    os.environ.clear()
    os.environ.update(clean | kept)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a script: what tests start must hear Ctrl-C all the same.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A busy machine is no finding: what an example may cost is judged by counted work (tests/support/effort.py).
    settings.register_profile(
        "busy", settings.get_profile(settings.get_current_profile_name()), deadline=None
    )
    settings.load_profile("busy")


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives one test process what shares processes that are dear to start: the journeys, and each file of `APART`.

    Written by nodeid, since the groups of xdist 3.8 have no effect with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if file.startswith("tests/journey/"):
            return "tests/journey"
        return file if file.startswith(APART) else nodeid

    def remove_node(self, node: Any) -> str | None:
        """A test process has gone: what it finished stays finished, and the test it died in is not run again.

        xdist 3.8 deals out the whole work of the lost process anew, and waits for ever for news of what is over.
        """
        if self.collection is None:
            # Nothing is dealt out yet: what it collected must not stand for the process that replaces it.
            self.registered_collections.pop(node, None)
        workload = self.assigned_work[node]
        for scope in [name for name, unit in workload.items() if all(unit.values())]:
            del workload[scope]
        crashed: str | None = None
        if workload:
            unit = next(iter(workload.values()))
            crashed = next(test for test, is_over in unit.items() if not is_over)
            unit[crashed] = True
            if all(unit.values()):
                del workload[next(iter(workload))]
        super().remove_node(node)
        return crashed

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """A test process that replaces a lost one has to find the same tests; xdist 3.8 would wait for it for ever."""
        if self.collection is not None and list(collection) != self.collection:
            other = sorted(set(collection) ^ set(self.collection))
            raise RuntimeError(
                "A test process that replaced a lost one collected other tests than the first ones, so the run cannot "
                f"go on; the first difference is {other[0] if other else 'their order'}."
            )
        super().add_node_collection(node, collection)

    def schedule(self) -> None:
        """Give the process that replaces a lost one two units: a process runs its last test when it knows the next."""
        super().schedule()
        for node in self.nodes if self.collection else ():
            self._reschedule(node)

    def _reschedule(self, node: Any) -> None:
        # One that is still collecting has its turn in `schedule`.
        if node in self.registered_collections:
            super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """How the tests are dealt out."""
    return Together(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """End every run, good or bad, with one line that people and scripts can read."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    count = {kind: len(found) for kind, found in reporter.stats.items()}
    failed = count.get("failed", 0) + count.get("error", 0)
    skipped = f", {count['skipped']} skipped" if count.get("skipped") else ""
    reporter.write_line(f"{count.get('passed', 0)} passed, {failed} failed{skipped}")


@pytest.fixture(scope="session")
def ground_run() -> Iterator[Callable[..., Any]]:
    """Runs a coroutine for a sync fixture, on a loop of its own that lasts as long as the servers."""
    with servers.own_loop() as run:
        yield run


@pytest.fixture(scope="session")
def ground_folder() -> Iterator[Path]:
    """A short private folder for the servers of this test process."""
    folder = Path(tempfile.mkdtemp(prefix="mct-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(
    ground_run: Callable[..., Any], ground_folder: Path, pytestconfig: pytest.Config
) -> Iterator[str]:
    """The superuser's address of a PostgreSQL of this test process."""
    oldest = bool(pytestconfig.getoption("oldest_servers"))
    with servers.postgres(ground_run, ground_folder, oldest=oldest) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(
    ground_run: Callable[..., Any], ground_folder: Path, pytestconfig: pytest.Config
) -> Iterator[str]:
    """The address of a Redis of this test process."""
    oldest = bool(pytestconfig.getoption("oldest_servers"))
    with servers.redis_server(ground_run, ground_folder, oldest=oldest) as url:
        yield url


@pytest.fixture(scope="session")
def databases(ground_run: Callable[..., Any], postgres_server: str) -> Iterator[servers.Databases]:
    """Makes databases: `clone()` a migrated one, `empty()` one without anything."""
    made = servers.Databases(ground_run, postgres_server)
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared_database(databases: servers.Databases) -> str:
    """The one migrated database that tests take turns with; ask for `database_url` instead."""
    return databases.clone()


@pytest.fixture
def database_url(databases: servers.Databases, shared_database: str) -> Iterator[str]:
    """A migrated database without rows; emptied again afterwards."""
    yield shared_database
    databases.clean(shared_database)


@pytest.fixture
def redis_url(ground_run: Callable[..., Any], redis_server: str) -> str:
    """An empty Redis database."""
    ground_run(servers.flush_redis(redis_server))
    return redis_server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder ($MC_HOME) of this test alone, open to its owner only."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def clean_env(home: Path) -> dict[str, str]:
    """An environment for processes: nothing of the user's, and this test's `home`."""
    return {**clean_environment(), "MC_HOME": str(home)}


@pytest.fixture
def mc(home: Path, tmp_path: Path) -> Iterator[Mc]:
    """Starts `mc` commands on this test's `home` and a free port; ends whatever still runs."""
    made = Mc(home=home, folder=tmp_path)
    yield made
    made.end_all()
